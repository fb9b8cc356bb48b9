from __future__ import annotations

import functools
import gzip
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import command_line
import pytest

import gpunet as gn
from gpunet.cli import errors

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
#: `gpunet` with any end.
gpunet = functools.partial(command_line.gpunet, code=None)
ENVIRONMENT = command_line.environment()
ENDLESS = ("train", "--iterations", "100000000", "--device", "cpu")


def check(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """The command failed with this code, and standard error is one sentence with these words."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith((".\n", "?\n"))
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def idx(array_bytes: bytes, *dimensions: int) -> bytes:
    return bytes([0, 0, 8, len(dimensions)]) + struct.pack(f">{len(dimensions)}I", *dimensions) + array_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small data set of one's own in four idx.gz files."""
    for name, count in (("train", 40), ("t10k", 20)):
        pictures, labels = FILES[:2] if name == "train" else FILES[2:]
        images = bytes(i * 7 % 256 for i in range(count * 16))
        (tmp_path / f"{pictures}.gz").write_bytes(gzip.compress(idx(images, count, 4, 4)))
        (tmp_path / f"{labels}.gz").write_bytes(gzip.compress(idx(bytes(i % 4 for i in range(count)), count)))
    return tmp_path


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("--data", "mnits"), 2, "did you mean mnist"),
    (("--data", "./no/such/folder"), 1, "no/such/folder"),
    (("--data", "mnist", "--data-dir", "./no/such/folder"), 1, "no/such/folder"),
    (("--hidden", "50,,30"), 2, "--hidden 50,,30: "),
    (("--hidden", "0"), 2, "--hidden 0: "),
    (("--lr", "nan"), 2, "--lr nan: "),
    (("--batch-size", "0"), 2, "--batch-size 0: "),
    (("--batch-size", "4001"), 2, "the training set has only 4000 examples"),
    (("--config", "no-such-file.toml"), 1, "no-such-file.toml"),
    (("--hiden", "3"), 2, "--hidden"),
    (("--lr",), 2, "requires an argument"),
    (("stray",), 2, "stray"),
    (("--bias", "1e39"), 2, "--bias 1e39: float32 ends at 3.4e+38"),
    (("--init", "constant:value=-1e39"), 2, "that float32 can hold"),
])  # fmt: skip
def test_bad_arguments(arguments, code, words):
    done = gpunet("train", *arguments)
    check(done, code, words)
    assert done.stdout == ""


@pytest.mark.parametrize(("arguments", "name"), [
    (("train", "--out", ""), "--out"),
    (("train", "--resume="), "--resume"),
    (("train", "--config", ""), "--config"),
    (("train", "--log", "csv:a", "--log", ""), "--log"),
    (("export", "", "model.npz"), "RUN"),
    (("predict", "model", "a.png", ""), "FILE..."),
    (("data", "get", "mnist-5k", "--to", ""), "--to"),
    (("show", "-o", ""), "--out"),
])  # fmt: skip
def test_an_empty_value_is_no_path(arguments, name):
    done = gpunet(*arguments, code=2)
    assert done.stderr.startswith(f"Error: {name} is empty (an unset shell variable?); give a value")


def test_unknown_command():
    check(gpunet("trian"), 2, "train")


@pytest.mark.parametrize(("arguments", "meant"), [
    ("train --learning-rate 1", "--lr"), ("train --layers 3", "--hidden"), ("train --epoch 3", "--epochs"),
    ("train --batch 3", "--batch-size"), ("train --hiden 3", "--hidden"), ("evaluate --splt x", "--split"),
    ("fit", "train"), ("trian", "train"), ("eval", "evaluate"), ("lr-finder", "lr-find"),
])  # fmt: skip
def test_options_and_commands_that_were_meant(arguments, meant):
    told = gpunet(*arguments.split(), code=2).stderr
    assert told.startswith("Error: there is no ")
    assert told.endswith(f"; did you mean {meant}?\n")


@pytest.mark.parametrize(("arguments", "hint"), [
    ("show x.npz", "give a run or a model file with --run, data with --data; or see gpunet show --help."),
    ("train runs/a", "give data with --data, a file of settings with --config; or see gpunet train --help."),
    ("train --hidden 50 30", "see gpunet train --help."), ("devices x", "see gpunet devices --help."),
])  # fmt: skip
def test_an_argument_that_is_not_taken(arguments, hint):
    command, *_, given = arguments.split()
    assert (
        gpunet(*arguments.split(), code=2).stderr
        == f"Error: gpunet {command} does not take {given} like this; {hint}\n"
    )


@pytest.mark.parametrize(("arguments", "command"), [
    ("train --lr", "gpunet train"), ("train --json=3", "gpunet train"), ("data get --to", "gpunet data get"),
    ("--version=3", "gpunet"),
])  # fmt: skip
def test_an_option_without_its_value_or_with_one_too_many_names_the_command(arguments, command):
    assert gpunet(*arguments.split(), code=2).stderr.endswith(f"; see {command} --help.\n")


def test_an_error_is_a_sentence_beside_json_too():
    done = gpunet("train", "--json", "--lr", "nan")
    check(done, 2, "--lr nan")
    assert done.stdout == ""


def test_a_folder_of_ones_own_trains(folder: Path):
    done = gpunet("train", "--data", str(folder), "--batch-size", "10", "--iterations", "5", "--device", "cpu", "-q")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", ["no idx", "truncated gzip", "counts"])
def test_damaged_data(folder: Path, damage: str):
    images = folder / f"{FILES[0]}.gz"
    if damage == "no idx":
        images.write_bytes(gzip.compress(b"this is a letter and no picture"))
    elif damage == "truncated gzip":
        images.write_bytes(images.read_bytes()[:-30])
    else:
        images.write_bytes(gzip.compress(idx(bytes(39 * 16), 39, 4, 4)))
    done = gpunet("train", "--data", str(folder), "--batch-size", "10", "--device", "cpu")
    check(done, 1, "39" if damage == "counts" else images.name)


def test_cuda_that_is_not_there():
    try:
        gn.get_backend("cuda")
    except gn.DeviceError:
        check(gpunet("train", "--device", "cuda"), 1, "")
    else:
        check(gpunet("train", "--device", "cuda:999"), 1, "999")


def test_a_loss_that_is_no_number():
    done = gpunet("train", "--lr", "1e6", "--device", "cpu")
    check(done, 1, "learning rate")
    assert "iteration" in done.stderr
    assert "with --clip-norm" in done.stderr  # as it is typed here


def test_warnings_of_numpy_are_not_shown():
    check(gpunet("train", "--init", "normal:stddev=3e38", "--device", "cpu"), 1, "finite")


@pytest.mark.host
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(number, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "gpunet", *ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert any(line.startswith("iteration ") for line in process.stdout)  # or the output ends
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code
    first, second = errors.splitlines()
    assert re.fullmatch(r"Stopped at iteration [\d,]+ of 100,000,000: accuracy 0.\d{4}, loss \d.\d{4}\.", first)
    assert second == "Nothing was kept; with --out RUN the run could go on from here."


@pytest.mark.host
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("module", ["typer", "gpunet.cli.train", "gpunet.runs.settings"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_it_starts(module, number, code):
    script = f"""if True:
        import os, signal, sys

        class Interruption:  # comes when the module is looked for
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), {int(number)})

        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.meta_path.insert(0, Interruption())
        sys.argv = ["gpunet", "train"]
        from gpunet.__main__ import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert (done.returncode, done.stderr) == (code, "Stopped.\n")
    assert done.stdout == ""


@pytest.mark.host
@pytest.mark.parametrize(("ended", "code", "words"), [
    (gn.UsageError("so not."), 2, "Error: so not.\n"),
    (gn.DataError("so not."), 1, "Error: so not.\n"),
    (BrokenPipeError(), 1, ""),
    (MemoryError(), 1, "Error: not enough memory: an array does not fit"),
    (OSError(28, "No space left on device", "a"), 1, "Error: a cannot be used (No space left on device)"),
    (ValueError("one"), 1, "Error: unexpected ValueError: one - this is a fault in gpunet"),
    (KeyboardInterrupt(), 130, "Stopped.\n"),
    (errors.Terminated(), 143, "Stopped.\n"),
], ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else "")  # fmt: skip
def test_what_ends_a_command_has_its_code_and_sentence(ended, code, words, capsys):
    def command() -> None:
        raise ended

    assert errors.run(command) == code
    assert capsys.readouterr().err[: len(words) or None] == words


@pytest.mark.host
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_outputs_that_are_closed(tmp_path):
    def closed(arguments: str, redirection: str) -> subprocess.CompletedProcess[str]:
        command = f'"{sys.executable}" -m gpunet {arguments} {redirection}'
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, timeout=600)

    check(closed("--version", ">&-"), 1, "standard output is closed")
    assert closed("--version", "2>&-").stdout == f"gpunet {gn.__version__}\n"
    refused = closed("train --lr nan", "2>&-")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert closed("--version", ">&- 2>&- <&-").returncode == 1


@pytest.mark.host
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
@pytest.mark.parametrize("options", ["", "--json"])
def test_a_closed_pipe_ends_the_run_in_silence(options):
    command = f'"{sys.executable}" -m gpunet {" ".join(ENDLESS)} {options} | head -n 1'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.host
def test_an_output_that_is_full():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpunet", "train", "--iterations", "200", "--device", "cpu"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            timeout=600,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.host
@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict", "cp1252"])
def test_any_text_can_be_written_to_any_stream(tmp_path, encoding):
    folder = tmp_path / os.fsdecode(b"na\xffme")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    grid = ["--hidden", "5", "--lr", "0.1", "--seeds", "2", "--iterations", "20", "--device", "cpu"]
    done = gpunet("sweep", *grid, "--jobs", "1", "-q", code=0, PYTHONIOENCODING=encoding)
    assert ("?" if encoding == "ascii" else "±") in done.stdout
    done = gpunet("evaluate", folder, code=1, PYTHONIOENCODING=encoding)
    assert "unexpected" not in done.stderr
    assert done.stderr.startswith("Error: ")

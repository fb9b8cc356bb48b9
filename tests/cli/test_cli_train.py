from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import command_line
import pytest
import typer
from command_line import environment

pytestmark = pytest.mark.host

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: `gpunet` with any end.
gpunet = functools.partial(command_line.gpunet, code=None)
SHORT = ("train", "--iterations", "300", "--device", "cpu")
#: Long enough for the bar to show its figures, on a quick machine too.
LONG = ("train", "--hidden", "800,400", "--iterations", "300", "--device", "cpu")


def in_terminal(*arguments: str, columns: int = 80, **changes: str) -> str:
    """Everything that a command writes to a terminal of so many columns, escape sequences included."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are a POSIX thing")
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "gpunet", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment(TERM="xterm-256color", **changes),
    )
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65536):
            output += chunk
    except OSError:  # Linux reports the other side's end as an input/output error
        pass
    os.close(leader)
    assert process.wait(timeout=600) == 0
    return output.decode()


def test_a_bare_train_trains_the_write_up_network_above_090():
    done = gpunet("train", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "784-50-30-10 relu, 41,090 parameters" in done.stdout
    assert "iteration  100  accuracy " in done.stdout
    assert "iteration 5000  accuracy " in done.stdout
    header, accuracies = done.stdout.split("\n\n")[2].splitlines()[:2]
    row = dict(zip(header.split(), accuracies.split()[1:], strict=True))
    assert 0.90 < float(row["test"]) < float(row["train"])
    assert float(row["gap"]) == pytest.approx(float(row["train"]) - float(row["test"]), abs=1.01e-4)
    assert "steps per second" in done.stdout.splitlines()[-1]


def test_in_a_pipe_lines_are_plain():
    done = gpunet(*SHORT)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert done.stdout.isascii()


def in_process(*arguments: str) -> None:
    from gpunet.cli.app import app

    typer.main.get_command(app).main(list(arguments), prog_name="gpunet", standalone_mode=False)


def test_the_header_says_how_it_is_trained_before_the_network_is_made(monkeypatch, capsys):
    from gpunet.cli import train

    def build_model(*rest: object) -> None:
        raise RuntimeError("made")

    monkeypatch.setattr(train, "build_model", build_model)
    with pytest.raises(RuntimeError, match="made"):
        in_process("train", "--hidden", "300,20", "--activation", "tanh,relu", "--optimizer", "adam", "--lr", "0.002",
                   "--schedule", "cosine:warmup=5", "--batch-size", "50", "--epochs", "2.5", "--seed", "4", "--l2",
                   "0.001", "--dropout", "0.1,0.2", "--device", "cpu")  # fmt: skip
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows == {
        "data": "mnist-5k: 4,000 train, 1,000 test",
        "network": "784-300-20-10 tanh, relu, 241,730 parameters, softmax-cross-entropy",
        "training": "adam, learning rate 0.002, schedule cosine:warmup=5, seed 4",
        "length": "200 iterations of 50 examples, 2.5 epochs",
        "recipe": "write-up: what was not asked for is as the help says",
        "regularised": "dropout 0.1,0.2, l2 0.001",
        "device": "cpu: asked for",
    }


def test_a_dry_run_says_memory_and_time_and_leaves_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    in_process("train", "--iterations", "1000000", "--device", "cpu", "--dry-run", "--out", str(out))
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line)
    # 4,000 pictures in bytes, their labels and order; parameters and gradients
    assert re.fullmatch(r"about 3\.\d MiB", rows["memory"])
    assert re.fullmatch(r"about [\d:]+, without evaluations", rows["time"])
    assert not out.exists()
    in_process("train", "--iterations", "3", "--device", "cpu", "--dry-run", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["event"] == "estimate"
    assert told["train_seconds"] == pytest.approx(3 * told["seconds_per_step"])
    assert told["memory_bytes"] > 784 * 4000


def test_a_run_begins_with_the_weights_of_another(tmp_path, capsys):
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    common = ("--device", "cpu", "--optimizer", "adam", "--iterations", "40", "--data", "mnist-5k")
    in_process("train", *common, "--hidden", "12", "--activation", "tanh", "--out", first, "-q")
    capsys.readouterr()
    in_process("train", *common, "--init-from", first, "--lr", "0.0001", "--out", second)
    text = capsys.readouterr().out
    assert "784-12-10 tanh" in text
    assert f"begins with  all 2 layers of {first} and its optimizer, after 40 updates\n" in text
    in_process("train", *common, "--init-from", first, "--classes", "3,8", "--iterations", "5")
    assert f"begins with  the first 1 of 2 layers of {first}\n" in capsys.readouterr().out
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["settings"]["init_from"] == first


def test_json_lines():
    done = gpunet(*SHORT, "--json", "--validation", "400")
    assert done.returncode == 0
    assert done.stderr == ""
    records = [json.loads(line) for line in done.stdout.splitlines()]
    steps, result = records[:-1], records[-1]
    assert {record["event"] for record in steps} == {"step"}
    assert [step["iteration"] for step in steps if step["iteration"] % 100 == 0] == [100, 200, 300]
    assert all(0 <= step["accuracy"] <= 1 and step["loss"] > 0 for step in steps)
    assert result["event"] == "result"
    assert result["device"] == "cpu"
    assert result["iterations"] == 300
    assert result["train_seconds"] > 0
    assert result["steps_per_second"] > 0
    for split in ("train", "validation", "test"):
        assert 0.5 < result[f"{split}_accuracy"] <= 1
    assert result["test_loss"] > 0


def test_same_seed_same_run_other_seed_another():
    def losses(seed: str) -> list[float]:
        return [json.loads(line)["loss"] for line in gpunet(*SHORT, "--json", "--seed", seed).stdout.splitlines()[:-1]]

    first = losses("5")
    assert first == losses("5")
    assert first != losses("6")


def test_quiet_says_the_result_and_no_more():
    done = gpunet(*SHORT, "--quiet")
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("test accuracy 0.")


def test_options_reach_the_run():
    done = gpunet("train", "--hidden", "20", "--activation", "tanh", "--optimizer", "adam", "--batch-size", "all",
                  "--iterations", "4", "--log-every", "2", "--dropout", "0.1", "--l2", "0.001", "--classes", "3,8",
                  "--validation", "0.25", "--device", "cpu")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "600 train, 200 validation, 200 test" in done.stdout
    assert "784-20-2 tanh" in done.stdout
    assert "iteration 2" in done.stdout


def test_logistic_regression_on_two_digits():
    done = gpunet("train", "--hidden", "none", "--classes", "0,1", "--loss", "binary-cross-entropy",
                  "--iterations", "200", "--json", "--device", "cpu")  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["test_accuracy"] > 0.97


def test_config_file_with_the_command_line_on_top(tmp_path: Path):
    config = tmp_path / "settings.toml"
    config.write_text('hidden = [12]\nepochs = 1\nseed = 3\ndevice = "cpu"\n')
    done = gpunet("train", "--config", str(config), "--hidden", "9", "--iterations", "50", "--log-every", "50")
    assert done.returncode == 0, done.stderr
    assert "784-9-10 relu" in done.stdout
    assert "50 iterations in" in done.stdout


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_on_a_terminal_a_bar_is_drawn_within_the_width(columns: int):
    text = in_terminal(*LONG, "--validation", "400", columns=columns)
    assert "steps/s" in text or columns == 40
    assert "\x1b[36m" in text
    for line in ESCAPE.sub("", text.replace("\r", "\n")).split("\n"):
        assert len(line) <= columns, line


def test_no_color_on_a_terminal():
    text = in_terminal(*LONG, NO_COLOR="1")
    assert "steps/s" in text
    assert not re.search(r"\x1b\[(?:\d+;)*[349]\d(?:;\d+)*m", text)


def test_quiet_draws_nothing_on_a_terminal():
    text = in_terminal(*SHORT, "--quiet")
    assert text.startswith("test accuracy")
    assert text.rstrip().endswith("steps per second")
    assert "\x1b" not in text


def test_force_color_in_a_pipe_colours_and_moves_no_cursor():
    done = gpunet(*SHORT, FORCE_COLOR="1")
    assert "\x1b[36m" in done.stdout
    assert all(sequence.endswith("m") for sequence in ESCAPE.findall(done.stdout + done.stderr))


def test_help_says_every_setting_and_is_plain_in_a_pipe():
    from gpunet.runs.settings import FIELDS, option

    text = gpunet("train", "--help", COLUMNS="80").stdout
    assert text.isascii()
    assert "Examples:\n    gpunet train\n" in text
    for name in FIELDS:
        assert f"  {option(name)} " in text


@pytest.mark.parametrize("columns", [60, 80])
def test_help_in_a_terminal_leaves_half_of_it_to_the_text(columns: int, monkeypatch, capsys):
    from gpunet.cli import display
    from gpunet.cli.app import COMMANDS, app

    monkeypatch.setattr(display, "is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    for page in ([], *([name] for name in COMMANDS), *(["data", name] for name in ("list", "get", "info", "verify"))):
        with contextlib.suppress(SystemExit):
            typer.main.get_command(app).main([*page, "--help"], prog_name="gpunet", standalone_mode=False)
        text = capsys.readouterr().out
        lines = text.splitlines()
        assert max(map(len, lines)) <= columns
        assert "…" not in text
        boxes = [line for line in lines if line.startswith("│")]
        assert boxes
        # The text of an option begins where the longest gap of its line ends.
        starts = [match.end() for line in boxes if (match := re.match(r"│( \*)? +-+[\w,-]+.* {2,}(?=[A-Z])", line))]
        assert max(starts, default=0) <= columns // 2 + 1, page
        if columns == 80:  # an example is one line that can be copied
            head = text.partition("╭")[0]
            told = head.partition("Examples:\n")[2].splitlines()
            assert all(re.match(r" *(gpunet |$)", line) for line in told), page


def test_help_of_the_program_lists_commands_and_imports_none():
    script = (
        "import sys\nsys.argv = ['gpunet', '--help']\nfrom gpunet.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print('loaded', *sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), timeout=600
    )
    assert done.returncode == 0, done.stderr
    text, loaded = done.stdout.split("\nloaded ")
    assert "  train" in text
    unwanted = {"numpy", "cupy", "matplotlib", "rich.console", "rich.progress", "gpunet.cli.train", "joblib", "PIL"}
    assert not unwanted & set(loaded.split())


def test_training_imports_nothing_that_only_other_ways_to_train_need():
    unwanted = (
        "IPython PIL concurrent.futures cupy dask distributed importlib.metadata joblib matplotlib mpi4py onnx optuna "
        "pandas pyarrow pydantic ray rich.progress scipy sklearn socket tensorboard tomllib torch uniplot "
        "urllib.request"
    )
    script = (
        "import sys\nsys.argv = 'gpunet train --device cpu --iterations 2 --optimizer adam:beta1=0.8'.split()\n"
        "from gpunet.__main__ import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded', *sorted(set({unwanted.split()}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"


def test_commands_in_the_table_are_modules_with_a_command():
    from gpunet.cli.app import COMMANDS, load_command

    folder = Path(__import__("gpunet.cli").cli.__file__).parent
    for name in COMMANDS:
        if (folder / f"{name}.py").exists():
            assert load_command(name).name == name


def test_version_and_bare_call():
    assert re.fullmatch(r"gpunet \d+\.\d+\.\d+\S*\n", gpunet("--version").stdout)
    bare = gpunet()
    assert bare.returncode == 0
    assert bare.stdout.startswith("Usage: gpunet")


def test_completion_of_commands_options_and_values():
    def complete(words: str) -> str:
        count = len(words.split()) - (0 if words.endswith(" ") else 1)
        return gpunet(_GPUNET_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count)).stdout

    assert "train" in complete("gpunet tr").split()
    assert "--batch-size" in complete("gpunet train --batch").split()
    assert "adam" in complete("gpunet train --optimizer ad").split()


def test_lines_come_as_the_run_goes():
    process = subprocess.Popen(
        [sys.executable, "-m", "gpunet", "train", "--iterations", "100000000", "--json", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["iteration"] == 100
        assert json.loads(process.stdout.readline())["iteration"] == 200  # and not all at the end
    finally:
        process.kill()
        process.communicate()

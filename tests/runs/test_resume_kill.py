"""A run that is killed or stopped at any moment and resumed ends bitwise as one that was not, records included."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import command_line
import numpy as np
import pytest

import gpunet as gn
from gpunet.runs.folder import Recorder

host = pytest.mark.host

#: What two runs that are the same have to have in common, byte for byte.
SAME = ("metrics.jsonl", "model.safetensors", "best.safetensors")
KILLS = 20
#: Seconds that no run takes, on the busiest machine.
TIMEOUT = 600
OPTIONS = (
    "--device", "cpu", "--hidden", "8", "--iterations", "700", "--batch-size", "40", "--validation", "300",
    "--validate-every", "60", "--log-every", "25", "--optimizer", "adam", "--dropout", "0.1", "--early-stopping", "40",
    "--checkpoint-every", "20", "--quiet",
)  # fmt: skip
TABLE = (
    "--hidden", "8", "--log-every", "25", "--early-stopping", "400", "--checkpoint-every", "20",
    "--quiet",
)  # fmt: skip

#: The command line with a signal to itself, sent when the record of iteration 125 is written.
ITSELF = """
import os, sys
from gpunet.__main__ import main
from gpunet.runs.folder import Recorder
number, write = int(sys.argv.pop(1)), Recorder.on_record
def on_record(self, record, trainer):
    write(self, record, trainer)
    if trainer.iteration == 125:
        print(self.folder.checkpoint.exists(), flush=True)
        os.kill(os.getpid(), number)
Recorder.on_record = on_record
main()
"""


def start(*arguments: str, signalled: int | None = None, **options) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    program = ["-m", "gpunet"] if signalled is None else ["-c", ITSELF, str(signalled)]
    return subprocess.Popen(
        [sys.executable, *program, "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def run(*arguments: str, code: int = 0) -> str:
    process = start(*arguments)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, error
    return out + error


def assert_same(run_folder: Path, plain: Path) -> None:
    for name in SAME:
        assert (run_folder / name).read_bytes() == (plain / name).read_bytes(), name
    leftovers = [path.name for path in run_folder.iterdir() if path.name.endswith(".tmp")]
    assert not leftovers


def stamp(folder: Path) -> int:
    """Tells one checkpoint from the next; 0 while there is none."""
    try:
        return (folder / "checkpoint.safetensors").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def uninterrupted(folder: Path, options: Sequence[str]) -> tuple[Path, float, float]:
    """A run that is not killed, and when its config.json was there and when it had ended, in seconds from the start."""
    began = time.monotonic()
    process = start(*options, "--out", str(folder))
    while not (folder / "config.json").exists() and process.poll() is None:
        time.sleep(0.005)
    first = time.monotonic() - began
    _, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    return folder, first, time.monotonic() - began


def kill_and_resume(
    plain: tuple[Path, float, float],
    place: Path,
    options: Sequence[str],
    wanted: int,
    while_it_trains: Callable[[int, bool], bool],
) -> None:
    """Each kill hits a run at another moment; what is left is resumed, and killed again, until it ends.

    Args:
        plain: of `uninterrupted`.
        place: the folder for the runs.
        options: of a run.
        wanted: how many kills.
        while_it_trains: whether to wait for a checkpoint first, by the number of kills so far and by whether the run
            has begun; else the kill comes while the process starts.
    """
    reference, first, whole = plain
    moments = random.Random(20170516)
    kills = runs = in_the_middle = 0
    while kills < wanted:
        folder = place / f"run{runs}"
        runs += 1
        while True:
            ready = (folder / "config.json").exists()
            arguments = ["--resume", str(folder), "--quiet"] if ready else [*options, "--out", str(folder)]
            process = start(*arguments)
            if kills < wanted:
                trains = while_it_trains(kills, ready)
                if trains:
                    before = stamp(folder)
                    while stamp(folder) == before and process.poll() is None:
                        time.sleep(0.002)
                process_time = moments.uniform(0, 0.6 * (whole - first) if trains else first)
                try:
                    process.wait(process_time)
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
            _, error = process.communicate(timeout=TIMEOUT)
            in_the_middle += process.returncode == -signal.SIGKILL and (folder / "checkpoint.safetensors").exists()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, error
        assert_same(folder, reference)
    assert kills == wanted
    assert in_the_middle  # at least one kill has to have hit a run with a checkpoint


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[Path, float, float]:
    return uninterrupted(tmp_path_factory.mktemp("plain") / "run", OPTIONS)


@host
def test_killed_at_twenty_random_moments(tmp_path, plain):
    # Now while it trains, and now while it starts, however long its start takes.
    kill_and_resume(plain, tmp_path, OPTIONS, KILLS, lambda kills, ready: kills % 2 == 0)


def test_a_table_killed_while_its_encoding_is_tried_and_while_it_trains(backend: gn.Backend, tmp_path: Path) -> None:
    """A regression with the recipe for tables, whose start is the trials of encodings."""
    pytest.importorskip("pyarrow")
    rows = np.random.default_rng(0).standard_normal((60, 3))
    path = tmp_path / "a.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "target"], *rows.tolist()])
    wanted, length = (6, "400") if backend.device == "cpu" else (2, "100")  # an emulated device is slow
    options = ("--data", str(path), "--device", backend.device, "--iterations", length, *TABLE)
    whole = uninterrupted(tmp_path / "plain", options)
    kill_and_resume(whole, tmp_path, options, wanted, lambda kills, ready: ready or kills >= wanted // 2)


@host
@pytest.mark.skipif(os.name == "nt", reason="signals are a POSIX thing")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_and_resumed(tmp_path, plain, number, code):
    folder = tmp_path / "run"
    # Without --checkpoint-every the only checkpoint is the one that the signal asks for.
    plainly = [each for each in OPTIONS if each not in ("--checkpoint-every", "20")]
    process = start(*plainly, "--out", str(folder), signalled=int(number))
    out, error = process.communicate(timeout=TIMEOUT)
    assert out == "False\n"  # no checkpoint was there before the signal
    assert process.returncode == code
    assert "Traceback" not in error
    assert error.startswith("Stopped at iteration ")
    assert f"go on with: gpunet train --resume {folder}" in error
    assert (folder / "checkpoint.safetensors").exists()
    run("--resume", str(folder), "--quiet")
    assert_same(folder, plain[0])


@host
@pytest.mark.skipif(os.name == "nt", reason="signals are a POSIX thing")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_waits_for_nothing(tmp_path, monkeypatch, number, code):
    folder, went_on = tmp_path / "run", []

    def twice(self, record, trainer):
        os.kill(os.getpid(), number)
        went_on.append("the first")
        os.kill(os.getpid(), number)
        went_on.append("the second")

    monkeypatch.setattr(Recorder, "on_record", twice)
    told = command_line.gpunet("train", *OPTIONS, "--checkpoint-every", "700", "--out", folder, code=code).stderr
    assert told.startswith("Stopped at iteration 25 of 700.\n")
    assert went_on == ["the first"]
    assert not (folder / "checkpoint.safetensors").exists()


@host
def test_a_run_is_written_by_one_process_at_a_time(tmp_path):
    folder = tmp_path / "run"
    endless = [each if each != "700" else "10000000" for each in OPTIONS]
    endless[endless.index("40", endless.index("--early-stopping"))] = "1000000"
    process = start(*endless, "--out", str(folder))
    try:
        while not (folder / "metrics.jsonl").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        assert "another process is writing this run" in run("--resume", str(folder), code=1)
        assert "another process is writing this run" in run(*OPTIONS, "--out", str(folder), "--force", code=1)
    finally:
        process.kill()
        process.communicate()


@host
def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tmp_path, plain):
    folder = tmp_path / "run"
    process = start(*OPTIONS, "--out", str(folder), "--keep", "3", signalled=int(signal.SIGKILL))
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGKILL
    assert len(list(folder.glob("checkpoint*.safetensors"))) == 3
    newest = folder / "checkpoint.safetensors"
    newest.write_bytes((newest.read_bytes() if newest.exists() else b"")[:1000])
    said = run("--resume", str(folder))
    assert "goes on from an older checkpoint" in said
    assert_same(folder, plain[0])
    assert len(list(folder.glob("checkpoint*.safetensors"))) == 3
    assert (folder / "checkpoint.safetensors.damaged").exists()

"""`gpunet sweep` as users run it: a subprocess, its table, JSON lines, files, and Ctrl-C."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import command_line
import pytest
import typer

from gpunet.cli import display
from gpunet.cli.app import app

pytestmark = pytest.mark.host

#: `gpunet sweep` with any end.
gpunet = functools.partial(command_line.gpunet, "sweep", code=None)
SMALL = ["--hidden", "5", "--iterations", "20", "--device", "cpu"]


def test_a_sweep_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    grid = [*SMALL, "--lr", "0.001,0.3", "--seeds", "2", "--out", str(out)]
    first = command_line.process("sweep", *grid, "--csv", tmp_path / "all.csv", "--jobs", "2")
    assert first.returncode == 0, first.stderr
    assert "\x1b" not in first.stdout + first.stderr
    assert first.stderr == ""
    assert first.stdout.count("seed 1  train") == 2
    assert "* 0.3" in first.stdout
    assert "chosen by validation accuracy: lr 0.3" in first.stdout
    assert "test accuracy of the choice" in first.stdout
    with (tmp_path / "all.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["lr"] for row in rows] == ["0.001", "0.001", "0.3", "0.3"]
    assert [row["test_accuracy"] != "" for row in rows] == [False, False, True, True]
    assert (out / "results.csv").read_text() == (tmp_path / "all.csv").read_text()
    choice = json.loads((out / "choice.json").read_text())
    assert choice["settings"]["lr"] == 0.3
    assert "test_" not in json.dumps(choice)

    pytest.importorskip("matplotlib")
    again = gpunet(*grid, "--report-test", "--json", "--plot", str(tmp_path / "lr.png"))
    assert again.returncode == 0, again.stderr
    records = [json.loads(line) for line in again.stdout.splitlines()]
    assert [record["event"] for record in records] == ["test"] * 4 + ["choice"]  # no trial was run again
    assert records[-1]["varied"] == {"lr": "0.3"}
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert gpunet(*grid, "-q", "--plot", tmp_path / "lr.html").returncode == 0
    page = (tmp_path / "lr.html").read_text(encoding="utf-8")
    assert "4 runs on mnist-5k. Best on validation data: lr 0.3." in page
    assert "<dt>hidden</dt><dd>5</dd>" in page
    assert "<dt>lr</dt>" not in page
    assert page.count('<th scope="row">lr 0.') == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--lr", "0.1,zero"], "--lr zero"),
        (["--hidden", "5;;6"], "a value is missing"),
        (["--lr", "0.1..1"], "--search random"),
        (["--seed", "1,2", "--seeds", "2"], "give one of them"),
        (["--seeds", "0"], "--seeds"),
        (["--jobs", "0"], "--jobs"),
        (["--together", "many"], "--together many"),
        (["--together", "2", "--jobs", "2"], "give one of them"),
        (["--plot", "picture.doc"], "picture.doc"),
        (["--validation", "none"], "--validation none"),
        (["--batch-size", "100,99999"], "99999"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments: list[str], sentence: str) -> None:
    found = gpunet("--iterations", "20", "--device", "cpu", *arguments)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("Error: ")
    assert sentence in found.stderr
    assert found.stderr.count("\n") == 1


def test_networks_side_by_side_in_one_process() -> None:
    run = gpunet(*SMALL, "--lr", "0.1,0.3", "--together", "2")
    assert run.returncode == 0, run.stderr
    assert "2 side by side" in run.stdout
    assert "test accuracy of the choice" in run.stdout


def test_the_help_shows_examples() -> None:
    found = gpunet("--help")
    assert found.returncode == 0
    assert 'gpunet sweep --hidden "10;50;50,30;200,100"' in found.stdout
    assert all(option in found.stdout for option in ("--seeds", "--random", "--jobs", "--report-test", "--dropout"))


def test_random_draws_and_several_seeds_by_name() -> None:
    found = gpunet(*SMALL, "--lr", "0.01..1", "--random", "2", "--seed", "5,9", "--jobs", "1", "--json")
    assert found.returncode == 0, found.stderr
    trials = [json.loads(line) for line in found.stdout.splitlines()]
    trials = [record for record in trials if record["event"] == "trial"]
    assert [trial["seed"] for trial in trials] == [5, 9, 5, 9]
    assert len({trial["varied"]["lr"] for trial in trials}) == 2


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process group")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_leaves_a_sweep_that_goes_on(tmp_path: Path, jobs: str) -> None:
    out = tmp_path / "sweep"
    # The last run would take minutes.
    arguments = ["--hidden", "5", "--device", "cpu", "--out", str(out), "--jobs", jobs]
    arguments += ["--iterations", "20,21,2000000,2000001"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gpunet", "sweep", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    results = out / "results.jsonl"
    try:
        for _ in range(6000):
            assert process.poll() is None, process.communicate()
            if results.exists() and results.read_text().count("\n") == 2:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=600)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too, which would train for minutes
    assert process.returncode == 130
    assert error.startswith("Stopped after 2 of 4 runs.\nThe same command goes on")
    assert "Traceback" not in error
    arguments[-1] = "20,21"
    again = gpunet(*arguments)
    assert again.returncode == 0, again.stderr
    assert "2 done before" in again.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="process groups of POSIX")
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Whoever is killed can end nobody, so its workers and their trackers have to see to it."""
    out = tmp_path / "sweep"
    arguments = ["--hidden", "5", "--device", "cpu", "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gpunet", "sweep", *arguments, "--iterations", "20,21,2000000,2000001"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    results = out / "results.jsonl"
    try:
        for _ in range(6000):
            assert process.poll() is None
            if results.exists() and results.read_text().count("\n") == 2:
                break
            time.sleep(0.1)
        time.sleep(1)  # until the workers have their next trials
        process.kill()
        process.wait()
        for _ in range(3000):
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
        pytest.fail("processes of the sweep are still there five minutes after it was killed")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_failed_runs_do_not_count_among_the_runs() -> None:
    found = gpunet(*SMALL, "--lr", "0.1,1e30", "--seeds", "2", "--jobs", "1", "-q")
    assert found.returncode == 0, found.stderr
    assert re.findall(r"\d/2", found.stdout) == ["2/2", "0/2"]


@pytest.mark.parametrize("option", ["--csv", "--plot"])
def test_a_place_that_cannot_be_written_to_is_said_before_the_runs(tmp_path: Path, option: str) -> None:
    if option == "--plot":
        pytest.importorskip("matplotlib", reason="the extra gpunet[plot] is not installed")
    found = gpunet(*SMALL, "--lr", "0.1,0.2", option, str(tmp_path / "nowhere" / "a.png"), "--jobs", "1", "--json")
    assert found.returncode == 2
    assert found.stdout == ""
    assert "there is no folder" in found.stderr


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_nothing_is_cut_in_a_narrow_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(display, "is_terminal", lambda stream: True)
    display.console.cache_clear()
    names = ["adam:beta1=0.8,beta2=0.99", "momentum"]
    grid = [*SMALL, "--optimizer", ";".join(names), "--seeds", "2", "--jobs", "1", "-q"]
    typer.main.get_command(app).main(["sweep", *grid], prog_name="gpunet", standalone_mode=False)
    display.console.cache_clear()
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert all(name in shown for name in names) or columns == 30
    assert shown.count("±") >= 4
    table = shown.partition("\n\nchosen")[0]
    assert max(map(len, table.splitlines())) <= columns

"""Search by Optuna: the same trials for the same seed, none lost or repeated, and those that fall behind stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import command_line
import numpy as np
import pytest

import gpunet as gn
from gpunet.sweeps import running, search
from gpunet.sweeps.sweep import Sweep

optuna = pytest.importorskip("optuna")

pytestmark = pytest.mark.host

SMALL = {"hidden": "4", "iterations": 60, "batch_size": 20, "log_every": 60, "validate_every": 3, "device": "cpu"}
GRID = {"lr": "0.0001..1", "activation": "relu,tanh", "hidden": [[4], [3, 3]], "batch_size": "5..40"}


def told(results: Any) -> list[Any]:
    """Results without what a clock measured."""
    return [{**result.as_dict(), "train_seconds": 0} for result in results]


def states(plan: Sweep) -> list[str]:
    """How Optuna's trials stand."""
    assert plan.search is not None
    return [trial.state.name for trial in search.study_of(plan.search.place).trials]


@pytest.fixture(scope="module")
def twelve(data: gn.Dataset) -> list[Any]:
    """Twelve trials, one after the other."""
    return told(Sweep(SMALL, GRID, search="optuna", trials=12, data=data).run())


def test_the_same_seed_tries_the_same(data: gn.Dataset, twelve: list[Any]) -> None:
    plan = Sweep(SMALL, GRID, search="optuna", trials=12, data=data)
    assert told(plan.run()) == twelve
    assert len({result["key"] for result in twelve}) == 12
    assert {result["varied"]["hidden"] for result in twelve} == {"4", "3,3"}
    assert all(result["varied"]["batch_size"].isdecimal() for result in twelve)
    other = Sweep({**SMALL, "seed": 1}, GRID, search="optuna", trials=3, data=data)
    assert [each["varied"] for each in told(other.run())] != [each["varied"] for each in twelve[:3]]
    first, second = (told(Sweep(SMALL, GRID, search="optuna", trials=6, data=data).run(together=3)) for _ in range(2))
    assert first == second


def test_runs_that_fall_behind_are_stopped(data: gn.Dataset, twelve: list[Any]) -> None:
    plan = Sweep(SMALL, GRID, search="optuna", trials=12, data=data)
    results = list(plan.run())
    stopped = [result for result in results if result.pruned]
    assert stopped
    assert all(result.iterations is not None and result.iterations < 60 for result in stopped)
    assert states(plan) == ["PRUNED" if result.pruned else "COMPLETE" for result in results]
    models = {path.stem for path in (plan.folder / "models").iterdir()}
    assert models == {result.key for result in results if not result.pruned}
    best = max((r for r in results if not r.pruned), key=lambda r: (r.validation_accuracy, -r.validation_loss))
    assert plan.choose().varied == best.varied
    assert len(plan.measure(plan.rows())) == 12 - len(stopped)
    assert plan.csv().splitlines()[0].split(",")[-2] == "pruned"
    values = [trial.value for trial in search.study_of(plan.search.place).trials if trial.state.name == "COMPLETE"]
    assert values == [result.validation_accuracy for result in results if not result.pruned]
    # Who asks for a run without a search wants the whole of it.
    left = [len(Sweep(trial.settings, data=data, out=plan.folder).missing) for trial in plan.trials]
    assert left == [int(bool(result.pruned)) for result in results]


def test_a_look_is_reported_once(data: gn.Dataset) -> None:
    reports: list[tuple[float, int]] = []
    handle = SimpleNamespace(report=lambda value, look: reports.append((value, look)), should_prune=lambda: False)
    reporter = search.Reporter(search.Place("", "", "median", False), 0, None, _handle=handle)
    model = gn.MLP([4, 4, 2], seed=0)
    result = gn.train(
        model, data.hold_out(50), iterations=60, batch_size=20, log_every=60, validate_every=1, callbacks=[reporter]
    )
    losses = {record.iteration: record.validation_loss for record in result.history}
    assert reports == [(losses[3 * look], look) for look in range(1, search.LOOKS)]  # the end is not looked at


def test_left_at_any_result_and_taken_up(data: gn.Dataset, twelve: list[Any], tmp_path: Path) -> None:
    found: list[Any] = []
    for count in (1, 4, 2, 12):
        plan = Sweep(SMALL, GRID, search="optuna", trials=12, data=data, out=tmp_path)
        assert 12 - plan.left == len(found)
        run = plan.run()
        found += told(result for _, result in zip(range(count), run, strict=False))
        run.close()
    assert found == twelve
    assert not list(Sweep(SMALL, GRID, search="optuna", trials=12, data=data, out=tmp_path).run())
    more = list(Sweep(SMALL, GRID, search="optuna", trials=14, data=data, out=tmp_path).run())
    assert len(more) == 2


def test_a_trial_that_was_asked_for_is_not_lost(
    data: gn.Dataset, twelve: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, left = running.made, iter([True] * 7)

    def ended(*rest: Any) -> Any:
        if next(left, False):
            return made(*rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "made", ended)
    plan = Sweep(SMALL, GRID, search="optuna", trials=12, data=data, out=tmp_path)
    found: list[Any] = []

    def go_on() -> None:
        for result in plan.run():
            found.extend(told([result]))

    with pytest.raises(KeyboardInterrupt):
        go_on()
    assert states(plan) == [*("PRUNED" if each.get("pruned") else "COMPLETE" for each in found), "RUNNING"]
    monkeypatch.setattr(running, "made", made)
    again = Sweep(SMALL, GRID, search="optuna", trials=12, data=data, out=tmp_path)
    assert [*found, *told(again.run())] == twelve


def test_what_was_tried_is_not_tried_again(data: gn.Dataset) -> None:
    plan = Sweep(SMALL, {"activation": "relu,tanh"}, search="optuna", trials=7, data=data)
    results = list(plan.run())
    assert len(results) == 2
    assert states(plan) == ["COMPLETE"] * 7
    assert plan.left == 0


def test_a_run_that_diverges_has_failed(data: gn.Dataset) -> None:
    changed = {**SMALL, "activation": "identity"}
    plan = Sweep(changed, {"lr": "0.1,1e30"}, search="optuna", trials=6, data=data)
    list(plan.run())
    assert set(states(plan)) == {"COMPLETE", "FAIL"}
    assert plan.choose().varied == {"lr": "0.1"}


def test_an_error_is_made_less(rng: np.random.Generator) -> None:
    x = rng.standard_normal((90, 3)).astype(np.float32)
    values = gn.Dataset.from_arrays(x, x[:, 0] * 3, task="regression")
    for metric, judged, direction in ((None, "validation_r2", "MAXIMIZE"), ("rmse", "validation_rmse", "MINIMIZE")):
        plan = Sweep({**SMALL, "metric": metric}, {"lr": "0.001..0.1"}, search="optuna", trials=2, data=values)
        list(plan.run())
        assert plan.judged == judged
        assert search.study_of(plan.search.place).direction.name == direction  # type: ignore[union-attr]


@pytest.mark.parametrize("pruner", ["halving", "hyperband", "none"])
def test_every_pruner_of_the_table(data: gn.Dataset, pruner: str) -> None:
    plan = Sweep(SMALL, GRID, search="optuna", trials=7, pruner=pruner, data=data)
    stopped = [result.pruned for result in plan.run()]
    assert len(stopped) == 7
    assert any(stopped) == (pruner != "none")


@pytest.mark.parametrize(
    ("grid", "options", "sentence"),
    [
        (GRID, {"seeds": 2}, "one seed"),
        ({"lr": "0.1"}, {}, "nothing to search"),
        ({"lr": "0.1,zero"}, {}, "--lr"),
        (GRID, {"pruner": "axe"}, "no pruner 'axe'; take median"),
        (GRID, {"trials": None}, "needs a number of trials"),
        (GRID, {"trials": 0}, "at least 1"),
        (GRID, {"search": "bayes"}, "there is no search 'bayes'"),
        (GRID, {"random": 3}, "leave out search and trials"),
        ({"lr": "0.1,0.2"}, {"search": "grid"}, "tried as a whole"),
    ],
)
def test_what_cannot_be_searched_is_said(data: gn.Dataset, grid: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=sentence):
        Sweep(SMALL, grid, data=data, **{"search": "optuna", "trials": 3, **options})


def test_a_missing_package_is_said(data: gn.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        gn.GpunetError, match=r'needs the package optuna; install it with: pip install "gpunet\[optuna\]"'
    ):
        Sweep(SMALL, GRID, search="optuna", trials=3, data=data)


def test_random_draws_are_a_search_too(data: gn.Dataset) -> None:
    pair = [Sweep(SMALL, GRID, data=data, **how) for how in ({"random": 5}, {"search": "random", "trials": 5})]  # type: ignore[arg-type]
    assert [trial.key for trial in pair[0].trials] == [trial.key for trial in pair[1].trials]


COMMAND = (
    "sweep", "--device", "cpu", "--iterations", "60", "--hidden", "5", "--validate-every", "3", "--lr", "0.001..1",
    "--activation", "relu,tanh", "--search", "optuna",
)  # fmt: skip

#: The command line, killed when the second result has been written.
KILLED = """
import os, signal
from gpunet.__main__ import main
from gpunet.cli.sweep import Board
shown = []
def add(self, result):
    shown.append(result)
    if len(shown) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Board.add = add
if __name__ == "__main__":
    main()
"""


def test_killed_with_processes_and_resumed(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    words = [*COMMAND, "--trials", "6", "--jobs", "2", "--out", str(tmp_path / "found"), "--json"]
    (tmp_path / "files").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        capture_output=True,
        text=True,
        env={**command_line.environment(), "TMPDIR": str(tmp_path / "files")},
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    end = time.monotonic() + 60
    while any((tmp_path / "files").glob("gpunet-*")) and time.monotonic() < end:  # of the data, which its workers map
        time.sleep(0.1)
    assert not any((tmp_path / "files").glob("gpunet-*"))
    again = command_line.process(*words)
    lines = [json.loads(line) for line in again.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["trial"] * 4 + ["test", "choice"]
    kept = [json.loads(line) for line in (tmp_path / "found" / "results.jsonl").read_text().splitlines()]
    assert len({line["key"] for line in kept}) == len(kept) == 6
    numbers = [json.loads(line) for line in (tmp_path / "found" / "optuna.jsonl").read_text().splitlines()]
    assert sum(line["op_code"] == 4 for line in numbers) == 6  # trials that were asked for


def test_the_command_line_searches(tmp_path: Path) -> None:
    told = command_line.gpunet(*COMMAND, "--trials", 7, "--jobs", 1, "--out", tmp_path / "found").stdout
    assert "7 trials that Optuna asks for, seed 0, pruner median" in told
    assert "\n7/7  activation " in told
    assert "runs were stopped early" in told
    again = command_line.gpunet(*COMMAND, "--trials", 7, "--jobs", 1, "--out", tmp_path / "found").stdout
    assert ", 7 done before" in again
    for words, sentence in (
        (["--trials", 3, "--random", 2], "leave out --search"),
        ([], "say how many combinations to try with --trials"),
        (["--trials", 3, "--backend", "dask", "--jobs", 2], "runs on this machine"),
    ):
        assert sentence in command_line.gpunet(*COMMAND, *words, code=2).stderr
    for words, sentence in (
        (["--trials", 3], "a grid is tried as a whole"),
        (["--pruner", "none"], "stops runs of Optuna"),
        (["--search", "best"], "choose one of grid, random, optuna"),
    ):
        assert sentence in command_line.gpunet("sweep", "--lr", "0.1,0.2", *words, code=2).stderr

"""The processes that a sweep gives its runs to: what they know, share and give back."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SMALL

import gpunet as gn
from gpunet.sweeps.shared import Shared
from gpunet.sweeps.sweep import Sweep, sweep


def test_workers_in_other_processes_give_the_same_results(data: gn.Dataset) -> None:
    pytest.importorskip("joblib")
    grid = {"lr": [0.1, 0.3]}
    here = {result.key: result.validation_accuracy for result in sweep(SMALL, grid, data=data)}
    there = {result.key: result.validation_accuracy for result in sweep(SMALL, grid, data=data, jobs=2)}
    assert there == here


@pytest.mark.parametrize("search", [None, "optuna"])
def test_processes_map_one_file_of_the_data(
    data: gn.Dataset, search: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("joblib")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written: list[Any] = []
    of = Shared.of
    monkeypatch.setattr(Shared, "of", lambda thing, folder: written.append(of(thing, folder)) or written[-1])
    if search is None:
        results = list(sweep(SMALL, {"lr": [0.1, 0.2, 0.3]}, data=data, jobs=2))
    else:
        pytest.importorskip(search)
        results = list(sweep(SMALL, {"lr": "0.01..1"}, data=data, jobs=2, search=search, trials=3))
    assert len(results) == 3
    (file,) = written
    assert Path(file.path).parent.parent == tmp_path
    assert not Path(file.folder).exists()  # with the end of the sweep


def test_shared_data_is_the_same_and_cannot_be_written_to(data: gn.Dataset, tmp_path: Path) -> None:
    shared = pickle.loads(pickle.dumps(Shared.of(data, tmp_path)))
    again = shared.open()
    assert again is shared.open()
    assert again.checksum == data.checksum
    assert not again.train.inputs.flags.writeable
    with open(shared.path, "rb") as file:
        assert np.ascontiguousarray(data.train.inputs).tobytes() in file.read()
    assert Shared.of({"no": "arrays"}, tmp_path).open() == {"no": "arrays"}


def test_an_unknown_backend_is_refused(data: gn.Dataset) -> None:
    pytest.importorskip("joblib")
    with pytest.raises(gn.UsageError, match="--backend nonsense"):
        list(sweep(SMALL, {"lr": [0.1, 0.3]}, data=data, jobs=2, backend="nonsense"))


def test_a_backend_without_generators_gets_its_work_in_rounds(data: gn.Dataset) -> None:
    joblib = pytest.importorskip("joblib")
    rounds = []

    class Rounds(joblib.parallel.ThreadingBackend):
        supports_return_generator = False

        def start_call(self) -> None:
            rounds.append(len(plan.results))

    joblib.register_parallel_backend("rounds", Rounds)
    grid = {"lr": [0.1, 0.2, 0.3, 0.4, 0.5]}
    plan = Sweep(SMALL, grid, data=data)
    results = list(plan.run(jobs=2, backend="rounds"))
    assert [result.varied["lr"] for result in results] == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    assert rounds == [0, 2, 4]  # results that were there when each began


def test_workers_know_entries_of_ones_own(data: gn.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("joblib", reason="the extra gpunet[sweep] is not installed")

    class Halving(gn.Schedule):
        name = "halving"

        def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
            return self.initial / (1 + steps)

    square = gn.activation("square", lambda x: x * x, lambda x: 2 * x, "x * x", "ACC(2) * x")
    monkeypatch.setitem(gn.SCHEDULES, "halving", Halving)
    monkeypatch.setitem(gn.ACTIVATIONS, "square", square)
    grid = {"schedule": ["halving", "constant"], "activation": ["square", "relu"]}
    alone, beside = (
        {str(result.varied): result.validation_loss for result in sweep(SMALL, grid, data=data, jobs=jobs)}
        for jobs in (1, 2)
    )
    assert alone == beside
    assert len(set(alone.values())) == 4


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_entry_that_was_replaced_is_the_new_one_everywhere(
    data: gn.Dataset, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    if jobs > 1:
        pytest.importorskip("joblib", reason="the extra gpunet[sweep] is not installed")

    class Slow(gn.SGD):
        def coefficients(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
            return super().coefficients(steps, rates / 100)

    found = []
    for entry in (gn.SGD, Slow, gn.SGD):
        monkeypatch.setitem(gn.OPTIMIZERS, "sgd", entry)
        found += [result.validation_loss for result in sweep(SMALL, data=data, jobs=jobs)]
    assert found[0] == found[2] != found[1]

"""Streamed batches: bit for bit the numbers of resident data, on every device, resumed and in parts of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.training import streaming


def examples(kind: str, task: str = "classification", weights: bool = False) -> gn.Dataset:
    rng = np.random.default_rng(5)
    inputs = rng.integers(0, 256, (70, 9)).astype(np.uint8) if kind == "uint8" else rng.standard_normal((70, 9))
    targets = rng.integers(0, 3, 70) if task == "classification" else rng.standard_normal((70, 2))
    return gn.Dataset.from_arrays(inputs, targets, task=task, weights=rng.random(70) if weights else None)


def run(data: gn.Dataset, backend: Any, **options: Any) -> tuple[gn.Trainer, bytes, list[Any]]:
    """A trainer at its end, its weights and what its steps told."""
    model = gn.MLP([9, 8, data.outputs], seed=3, backend=backend, dtype=options.pop("dtype", "float32"))
    if data.task == "regression":
        options["loss"] = "mse"
    trainer = gn.Trainer(model, data, **{"batch_size": 8, "iterations": 60, "log_every": 7, **options})
    told = [(each.iteration, each.loss, each.metrics) for each in trainer.steps() if each.event == "step"]
    return trainer, backend.to_host(model.flat).tobytes(), told


@pytest.fixture(params=[1, 200, 1 << 20], ids=["a batch", "some batches", "all of the run"])
def part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes of a part of the ring: of one batch, of a few, of more than the run has."""
    monkeypatch.setattr(streaming, "PART", request.param)
    return request.param


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_streamed_batches_give_the_bits_of_resident_ones(backend: gn.Backend, part: int, kind: str) -> None:
    data = examples(kind)
    streamed, weights, told = run(data, backend, stream="on")
    assert streamed.step.batches.startswith("streamed")
    assert len(streamed.step.images) == streaming.PARTS * 8 * max(part // (8 * 9 * streamed.step.images.itemsize), 1)
    assert (weights, told) == run(data, backend, stream="off")[1:]


def test_targets_weights_and_types_are_streamed_too(backend: gn.Backend, part: int) -> None:
    data = examples("float32", "regression", weights=True)
    options = {"dtype": "float64", "l2": 1e-3, "optimizer": gn.Adam(0.01), "batch_size": 33}
    assert run(data, backend, stream="on", **options)[1:] == run(data, backend, **options)[1:]


def test_a_streamed_run_is_resumed_by_a_resident_one_and_the_other_way_round(backend: gn.Backend, part: int) -> None:
    data = examples("uint8")
    _, weights, told = run(data, backend)
    for first, second in (("on", "off"), ("off", "on"), ("on", "on")):
        made = [
            gn.Trainer(gn.MLP([9, 8, 3], seed=3, backend=backend), data, batch_size=8, iterations=60, log_every=7,
                       stream=stream)
            for stream in (first, second)
        ]  # fmt: skip
        begun = []
        for record in made[0].steps():
            begun.append((record.iteration, record.loss, record.metrics))
            if record.iteration == 28:
                break
        made[1].restore(*made[0].state())
        rest = [(each.iteration, each.loss, each.metrics) for each in made[1].steps() if each.event == "step"]
        assert begun + rest == told
        assert backend.to_host(made[1].model.flat).tobytes() == weights


def test_streamed_networks_train_together(backend: gn.Backend) -> None:
    data = examples("uint8")
    made = [
        gn.Trainer(gn.MLP([9, size, 3], seed=3, backend=backend), data, batch_size=8, iterations=60, stream="on")
        for size in (8, 5)
    ]
    gn.train_together(made)
    assert backend.to_host(made[0].model.flat).tobytes() == run(data, backend)[1]


def test_what_does_not_fit_is_streamed_and_said(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    data = examples("uint8")
    assert run(data, cuda)[0].step.batches.startswith("all on cuda:0 (training takes")
    monkeypatch.setattr(gn.Backend, "memory", lambda self: (3000, 4000))
    streamed = run(data, cuda)[0]
    assert streamed.step.batches.startswith("streamed, up to ")
    assert streamed.step.batches.endswith(" with all of the data there, and 2.9 KiB are free)")


def test_an_error_on_the_way_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, first: int, last: int) -> np.ndarray:
        raise gn.DataError("the disk is gone.")

    monkeypatch.setattr(streaming.Order, "rows", broken)
    with pytest.raises(gn.DataError, match="the disk is gone"):
        run(examples("uint8"), gn.get_backend("cpu"), stream="on")


def test_the_ring_counts_as_the_memory_of_a_streamed_run() -> None:
    trainer = run(examples("uint8"), gn.get_backend("cpu"), stream="on")[0]
    arrays = trainer.step.images, trainer.step.labels, trainer.step.source.ring
    assert trainer.step.source.nbytes == sum(array.nbytes for array in arrays)

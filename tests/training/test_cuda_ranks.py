"""Ranks on CUDA whose gradients MPI adds up in the memory of the host: graphs that end at the all-reduce."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

import gpunet as gn
from gpunet.training.all_reduce import MpiSum
from gpunet.training.ranks import Ranks


class Twins(Ranks):
    """Two ranks of which one is this process and the other would do and say the very same; what MPI adds up is noted.

    Attributes:
        added: how many numbers each all-reduce had.
    """

    rank, size = 0, 2

    def __init__(self) -> None:
        self.added: list[int] = []
        self.all_reduce = MpiSum(SimpleNamespace(IN_PLACE=None), SimpleNamespace(Allreduce=self._add))

    def _add(self, _: None, vector: np.ndarray) -> None:
        self.added.append(vector.size)
        vector *= 2

    def exchange(self, value: Any) -> list[Any]:
        return [value, value]


def trainer_of(backend: gn.Backend, ranks: Ranks, **options: Any) -> gn.Trainer:
    rng = np.random.default_rng(1)
    pixels, labels = rng.integers(0, 256, (240, 30), np.uint8), rng.integers(0, 4, 240)
    data = gn.Dataset.from_arrays(pixels[:200], labels[:200], pixels[200:], labels[200:])
    model = gn.MLP([30, 18, 12, 4], backend=backend, dropout=0.2, seed=2)
    options = {"batch_size": 25, "iterations": 33, "log_every": 11, "optimizer": "adam", **options}
    with mock.patch("gpunet.training.trainer.open_ranks", return_value=ranks):
        return gn.Trainer(model, data, **options)


def finish(trainer: gn.Trainer) -> tuple[list[float], np.ndarray]:
    """The losses at the log steps and at the end, and the parameters."""
    *records, result = trainer.steps()
    losses = [record.loss for record in records if isinstance(record, gn.StepRecord)]
    return [*losses, result.test_loss], np.array(trainer.backend.to_host(trainer.model.flat))


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "several sums a step": {"loss": gn.LOSSES.make("softmax-cross-entropy", class_weights=[1.0, 5.0, 0.5, 2.0])},
    "work behind the sum": {"l2": 1e-3, "clip_norm": 0.05, "max_norm": 0.7},
    "streamed": {"stream": "on"},
}


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_graphs_give_the_numbers_of_kernels_one_by_one(cuda: gn.Backend, options: dict[str, Any]) -> None:
    wanted = finish(trainer_of(cuda, Twins(), graph="off", **options))
    trainer = trainer_of(cuda, Twins(), graph="on", **options)
    found = finish(trainer)
    assert trainer.step.refused is None
    assert found[0] == wanted[0]
    np.testing.assert_array_equal(found[1], wanted[1])


def test_a_run_that_was_left_goes_on_to_the_same_bits(cuda: gn.Backend) -> None:
    wanted = finish(trainer_of(cuda, Twins(), graph="off"))
    first = trainer_of(cuda, Twins(), graph="on")
    next(first.steps())
    second = trainer_of(cuda, Twins(), graph="on", steps_per_launch=4)
    second.restore(*first.state())
    np.testing.assert_array_equal(finish(second)[1], wanted[1])


def test_launches_and_copies_of_a_stretch(cuda: gn.Backend) -> None:
    cusim = pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    for steps, launches in ((1, 2 * 20), (10, 2 * (10 + 1))):  # what follows a sum and precedes the next is one graph
        ranks = Twins()
        trainer = trainer_of(cuda, ranks, iterations=60, log_every=20, steps_per_launch=steps)
        with cuda.use():
            trainer.step.warm_up(trainer.metrics)
            trainer.step.ahead(20)
            cusim.reset()
            ranks.added.clear()
            while trainer.iteration < 20:
                trainer.step.run(20)
            cuda.synchronize()
        counts = cusim.stats()
        assert ranks.added == [trainer.model.flat.size] * 20
        assert counts["graph_launches"] == launches
        assert counts["launches"] == counts["captured_nodes"] == 0
        assert counts["stream_syncs"] == 20 + 1
        assert counts["d2h"]["count"] == 20


def test_the_way_is_told(cuda: gn.Backend) -> None:
    assert "CUDA graphs from all-reduce to all-reduce" in trainer_of(cuda, Twins()).how
    assert not trainer_of(cuda, Twins()).joins  # branches of one graph cannot each end for the host


def test_a_change_by_the_host_is_freed_by_any_thread(cuda: gn.Backend) -> None:
    """As the collector of garbage does it, in a thread that the one with the device waits for."""
    kept = [cuda.changed_by_host(cuda.zeros(4, np.float32), print)]
    with cuda.use():
        other = threading.Thread(target=kept.clear, daemon=True)
        other.start()
        other.join(60)
        assert not other.is_alive()

"""Several ranks that train one network: the numbers of a process by itself, whatever the batch, the loss and the share.

The ranks here are threads that wait for each other; `test_mpi.py` has processes.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpunet as gn
import gpunet.training.trainer
from gpunet.kernels.random import Stream
from gpunet.training.all_reduce import AllReduce
from gpunet.training.batches import Order, Share
from gpunet.training.callbacks import Callback
from gpunet.training.ranks import Ranks

pytestmark = pytest.mark.host


@dataclasses.dataclass
class Table:
    """What the threads put down for each other."""

    size: int

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=120)
        self.values: list[Any] = [None] * self.size


class Thread(Ranks, AllReduce):
    """One of several ranks in this process."""

    def __init__(self, rank: int, table: Table) -> None:
        self.rank, self.size, self.table, self.all_reduce = rank, table.size, table, self

    def exchange(self, value: Any) -> list[Any]:
        self.table.values[self.rank] = value
        self.table.barrier.wait()
        found = list(self.table.values)
        self.table.barrier.wait()
        return found

    def bind(self, vector: Any, backend: Any) -> Callable[[], None]:
        def run() -> None:
            vector[...] = np.sum(self.exchange(vector.copy()), axis=0)

        return run


def on_ranks(size: int, work: Callable[[], Any]) -> list[Any]:
    """What `work` gives on each of so many ranks, which a trainer that it makes is one of; or the error there."""
    table, mine, found = Table(size), threading.local(), [None] * size

    def run(rank: int) -> None:
        mine.ranks = Thread(rank, table)
        try:
            found[rank] = work()
        except Exception as error:
            found[rank] = error
            if not getattr(error, "everywhere", False):
                table.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    with mock.patch("gpunet.training.trainer.open_ranks", side_effect=lambda engine: mine.ranks):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    return found


def blobs(task: str = "classes", examples: int = 97) -> gn.Dataset:
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((examples, 6))
    if task == "regression":
        return gn.Dataset.from_arrays(inputs, inputs[:, 0] - inputs[:, 1], task=task, validation=20)
    return gn.Dataset.from_arrays(inputs, rng.integers(0, 3, examples), validation=20)


def trained(**options: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The weights after 60 steps, and the records without times."""
    data = options.pop("data", None) or blobs()
    model = gn.MLP([6, 11, 7, data.outputs], dropout=options.pop("dropout", 0.0), dtype="float64", seed=3)
    options = {"optimizer": gn.Adam(0.01), "batch_size": 10, "iterations": 60, "log_every": 20, **options}
    records = [record.as_dict() for record in gn.Trainer(model, data, **options).steps()]
    times = ("seconds", "train_seconds", "steps_per_second")
    return model.flat, [{name: told[name] for name in told if name not in times} for told in records]


def assert_same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9, atol=1e-12)
    assert [list(told) for told in found[1]] == [list(told) for told in expected[1]]
    for told, right in zip(found[1], expected[1], strict=True):
        for name, value in right.items():
            assert told[name] == (pytest.approx(value, rel=1e-8) if isinstance(value, float) else value), name


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": [0.3, 0.5]},
    "class weights": {"loss": gn.LOSSES.make("softmax-cross-entropy", class_weights=[1.0, 5.0, 0.5])},
    "penalties": {"l2": 0.01, "l1": 0.001, "clip_norm": 0.05, "max_norm": 0.5},
    "whole batch": {"batch_size": "all"},
    "as they lie": {"shuffle": False, "batch_size": 33},
    "streamed": {"stream": "on", "batch_size": 7},
    "metrics": {"metrics": ["roc-auc", "f1-macro"], "metric": "roc-auc", "early_stopping": 3},
    "regression": {"data": blobs("regression"), "loss": "mse"},
}


@pytest.mark.parametrize("case", CASES)
def test_ranks_give_the_numbers_of_one_process(case: str) -> None:
    options = CASES[case]
    alone = trained(**options)
    found = on_ranks(3, lambda: trained(**options))
    for each in found:
        assert_same(each, alone)
        np.testing.assert_array_equal(each[0], found[0][0])


def test_a_number_of_ranks_gives_the_same_bits_every_time() -> None:
    once, again = (on_ranks(2, lambda: trained(**CASES["dropout"])) for _ in range(2))
    np.testing.assert_array_equal(once[0][0], again[1][0])


@given(st.data())
def test_the_shares_of_a_step_are_its_batch(data: st.DataObject) -> None:
    examples = data.draw(st.integers(1, 40))
    batch = data.draw(st.integers(1, examples))
    size = data.draw(st.integers(1, batch))
    whole = Order(examples, 5, data.draw(st.booleans()))
    shares = [Share(whole, batch, slice(rank * batch // size, (rank + 1) * batch // size)) for rank in range(size)]
    for step in data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=12)):
        rows = []
        for rank, share in enumerate(shares):
            own = (rank + 1) * batch // size - rank * batch // size
            rows.append(share.rows(step * own, (step + 1) * own))
        np.testing.assert_array_equal(np.concatenate(rows), whole.rows(step * batch, (step + 1) * batch))


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 2**40))
def test_a_share_draws_the_numbers_of_its_rows(first: int, count: int, step: int) -> None:
    stream = Stream(7, 3)
    np.testing.assert_array_equal(stream.draw(step, count, first), stream.draw(step, first + count)[first:])


def test_what_a_rank_does_is_its_share() -> None:
    def shapes() -> Any:
        trainer = gn.Trainer(gn.MLP([6, 4, 3]), blobs(), batch_size=10, iterations=1)
        return [workspace.output.shape[0] for workspace in trainer.step.workspaces], trainer.share

    assert on_ranks(3, shapes) == [([3, 3], 4), ([3, 3], 4), ([4, 4], 4)]


def test_stopping_on_one_rank_stops_all_at_the_same_step() -> None:
    def steps() -> int:
        trainer = gn.Trainer(gn.MLP([6, 4, 3]), blobs(), batch_size=10, iterations=10_000, log_every=1)
        for record in trainer.steps():
            if trainer.ranks.rank == 1 and record.iteration == 5:
                trainer.stop()
        return trainer.iteration

    assert on_ranks(3, steps) == [5, 5, 5]


def test_a_loss_that_is_not_finite_ends_all_ranks_with_the_step() -> None:
    data = blobs()
    found = on_ranks(2, lambda: trained(data=data, optimizer=gn.SGD(1e200)))
    assert [type(error) for error in found] == [gn.TrainingDiverged] * 2
    assert len({str(error) for error in found}) == 1


def test_rank_0_alone_tells_the_callbacks_unless_they_have_an_on_step() -> None:
    told: list[tuple[str, int]] = []

    class Watcher(Callback):
        def on_record(self, record: Any, trainer: Any) -> None:
            told.append(("record", trainer.ranks.rank))

        def on_checkpoint(self, trainer: Any) -> None:
            told.append(("checkpoint", trainer.ranks.rank))

    class Doer(Callback):
        def on_step(self, trainer: Any) -> None:
            told.append(("step", trainer.ranks.rank))

    on_ranks(2, lambda: trained(iterations=2, log_every=1, callbacks=[Watcher(), Doer()]))
    assert sorted(told) == [("checkpoint", 0), *[("record", 0)] * 3, *[("step", rank) for rank in (0, 0, 1, 1)]]


def trainer_of(rank: int, **changes: Any) -> gn.Trainer:
    """A trainer of the ranks, which on rank 1 is changed."""
    options = {"model": gn.MLP([6, 4, 3]), "data": blobs(), "batch_size": 10, "iterations": 5}
    return gn.Trainer(**{**options, **(changes if rank == 1 else {})})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("batch size", {"batch_size": 12}),
        ("data", {"data": blobs(examples=98)}),
        ("learning rate", {"optimizer": gn.SGD(0.2)}),
        ("seed of the model", {"model": gn.MLP([6, 4, 3], seed=1)}),
        ("weights", {"model": gn.MLP([6, 4, 3], bias=0.5)}),
    ],
)
def test_ranks_that_disagree_are_refused(name: str, changes: dict[str, Any]) -> None:
    for error in on_ranks(2, lambda: trainer_of(gpunet.training.trainer.open_ranks(None).rank, **changes)):
        assert isinstance(error, gn.GpunetError)
        assert error.exit_code == 2
        assert f"rank 1 has another {name} than rank 0" in str(error)


def test_a_checkpoint_is_resumed_by_another_number_of_ranks() -> None:
    def start(done: int) -> gn.Trainer:
        model = gn.MLP([6, 11, 3], dtype="float64", dropout=0.2)
        return gn.Trainer(model, blobs(), optimizer=gn.Adam(0.01), batch_size=10, iterations=40, log_every=done)

    def until(trainer: gn.Trainer, done: int) -> Any:
        for _ in trainer.steps():
            if trainer.iteration == done:
                trainer.stop()
        return trainer.state()

    def resumed(state: Any) -> np.ndarray:
        trainer = start(40)
        trainer.restore(*state)
        return until(trainer, 40)[0]["parameters"]

    alone = until(start(40), 40)[0]["parameters"]
    half = on_ranks(2, lambda: until(start(20), 20))[0]
    for found in (resumed(half), *on_ranks(3, lambda: resumed(half))):
        np.testing.assert_allclose(found, alone, rtol=1e-9)


def test_a_batch_too_small_for_the_ranks_is_refused() -> None:
    found = on_ranks(3, lambda: gn.Trainer(gn.MLP([6, 4, 3]), blobs(), batch_size=2))
    assert all("3 ranks share every batch out" in str(error) for error in found)


def test_what_fails_on_one_rank_fails_on_all() -> None:
    def work() -> None:
        trainer = gn.Trainer(gn.MLP([6, 4, 3]), blobs(), batch_size=10, iterations=5)
        with trainer.ranks.together():
            if trainer.ranks.rank == 1:
                raise gn.DataError("no such file.")

    found = on_ranks(3, work)
    assert {str(error) for error in found} == {"rank 1: no such file."}
    assert all(error.everywhere for error in found)

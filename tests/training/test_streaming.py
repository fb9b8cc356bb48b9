"""Streamed batches: bit for bit the numbers of resident data, on every device, resumed, and from files.

The order of data larger than memory, in chunks, is tried here too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.data import stored
from gpunet.training import batches, streaming
from gpunet.training.batches import ChunkOrder, Order, Share


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


@pytest.mark.parametrize("shuffle", ["exact", "chunks"])
def test_a_streamed_run_is_resumed_by_a_resident_one_and_the_other_way_round(
    backend: gn.Backend, monkeypatch: pytest.MonkeyPatch, shuffle: str
) -> None:
    monkeypatch.setattr(streaming, "PART", 200)
    monkeypatch.setattr(batches, "CHUNK", 50)
    monkeypatch.setattr(batches, "MIX", 3)
    data = examples("uint8")
    _, weights, told = run(data, backend, shuffle=shuffle)
    for first, second in (("on", "off"), ("off", "on"), ("on", "on")):
        made = [
            gn.Trainer(gn.MLP([9, 8, 3], seed=3, backend=backend), data, batch_size=8, iterations=60, log_every=7,
                       stream=stream, shuffle=shuffle)
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
    assert run(examples("uint8"), cuda)[0].step.batches.startswith("all on cuda:0 (training takes")
    monkeypatch.setattr(gn.Backend, "memory", lambda self: (3000, 4000))
    streamed = run(examples("uint8"), cuda)[0]
    assert streamed.step.batches.startswith("streamed, up to ")
    assert streamed.step.batches.endswith(" with all of the data there, and 2.9 KiB are free)")


def test_data_that_lies_on_the_device_for_one_network_is_there_for_others(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = examples("uint8")
    first = gn.Trainer(gn.MLP([9, 8, 3], backend=cuda), data, batch_size=8, iterations=5)
    monkeypatch.setattr(gn.Backend, "memory", lambda self: (3000, 4000))
    second = gn.Trainer(gn.MLP([9, 4, 3], backend=cuda), data, batch_size=8, iterations=5)
    assert second.step.images is first.step.images
    assert second.step.batches == "all on cuda:0 (they lie there already, for another network)"


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


# ---- from files, and in chunks


LARGER_THAN_MEMORY = """
import resource, sys
import gpunet as gn
resource.setrlimit(resource.RLIMIT_DATA, (500 << 20, 500 << 20))
data = gn.load_dataset(sys.argv[1], progress=None).hold_out(2000)
trainer = gn.Trainer(gn.MLP([784, 10, 2]), data, batch_size=50, iterations=400, shuffle=sys.argv[2])
print(trainer.plan["order"])
print(next(trainer.steps()).validation_loss is None)
"""


def test_data_larger_than_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the system sets no limit of memory")
    rows = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, (1_000_000, 784))  # holes in a file
    rows[::50_000] = 3
    np.save(tmp_path / "y.npy", np.arange(1_000_000) % 2)
    command = [sys.executable, "-c", LARGER_THAN_MEMORY, str(tmp_path)]
    for shuffle, order in (("auto", "chunks of 1,337 rows are shuffled"), ("exact", "")):
        done = subprocess.run([*command, shuffle], capture_output=True, text=True, timeout=600)
        assert done.stderr == ""
        assert done.stdout.startswith(order)


def in_files(folder: Path, data: gn.Dataset) -> gn.Dataset:
    """The same data, its inputs in two files."""
    np.save(folder / "X-0.npy", data.train.inputs[:41])
    np.save(folder / "X-1.npy", data.train.inputs[41:])
    for number, part in enumerate((slice(41), slice(41, None))):
        np.save(folder / f"y-{number}.npy", data.train.targets[part])
    return gn.load_dataset(str(folder / "*.npy"))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of any size stay where they are, and are taken in small chunks."""
    monkeypatch.setattr(stored, "LARGE", 1)
    monkeypatch.setattr(batches, "CHUNK", 50)
    monkeypatch.setattr(batches, "MIX", 3)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("shuffle", ["exact", "chunks", "off"])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_data_in_files_gives_the_bits_of_data_in_memory(
    backend: gn.Backend, tmp_path: Path, part: int, kind: str, shuffle: str
) -> None:
    there, read = in_files(tmp_path, examples(kind)).hold_out(9), examples(kind).hold_out(9)
    (held, *ours), (_, *theirs) = (run(data, backend, shuffle=shuffle) for data in (there, read))
    assert isinstance(there.train.inputs, stored.StoredRows)
    assert ours == theirs
    assert held.step.batches.startswith("streamed" if backend.name == "cpu" else "all on cuda:0")
    for stream in ("on", "off"):
        assert list(run(there, backend, shuffle=shuffle, stream=stream)[1:]) == theirs


@pytest.mark.usefixtures("large")
def test_a_file_that_was_touched_is_another_one_to_a_checkpoint(tmp_path: Path) -> None:
    state = run(in_files(tmp_path, examples("uint8")), gn.get_backend("cpu"))[0].state()
    os.utime(tmp_path / "X-1.npy", ns=(1, 1))
    changed = gn.Trainer(
        gn.MLP([9, 8, 3], seed=3), gn.load_dataset(str(tmp_path / "*.npy")), batch_size=8, iterations=60
    )
    with pytest.raises(gn.CheckpointError, match="other data"):
        changed.restore(*state)


@pytest.mark.usefixtures("large")
def test_chunks_are_chosen_where_files_do_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, backend = in_files(tmp_path, examples("uint8")), gn.get_backend("cpu")
    exact = run(data, backend)
    assert exact[0].plan["order"] == ""
    monkeypatch.setattr(stored, "memory", lambda: 700)
    monkeypatch.setattr(batches, "memory", lambda: 700)
    chunks = run(data, backend)
    told = "chunks of 5 rows are shuffled, and then the rows of 3 at a time"
    assert chunks[0].plan["order"] == f"{told} (630 bytes in files do not stay in 700 bytes of memory)"
    assert chunks[1:] == run(data, backend, shuffle="chunks")[1:]
    assert chunks[1] != exact[1]
    assert run(data, backend, shuffle="exact")[1:] == exact[1:]
    with pytest.raises(gn.CheckpointError, match="another setting of shuffle: True there, chunks here"):
        chunks[0].restore(*exact[0].state())


@settings(max_examples=30, deadline=None)
@given(examples=st.integers(1, 60), chunk=st.integers(1, 13), mix=st.integers(1, 5), data=st.data())
def test_an_order_in_chunks(examples: int, chunk: int, mix: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "MIX", mix)
        order = ChunkOrder(examples, 3, chunk)
        stream = np.concatenate([order.permutation(epoch) for epoch in range(3)])
        for epoch in range(3):
            assert sorted(stream[epoch * examples : (epoch + 1) * examples]) == list(range(examples))
            # Each block is of whole chunks, and no more of them than are mixed.
            for number, end in enumerate(order.ends(epoch).tolist()):
                rows, spans = order.block(epoch, number), order.spans(epoch, number)
                assert len(spans) <= mix
                assert sorted(rows) == [row for span in spans for row in range(*span)]
                assert order.find(epoch * examples + end - 1)[:2] == (epoch, number)
        for each, whole in ((order, stream), (Order(examples, 3), None)):
            if whole is None:
                whole = np.concatenate([each.permutation(epoch) for epoch in range(3)])
            first = data.draw(st.integers(0, 3 * examples - 1))
            last = data.draw(st.integers(first + 1, 3 * examples))
            assert each.rows(first, last).tolist() == whole[first:last].tolist()


def test_an_order_in_chunks_mixes_and_repeats() -> None:
    order = ChunkOrder(100_000, 0, 100)
    first = order.permutation(0)
    assert first[:400].max() - first[:400].min() > 50_000
    assert abs(np.corrcoef(first, np.arange(100_000))[0, 1]) < 0.1
    assert first.tobytes() == ChunkOrder(100_000, 0, 100).permutation(0).tobytes()
    assert (first != order.permutation(1)).any()
    assert (first != ChunkOrder(100_000, 1, 100).permutation(0)).any()


def test_the_system_is_told_what_comes_and_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MIX", 3)

    class Inputs:
        def __init__(self) -> None:
            self.told: list[tuple[str, int, int]] = []

        def expect(self, first: int, last: int) -> None:
            self.told.append(("expect", first, last))

        def release(self, first: int, last: int) -> None:
            self.told.append(("release", first, last))

    inputs, order = Inputs(), ChunkOrder(50, 0, 5)
    files = streaming.Files(inputs, order)  # type: ignore[arg-type]
    rank = Share(order, 4, slice(1, 3))  # of two ranks or more, each tells the same
    for step in range(50):
        files.look_ahead(*rank.places(2 * step, 2 * step + 2))
        for row in order.rows(4 * step, 4 * step + 4):  # all that is gathered was asked for, and not given back since
            about = [what for what, start, end in inputs.told if start <= row < end]
            assert about[-1] == "expect"
    counts = [sum(what == kind for what, *_ in inputs.told) for kind in ("expect", "release")]
    assert counts[1] == 39  # all of four epochs' chunks but for the last block's
    assert 40 < counts[0] <= 43

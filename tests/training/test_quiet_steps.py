"""What a step, a log step and a validation ask of a CUDA device beside their kernels: as little as can be."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import advance, out_of_memory, trainer

import gpunet as gn
from gpunet.training.batches import near, on_device


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("graph", ["on", "off"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_allocates_nothing(
    cuda: gn.Backend, small: gn.Dataset, graph: str, optimizer: str, pooled: bool
) -> None:
    options = {"dropout": 0.1, "l2": 0.1, "clip_norm": 1.0, "max_norm": 1.0, "log_every": 3, "steps_per_launch": 1}
    one = trainer(small, cuda, graph=graph, optimizer=optimizer, **options)

    class Counter(cuda.xp.cuda.MemoryHook):
        name = "allocations"
        count = 0

        def malloc_preprocess(self, **facts: object) -> None:
            Counter.count += 1

        alloc_preprocess = malloc_preprocess

    advance(one, 3)
    with cuda.use(), Counter():
        for _ in range(5):
            one.step.run(goal=10)
        assert one.iteration == 8
        assert Counter.count == 0
        cuda.xp.empty(3)  # the counter counts
        assert Counter.count > 0 or not pooled


def test_what_a_step_asks_of_the_device(cuda: gn.Backend, mnist_5k: gn.Dataset, products: str) -> None:
    cusim = pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    kernels, gemms = (3, 0) if products == "fused" else (8, 8)
    for graph, launches, graphs in (("off", kernels, 0), ("on", 0, 1)):
        one = trainer(mnist_5k, cuda, (784, 50, 30, 10), batch_size=100, graph=graph, log_every=3)
        advance(one, 3)
        with cuda.use():
            cusim.reset()
            for _ in range(2):
                one.step.run()
            counts = cusim.stats()
        assert counts["launches"] == 2 * launches
        assert counts["gemms"] == 2 * gemms
        assert counts["graph_launches"] == 2 * graphs
        assert counts["graph_nodes"] == 2 * graphs * (kernels + gemms)
        for kind in ("h2d", "d2h", "d2d", "h2h"):
            assert counts[kind]["count"] == 0
        for kind in ("device_syncs", "stream_syncs", "event_syncs", "implicit_syncs", "mallocs", "memsets"):
            assert counts[kind] == 0


def test_the_host_reads_at_log_steps_only(cuda: gn.Backend, small: gn.Dataset) -> None:
    cusim = pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    weighted = gn.Dataset.from_arrays(small.train.inputs, small.train.labels, weights=small.train.labels + 1.0)
    several = {"metrics": ["top-k:k=2", "roc-auc", "f1-macro"]}
    for every in (5, 20):
        for data, options in ((small, {}), (small, several), (weighted, {}), (small, {"l2": 1e-4})):
            one = trainer(data, cuda, log_every=every, iterations=40, batch_size=5, **options)
            steps = one.steps()
            next(steps)
            cusim.reset()
            for _ in range(40 // every - 1):
                next(steps)
            counts = cusim.stats()
            assert counts["d2h"]["count"] == counts["stream_syncs"] == 40 // every - 1
            for kind in ("device_syncs", "event_syncs", "implicit_syncs", "mallocs", "memsets"):
                assert counts[kind] == 0
            if "l2" not in options:
                assert counts["launches"] == counts["d2d"]["count"] == counts["h2d"]["count"] == 0


def test_metrics_of_many_logits_are_computed_on_the_device(
    cuda: gn.Backend, small: gn.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"log_every": 5, "metrics": ["top-k:k=2", "f1-macro"], "l2": 1e-4}
    *wanted, _ = trainer(small, cuda, **options).steps()
    monkeypatch.setattr("gpunet.training.step.READ", 0)
    large = trainer(small, cuda, **options)
    assert "logits" not in large.step.readout.arrays
    *found, _ = large.steps()
    assert [(record.loss, record.metrics) for record in found] == [(record.loss, record.metrics) for record in wanted]


def test_validation_inputs_stay_on_the_device(cuda: gn.Backend, small: gn.Dataset) -> None:
    cusim = pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    for inputs in (small.train.inputs, small.train.inputs.astype(np.float32) / 255):
        data = gn.Dataset.from_arrays(inputs, small.train.labels, validation=100)
        one = trainer(data, cuda, validate_every=5, log_every=5)
        steps = one.steps()
        next(steps)
        cusim.reset()
        record = next(steps)
        assert cusim.stats()["h2d"]["bytes"] == data.validation.targets.nbytes
        assert record.validation_loss == gn.evaluate(one.model, data.validation).loss
        assert one.step.images is on_device(data.train, cuda, one.model.dtype)


def test_without_room_validation_inputs_stay_on_the_host(cuda: gn.Backend, small: gn.Dataset) -> None:
    data = gn.Dataset.from_arrays(small.train.inputs, small.train.labels, validation=100)
    with out_of_memory(cuda):
        assert near(data.validation, cuda, np.dtype("float32"), again=True) is data.validation
    assert near(data.validation, cuda, np.dtype("float32")) is data.validation
    assert near(data.validation, cuda, np.dtype("float32"), again=True).inputs.nbytes == data.validation.inputs.nbytes

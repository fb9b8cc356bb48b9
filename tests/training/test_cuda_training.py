"""Training on CUDA: equal to the CPU, repeatable, captured as a graph, and quiet between two log steps."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from small_runs import advance, finish, first, trainer

import gpunet as gn
from gpunet.training.batches import Order
from gpunet.training.graph import FUSED_FLOP, StepGraph, launch_mode, step_flop

CPU = gn.get_backend("cpu")


# --- the same on both devices ----------------------------------------------------------------------------


def test_weights_batches_and_masks_are_exactly_the_same(cuda: gn.Backend, small: gn.Dataset, products: str) -> None:
    # Batches of 45 of 500 examples: one of them holds the end of an epoch and the beginning of the next.
    options = {"batch_size": 45, "seed": 9, "iterations": 13, "log_every": 1}
    cpu, gpu = (
        trainer(small, device, dropout=0.4, activation="sigmoid", graph=graph, **options)
        for device, graph in ((CPU, "auto"), (cuda, "on"))
    )
    assert np.array_equal(CPU.to_host(cpu.model.flat), cuda.to_host(gpu.model.flat))
    for _ in zip(cpu.steps(), gpu.steps(), strict=True):
        assert np.array_equal(cuda.to_host(gpu.step.targets), cpu.step.targets)
        if products == "library":
            assert np.array_equal(cuda.to_host(gpu.step.x), cpu.step.x)
        for a, b in zip(cpu.step.workspaces[:-1], gpu.step.workspaces[:-1], strict=True):
            assert np.array_equal(cuda.to_host(b.kept) == 0, a.kept == 0)
    assert gpu.step.refused is None


def test_after_200_steps_the_losses_agree(cuda: gn.Backend, mnist_5k: gn.Dataset) -> None:
    options = {"sizes": (784, 8, 10), "iterations": 200, "batch_size": 10, "log_every": 50}
    wanted, expected, _ = finish(trainer(mnist_5k, CPU, **options))
    losses, result, _ = finish(trainer(mnist_5k, cuda, **options))
    assert losses == pytest.approx(wanted, abs=1e-4)
    assert result.test_loss == pytest.approx(expected.test_loss, abs=1e-4)
    assert abs(result.test_accuracy - expected.test_accuracy) <= 1e-3


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("graph", ["on", "off"])
def test_two_runs_are_bitwise_equal(cuda: gn.Backend, small: gn.Dataset, graph: str) -> None:
    runs = [finish(trainer(small, cuda, dropout=0.2, optimizer="adam", clip_norm=0.5, graph=graph)) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    assert np.array_equal(runs[0][2], runs[1][2])


def test_binary_classifier(cuda: gn.Backend, small: gn.Dataset) -> None:
    data = small.select_classes([0, 2])
    options = {"sizes": (30, 1), "loss": "binary-cross-entropy", "batch_size": "all"}
    wanted, expected, _ = finish(trainer(data, CPU, **options))
    losses, result, _ = finish(trainer(data, cuda, **options))
    assert losses == pytest.approx(wanted, abs=1e-5)
    assert result.test_accuracy == expected.test_accuracy


# --- the graph -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_graph_with_every_optimizer(cuda: gn.Backend, small: gn.Dataset, name: str) -> None:
    found = [
        finish(trainer(small, cuda, (30, 12, 4), optimizer=gn.OPTIMIZERS[name](), graph=graph))
        for graph in ("on", "off")
    ]
    assert found[0][0] == found[1][0]
    assert np.array_equal(found[0][2], found[1][2])


OPTIONS = {
    "dropout": {"dropout": [0.5, 0.1]},
    "penalties": {"l2": 1e-3, "l1": 1e-4},
    "clipping": {"clip_norm": 0.05, "max_norm": 0.7},
    "float64": {"dtype": "float64"},
    "saves its input": {"activation": ["gelu", "silu"], "dropout": 0.2},
    "schedule": {"optimizer": gn.SGD(gn.SCHEDULES["cosine"](0.5))},
    "softmax regression": {"sizes": (30, 4)},
}


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_graph_gives_the_same_numbers(cuda: gn.Backend, small: gn.Dataset, options: dict) -> None:
    captured = trainer(small, cuda, graph="on", **options)
    losses, result, parameters = finish(captured)
    assert captured.step.refused is None
    eager, expected, wanted = finish(trainer(small, cuda, graph="off", **options))
    plain, _, _ = finish(trainer(small, CPU, **options))
    assert losses == eager
    assert losses == pytest.approx(plain, abs=1e-4)
    assert np.array_equal(parameters, wanted)
    assert result.test_loss == expected.test_loss


def test_graph_with_validation_and_early_stopping(cuda: gn.Backend, small: gn.Dataset) -> None:
    options = {"early_stopping": 2, "validate_every": 7, "iterations": 200, "optimizer": gn.SGD(1.0)}
    data = small.hold_out(100)
    ends = [finish(trainer(data, device, graph=graph, **options)) for device, graph in ((CPU, "auto"), (cuda, "on"))]
    assert ends[0][1].stopped == ends[1][1].stopped
    assert ends[0][1].iterations == ends[1][1].iterations
    assert ends[0][0] == pytest.approx(ends[1][0], abs=1e-3)


@pytest.mark.usefixtures("products")
def test_resumed_graph_run_is_bitwise_the_uninterrupted_one(cuda: gn.Backend, small: gn.Dataset) -> None:
    options = {"optimizer": "adam", "dropout": 0.3, "graph": "on"}
    whole = finish(trainer(small, cuda, **options))
    first = trainer(small, cuda, **options, log_every=13)
    advance(first, 13)
    second = trainer(small, cuda, **options, log_every=5)
    advance(second, 5)  # the graph is captured, and what it reads is then put back
    second.restore(*first.state())
    resumed = finish(second)
    assert resumed[0][1::2] == whole[0][1:]  # iterations 20 and 30
    assert np.array_equal(resumed[2], whole[2])


SEVERAL = {"dropout": 0.2, "optimizer": "adam", "iterations": 26, "batch_size": 13, "graph": "on"}


@pytest.mark.usefixtures("products")
def test_several_steps_in_a_graph_are_those_one_by_one(cuda: gn.Backend, small: gn.Dataset) -> None:
    for data in (first(small, 150), first(small, 17)):  # an epoch in twelve steps, and eight in ten
        wanted = finish(trainer(data, cuda, steps_per_launch=1, **SEVERAL))
        for steps in (4, "auto", 1000):
            found = finish(trainer(data, cuda, steps_per_launch=steps, **SEVERAL))
            assert found[0] == wanted[0]
            assert np.array_equal(found[2], wanted[2])


def test_resumed_within_what_was_one_launch(cuda: gn.Backend, small: gn.Dataset) -> None:
    data = first(small, 150)
    wanted = finish(trainer(data, cuda, steps_per_launch=1, **SEVERAL))
    begun = trainer(data, cuda, steps_per_launch=7, log_every=13, **SEVERAL)
    advance(begun, 13)
    resumed = trainer(data, cuda, steps_per_launch=6, **SEVERAL)
    resumed.restore(*begun.state())
    assert np.array_equal(finish(resumed)[2], wanted[2])


def test_permutations_are_made_while_the_device_works(
    cuda: gn.Backend, small: gn.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, bool]] = []
    permutation = Order.permutation

    def watched(order: Order, epoch: int) -> np.ndarray:
        made.append((epoch, threading.current_thread() is threading.main_thread()))
        return permutation(order, epoch)

    data, options = first(small, 50), {"sizes": (30, 4), "batch_size": 5, "iterations": 350, "log_every": 50}
    for rows, ahead in ((820, 16), (10, 0)):  # several epochs at a time, and one after the other
        monkeypatch.setattr("gpunet.training.batches.ROWS", rows)
        wanted = finish(trainer(data, cuda, **options))
        with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patched:
            patched.setattr("gpunet.training.batches.helpers", lambda wanted: (pool, 1))
            patched.setattr(Order, "permutation", watched)
            begun = trainer(data, cuda, **options)
            advance(begun, 50)
            resumed = trainer(data, cuda, **options)
            resumed.restore(*begun.state())
            made.clear()
            found = finish(resumed)
        assert found[0] == wanted[0][1:]
        assert np.array_equal(found[2], wanted[2])
        assert {epoch for epoch, _ in made} >= set(range(5, 35))
        assert [epoch for epoch, here in made if here and epoch < 35] == list(range(5, 5 + 1 + ahead))


def test_launches_of_a_stretch(cuda: gn.Backend, small: gn.Dataset) -> None:
    cusim = pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    for data in (small, first(small, 60)):
        for steps, launches in ((7, 25 // 7 + 25 % 7), ("auto", 25 // 10 + 25 % 10)):
            one = trainer(data, cuda, iterations=80, steps_per_launch=steps, log_every=25)
            with cuda.use():
                one.step.warm_up(one.metrics)
            cusim.reset()
            advance(one, 25)
            counts = cusim.stats()
            assert counts["graph_launches"] == launches
            assert counts["captured_nodes"] == 0
        assert counts["h2d"]["count"] <= (2 if data is small else 8)


def test_the_choice_is_told(cuda: gn.Backend, small: gn.Dataset) -> None:
    little = trainer(small, cuda)
    assert little.mode.captured
    assert "CUDA graphs of up to 10 steps" in little.how
    assert "one CUDA graph launch per step" in trainer(small, cuda, steps_per_launch=1).how
    assert "fused products" in little.how
    assert little.plan["graph"] == little.how
    off = trainer(small, cuda, graph="off")
    assert not off.mode.captured
    assert "graph off" in off.how


def test_large_networks_are_left_to_the_library(cuda: gn.Backend) -> None:
    sizes = [784, 2000, 10]
    assert step_flop(sizes, 1000) > FUSED_FLOP
    for graph in ("auto", "on", "off"):
        assert not launch_mode(graph, cuda, sizes, 1000).fused
        assert launch_mode(graph, cuda, [784, 50, 30, 10], 100).fused
        assert launch_mode(graph, cuda, sizes, 1000).captured == (graph != "off")


def test_flop_of_the_default_network() -> None:
    # Forward 2 x 100 x (784 x 50 + 50 x 30 + 30 x 10), backward twice that but for the first layer's input.
    assert step_flop([784, 50, 30, 10], 100) == 200 * (2 * 39200 + 3 * 1500 + 3 * 300)


def test_a_graph_needs_a_cuda_device(small: gn.Dataset) -> None:
    with pytest.raises(gn.UsageError, match="needs a CUDA device"):
        trainer(small, CPU, graph="on")
    assert not trainer(small, CPU, graph="auto").mode.captured
    assert not trainer(small, CPU, graph="off").mode.captured


class Step:
    """A training step of any work."""

    steps_per_launch = 1
    mode = SimpleNamespace(fused=True)

    def __init__(self, work: Callable[[], None]) -> None:
        self.run_operations, self.launches = work, [work]


def test_a_step_that_cannot_be_captured(cuda: gn.Backend) -> None:
    kept = cuda.zeros(4, np.float32)

    def allocates() -> None:
        kept[...] = kept + 1  # the sum is a new array

    with cuda.use():
        graph, step = StepGraph(cuda, required=False), Step(allocates)
        for _ in range(3):
            graph.launch(step, 1)
        assert "allocates" in graph.refused
        assert float(kept[0]) == 3
        graph = StepGraph(cuda, required=True)
        graph.launch(step, 1)
        with pytest.raises(gn.DeviceError, match="cannot be captured"):
            graph.launch(step, 1)
        assert float(kept[0]) == 4


def test_a_capture_is_tried_again_later(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpunet.training.graph.RETRY", 3)
    kept, left = cuda.zeros(4, np.float32), cuda.zeros(4, np.float32)
    disturbed = [True]

    def work() -> None:
        np.add(kept, 1, out=kept if not disturbed[0] else None)
        if disturbed[0]:
            left.sum()
            np.add(kept, 1, out=kept)

    with cuda.use():
        graph, step = StepGraph(cuda, required=False), Step(work)
        for _ in range(4):
            graph.launch(step, 1)
        assert graph.refused
        disturbed[0] = False
        for _ in range(4):
            graph.launch(step, 1)
        assert graph.refused is None
        assert float(kept[0]) == 8


def test_ctrl_c_in_a_capture_ends_it(cuda: gn.Backend) -> None:
    kept = cuda.zeros(4, np.float32)

    def interrupted() -> None:
        np.add(kept, 1, out=kept)
        raise KeyboardInterrupt

    with cuda.use():
        np.add(kept, 1, out=kept)
        with pytest.raises(KeyboardInterrupt):
            cuda.capture(interrupted)
        assert float(kept[0]) == 1
        graph = cuda.capture(lambda: np.add(kept, 1, out=kept))
        graph.launch()
        assert float(kept[0]) == 2


def test_work_on_the_default_stream_does_not_end_a_capture(cuda: gn.Backend) -> None:
    kept, other = cuda.zeros(4, np.float32), cuda.zeros(4, np.float32)

    def beside() -> None:
        with cuda.xp.cuda.Device(cuda.ordinal), cuda.xp.cuda.Stream.null:
            np.add(other, 1, out=other)

    def work() -> None:
        np.add(kept, 1, out=kept)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(beside).result()
        np.add(kept, 1, out=kept)

    with cuda.use():
        work()
        cuda.capture(work).launch()
        assert float(kept[0]) == 4
        assert float(other[0]) == 2


@pytest.mark.parametrize("graph", ["on", "off"])
def test_warming_up_changes_nothing(cuda: gn.Backend, small: gn.Dataset, graph: str) -> None:
    options = {"graph": graph, "optimizer": "adam", "dropout": 0.3, "l2": 1e-3, "iterations": 1}
    cold, warm = (trainer(small, cuda, **options) for _ in range(2))
    with cuda.use():
        warm.step.warm_up(warm.metrics)
        cold.step.run()
        warm.step.run()
    for one, other in ((cold.model.flat, warm.model.flat), (cold.step.control, warm.step.control)):
        assert np.array_equal(cuda.to_host(one), cuda.to_host(other))


def test_the_refusal_is_told(cuda: gn.Backend, small: gn.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(work: object) -> None:
        raise gn.DeviceError("the step cannot be captured as a CUDA graph (not here).")

    wanted = finish(trainer(small, cuda))
    monkeypatch.setattr(cuda, "capture", refuse)
    one = trainer(small, cuda)
    found = finish(one)
    assert "launched one by one" in one.how
    assert "not here" in one.how
    assert found[0] == wanted[0]


# --- faults ----------------------------------------------------------------------------------------------


def test_divergence_is_told_with_its_step(cuda: gn.Backend, small: gn.Dataset) -> None:
    steps = []
    for device in (CPU, cuda):
        with pytest.raises(gn.TrainingDiverged) as caught:
            finish(trainer(small, device, (30, 4), loss="mse", optimizer=gn.SGD(1e3), iterations=100, log_every=50))
        steps.append(caught.value.iteration)
    assert abs(steps[0] - steps[1]) <= 1


# --- the command line ------------------------------------------------------------------------------------


def test_the_command_line_trains_the_same(cuda: gn.Backend) -> None:
    results = {}
    for device in ("cpu", "cuda"):
        command = [sys.executable, "-m", "gpunet", "train", "--device", device, "--json", "--iterations", "20"]
        done = subprocess.run([*command, "--hidden", "20"], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        results[device] = json.loads(done.stdout.splitlines()[-1])
    assert results["cuda"]["device"] == "cuda:0"
    assert results["cuda"]["test_accuracy"] == pytest.approx(results["cpu"]["test_accuracy"], abs=1e-3)
    assert results["cuda"]["test_loss"] == pytest.approx(results["cpu"]["test_loss"], abs=1e-4)


# --- streams and threads ---------------------------------------------------------------------------------


def test_work_is_in_order_with_the_callers_stream(cuda: gn.Backend) -> None:
    cupy, rng = cuda.xp, np.random.default_rng(5)
    x = rng.standard_normal((200, 30)).astype(np.float32)
    first, second = (gn.MLP([30, 40, 30], seed=seed) for seed in (1, 2))
    wanted = second.forward(first.forward(2 * x))
    first, second = (gn.MLP([30, 40, 30], seed=seed, backend="cuda") for seed in (1, 2))
    for stream in (cupy.cuda.Stream(), cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream.null):
        with cupy.cuda.Device(cuda.ordinal), stream:
            doubled = cupy.asarray(x) * 2
            found = second.forward(first.forward(doubled)) + 0
            np.testing.assert_allclose(found.get(), wanted, rtol=1e-3, atol=1e-4)


def test_trainings_in_threads_on_one_device(cuda: gn.Backend, small: gn.Dataset) -> None:
    alone = [finish(trainer(small, cuda, seed=seed, dropout=0.2, graph="on"))[2] for seed in range(3)]

    def train(seed: int) -> np.ndarray:
        return finish(trainer(small, cuda, seed=seed, dropout=0.2, graph="on"))[2]

    with ThreadPoolExecutor(3) as pool:
        for found, wanted in zip(pool.map(train, range(3)), alone, strict=True):
            assert np.array_equal(found, wanted)

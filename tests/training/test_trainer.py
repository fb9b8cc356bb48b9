"""The training loop: the order of examples, repeatability, records, divergence, and the ladder's lower steps."""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.kernels import threads
from gpunet.training.batches import Order


def numbered(size: int, dtype: str = "float32") -> gn.Dataset:
    """Examples whose only feature is their number."""
    return gn.Dataset.from_arrays(np.arange(size, dtype=dtype)[:, None], np.arange(size) % 2)


def noise(size: int = 90, features: int = 6, classes: int = 3, **options: Any) -> gn.Dataset:
    rng = np.random.default_rng(2)
    images = rng.standard_normal((size, features)).astype(np.float32)
    return gn.Dataset.from_arrays(images, np.arange(size) % classes, **options)


@pytest.fixture(autouse=True)
def batches_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA the way that has its batch in an array; everywhere a few epochs of small data ahead, and not hundreds."""
    monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", 0)
    monkeypatch.setattr("gpunet.training.batches.ROWS", 16)


def numbered_trainer(size: int, backend: gn.Backend | str = "cpu", **options: Any) -> gn.Trainer:
    """A trainer on numbered examples that is looked at after every step and learns next to nothing."""
    model = gn.MLP([1, 2], backend=backend)
    return gn.Trainer(model, numbered(size), log_every=1, optimizer=gn.SGD(1e-9), **options)


def seen(trainer: gn.Trainer) -> list[int]:
    """The examples in the order in which the steps of a run take them."""
    order = []
    for record in trainer.steps():
        if record.event == "step":
            order += trainer.backend.to_host(trainer.step.x)[:, 0].astype(int).tolist()
    return order


# --- the order of the examples --------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(size=st.integers(2, 40), data=st.data(), seed=st.integers(0, 3))
def test_each_example_comes_once_an_epoch(size: int, data: st.DataObject, seed: int) -> None:
    batch = data.draw(st.integers(1, size))
    steps = data.draw(st.integers(1, 30))
    order = seen(numbered_trainer(size, batch_size=batch, iterations=steps, seed=seed))
    assert len(order) == steps * batch
    for start in range(0, len(order), size):
        epoch = order[start : start + size]
        assert len(set(epoch)) == len(epoch)
    counts = Counter(order)
    assert max(counts.values()) - min(counts[example] for example in range(size)) <= 1


@pytest.mark.parametrize("batch", [1, 7, 20, 33, "all"])
def test_the_order_is_the_same_on_every_device(backend: gn.Backend, batch: int | str) -> None:
    orders = []
    for device in ("cpu", backend):
        orders.append(seen(numbered_trainer(33, device, batch_size=batch, iterations=12, seed=4)))
    assert orders[0] == orders[1]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int) -> list[int]:
        return seen(numbered_trainer(50, batch_size=50, iterations=3, seed=seed))

    first = order(0)
    assert first[:50] != first[50:100] != first[100:] != list(range(50))
    assert order(0) == first
    assert order(1)[:50] != first[:50]


def test_without_shuffling_the_examples_come_as_they_lie() -> None:
    order = Order(7, seed=1, shuffle=False)
    assert [order.permutation(epoch).tolist() for epoch in (0, 5)] == [list(range(7))] * 2


@pytest.mark.parametrize("optimizer", [gn.Adam(0.01), gn.Momentum(0.1), gn.Adagrad()])
def test_an_optimizer_goes_on_in_another_run(backend: gn.Backend, optimizer: gn.Optimizer) -> None:
    data = gn.load_dataset("mnist-5k")

    def run(model: gn.MLP, iterations: int, before: gn.Trainer | None = None) -> gn.Trainer:
        trainer = gn.Trainer(model, data, batch_size="all", iterations=iterations, optimizer=optimizer)
        if before is not None:
            trainer.step.take_over(before.step.optimizer_state, before.iteration)
        next(trainer.steps())
        return trainer

    once, model = (gn.MLP([784, 5, 10], dtype="float64", backend=backend) for _ in range(2))
    run(once, 5)
    run(model, 3, run(model, 2))
    expected = backend.to_host(once.flat)
    np.testing.assert_allclose(backend.to_host(model.flat), expected, rtol=1e-9, atol=1e-12)


def test_labels_stay_with_their_images(backend: gn.Backend) -> None:
    trainer = gn.Trainer(gn.MLP([1, 2], backend=backend), numbered(31), batch_size=7, iterations=9, log_every=1)
    for record in trainer.steps():
        if record.event == "step":
            images, labels = backend.to_host(trainer.step.x)[:, 0], backend.to_host(trainer.step.targets)
            np.testing.assert_array_equal(images.astype(int) % 2, labels)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_are_scaled_on_the_way(backend: gn.Backend, dtype: str) -> None:
    data = numbered(200, dtype)
    trainer = gn.Trainer(gn.MLP([1, 2], backend=backend), data, batch_size=200, iterations=1)
    next(iter(trainer.steps()))
    got = np.sort(backend.to_host(trainer.step.x)[:, 0])
    np.testing.assert_allclose(got, np.arange(200) / (255 if dtype == "uint8" else 1), rtol=1e-6)
    assert trainer.step.x.dtype == np.float32
    assert trainer.model.input_scale == data.scale


# --- repeatability ----------------------------------------------------------------------------------------


def trained(backend: gn.Backend | str = "cpu", data: gn.Dataset | None = None, **options: Any) -> np.ndarray:
    model = gn.MLP([6, 10, 8, 3], activation=["relu", "tanh"], dropout=0.2, seed=11, backend=backend)
    defaults = {"iterations": 40, "batch_size": 17, "optimizer": gn.Adam(0.01), "l2": 0.01, "clip_norm": 1.0}
    gn.train(model, noise() if data is None else data, **{**defaults, **options})
    return model.backend.to_host(model.flat).copy()


def test_the_same_run_gives_the_same_bits(backend: gn.Backend) -> None:
    np.testing.assert_array_equal(trained(backend), trained(backend))


def test_looking_more_often_changes_nothing(backend: gn.Backend) -> None:
    plain = trained(backend)
    np.testing.assert_array_equal(trained(backend, log_every=1), plain)
    held = noise(120, validation=30)
    watched = trained(backend, held, validate_every=3)
    np.testing.assert_array_equal(watched, trained(backend, held, validate_every=40))


def test_another_seed_gives_another_run() -> None:
    assert not np.array_equal(trained(seed=1), trained(seed=2))


def test_an_iterator_may_be_left_and_gone_on_with() -> None:
    whole = trained(log_every=5)
    model = gn.MLP([6, 10, 8, 3], activation=["relu", "tanh"], dropout=0.2, seed=11)
    options = {"iterations": 40, "batch_size": 17, "optimizer": gn.Adam(0.01), "l2": 0.01, "clip_norm": 1.0}
    trainer = gn.Trainer(model, noise(), log_every=5, **options)
    for record in trainer.steps():
        if record.iteration == 15:
            break
    records = list(trainer.steps())
    assert [record.iteration for record in records[:-1]] == [20, 25, 30, 35, 40]
    np.testing.assert_array_equal(model.flat, whole)


def test_the_full_batch_is_plain_gradient_descent() -> None:
    """Without sampling, the loss of a convex problem falls at every step."""
    model = gn.MLP([6, 3], initializer="zeros")
    records = list(gn.training_steps(model, noise(), batch_size="all", iterations=50, log_every=1))
    losses = [record.loss for record in records[:-1]]
    assert losses[0] == pytest.approx(math.log(3), abs=0.02)
    assert all(after < before for before, after in itertools.pairwise(losses))
    assert records[0].epoch == 1.0


def test_the_results_of_a_step_do_not_depend_on_the_order_within_the_batch() -> None:
    ends = []
    for seed in (0, 1):
        model = gn.MLP([6, 5, 3], seed=3, dtype="float64")
        gn.train(model, noise(), batch_size="all", iterations=20, seed=seed)
        ends.append(model.flat.copy())
    np.testing.assert_allclose(*ends, atol=1e-12)


# --- records ----------------------------------------------------------------------------------------------


def test_a_record_every_log_every_steps_and_a_result(backend: gn.Backend) -> None:
    model = gn.MLP([6, 4, 3], backend=backend)
    data = noise(test_images=np.zeros((4, 6), np.float32), test_labels=np.array([0, 1, 2, 0]))
    records = list(gn.training_steps(model, data, iterations=25, batch_size=30, log_every=10))
    assert [r.event for r in records] == ["step", "step", "step", "result"]
    assert [r.iteration for r in records[:-1]] == [10, 20, 25]
    assert [r.epoch for r in records[:-1]] == [pytest.approx(30 * i / 90) for i in (10, 20, 25)]
    assert all(r.learning_rate == 0.1 and r.seconds > 0 and r.steps_per_second > 0 for r in records[:-1])
    assert records[0].seconds <= records[1].seconds <= records[2].seconds
    result = records[-1]
    assert (result.iterations, result.stopped, result.device) == (25, "completed", backend.device)
    assert result.train_accuracy == gn.evaluate(model, data.train).accuracy
    assert result.test_loss == gn.evaluate(model, data.test).loss
    assert result.validation_loss is None
    assert "validation_loss" not in result.as_dict()
    assert result.as_dict()["event"] == "result"


def test_loss_and_accuracy_of_a_record_are_of_the_batch_before_its_update(backend: gn.Backend) -> None:
    data = noise()
    model = gn.MLP([6, 8, 3], backend=backend, seed=5)
    fresh = gn.evaluate(gn.MLP([6, 8, 3], backend=backend, seed=5), data.train)
    record = next(iter(gn.training_steps(model, data, batch_size="all", iterations=3, log_every=1)))
    assert record.loss == pytest.approx(fresh.loss, rel=1e-6)
    assert record.accuracy == pytest.approx(fresh.accuracy, abs=1e-9)


def test_validations_are_recorded_where_they_happen() -> None:
    data = noise(120, validation=30)
    records = list(
        gn.training_steps(gn.MLP([6, 4, 3]), data, iterations=20, batch_size=30, log_every=8, validate_every=5)
    )[:-1]
    assert [(r.iteration, r.validation_loss is not None) for r in records] == [
        (5, True), (8, False), (10, True), (15, True), (16, False), (20, True),
    ]  # fmt: skip
    model = gn.MLP([6, 4, 3])
    by_epoch = list(gn.training_steps(model, data, iterations=7, batch_size=30, log_every=100))[:-1]
    assert [r.iteration for r in by_epoch] == [3, 6, 7]
    assert by_epoch[-1].validation_loss == gn.evaluate(model, data.validation).loss


def test_epochs_are_counted_in_iterations() -> None:
    assert gn.Trainer(gn.MLP([6, 3]), noise(), epochs=2, batch_size=40).iterations == 5  # 180 examples in batches of 40
    assert gn.Trainer(gn.MLP([6, 3]), noise(), epochs=0.5, batch_size=9).iterations == 5
    assert gn.Trainer(gn.MLP([6, 3]), noise(), batch_size=9).iterations == 5000


def test_the_result_hands_on_its_record() -> None:
    result = gn.train(gn.MLP([6, 3]), noise(), iterations=4, batch_size=9, log_every=2)
    assert [record.iteration for record in result.history] == [2, 4]
    assert result.train_loss == result.record.train_loss
    with pytest.raises(AttributeError, match="no_such"):
        _ = result.no_such


# --- divergence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_every", [1, 7, 100])
@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "mse", "binary-cross-entropy", "hinge"])
def test_the_step_of_a_loss_that_is_not_finite_is_exact(backend: gn.Backend, loss: str, log_every: int) -> None:
    images = np.ones((40, 3), np.float32)
    images[21, 1] = np.inf  # one bad example; with batches of 8 it comes up in a known step
    data = gn.Dataset.from_arrays(np.ones((40, 3), np.float32), np.arange(40) % 2)
    data.train.images[...] = images
    model = gn.MLP([3, 4, 2], loss=loss, backend=backend, initializer=gn.Fill(0.3))
    options = {"iterations": 200, "batch_size": 8, "optimizer": gn.SGD(0.001), "seed": 6}
    trainer = gn.Trainer(model, data, log_every=log_every, **options)
    wanted = int(np.flatnonzero(trainer.step.order.permutation(0) == 21)[0]) // 8 + 1
    with pytest.raises(gn.TrainingDiverged, match=rf"iteration {wanted};.*0\.001") as caught:
        list(trainer.steps())
    assert caught.value.iteration == wanted


def test_a_run_that_blows_up_is_stopped(backend: gn.Backend, mnist_5k: gn.Dataset) -> None:
    model = gn.MLP([784, 20, 10], activation="identity", loss="mse", backend=backend)
    with pytest.raises(gn.TrainingDiverged, match="lower the learning rate") as caught:
        gn.train(model, mnist_5k, optimizer=gn.SGD(50.0), iterations=100)
    assert 1 < caught.value.iteration < 30


# --- the ladder -------------------------------------------------------------------------------------------


def test_the_perceptron_is_rosenblatts_rule(backend: gn.Backend) -> None:
    rng = np.random.default_rng(3)
    images = rng.standard_normal((30, 4)).astype(np.float32)
    labels = (images @ [1.0, -2.0, 0.5, 0.0] > 0.2).astype(int)
    data = gn.Dataset.from_arrays(images, labels)
    model = gn.MLP([4, 1], loss="perceptron", initializer="zeros", bias=0.0, backend=backend, dtype="float64")
    trainer = gn.Trainer(model, data, batch_size=1, iterations=300, optimizer=gn.SGD(1.0), seed=1)
    weights, bias = np.zeros(4), 0.0
    for epoch in range(10):
        for example in trainer.step.order.permutation(epoch).tolist():
            sign = 2 * labels[example] - 1
            if sign * (images[example].astype(float) @ weights + bias) <= 0:
                weights, bias = weights + sign * images[example], bias + sign
    result = list(trainer.steps())[-1]
    np.testing.assert_allclose(backend.to_host(model.parameters[0])[:, 0], weights, atol=1e-9)
    np.testing.assert_allclose(backend.to_host(model.parameters[1]), [bias], atol=1e-9)
    assert result.train_accuracy == 1.0  # the classes can be told apart by a line, so it ends


def test_logistic_regression_finds_the_minimum() -> None:
    rng = np.random.default_rng(8)
    images = rng.standard_normal((300, 2)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(images @ [1.5, -1.0] + 0.5)))
    labels = (rng.random(300) < chance).astype(int)
    model = gn.MLP([2, 1], loss="binary-cross-entropy", initializer="zeros", dtype="float64")
    data = gn.Dataset.from_arrays(images, labels)
    gn.train(model, data, batch_size="all", iterations=500, optimizer=gn.SGD(1.0))
    w, b = model.parameters[0][:, 0], float(model.parameters[1][0])
    residual = 1 / (1 + np.exp(-(images @ w + b))) - labels
    np.testing.assert_allclose([*(images.T @ residual / 300), residual.mean()], 0, atol=1e-6)
    np.testing.assert_allclose([*w, b], [1.5, -1.0, 0.5], atol=0.5)


def test_softmax_regression_learns_the_digits(backend: gn.Backend, mnist_5k: gn.Dataset) -> None:
    model = gn.MLP([784, 10], initializer="zeros", bias=0.0, backend=backend)
    result = gn.train(model, mnist_5k, optimizer=gn.SGD(0.5), iterations=300, batch_size=100)
    assert result.test_accuracy > 0.86
    assert result.history[0].loss < math.log(10)


def test_the_write_ups_network_learns_the_digits(backend: gn.Backend, mnist_5k: gn.Dataset) -> None:
    model = gn.MLP([784, 50, 30, 10], backend=backend)
    result = gn.train(model, mnist_5k, optimizer=gn.SGD(0.1), iterations=200)
    assert result.test_accuracy > 0.8
    assert result.train_accuracy > result.test_accuracy


def test_binary_cross_entropy_on_one_hot_targets_learns_the_digits(mnist_5k: gn.Dataset) -> None:
    model = gn.MLP([784, 30, 10], activation="sigmoid", loss="binary-cross-entropy")
    assert gn.train(model, mnist_5k, optimizer=gn.Adam(0.01), iterations=300).test_accuracy > 0.87


def test_soft_targets(backend: gn.Backend) -> None:
    data = noise()
    soft = 0.9 * np.eye(3, dtype=np.float32)[data.train.labels] + np.float32(0.1 / 3)
    ends = []
    for labels, loss in [(soft, "softmax-cross-entropy"), (data.train.labels, gn.SoftmaxCrossEntropy(0.1))]:
        model = gn.MLP([6, 8, 3], loss=loss, backend=backend)
        gn.train(model, gn.Dataset.from_arrays(data.train.images, labels), iterations=30, batch_size=20)
        ends.append(backend.to_host(model.flat))
    np.testing.assert_allclose(*ends, atol=2e-6)  # smoothing is soft targets by another name


# --- what does not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "options", "sentence"),
    [
        ([5, 3], {}, "the model takes 5 features per example, and arrays has 6"),
        ([6, 2], {}, "the model has 2 outputs, and arrays has 3 classes"),
        ([6, 3], {"batch_size": 91}, "batch_size 91: the training set has only 90 examples"),
        ([6, 3], {"batch_size": 0}, "batch_size 0: at least 1 is needed"),
        ([6, 3], {"batch_size": "some"}, "batch_size some: this is no whole number"),
        ([6, 3], {"iterations": 5, "epochs": 1}, "iterations and epochs both give the length of the run"),
        ([6, 3], {"iterations": 0}, "iterations 0: at least 1 is needed"),
        ([6, 3], {"epochs": 0}, "epochs 0: a finite number above 0 is needed"),
        ([6, 3], {"log_every": 2.5}, "log_every 2.5: this is no whole number"),
        ([6, 3], {"optimizer": "adamax"}, "unknown optimizer 'adamax'"),
        ([6, 3], {"optimizer": 0.1}, "unknown optimizer 0.1; derive one from Optimizer, or choose one of sgd"),
        ([6, 3], {"loss": "entropy"}, "unknown loss 'entropy'"),
        ([6, 3], {"graph": "maybe"}, "graph maybe: unknown way to run steps; choose one of auto, on, off"),
        ([6, 3], {"seed": -1}, "seed -1: at least 0 is needed"),
        ([6, 3], {"iteratoins": 3}, "there is no option iteratoins; did you mean iterations?"),
        ([6, 3], {"callback": []}, "there is no option callback; did you mean callbacks?"),
    ],
)
def test_options_that_do_not_fit_are_told(sizes: list[int], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=sentence):
        gn.train(gn.MLP(sizes), noise(), **{"batch_size": 10, **options})


def test_a_softmax_of_one_output_is_refused() -> None:
    with pytest.raises(gn.UsageError, match="softmax of a single output is always 1"):
        gn.train(gn.MLP([6, 1]), noise(classes=2), batch_size=10)


# --- the trainer in hand ---------------------------------------------------------------------------------


def test_steps_by_hand_are_the_steps_of_the_loop(backend: gn.Backend) -> None:
    by_hand, by_loop = (
        gn.Trainer(gn.MLP([6, 5, 3], backend=backend), noise(), iterations=25, batch_size=20) for _ in range(2)
    )
    list(by_loop.steps())
    with backend.use():
        for _ in range(25):
            by_hand.step.run()
        assert by_hand.iteration == 25
        with pytest.raises(gn.UsageError, match="all 25 steps are done"):
            by_hand.step.run()
    assert np.array_equal(backend.to_host(by_hand.model.flat), backend.to_host(by_loop.model.flat))


def test_a_trainer_that_was_stopped_and_left_goes_on() -> None:
    trainer = numbered_trainer(30, iterations=5, batch_size=3)
    for _ in trainer.steps():
        trainer.stop()
        break
    assert [record.event for record in trainer.steps()] == ["step"] * 4 + ["result"]


def test_an_iterator_that_is_left_behind_ends_nothing() -> None:
    told = []

    class Tell(gn.Callback):
        def on_start(self, trainer: gn.Trainer) -> None:
            told.append("start")

        def on_end(self, trainer: gn.Trainer) -> None:
            told.append("end")

    trainer = numbered_trainer(30, iterations=5, batch_size=3, callbacks=[Tell()])
    left = trainer.steps()
    next(left)
    second = trainer.steps()
    next(second)
    left.close()
    assert told == ["start", "end", "start"]
    list(second)
    assert told == ["start", "end", "start", "end"]


def test_a_schedule_that_remembers_is_not_shared_by_runs() -> None:
    class Remembering(gn.Schedule):
        name = "remembering"
        watches_validation = True

        def __init__(self) -> None:
            super().__init__(0.5)
            self.seen: list[float] = []

        def observe(self, loss: float) -> bool:
            self.seen.append(loss)
            return True

        def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
            return np.full(len(steps), self.initial / 2 ** len(self.seen))

    optimizer = gn.SGD(Remembering())
    data = noise(validation=10)
    rates = []
    for _ in range(2):
        result = gn.train(
            gn.MLP([6, 3]), data, optimizer=optimizer, iterations=6, batch_size=20, validate_every=2, log_every=1
        )
        rates.append([record.learning_rate for record in result.history])
    assert rates[0] == rates[1]
    assert len(set(rates[0])) > 1


def test_a_schedule_that_cannot_be_copied_is_taken_as_it_is() -> None:
    class Locked(gn.Constant):
        name = "locked"

        def __init__(self) -> None:
            super().__init__(0.1)
            self.lock = threading.Lock()

    assert gn.train(gn.MLP([6, 3]), noise(), optimizer=gn.SGD(Locked()), iterations=2, batch_size=20).iterations == 2


def test_options_that_are_refused_leave_the_model_as_it_was() -> None:
    model = gn.MLP([6, 3])
    with pytest.raises(gn.UsageError):
        gn.Trainer(model, noise(), loss="mse", batch_size=0)
    assert model.loss.name == "softmax-cross-entropy"


def test_the_loss_of_the_trainer_that_runs_is_the_models() -> None:
    model = gn.MLP([6, 3])
    first = gn.Trainer(model, noise(), loss="mse", iterations=2, batch_size=20)
    gn.Trainer(model, noise(), iterations=2, batch_size=20)
    list(first.steps())
    assert model.loss.name == "mse"


@pytest.mark.parametrize(("epochs", "steps"), [(0.07, 7), (0.14, 14), (1.1, 110), (0.071, 8)])
def test_epochs_are_not_rounded_up_by_an_error_in_binary(epochs: float, steps: int) -> None:
    trainer = gn.Trainer(gn.MLP([6, 3]), noise(100), epochs=epochs, batch_size=1)
    assert trainer.iterations == steps


def test_trainings_in_threads_give_the_bits_of_trainings_alone() -> None:
    if not threads.describe():
        pytest.skip("the BLAS of this NumPy is none whose threads can be set")
    before = [library["num_threads"] for library in threads.describe()]
    rng = np.random.default_rng(3)
    data = gn.Dataset.from_arrays(rng.random((300, 400), np.float32), rng.integers(0, 10, 300))

    def train(count: int) -> bytes:
        model = gn.MLP([400, 100, 10])
        gn.train(model, data, iterations=20 * count, log_every=1, threads=count)
        return model.flat.tobytes()

    alone = [train(1), train(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(train, (1, 2))) == alone
    assert [library["num_threads"] for library in threads.describe()] == before

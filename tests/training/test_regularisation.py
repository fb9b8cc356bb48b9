"""L2, L1, max-norm, clipping and early stopping. Weight decay is in test_optimizers.py, dropout in test_dropout.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gpunet as gn
from gpunet.kernels.penalties import PARTIAL_SUMS, add_penalty, clip_by_norm, clip_columns, penalty

CPU = gn.get_backend("cpu")


def blobs(seed: int = 0, spread: float = 0.7, size: int = 200) -> gn.Dataset:
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    points = rng.normal(0, spread, (size, 5)) + np.where(labels, 1.0, -1.0)[:, None]
    return gn.Dataset.from_arrays(points.astype(np.float32), labels, validation=0.25)


def weights(model: gn.MLP) -> list[np.ndarray]:
    return [model.backend.to_host(w) for w in model.parameters[::2]]


def test_penalties_are_those_of_the_weights_alone(rng: np.random.Generator) -> None:
    parameters, gradients = rng.standard_normal(10), np.zeros(10)
    add_penalty(gradients, parameters, 6, 0.3, 0.2)
    np.testing.assert_allclose(gradients[:6], 0.3 * parameters[:6] + 0.2 * np.sign(parameters[:6]))
    assert not gradients[6:].any()
    wanted = 0.15 * (parameters[:6] ** 2).sum() + 0.2 * np.abs(parameters[:6]).sum()
    assert penalty(parameters, 6, 0.3, 0.2) == pytest.approx(wanted)


@pytest.mark.parametrize(("weight", "share"), [(0, 0), (4, 0.25)])
def test_where_a_batch_weighs_nothing_there_is_no_penalty(
    backend: gn.Backend, rng: np.random.Generator, weight: int, share: float
) -> None:
    host = rng.standard_normal(10)
    with backend.use():
        parameters, gradients, divisor = map(backend.to_device, (host, np.zeros(10), np.full(1, float(weight))))
        add_penalty(gradients, parameters, 6, 0.3, 0.2, divisor)
        found = backend.to_host(gradients)
    np.testing.assert_allclose(found[:6], share * (0.3 * host[:6] + 0.2 * np.sign(host[:6])))


def test_the_gradient_of_the_penalty_agrees_with_finite_differences(rng: np.random.Generator) -> None:
    parameters, h = rng.standard_normal(8), 1e-6
    gradients = np.zeros(8)
    add_penalty(gradients, parameters, 5, 0.7, 0.4)
    for place in range(8):
        shift = np.zeros(8)
        shift[place] = h
        difference = penalty(parameters + shift, 5, 0.7, 0.4) - penalty(parameters - shift, 5, 0.7, 0.4)
        assert gradients[place] == pytest.approx(difference / (2 * h), abs=1e-8)


@pytest.mark.parametrize("option", ["l2", "l1"])
def test_penalties_make_weights_smaller_and_are_in_the_recorded_loss(backend: gn.Backend, option: str) -> None:
    sizes, first = {}, {}
    for strength in (0.0, 0.1):
        model = gn.MLP([5, 8, 2], backend=backend, seed=2)
        result = gn.train(model, blobs(), iterations=100, batch_size=30, log_every=1, **{option: strength})
        sizes[strength] = sum(np.abs(w).sum() for w in weights(model))
        first[strength] = result.history[0].loss
        # The result's losses are without penalties, so that runs can be compared.
        assert result.train_loss == pytest.approx(gn.evaluate(model, blobs().train).loss, rel=1e-6)
    fresh = weights(gn.MLP([5, 8, 2], seed=2))
    term = sum((0.05 * w.astype(float) ** 2 if option == "l2" else 0.1 * np.abs(w)).sum() for w in fresh)
    assert first[0.1] - first[0.0] == pytest.approx(term, rel=1e-5)
    assert sizes[0.1] < 0.8 * sizes[0.0]


@pytest.mark.parametrize("option", ["l2", "l1"])
def test_biases_are_not_penalised(backend: gn.Backend, option: str) -> None:
    ends = []
    for strength in (0.0, 3.0):
        model = gn.MLP([5, 8, 2], backend=backend, bias=0.5, seed=2)
        gn.train(model, blobs(), iterations=1, batch_size=150, **{option: strength})
        ends.append(np.concatenate([backend.to_host(bias) for bias in model.parameters[1::2]]))
    np.testing.assert_allclose(*ends, rtol=1e-6)


def test_l1_makes_weights_zero_where_l2_does_not() -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((200, 20)).astype(np.float32)
    labels = (images[:, 0] > 0).astype(int)  # the other 19 features say nothing
    data = gn.Dataset.from_arrays(images, labels)
    small = {}
    for option in ("l1", "l2"):
        model = gn.MLP([20, 1], loss="binary-cross-entropy", initializer="zeros")
        gn.train(model, data, iterations=400, batch_size="all", optimizer=gn.SGD(0.1), **{option: 0.05})
        w = weights(model)[0][:, 0]
        small[option] = int((np.abs(w[1:]) < 0.01).sum())
        assert abs(w[0]) > 0.3
    assert small["l1"] >= 17 > small["l2"]


@pytest.mark.parametrize("limit", [0.5, 1.5])
def test_max_norm_holds_after_every_step(backend: gn.Backend, limit: float) -> None:
    model = gn.MLP([5, 8, 2], backend=backend, initializer="he-normal")
    steps = gn.training_steps(
        model, blobs(), iterations=20, batch_size=50, log_every=1, max_norm=limit, optimizer=gn.SGD(1.0)
    )
    lengths = []
    for _ in steps:
        lengths.append(max(np.linalg.norm(w, axis=0).max() for w in weights(model)))
        assert lengths[-1] <= limit * (1 + 1e-6)
    assert max(lengths) > limit * 0.99  # the limit was reached, else this shows nothing


@settings(max_examples=60, deadline=None)
@given(
    matrix=arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(-100, 100)),
    limit=st.floats(0.01, 50),
)
def test_clipping_columns_keeps_directions(matrix: np.ndarray, limit: float) -> None:
    clipped = matrix.copy()
    clip_columns(clipped, limit)
    before, after = np.linalg.norm(matrix, axis=0), np.linalg.norm(clipped, axis=0)
    np.testing.assert_allclose(after, np.minimum(before, limit), rtol=1e-12)
    np.testing.assert_allclose(clipped * before, matrix * after, atol=1e-9)
    inside = before <= limit * (1 - 1e-12)
    np.testing.assert_array_equal(clipped[:, inside], matrix[:, inside])


@settings(max_examples=60, deadline=None)
@given(gradient=arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e3, 1e3)), limit=st.floats(1e-3, 1e4))
def test_clipping_the_norm_keeps_the_direction(gradient: np.ndarray, limit: float) -> None:
    clipped = gradient.copy()
    clip_by_norm(clipped, limit)
    before, after = np.linalg.norm(gradient), np.linalg.norm(clipped)
    assert after == pytest.approx(min(before, limit), rel=1e-9)
    np.testing.assert_allclose(clipped * before, gradient * after, rtol=1e-9, atol=1e-9)
    if before < limit:
        np.testing.assert_array_equal(clipped, gradient)


@pytest.mark.parametrize("l2", [0.0, 10.0])
def test_no_step_is_longer_than_clipping_allows(backend: gn.Backend, l2: float) -> None:
    rate, limit = 0.5, 0.01
    model = gn.MLP([5, 8, 2], backend=backend, initializer="he-normal")
    options = {"iterations": 10, "batch_size": 50, "log_every": 1, "clip_norm": limit, "l2": l2}
    before = model.backend.to_host(model.flat).copy()
    lengths = []
    for record in gn.training_steps(model, blobs(), optimizer=gn.SGD(rate), **options):
        if record.event == "step":
            now = model.backend.to_host(model.flat).copy()
            lengths.append(np.linalg.norm(now - before))
            before = now
    assert len(lengths) == 10
    np.testing.assert_allclose(lengths, rate * limit, rtol=1e-3)


def test_clipping_saves_a_run_that_would_diverge() -> None:
    big = gn.Dataset.from_arrays(blobs().train.images * 1e6, blobs().train.labels)
    options = {"iterations": 30, "batch_size": 50, "loss": "mse"}
    with pytest.raises(gn.TrainingDiverged, match="clip_norm"):
        gn.train(gn.MLP([5, 4, 1], loss="mse"), big, **options)
    result = gn.train(gn.MLP([5, 4, 1], loss="mse"), big, clip_norm=1e-6, **options)
    assert math.isfinite(result.train_loss)


# --- early stopping -----------------------------------------------------------------------------------


def overfitting() -> tuple[gn.MLP, gn.Dataset, dict]:
    """A network that learns its few noisy examples by heart, and how it is trained."""
    rng = np.random.default_rng(4)
    images = rng.standard_normal((60, 10)).astype(np.float32)
    labels = rng.integers(0, 2, 60)  # nothing but noise
    labels[:2] = 0, 1
    data = gn.Dataset.from_arrays(images, labels, validation=0.5)
    options = {"iterations": 300, "batch_size": 10, "validate_every": 3, "optimizer": gn.SGD(0.5), "log_every": 300}
    return gn.MLP([10, 30, 2], initializer="he-normal", seed=6), data, options


def test_early_stopping_gives_back_exactly_the_best_weights(backend: gn.Backend) -> None:
    _, data, options = overfitting()
    model = gn.MLP([10, 30, 2], initializer="he-normal", seed=6, backend=backend)
    seen = {}
    result = None
    for record in gn.training_steps(model, data, early_stopping=4, **options):
        if record.event == "step":
            if record.validation_loss is not None:
                seen[record.iteration] = (record.validation_loss, model.backend.to_host(model.flat).copy())
        else:
            result = record
    best = min(seen, key=lambda step: seen[step][0])
    assert result.stopped == "early stopping"
    assert result.best_iteration == best
    assert result.iterations == best + 4 * 3 < 300
    np.testing.assert_array_equal(model.backend.to_host(model.flat), seen[best][1])
    assert result.validation_loss == pytest.approx(seen[best][0], rel=1e-12)


def fake_validation(trainer: gn.Trainer, losses: Iterator[float]) -> None:
    """Have early stopping see these losses in place of those of the validations."""
    stopping = trainer.early_stopping
    observe = stopping.observe
    stopping.observe = lambda _, iteration, weights: observe(next(losses), iteration, weights)


def test_patience_starts_anew_with_each_better_loss() -> None:
    model, data, options = overfitting()
    trainer = gn.Trainer(model, data, early_stopping=2, **options)
    losses = iter([5.0, 6.0, 4.0, 4.0, 3.0, 3.5, 3.0])
    fake_validation(trainer, losses)
    record = list(trainer.steps())[-1]
    assert (record.stopped, record.best_iteration, record.iterations) == ("early stopping", 15, 21)


def test_without_early_stopping_the_last_weights_stay() -> None:
    model, data, options = overfitting()
    result = gn.train(model, data, **options)
    assert result.stopped == "completed"
    assert result.best_iteration is None
    assert result.train_accuracy == 1.0


def test_a_run_that_ends_while_it_gets_better_has_the_best_weights_too() -> None:
    result = gn.train(gn.MLP([5, 8, 2]), blobs(), iterations=20, batch_size=50, validate_every=5, early_stopping=50)
    assert result.stopped == "completed"
    assert result.best_iteration == 20


def test_validation_losses_that_are_no_numbers_count_as_not_better() -> None:
    model, data, options = overfitting()
    trainer = gn.Trainer(model, data, early_stopping=3, **options)
    fake_validation(trainer, iter([1.0, *[math.nan] * 9]))
    record = list(trainer.steps())[-1]
    assert (record.stopped, record.best_iteration, record.iterations) == ("early stopping", 3, 12)


def test_never_a_number_leaves_the_last_weights() -> None:
    model, data, options = overfitting()
    trainer = gn.Trainer(model, data, early_stopping=2, **options)
    fake_validation(trainer, itertools.repeat(math.nan))
    record = list(trainer.steps())[-1]
    assert (record.stopped, record.best_iteration, record.iterations) == ("early stopping", None, 6)


def test_a_validation_loss_that_overflows_ends_neither_the_run_nor_in_a_warning() -> None:
    data = gn.Dataset.from_arrays(
        np.ones((20, 3), np.float32), np.arange(20) % 2,
        validation=(np.full((4, 3), 3e38, np.float32), np.array([0, 1, 0, 1])),
    )  # fmt: skip
    model = gn.MLP([3, 4, 2], initializer=gn.Normal(3.0))
    result = gn.train(model, data, iterations=8, batch_size=10, early_stopping=9)
    assert result.iterations == 8
    assert not math.isfinite(result.validation_loss)


def test_options_are_checked() -> None:
    model, data = gn.MLP([5, 2]), blobs()
    without = gn.Dataset.from_arrays(data.train.images, data.train.labels)
    for options, sentence in [
        ({"l2": -1}, "l2 -1: a finite number of at least 0 is needed"),
        ({"l1": "much"}, "l1 much: this is no number"),
        ({"max_norm": 0}, "max_norm 0: a finite number above 0 is needed"),
        ({"clip_norm": math.inf}, "clip_norm inf: a finite number above 0 is needed"),
        ({"early_stopping": 0}, "early_stopping 0: at least 1 is needed"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence):
            gn.Trainer(model, data, **options)
    with pytest.raises(gn.UsageError, match="early_stopping 3: arrays has no validation examples"):
        gn.Trainer(model, without, early_stopping=3)


@pytest.mark.parametrize("size", [1e19, 1e25])
def test_norms_beyond_the_squares_of_float32(backend: gn.Backend, size: float) -> None:
    with backend.use():
        vector = backend.to_device(np.array([3, -4], np.float32) * np.float32(size))
        clip_by_norm(vector, 2.0, backend.empty(PARTIAL_SUMS, np.float64))
        columns = backend.to_device(np.array([[3, 0], [-4, 1]], np.float32) * np.array([size, 1], np.float32))
        clip_columns(columns, 2.0)
    np.testing.assert_allclose(backend.to_host(vector), [1.2, -1.6], rtol=1e-6)
    np.testing.assert_allclose(backend.to_host(columns), [[1.2, 0], [-1.6, 1]], rtol=1e-6)

"""Softmax-cross-entropy: the one function that everybody's training goes through, at its extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gpunet as gn
from gpunet.kernels import cross_entropy


def reference(logits: np.ndarray, q: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """The definition in float64: mean of sum(q (log sum exp - z)) by the examples' weights, and its gradient."""
    z, q = logits.astype(np.float64), q.astype(np.float64)
    share = np.ones(len(z)) if weights is None else weights
    share = share / share.sum()
    shifted = z - z.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    gradient = np.exp(shifted - log_sum) * q.sum(axis=1, keepdims=True) - q
    with np.errstate(invalid="ignore"):
        losses = np.where(q > 0, q * (log_sum - shifted), 0).sum(axis=1)
    return float(share @ losses), gradient * share[:, None]


def on(backend: gn.Backend, logits: np.ndarray, labels: np.ndarray, **options: object) -> tuple[float, np.ndarray]:
    with backend.use():
        loss, gradient = gn.softmax_cross_entropy(backend.to_device(logits), backend.to_device(labels), **options)
        assert gradient.dtype == logits.dtype
        assert loss.dtype == (np.float64 if logits.dtype == np.float64 else np.float32)
        return float(loss), backend.to_host(gradient)


TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-14}
#: Of numbers up to 1: a probability near it is rounded to 2.4e-4 in float16.
ABSOLUTE = {"float16": 5e-4, "float32": 2e-7, "float64": 1e-15}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("shape", [(7, 10), (5, 1), (1, 2), (3, 300)], ids=str)
def test_indices_one_hot_and_soft_targets(
    backend: gn.Backend, dtype: str, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    logits = (rng.standard_normal(shape) * 3).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    one_hot = np.eye(shape[1])[labels]
    wanted_loss, wanted = reference(logits, one_hot)
    for given_labels in (labels, labels.astype(np.uint8) if shape[1] < 256 else labels, one_hot):
        loss, gradient = on(backend, logits, given_labels)
        assert loss == pytest.approx(wanted_loss, rel=TOLERANCE[dtype], abs=ABSOLUTE[dtype])
        np.testing.assert_allclose(gradient, wanted, rtol=TOLERANCE[dtype], atol=ABSOLUTE[dtype])
    soft = rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    wanted_loss, wanted = reference(logits, soft)
    loss, gradient = on(backend, logits, soft)
    assert loss == pytest.approx(wanted_loss, rel=TOLERANCE[dtype])
    np.testing.assert_allclose(gradient, wanted, rtol=TOLERANCE[dtype] * 5, atol=ABSOLUTE[dtype])


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_logits_of_ten_thousand(backend: gn.Backend, dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [1e4, 1e4, -1e4]], dtype)
    loss, gradient = on(backend, logits, np.array([0, 0, 2]))
    # The losses are 0, 20,000 and 20,000 + log 2: a confident mistake costs much, and not infinity.
    assert loss == pytest.approx((0 + 2e4 + 2e4 + np.log(2)) / 3, rel=1e-6)
    np.testing.assert_allclose(gradient * 3, [[0, 0, 0], [-1, 1, 0], [0.5, 0.5, -1]], atol=2e-3)


def test_a_class_of_probability_zero_costs_its_distance(backend: gn.Backend) -> None:
    logits = np.array([[0.0, -200.0]], np.float32)  # exp(-200) is 0 in float32
    loss, gradient = on(backend, logits, np.array([1]))
    assert loss == 200.0
    np.testing.assert_array_equal(gradient, [[1.0, -1.0]])
    assert on(backend, logits, np.array([0])) == (0.0, pytest.approx(np.zeros((1, 2))))


def test_a_class_at_minus_infinity_is_left_out(backend: gn.Backend) -> None:
    logits = np.array([[1.0, -np.inf, 0.0]], np.float32)
    loss, gradient = on(backend, logits, np.array([0]))
    wanted_loss, wanted = reference(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    np.testing.assert_allclose(gradient[:, [0, 2]], wanted, rtol=1e-6)
    assert gradient[0, 1] == 0


def test_one_class_has_no_loss(backend: gn.Backend) -> None:
    loss, gradient = on(backend, np.array([[5.0], [-1e4]], np.float32), np.array([0, 0]))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 1)))


def test_a_hundred_thousand_classes(backend: gn.Backend, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((3, 100_000)).astype(np.float32)
    labels = np.array([0, 99_999, 31_415])
    one_hot = np.zeros(logits.shape)
    one_hot[np.arange(3), labels] = 1
    wanted_loss, wanted = reference(logits, one_hot)
    loss, gradient = on(backend, logits, labels)
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-10)


def test_equal_logits_have_the_loss_log_c(backend: gn.Backend) -> None:
    loss, _ = on(backend, np.full((4, 10), 3.5, np.float32), np.arange(4))
    assert loss == pytest.approx(np.log(10), rel=1e-6)


def test_label_smoothing(backend: gn.Backend, rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    smooth = 0.8 * np.eye(4)[labels] + 0.2 / 4
    for given_labels in (labels, np.eye(4)[labels]):
        loss, gradient = on(backend, logits, given_labels, label_smoothing=0.2)
        wanted_loss, wanted = reference(logits, smooth)
        assert loss == pytest.approx(wanted_loss, rel=1e-12)
        np.testing.assert_allclose(gradient, wanted, atol=1e-14)


def test_class_weights(backend: gn.Backend, rng: np.random.Generator) -> None:
    logits, labels = rng.standard_normal((6, 3)), rng.integers(0, 3, 6)
    weights = np.array([0.5, 1.0, 4.0])
    soft = rng.dirichlet(np.ones(3), 6)
    for given_labels, q in ((labels, np.eye(3)[labels]), (soft, soft)):
        loss, gradient = on(backend, logits, given_labels, class_weights=weights)
        wanted_loss, wanted = reference(logits, q, q @ weights)
        assert loss == pytest.approx(wanted_loss, rel=1e-12)
        np.testing.assert_allclose(gradient, wanted, atol=1e-14)
    both, _ = on(backend, logits, labels, class_weights=weights, label_smoothing=0.1)
    smooth = 0.9 * np.eye(3)[labels] + 0.1 / 3
    assert both == pytest.approx(reference(logits, smooth, weights[labels])[0], rel=1e-12)


@pytest.mark.parametrize("few", [32, 2])
def test_pieces_of_rows_have_their_own_weights(few: int, rng: np.random.Generator, monkeypatch: Any) -> None:
    for name, value in {"FEW_CLASSES": few, "BLOCK_ROWS": 4, "PIECE": 12}.items():
        monkeypatch.setattr(cross_entropy, name, value)
    logits, labels = rng.standard_normal((10, 3)), rng.integers(0, 3, 10)
    for weights in (None, np.array([0.5, 1.0, 4.0])):
        loss, gradient = gn.softmax_cross_entropy(logits, labels, class_weights=weights)
        wanted_loss, wanted = reference(logits, np.eye(3)[labels], None if weights is None else weights[labels])
        assert loss == pytest.approx(wanted_loss, rel=1e-12)
        np.testing.assert_allclose(gradient, wanted, atol=1e-14)


def test_smoothing_at_extreme_logits_is_finite(backend: gn.Backend) -> None:
    loss, gradient = on(backend, np.array([[1e4, -1e4]], np.float32), np.array([0]), label_smoothing=0.1)
    assert loss == pytest.approx(0.05 * 2e4, rel=1e-6)
    assert np.isfinite(gradient).all()


@settings(max_examples=60, deadline=None)
@given(
    logits=arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-1e3, 1e3)),
    data=st.data(),
)
def test_gradient_rows_sum_to_nothing_and_the_loss_is_never_negative(logits: np.ndarray, data: st.DataObject) -> None:
    batch, classes = logits.shape
    labels = data.draw(arrays(np.int64, batch, elements=st.integers(0, classes - 1)))
    loss, gradient = gn.softmax_cross_entropy(logits, labels)
    wanted_loss, wanted = reference(logits, np.eye(classes)[labels])
    assert loss >= 0
    assert loss == pytest.approx(wanted_loss, rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient, wanted, atol=1e-13)
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-14)


def test_neither_argument_is_changed(backend: gn.Backend, rng: np.random.Generator) -> None:
    logits, soft = rng.standard_normal((4, 3)).astype(np.float32), rng.dirichlet(np.ones(3), 4).astype(np.float32)
    with backend.use():
        z, q = backend.to_device(logits.copy()), backend.to_device(soft.copy())
        gn.softmax_cross_entropy(z, q, label_smoothing=0.1, class_weights=[1, 2, 3])
        np.testing.assert_array_equal(backend.to_host(z), logits)
        np.testing.assert_array_equal(backend.to_host(q), soft)


@pytest.mark.parametrize(
    ("logits", "labels", "sentence"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), "class indices from 0 to 2"),
        (np.zeros((2, 3)), np.array([0, -1]), "class indices from 0 to 2"),
        (np.zeros((2, 3)), np.array([0]), "do not fit"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "do not fit"),
        (np.zeros((2, 3)), np.zeros((2, 3, 1)), "do not fit"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "integer class indices"),
        (np.zeros(3), np.array([0]), r"must be of shape \(batch, classes\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "not empty"),
        (np.zeros((2, 3), int), np.array([0, 1]), "float16, float32 or float64, not int64"),
    ],
)
def test_what_does_not_fit_is_told(logits: np.ndarray, labels: np.ndarray, sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=sentence):
        gn.softmax_cross_entropy(logits, labels)


def test_hyperparameters_are_checked() -> None:
    logits, labels = np.zeros((2, 3)), np.array([0, 1])
    for options, sentence in [
        ({"label_smoothing": 1.0}, "label_smoothing must be a number of at least 0 and below 1, not 1.0"),
        ({"label_smoothing": float("nan")}, "at least 0 and below 1, not nan"),
        ({"label_smoothing": "much"}, "at least 0 and below 1, not 'much'"),
        ({"class_weights": [1, 1]}, "2 class weights for 3 classes"),
        ({"class_weights": [1, 1, 0]}, "positive numbers"),
        ({"class_weights": 5}, "positive numbers, one for each class, not 5"),
        ({"class_weights": ["a", "b", "c"]}, "positive numbers"),
        ({"class_weights": []}, "positive numbers"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence):
            gn.softmax_cross_entropy(logits, labels, **options)

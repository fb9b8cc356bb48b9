"""The losses other than softmax-cross-entropy: values, slopes, extremes, hyperparameters."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels import control as at
from gpunet.kernels.losses import LOSSES, ElementwiseLoss, loss_step

ELEMENTWISE = sorted(set(gn.LOSSES) - {"softmax-cross-entropy"})
LOGITS = np.array([[0.3, -1.2, 2.5], [-0.7, 0.2, 0.9], [1.4, 0.4, -3.0], [0.1, 1.6, 1.1]])
LABELS = np.array([2, 0, 0, 1], np.int32)


def hinge(z: float, t: float) -> float:
    return max(0.0, 1 - (2 * t - 1) * z)


def huber(z: float, t: float) -> float:
    return 0.5 * (z - t) ** 2 if abs(z - t) <= 1 else abs(z - t) - 0.5


#: The loss of one output z with target t (0 or 1), and whether an example's loss is the mean over its outputs.
DEFINITIONS = {
    "binary-cross-entropy": (lambda z, t: -math.log(1 / (1 + math.exp(-z if t else z))), False),
    "mse": (lambda z, t: (z - t) ** 2, True),
    "mae": (lambda z, t: abs(z - t), True),
    "huber": (huber, True),
    "hinge": (hinge, False),
    "squared-hinge": (lambda z, t: hinge(z, t) ** 2, False),
    "perceptron": (lambda z, t: max(0.0, -(2 * t - 1) * z), False),
}


def run(loss: gn.Loss, logits: np.ndarray, targets: np.ndarray, device: gn.Backend | None = None) -> tuple:
    """Loss of each example, gradient, bias gradient, and the control block, on the host."""
    device = device or gn.get_backend("cpu")
    with device.use():
        z, t = device.to_device(logits.copy()), device.to_device(targets)
        delta, bias = device.xp.empty_like(z), device.xp.empty(z.shape[1], z.dtype)
        losses = device.xp.empty(len(z), np.float64 if z.dtype == np.float64 else np.float32)
        control = device.to_device(np.array([0, 4, -1, 0], np.int64))
        loss_step(z, None, t, loss, delta, bias, losses, control)
        return tuple(device.to_host(array) for array in (losses, delta, bias, control))


def test_every_entry_has_its_definition_here() -> None:
    assert set(DEFINITIONS) == set(ELEMENTWISE)
    assert all(name == entry.name and entry.formula for name, entry in gn.LOSSES.items())


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_are_those_of_the_definition(backend: gn.Backend, name: str) -> None:
    define, mean = DEFINITIONS[name]
    targets = np.eye(3)[LABELS]
    each = np.array([[define(z, t) for z, t in zip(*pair, strict=True)] for pair in zip(LOGITS, targets, strict=True)])
    wanted = each.mean(axis=1) if mean else each.sum(axis=1)
    for given in (LABELS, targets):
        np.testing.assert_allclose(run(LOSSES.make(name), LOGITS, given, backend)[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_single_output_is_one_class_against_the_other(name: str) -> None:
    z, labels = LOGITS[:, :1], np.array([1, 0, 1, 0], np.int32)
    define, _ = DEFINITIONS[name]
    losses, _, _, _ = run(LOSSES.make(name), z, labels)
    np.testing.assert_allclose(losses, [define(v, t) for v, t in zip(z[:, 0], labels.tolist(), strict=True)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_extremes_give_finite_numbers_of_the_dtype(backend: gn.Backend, name: str, dtype: str) -> None:
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype)
    losses, delta, bias, control = run(LOSSES.make(name), logits, np.array([1, 0], np.int32), backend)
    assert delta.dtype == bias.dtype == losses.dtype == np.dtype(dtype)
    assert np.isfinite(losses).all()
    assert np.isfinite(delta).all()
    assert control[at.NONFINITE] == -1


def test_probabilities_of_any_logits(backend: gn.Backend) -> None:
    logits = np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    given = backend.to_device(logits), backend.xp
    with backend.use():
        softmax = backend.to_host(LOSSES.make("softmax-cross-entropy").probabilities(*given))
        sigmoid = backend.to_host(LOSSES.make("binary-cross-entropy").probabilities(*given))
    np.testing.assert_allclose(softmax, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(sigmoid, [[1, 0.5, 0], [0, 0, 0]])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_output_that_is_not_finite_is_noted_with_its_step(name: str, bad: float) -> None:
    logits = LOGITS.copy()
    logits[1, 2] = bad
    with np.errstate(invalid="ignore"):
        control = run(LOSSES.make(name), logits, LABELS)[3]
    assert control[at.NONFINITE] == 4


def test_the_gradient_of_the_sum_is_the_bias_gradient(backend: gn.Backend) -> None:
    for name in ELEMENTWISE:
        _, delta, bias, _ = run(LOSSES.make(name), LOGITS, LABELS, backend)
        np.testing.assert_allclose(bias, delta.sum(axis=0), atol=1e-15)


def test_the_loss_is_the_mean_over_the_batch() -> None:
    for name in ELEMENTWISE:
        once = run(LOSSES.make(name), LOGITS, LABELS)[1]
        twice = run(LOSSES.make(name), np.tile(LOGITS, (2, 1)), np.tile(LABELS, 2))[1]
        np.testing.assert_allclose(twice[:4], once / 2, rtol=1e-12)


def test_regression_targets_may_be_any_numbers() -> None:
    z, t = np.array([[0.5, 2.0]]), np.array([[3.0, -1.0]])
    losses, delta, _, _ = run(LOSSES.make("mse"), z, t)
    assert losses[0] == pytest.approx((2.5**2 + 3**2) / 2)
    np.testing.assert_allclose(delta, [[-2.5, 3.0]])


def test_the_perceptron_moves_only_what_is_not_on_the_right_side() -> None:
    z = np.array([[2.0], [0.0], [-3.0], [0.0]])
    _, delta, _, _ = run(LOSSES.make("perceptron"), z, np.array([1, 1, 1, 0], np.int32))
    np.testing.assert_array_equal(delta[:, 0] * 4, [0, -1, -1, 1])


def test_huber_takes_its_delta(backend: gn.Backend) -> None:
    z = np.array([[0.1], [0.6], [-2.0]])
    losses, delta, _, _ = run(gn.Huber(delta=0.5), z, np.zeros(3, np.int32), backend)
    np.testing.assert_allclose(losses, [0.005, 0.5 * (0.6 - 0.25), 0.5 * (2 - 0.25)], rtol=1e-12)
    np.testing.assert_allclose(delta[:, 0] * 3, [0.1, 0.5, -0.5], rtol=1e-12)


def test_names_and_hyperparameters_are_checked() -> None:
    with pytest.raises(gn.UsageError, match="unknown loss 'mean'; choose one of softmax-cross-entropy"):
        LOSSES.make("mean")
    with pytest.raises(gn.UsageError, match="delta must be a number above 0, not 0"):
        LOSSES.make("huber", delta=0)
    with pytest.raises(gn.UsageError, match="loss mse has no delta; it takes none"):
        LOSSES.make("mse", delta=1.0)
    assert LOSSES.make("huber", delta=2).settings() == {"delta": 2.0}


@pytest.mark.parametrize("name", sorted(gn.LOSSES))
def test_two_classes_are_learned_with_every_loss(backend: gn.Backend, name: str, rng: np.random.Generator) -> None:
    labels = np.arange(200) % 2
    points = rng.normal(0, 0.4, (200, 2)) + np.where(labels, 1.0, -1.0)[:, None]
    data = gn.Dataset.from_arrays(points.astype(np.float32), labels)
    for outputs in (2,) if name == "softmax-cross-entropy" else (1, 2):
        model = gn.MLP([2, outputs], initializer="zeros", bias=0.0, loss=name, backend=backend)
        result = gn.train(model, data, optimizer=gn.SGD(0.1), iterations=60, batch_size=20)
        assert result.train_accuracy > 0.97
        predictions = model.backend.to_host(model.predict(data.train.images))
        assert (predictions == labels).mean() == pytest.approx(result.train_accuracy)


class LogCosh(ElementwiseLoss):
    """A loss of one's own, right unless an attribute is made wrong."""

    name = "log-cosh"
    cuda_value = "log(cosh(z - t))"
    cuda_slope = "tanh(z - t)"
    factor = 1.0

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.log(np.cosh(z - t))

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.factor * np.tanh(z - t)


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_check_of_a_loss_passes_every_entry(backend: gn.Backend, name: str) -> None:
    assert gn.check_loss(name, backend) <= 1e-6


def test_the_check_of_a_loss_passes_one_of_ones_own_and_hyperparameters(backend: gn.Backend) -> None:
    for loss in (LogCosh(), "huber:delta=0.3", gn.losses.SoftmaxCrossEntropy(0.1, class_weights=[1, 2, 3])):
        assert 0 < gn.check_loss(loss, backend) <= 1e-6


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_the_check_of_a_loss_tells_a_wrong_gradient(factor: float) -> None:
    loss = LogCosh()
    loss.factor = factor
    with pytest.raises(gn.UsageError, match="loss 'log-cosh': its gradient differs from the finite difference at"):
        gn.check_loss(loss)


def test_the_check_of_a_loss_tells_what_cannot_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogCosh, "value", lambda self, z, t: z + 1 / 0)
    with pytest.raises(gn.UsageError, match="loss 'log-cosh': its NumPy form cannot be run"):
        gn.check_loss(LogCosh())
    with pytest.raises(gn.UsageError, match="unknown loss 'log-cos'"):
        gn.check_loss("log-cos")


@pytest.mark.parametrize(
    ("attribute", "formula", "sentence"),
    [
        ("cuda_value", "log(cosh(z - t)) + ACC(0.001)", "its CUDA value differs"),
        ("cuda_slope", "tanh(z + t)", "its CUDA gradient differs"),
        ("cuda_slope", "tanh(z - u)", "its CUDA form cannot be run"),
    ],
)
def test_the_check_of_a_loss_tells_a_wrong_cuda_form(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch, attribute: str, formula: str, sentence: str
) -> None:
    monkeypatch.setattr(LogCosh, attribute, formula)
    with pytest.raises(gn.UsageError, match=f"loss 'log-cosh': {sentence}"):
        gn.check_loss(LogCosh(), cuda)

"""The gradients of a batch of one's own, against finite differences and against a step of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn


def batch(loss: str, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 4))
    if gn.LOSSES.make(loss).answers_values:
        return x, rng.standard_normal((7, outputs)).astype(np.float32).astype(float)
    return x, rng.integers(0, max(outputs, 2), 7)


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 8.0)], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    ("loss", "outputs"), [("softmax-cross-entropy", 3), ("binary-cross-entropy", 1), ("squared-hinge", 3), ("mse", 2)]
)
def test_the_slope_of_the_loss(backend: gn.Backend, loss: str, outputs: int, weights: Any) -> None:
    x, y = batch(loss, outputs)
    task = "regression" if loss == "mse" else "classification"
    # Dropout has no part in it.
    model = gn.MLP([4, 5, outputs], "tanh", dtype="float64", backend=backend, loss=loss, dropout=0.5)
    model.preparation = model.preparation.with_changes(task=task)
    value, gradients = gn.loss_and_gradients(model, x, y, weights=weights)
    before = backend.to_host(model.flat).copy()
    for parameter, gradient in zip(model.parameters, gradients, strict=True):
        assert gradient.shape == parameter.shape
        measured = np.empty(gradient.shape)
        for index in np.ndindex(measured.shape):
            ends = []
            for step in (1e-6, -1e-6):
                parameter[index] += step
                ends.append(float(gn.loss_and_gradients(model, x, y, weights=weights)[0]))
                parameter[index] -= step
            measured[index] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(backend.to_host(gradient), measured, atol=1e-8)
    np.testing.assert_allclose(backend.to_host(model.flat), before, atol=1e-12)
    split = gn.Split(x, y, classes=max(outputs, 2), task=task)
    if weights is None:
        assert float(value) == pytest.approx(gn.evaluate(model, split).loss, rel=1e-6)


def test_those_of_a_step_of_training(backend: gn.Backend) -> None:
    data = gn.load_dataset("mnist-5k")
    model = gn.MLP([784, 20, 10], backend=backend)
    part = data.train.take(slice(0, 50))
    value, gradients = gn.loss_and_gradients(model, part.inputs, part.targets)
    few = gn.Dataset("few", part)
    trainer = gn.Trainer(model, few, optimizer=gn.SGD(1.0), batch_size="all", iterations=1, shuffle=False)
    record = next(trainer.steps())
    assert record.loss == pytest.approx(float(value), rel=1e-6)
    for mine, theirs in zip(gradients, model.gradients, strict=True):
        np.testing.assert_allclose(backend.to_host(mine), backend.to_host(theirs), rtol=1e-4, atol=1e-7)


def test_what_does_not_fit_is_told() -> None:
    model = gn.MLP([4, 5, 3])
    with pytest.raises(gn.UsageError, match="takes 4 features"):
        gn.loss_and_gradients(model, np.ones((2, 3)), [0, 1])
    with pytest.raises(gn.DataError, match="has no place among"):
        gn.loss_and_gradients(model, np.ones((2, 4)), [0, 3])
    with pytest.raises(gn.DataError, match="3 labels for 2"):
        gn.loss_and_gradients(model, np.ones((2, 4)), [0, 1, 1])
    with pytest.raises(gn.UsageError, match="unknown loss"):
        gn.loss_and_gradients(model, np.ones((2, 4)), [0, 1], loss="mze")

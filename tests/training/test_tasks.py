"""Regression and several labels through the trainer: records in units, stopping, and going on bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn

LOSSES = {"regression": "mse", "multi-label": "binary-cross-entropy", "table": "mse"}


def data(task: str) -> gn.Dataset:
    if task == "table":  # a regression whose rows are encoded on the device
        return gn.load_dataset("diabetes", scale="robust", bins=8, clip=True).hold_out(0.2)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((160, 4)).astype(np.float32)
    values = inputs @ rng.standard_normal((4, 3))
    targets: Any = 500 + 100 * values if task == "regression" else (values > 0.3).astype(int)
    return gn.Dataset.from_arrays(inputs[:120], targets[:120], inputs[120:], targets[120:], validation=30, task=task)


def trainer(task: str, backend: gn.Backend, **options: Any) -> gn.Trainer:
    given = data(task)
    model = gn.MLP([given.features, 8, given.outputs], loss=LOSSES[task], backend=backend)
    return gn.Trainer(model, given, iterations=60, batch_size=30, log_every=10, **options)


@pytest.mark.parametrize("task", LOSSES)
def test_a_task_ends_the_same_after_an_interruption(backend: gn.Backend, task: str) -> None:
    metric = {"regression": "mae", "multi-label": "f1-macro", "table": "r2"}[task]
    options: dict[str, Any] = {"early_stopping": 8, "metric": metric}
    whole = trainer(task, backend, **options)
    *_, end = whole.steps()
    first = trainer(task, backend, **options)
    for record in first.steps():
        if record.iteration >= 30:
            break
    second = trainer(task, backend, **options)
    second.restore(*first.state())
    *_, again = second.steps()
    np.testing.assert_array_equal(backend.to_host(whole.model.flat), backend.to_host(second.model.flat))
    assert (again.test_metrics, again.best_iteration) == (end.test_metrics, end.best_iteration)


def test_a_regression_is_told_in_the_units_of_its_targets(backend: gn.Backend) -> None:
    split = data("regression").test
    *_, end = trainer("regression", backend, optimizer="adam").steps()
    model = trainer("regression", backend, optimizer="adam").model
    result = gn.train(model, data("regression"), iterations=60, batch_size=30, log_every=10, optimizer="adam")
    predicted = backend.to_host(model.predict(split.inputs))
    assert result.test_mae == pytest.approx(np.abs(predicted - split.targets).mean(), rel=1e-5)
    assert result.test_mae == pytest.approx(end.test_mae)
    assert 1 < result.test_mae < 400  # units of some hundreds, a loss of standardised targets
    assert result.test_loss < 2
    assert "accuracy" not in str(result.record.as_dict())

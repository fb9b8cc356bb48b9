"""The losses of the regressor: their slopes by finite differences, and the same on every device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import gpunet as gn
from gpunet.kernels.losses import loss_step
from gpunet.sklearn.losses import HalfPoissonDeviance, HalfSquaredError


def run(backend: gn.Backend, loss: Any, logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and losses of a batch."""
    with backend.use():
        z, t = backend.to_device(logits.copy()), backend.to_device(targets)
        delta, losses = backend.xp.empty_like(z), backend.empty(len(z), z.dtype)
        loss_step(z, None, t, loss, delta, None, losses, None)
        return backend.to_host(delta), backend.to_host(losses)


@pytest.mark.parametrize("loss", [HalfSquaredError(), HalfPoissonDeviance()], ids=lambda loss: loss.name)
def test_the_gradient_is_the_slope_of_the_loss(backend: gn.Backend, loss: Any) -> None:
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((5, 3)), rng.poisson(1.0, (5, 3)).astype(float)
    delta, losses = run(backend, loss, z, t)
    assert (losses >= 0).all()
    for index in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[index] = 1e-6
        above, below = (run(backend, loss, z + sign * step, t)[1].mean() for sign in (1, -1))
        assert delta[index] == pytest.approx((above - below) / 2e-6, abs=1e-8)


def test_values_that_are_published(backend: gn.Backend) -> None:
    from sklearn.metrics import mean_poisson_deviance, mean_squared_error

    rng = np.random.default_rng(1)
    z, t = rng.standard_normal((50, 1)), rng.poisson(2.0, (50, 1)).astype(float)
    assert 2 * run(backend, HalfPoissonDeviance(), z, t)[1].mean() == pytest.approx(mean_poisson_deviance(t, np.exp(z)))
    assert 2 * run(backend, HalfSquaredError(), z, t)[1].mean() == pytest.approx(mean_squared_error(t, z))

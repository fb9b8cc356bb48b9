"""The two losses of scikit-learn's MLPRegressor, which differ from the library's own by a factor or by their link."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.kernels.losses import ElementwiseLoss


class HalfSquaredError(ElementwiseLoss):
    """Half the squared difference, the sum over the outputs."""

    name = "half-squared-error"
    formula = "sum((z - t)^2) / 2"
    source = "Legendre 1805"
    cuda_value = "ACC(0.5) * (z - t) * (z - t)"
    cuda_slope = "z - t"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.square(z - t) / 2

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return z - t


class HalfPoissonDeviance(ElementwiseLoss):
    """Half the deviance of Poisson distributions whose means are exp(z), the sum over the outputs; targets t >= 0."""

    name = "half-poisson-deviance"
    formula = "sum(exp(z) - t z + t log(t) - t)"
    source = "Nelder & Wedderburn 1972"
    cuda_value = "exp(z) - t * z + (t > ACC(0) ? t * log(t) - t : ACC(0))"
    cuda_slope = "exp(z) - t"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.exp(z) - t * z + t * np.log(np.where(t > 0, t, 1)) - t

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.exp(z) - t

    def values(self, logits: Any, xp: Any) -> Any:
        return xp.exp(logits)

"""Adam as scikit-learn computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.kernels.optimizers import Adam


class EarlyAdam(Adam):
    """Adam in the form before section 2.1 of Kingma & Ba (2015): epsilon is added to the root with its bias, so that
    it counts for more in the first steps."""

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        unbiased, beta1, beta2, root, epsilon = super().more(steps, rates)
        return unbiased, beta1, beta2, root, epsilon * root

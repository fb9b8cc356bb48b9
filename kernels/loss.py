"""What a loss is: its attributes, its two forms, and how targets are read."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels.build import Ready
from gpunet.registry import Entry


class Loss(Entry):
    """Base of the losses.

    Attributes:
        name: the name in the table.
        output: what turns logits into predictions: "softmax", "sigmoid" or "identity".
        threshold: with a single output, the class is 1 where the output is above it.
        formula: the loss of one example, for the documentation.
        source: where it comes from.
        cuda_file: the CUDA form, the file that computes the loss of one row (see `loss.cu`).
    """

    output = "identity"
    threshold = 0.0
    cuda_file = ""

    def numpy(self, logits: np.ndarray, targets: np.ndarray, delta: np.ndarray, losses: Any) -> None:
        """The NumPy form: write `delta` and, unless it is None, `losses` (see `loss_step`)."""
        raise UsageError(f"loss {self.name!r} has no NumPy form.")

    def prepare(self, logits: np.ndarray, targets: np.ndarray, delta: np.ndarray, losses: Any) -> Ready:
        """The NumPy form on these arrays, to be run as often as one likes."""
        return functools.partial(self.numpy, logits, targets, delta, losses)

    @property
    def cuda_defines(self) -> tuple[tuple[str, str], ...]:
        """The `#define`s that `cuda_file` needs."""
        return ()


def one_hot(targets: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """A fresh (n, classes) matrix of targets, from class indices or soft targets."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    if classes == 1:
        return targets.astype(dtype)[:, None]
    wanted = np.zeros((len(targets), classes), dtype)
    wanted[np.arange(len(targets)), targets] = 1
    return wanted

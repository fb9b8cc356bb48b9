"""What a loss is: its attributes, its two forms, and how targets and right answers are read."""

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
    """

    output = "identity"
    threshold = 0.0

    def numpy(self, logits: np.ndarray, targets: np.ndarray, delta: np.ndarray, rows: Any) -> None:
        """The NumPy form: write `delta` and, unless it is None, `rows` (see `loss_step`)."""
        raise UsageError(f"loss {self.name!r} has no NumPy form.")

    def prepare(self, logits: np.ndarray, targets: np.ndarray, delta: np.ndarray, rows: Any) -> Ready:
        """The NumPy form on these arrays, to be run as often as one likes."""
        return functools.partial(self.numpy, logits, targets, delta, rows)

    def cuda_kernel(self, logits: Any, targets: Any) -> tuple[str, tuple[tuple[str, str], ...], tuple[Any, ...]]:
        """The CUDA form: the `.cu` file, the `#define`s it needs and its extra arguments."""
        raise UsageError(f"loss {self.name!r} has no CUDA form.")


def count_right(logits: np.ndarray, targets: np.ndarray, threshold: float) -> np.ndarray:
    """For each row whether the prediction is the label (or the largest soft target)."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > threshold) == (targets.reshape(-1) > 0.5)
    labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
    return logits.argmax(axis=1) == labels


def one_hot(targets: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """A fresh (n, classes) matrix of targets, from class indices or soft targets."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    if classes == 1:
        return targets.astype(dtype)[:, None]
    wanted = np.zeros((len(targets), classes), dtype)
    wanted[np.arange(len(targets)), targets] = 1
    return wanted

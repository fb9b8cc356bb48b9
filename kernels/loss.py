"""What a loss is: its attributes, its two forms, what logits mean under it, and how targets are read."""

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
        output: what makes a probability of a logit: "softmax" or "sigmoid", or "identity" where nothing does.
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

    def bind(self, logits: np.ndarray, targets: np.ndarray, delta: np.ndarray, losses: Any) -> Ready:
        """The NumPy form on these arrays, to be run as often as one likes."""
        return functools.partial(self.numpy, logits, targets, delta, losses)

    @property
    def cuda_defines(self) -> tuple[tuple[str, str], ...]:
        """The `#define`s that `cuda_file` needs."""
        return ()

    # What logits (n, outputs) of an array module `xp` mean; a metric, a model and a picture ask here.

    @property
    def compares(self) -> bool:
        """Whether the outputs of an example are weighed against each other, so that one alone says nothing."""
        return self.output == "softmax"

    @property
    def gives_probabilities(self) -> bool:
        """Whether `probabilities` can be had."""
        return self.output in ("softmax", "sigmoid")

    @property
    def answers_values(self) -> bool:
        """Whether outputs are numbers as targets may be, and not sides of a margin or chances."""
        return not self.gives_probabilities and not getattr(self, "signed", False)

    def probabilities(self, logits: Any, xp: Any) -> Any:
        """The probability of each output, (n, outputs).

        Raises:
            UsageError: the loss gives none.
        """
        if not self.gives_probabilities:
            raise UsageError(f"the loss {self.name} gives no probabilities.")
        if self.compares:
            shifted = xp.exp(logits - logits.max(axis=1, keepdims=True))
            return shifted / shifted.sum(axis=1, keepdims=True)
        small = xp.exp(-abs(logits))  # keeps the digits of small results, and never overflows
        return xp.where(logits >= 0, 1, small) / (1 + small)

    def classes(self, logits: Any, xp: Any) -> Any:
        """The class (n,) int64 that is answered: the largest output, of equals the first; of a single output 1 where
        it is above `threshold`, and else 0."""
        if logits.shape[1] == 1:
            return (logits[:, 0] > self.threshold).astype(np.int64)
        return logits.argmax(axis=1)

    def labels(self, logits: Any, xp: Any) -> Any:
        """Which labels are given, of outputs that are labels: (n, outputs) bool."""
        return logits > self.threshold

    def values(self, logits: Any, xp: Any) -> Any:
        """The numbers (n, outputs) that are answered."""
        return logits


def one_hot(targets: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """A fresh (n, classes) matrix of targets, from class indices or soft targets."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    if classes == 1:
        return targets.astype(dtype)[:, None]
    wanted = np.zeros((len(targets), classes), dtype)
    wanted[np.arange(len(targets)), targets] = 1
    return wanted

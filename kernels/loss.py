"""What a loss is: its attributes, its two forms, what logits mean under it, and how targets are read."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels.build import Ready
from gpunet.registry import Entry, Registry


class Loss(Entry):
    """Base of the losses.

    Attributes:
        name: the name in the table.
        output: what makes a probability of a logit: "softmax" or "sigmoid", or "identity" where nothing does.
        threshold: with a single output, the class is 1 where the output is above it.
        formula: the loss of one example, for the documentation.
        source: where it comes from.
        class_weights: a positive number for each class, or None for all ones.
        cuda_file: the CUDA form, the file that computes the loss of one row (see `loss.cu`).
    """

    output = "identity"
    threshold = 0.0
    class_weights: list[float] | None = None
    cuda_file = ""

    def numpy(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> None:
        """The NumPy form: write `delta` and, unless it is None, `losses` (see `loss_step`).

        `share` (batch,) is what each example counts, or None where that is 1 / batch for all.
        """
        raise UsageError(f"loss {self.name!r} has no NumPy form.")

    def bind(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> Ready:
        """The NumPy form on these arrays, to be run as often as one likes."""
        return functools.partial(self.numpy, logits, targets, share, delta, losses)

    @property
    def cuda_defines(self) -> tuple[tuple[str, str], ...]:
        """The `#define`s that `cuda_file` needs."""
        return ()

    def example_weights(self, targets: Any, sample_weights: Any, outputs: int, xp: Any) -> Any:
        """What each example weighs: its sample weight times the class weight of its class.

        Of soft targets it is the mean of the class weights under the target. The loss of several examples is
        sum(w l) / sum(w), in training and in evaluation.

        Args:
            targets: (n,) class indices or (n, outputs), of the array module `xp`.
            sample_weights: (n,) numbers of at least 0, or None for all ones.
            outputs: the outputs of the network.

        Returns:
            (n,), or None where all examples weigh the same.

        Raises:
            UsageError: there are not as many class weights as classes.
        """
        if self.class_weights is None:
            return sample_weights
        classes = max(outputs, 2) if targets.ndim == 1 else outputs
        if len(self.class_weights) != classes:
            raise UsageError(f"there are {len(self.class_weights)} class weights for {classes} classes.")
        of_classes = xp.asarray(self.class_weights, np.float64)
        weights = of_classes[targets] if targets.ndim == 1 else targets @ of_classes
        return weights if sample_weights is None else weights * sample_weights

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


LOSSES: Registry[type[Loss], Loss] = Registry(
    "loss",
    Loss,
    synonyms={
        "softmax-cross-entropy": "cross-entropy crossentropy ce nll log-loss categorical-cross-entropy "
        "categorical-crossentropy sparse-categorical-crossentropy cross-entropy-loss crossentropyloss",
        "binary-cross-entropy": "bce log-loss binary-crossentropy logistic bce-with-logits bceloss bcewithlogitsloss",
        "mse": "l2 mean-squared-error squared-error quadratic least-squares mseloss",
        "mae": "l1 mean-absolute-error absolute-error l1loss",
        "huber": "smooth-l1 smoothl1loss huberloss",
        "hinge": "svm",
    },
    group="gpunet.losses",
)


def one_hot(targets: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    """A fresh (n, classes) matrix of targets, from class indices or soft targets."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    if classes == 1:
        return targets.astype(dtype)[:, None]
    wanted = np.zeros((len(targets), classes), dtype)
    wanted[np.arange(len(targets)), targets] = 1
    return wanted

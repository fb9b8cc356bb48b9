"""Losses that compare each output with its target by itself, whatever the other outputs are.

Beside `value` and `slope` for NumPy, an entry has the two CUDA expressions that `elementwise_loss.cuh` is compiled
with. In the conditions of the CUDA expressions a NaN takes the branch that keeps it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError
from gpunet.kernels.build import one_line
from gpunet.kernels.loss import LOSSES, Loss, one_hot


class ElementwiseLoss(Loss):
    """A loss that compares each output z with its target t (0 or 1 for class labels, or any number).

    Subclasses give `value(z, t)` and `slope(z, t)` for NumPy and `cuda_value`, `cuda_slope`, expressions
    in `z` and `t` of type ACC. `signed` losses want targets -1 and 1. `mean_over_outputs` says whether the
    loss of an example is the mean over its outputs or their sum. On several outputs a signed loss is one-vs-all: the
    output of the right class against 1, each of the others against -1.
    """

    signed = False
    mean_over_outputs = False
    cuda_file = "elementwise_loss.cuh"
    cuda_value = ""
    cuda_slope = ""

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The loss of each output, same shape as `z`."""
        raise UsageError(f"loss {self.name!r} has no value.")

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The derivative of `value` with respect to `z`."""
        raise UsageError(f"loss {self.name!r} has no slope.")

    def _share(self, outputs: int) -> float:
        return 1.0 / outputs if self.mean_over_outputs else 1.0

    def numpy(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> None:
        batch, outputs = logits.shape
        wanted = one_hot(targets, outputs, np.float32 if logits.dtype == np.float16 else logits.dtype)
        z = logits.astype(np.float32) if logits.dtype == np.float16 else logits
        if self.signed:
            wanted *= 2
            wanted -= 1
        of_outputs = self._share(outputs)
        scale = z.dtype.type(of_outputs / batch) if share is None else share[:, None] * z.dtype.type(of_outputs)
        np.multiply(self.slope(z, wanted), scale, out=delta, casting="same_kind")
        # The slope of most of these losses is finite at an infinite output; what is wrong must show in the gradient.
        if not math.isfinite(np.add.reduce(z, axis=None)):
            delta[...] = math.nan
        if losses is not None:
            value = self.value(z, wanted)
            np.multiply(value[:, 0] if outputs == 1 else value.sum(axis=1), of_outputs, out=losses)

    @property
    def cuda_defines(self) -> tuple[tuple[str, str], ...]:
        # The function bodies come in as macros, so that one source serves every elementwise loss.
        return (
            ("LOSS_VALUE(z, t)", f"({one_line(self.cuda_value)})"),
            ("LOSS_SLOPE(z, t)", f"({one_line(self.cuda_slope)})"),
            ("SIGNED", str(int(self.signed))),
            ("MEAN", str(int(self.mean_over_outputs))),
        )


@LOSSES.register
class BinaryCrossEntropy(ElementwiseLoss):
    """Binary cross-entropy of the sigmoid of each output, summed over the outputs.

    -(t log(p) + (1 - t) log(1 - p)) with p = sigmoid(z), computed as max(z, 0) - z t + log(1 + exp(-|z|)):
    the full form of the cross-entropy, in which the outputs for the wrong classes are pushed down too.
    """

    name = "binary-cross-entropy"
    output = "sigmoid"
    formula = "-sum(t * log(sigmoid(z)) + (1 - t) * log(1 - sigmoid(z)))"
    source = "Cox 1958"
    cuda_value = "(z > ACC(0) ? z : ACC(0)) - z * t + log1p(exp(-fabs(z)))"
    cuda_slope = "ACC(0.5) * tanh(ACC(0.5) * z) + ACC(0.5) - t"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        if z.dtype == np.float64:  # the same in one pass; in float32 exp and log1p are vectorised, and this is not
            return np.logaddexp(0, z) - z * t
        return np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        half = z.dtype.type(0.5)
        return half * np.tanh(half * z) + (half - t)


@LOSSES.register
class MeanSquaredError(ElementwiseLoss):
    """The mean over the outputs of the squared difference."""

    name = "mse"
    threshold = 0.5
    formula = "mean((z - t)^2)"
    source = "Legendre 1805"
    mean_over_outputs = True
    cuda_value = "(z - t) * (z - t)"
    cuda_slope = "ACC(2) * (z - t)"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.square(z - t)

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return 2 * (z - t)


@LOSSES.register
class MeanAbsoluteError(ElementwiseLoss):
    """The mean over the outputs of the absolute difference; its slope is 0 where there is none."""

    name = "mae"
    threshold = 0.5
    formula = "mean(|z - t|)"
    source = "Boscovich 1757"
    mean_over_outputs = True
    cuda_value = "fabs(z - t)"
    cuda_slope = "ACC((z > t) - (z < t))"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.abs(z - t)

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.sign(z - t)


@LOSSES.register
class Huber(ElementwiseLoss):
    """Squared error near the target and absolute error beyond `delta` (Huber 1964), the mean over the outputs."""

    name = "huber"
    threshold = 0.5
    formula = "mean((z - t)^2 / 2 where |z - t| <= delta, else delta (|z - t| - delta / 2))"
    source = "Huber 1964"
    mean_over_outputs = True

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = number(f"loss {self.name}", "delta", delta, 0.0, above=True)

    @property
    def cuda_value(self) -> str:  # type: ignore[override]
        near, far = "ACC(0.5) * (z - t) * (z - t)", f"ACC({self.delta}) * (fabs(z - t) - ACC({self.delta / 2}))"
        return f"fabs(z - t) <= ACC({self.delta}) ? {near} : {far}"

    @property
    def cuda_slope(self) -> str:  # type: ignore[override]
        high = f"ACC({self.delta})"
        return f"z - t > {high} ? {high} : z - t < -{high} ? -{high} : z - t"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        # With c the difference clipped to delta, both branches are c (d - c / 2).
        difference = np.abs(z - t)
        clipped = np.minimum(difference, z.dtype.type(self.delta))
        return clipped * (difference - clipped / 2)

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        limit = z.dtype.type(self.delta)
        return np.clip(z - t, -limit, limit)


@LOSSES.register
class Hinge(ElementwiseLoss):
    """The support vector machine's loss (Cortes & Vapnik 1995), one-vs-all, the sum over the outputs.

    An output loses nothing once it is on the right side with a margin of 1.
    """

    name = "hinge"
    formula = "sum(max(0, 1 - t z)), t = -1 or 1"
    source = "Cortes & Vapnik 1995"
    signed = True
    cuda_value = "t * z >= ACC(1) ? ACC(0) : ACC(1) - t * z"
    cuda_slope = "t * z >= ACC(1) ? ACC(0) : -t"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.maximum(1 - t * z, 0)

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return -t * (t * z < 1)


@LOSSES.register
class SquaredHinge(ElementwiseLoss):
    """The square of the hinge (Tang 2013), one-vs-all, the sum over the outputs; its slope has no jump."""

    name = "squared-hinge"
    formula = "sum(max(0, 1 - t z)^2), t = -1 or 1"
    source = "Tang 2013"
    signed = True
    cuda_value = "t * z >= ACC(1) ? ACC(0) : (ACC(1) - t * z) * (ACC(1) - t * z)"
    cuda_slope = "t * z >= ACC(1) ? ACC(0) : ACC(-2) * t * (ACC(1) - t * z)"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.square(np.maximum(1 - t * z, 0))

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return -2 * t * np.maximum(1 - t * z, 0)


@LOSSES.register
class Perceptron(ElementwiseLoss):
    """What Rosenblatt's learning rule descends (1958), one-vs-all, the sum over the outputs.

    An output on the wrong side of 0, or on it, moves the weights by its input, towards the right side; one on
    the right side moves nothing. SGD with batches of one example is the perceptron's rule to the letter.
    """

    name = "perceptron"
    formula = "sum(max(0, -t z)), t = -1 or 1"
    source = "Rosenblatt 1958"
    signed = True
    cuda_value = "t * z > ACC(0) ? ACC(0) : -(t * z)"
    cuda_slope = "t * z > ACC(0) ? ACC(0) : -t"

    def value(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.maximum(-(t * z), 0)

    def slope(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return -t * (t * z <= 0)

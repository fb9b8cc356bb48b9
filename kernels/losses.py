"""Losses: the value of each example and the gradient with respect to the logits in one pass.

Every loss is the mean over the batch of one number per example. A loss works on logits, the outputs of
the last layer before any softmax or sigmoid, because only from there can it be computed without
overflow or loss of digits. An entry of `LOSSES` is all there is to a loss.

Two kinds: `SoftmaxCrossEntropy` couples the outputs of a row (`cross_entropy.py`); the elementwise losses compare
each output with its target (`elementwise_losses.py`, and `elementwise_loss.cuh`, which takes the two CUDA
expressions of the entry). Both are compiled into the one kernel of `loss.cu`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels import control as at
from gpunet.kernels.build import Ready, in_turn, is_cuda, operation, raw, same_device, types
from gpunet.kernels.column_sum import column_sum
from gpunet.kernels.cross_entropy import SoftmaxCrossEntropy
from gpunet.kernels.elementwise_losses import (
    BinaryCrossEntropy,
    ElementwiseLoss,
    Hinge,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Perceptron,
    SquaredHinge,
)
from gpunet.kernels.launches import launch
from gpunet.kernels.loss import LOSSES, Loss
from gpunet.keywords import checked

__all__ = [
    "LOSSES", "BinaryCrossEntropy", "ElementwiseLoss", "Hinge", "Huber", "Loss", "MeanAbsoluteError",
    "MeanSquaredError", "Perceptron", "SoftmaxCrossEntropy", "SquaredHinge", "loss_step",
    "softmax_cross_entropy",
]  # fmt: skip

#: Threads of a block of the CUDA kernel, which share out its rows.
THREADS = 256
#: From so many rows on, a warp takes a row by itself, so that none waits for others: rows alone keep a large GPU busy.
MANY = 4096


@operation
def loss_step(
    logits: Any, bias: Any, targets: Any, loss: Loss, delta: Any, grad_bias: Any, losses: Any, control: Any,
    weights: Any = None, total: Any = None,
) -> Ready:  # fmt: skip
    """The last layer's bias, the loss and its gradient in one pass over the logits.

    Args:
        logits: (batch, outputs); `bias` is added to them in place.
        bias: (outputs,) or None.
        targets: (batch,) int32 or (batch, outputs) soft targets.
        loss: an entry of `LOSSES`.
        delta: (batch, outputs), written: the gradient of the batch's loss with respect to the logits.
        grad_bias: (outputs,) or None, written: the column sums of `delta`.
        losses: (batch,) of at least float32, or None, written: the loss of each example. The NumPy form leaves them
            out where None; on CUDA they cost nothing and are always asked for.
        control: the control block, or None; its NONFINITE is set at the first step whose loss is not finite.
        weights: (batch,) of at least float32, what each example weighs (see `Loss.example_weights`), and total: (1,),
            their sum; or None: the loss is then the mean over the batch.
    """
    share = None if weights is None else np.empty_like(weights)
    to_delta = loss.bind(logits, targets, share, delta, losses)
    sum_delta = None if grad_bias is None else column_sum.bind(delta, grad_bias)

    def run() -> None:
        if bias is not None:
            np.add(logits, bias, out=logits)
        if share is not None:
            np.divide(weights, total if total[0] > 0 else np.inf, out=share)
        to_delta()
        if sum_delta is not None:
            sum_delta()
            # A logit that is not finite makes a gradient that is not finite; the bias gradient sums them all.
            if control is not None and not math.isfinite(np.dot(grad_bias, grad_bias)) and control[at.NONFINITE] < 0:
                control[at.NONFINITE] = control[at.STEP]

    return run


@loss_step.cuda
def _loss_step_cuda(
    logits: Any, bias: Any, targets: Any, loss: Loss, delta: Any, grad_bias: Any, losses: Any, control: Any,
    weights: Any = None, total: Any = None,
) -> Ready:  # fmt: skip
    batch, outputs = logits.shape
    group = group_size(outputs)
    if batch >= MANY and outputs <= 1024:  # more, of as many rows as there are warps, would not stay in cache
        group = min(group, 32)
    kernel = raw(
        (loss.cuda_file, "loss.cu"), "loss", *types(REAL=logits.dtype, LABEL=targets.dtype),
        ("SOFT", str(int(targets.ndim == 2))), ("GROUP", str(group)), *loss.cuda_defines,
    )  # fmt: skip
    one_pass = launch(
        kernel, -(-batch * group // THREADS), THREADS, logits, bias, targets, weights, total, delta, losses, control,
        np.int32(batch), np.int32(outputs),
    )  # fmt: skip
    return one_pass if grad_bias is None else in_turn(one_pass, column_sum.bind(delta, grad_bias))


def group_size(outputs: int) -> int:
    """How many CUDA threads share a row: a power of two up to a block, so many that each has about two outputs."""
    return min(1 << max((outputs - 1) // 2, 0).bit_length(), THREADS)


@checked
def softmax_cross_entropy(
    logits: Any, labels: Any, *, label_smoothing: float = 0.0, class_weights: Any = None
) -> tuple[Any, Any]:
    """Softmax cross-entropy and its gradient with respect to the logits, in one pass.

    Args:
        logits: (batch, classes) float16, float32 or float64, NumPy or CuPy, any strides.
        labels: (batch,) class indices, or (batch, classes) one-hot rows or soft targets, on the same device.
        label_smoothing, class_weights: see `SoftmaxCrossEntropy`.

    Returns:
        The mean loss over the batch, weighted by the class weights, a 0-dimensional array or scalar of at least
        float32 on the device of the logits (reading it waits for the device), and the gradient, of the shape and
        dtype of the logits.

    Raises:
        UsageError: shapes that do not fit, an empty batch, labels out of range (NumPy only: checking
            on CUDA would make the host wait), a dtype that is not floating point.
        DeviceError: logits and labels live on different devices.
    """
    same_device(logits=logits, labels=labels)
    xp: Any = np
    if is_cuda(logits):
        import cupy

        xp = cupy
    else:
        logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[0] == 0 or logits.shape[1] == 0:
        raise UsageError(f"logits must be of shape (batch, classes) and not empty, not {tuple(logits.shape)}.")
    if logits.dtype.name not in ("float16", "float32", "float64"):
        raise UsageError(f"logits must be float16, float32 or float64, not {logits.dtype}.")
    if labels.ndim == 0:
        raise UsageError("labels must be an array of one label or one row of targets for each row of the logits.")
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        if xp is np and (labels.min(initial=0) < 0 or labels.max(initial=0) >= logits.shape[1]):
            raise UsageError(f"labels must be class indices from 0 to {logits.shape[1] - 1}.")
        targets = labels.astype(xp.int32, copy=False)
    else:
        targets = xp.ascontiguousarray(labels, dtype=logits.dtype)
    if len(labels) != len(logits) or (targets.ndim == 2 and targets.shape != logits.shape) or targets.ndim > 2:
        raise UsageError(f"labels of shape {tuple(labels.shape)} do not fit logits of {tuple(logits.shape)}.")
    if targets.ndim == 1 and labels.dtype.kind not in "iu":
        raise UsageError(f"labels of shape (batch,) must be integer class indices, not {labels.dtype}.")
    logits = xp.ascontiguousarray(logits)
    delta = xp.empty_like(logits)
    losses = xp.empty(len(logits), xp.float64 if logits.dtype == xp.float64 else xp.float32)
    loss, targets = SoftmaxCrossEntropy(label_smoothing, class_weights), xp.ascontiguousarray(targets)
    weights = loss.example_weights(targets, None, logits.shape[1], xp)
    if weights is None:
        loss_step(logits, None, targets, loss, delta, None, losses, None)
        return losses.mean(), delta
    weights = weights.astype(losses.dtype)
    total = weights.sum(keepdims=True)
    loss_step(logits, None, targets, loss, delta, None, losses, None, weights, total)
    return (weights * losses).sum() / total[0], delta

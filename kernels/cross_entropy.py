"""The cross-entropy of the softmax; it couples the outputs of a row. Its CUDA form is `softmax_cross_entropy.cuh`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError
from gpunet.kernels.blocks import over_pieces
from gpunet.kernels.build import Ready
from gpunet.kernels.loss import LOSSES, Loss, one_hot

#: Rows up to this long are turned over by the NumPy form, BLOCK_ROWS at a time; of longer ones it takes PIECE elements.
FEW_CLASSES = 32
PIECE = 1 << 18
BLOCK_ROWS = 8192


@LOSSES.register
class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax of the logits.

    Loss of an example with target distribution q: sum_c q_c (log(sum_j exp(z_j)) - z_c), where q is one-hot for
    an integer label and is smoothed to (1 - s) q + s / C. Its gradient is softmax(z) * sum(q) - q. The logarithm of
    the softmax is taken as (z - max) - log(sum exp(z - max)), so a confident mistake has a large loss and not an
    infinite one.

    Args:
        label_smoothing: s in [0, 1) (Szegedy et al. 2016).
        class_weights: one positive number per class, all ones by default: a factor of the example's weight (see
            `Loss.example_weights`), so that the loss of a batch is the mean weighted by them.
    """

    name = "softmax-cross-entropy"
    output = "softmax"
    formula = "-sum(target * log(softmax(z)))"
    source = "Bridle 1990"
    cuda_file = "softmax_cross_entropy.cuh"

    def __init__(self, label_smoothing: float = 0.0, class_weights: Any = None) -> None:
        self.label_smoothing = number(f"loss {self.name}", "label_smoothing", label_smoothing, 0.0, 1.0)
        self.class_weights: list[float] | None = None
        if class_weights is not None:
            try:
                self.class_weights = [float(weight) for weight in class_weights]
            except (TypeError, ValueError):
                self.class_weights = []
            if not self.class_weights or not all(0 < weight < math.inf for weight in self.class_weights):
                raise UsageError(f"class weights must be positive numbers, one for each class, not {class_weights!r}.")

    def bind(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> Ready:
        if not self._turns(logits, targets) or len(logits) > BLOCK_ROWS:
            return super().bind(logits, targets, share, delta, losses)
        if logits.flags.f_contiguous and delta.flags.f_contiguous:
            return self._columns(logits.T, targets, 1 / len(logits) if share is None else share, delta.T, losses)
        return self._turned(logits, targets, 1 / len(logits) if share is None else share, delta, losses)

    def _plain(self, targets: np.ndarray) -> bool:
        """Whether each example has one class as its target."""
        return targets.ndim == 1 and not self.label_smoothing

    def _turns(self, logits: np.ndarray, targets: np.ndarray) -> bool:
        """Whether `_columns` is the way to go."""
        return self._plain(targets) and logits.shape[1] <= FEW_CLASSES

    def numpy(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> None:
        batch, classes = logits.shape
        half = logits.dtype == np.float16  # stored in 16 bits, computed in 32
        turn = self._turns(logits, targets)
        piece = BLOCK_ROWS if classes <= FEW_CLASSES else max(PIECE // classes, 1)

        def work(start: int) -> None:
            part = slice(start, min(start + piece, batch))
            mine = None if losses is None else losses[part]
            own = 1 / batch if share is None else share[part]
            if turn:
                self._turned(logits[part], targets[part], own, delta[part], mine)()
            elif half:
                slope = np.empty((part.stop - part.start, classes), np.float32)
                self._rows(logits[part].astype(np.float32), targets[part], own, slope, mine)
                delta[part] = slope
            else:
                self._rows(logits[part], targets[part], own, delta[part], mine)

        over_pieces(work, batch, piece, logits.size)

    def _turned(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> Ready:
        """`_columns` for logits in C order: they are turned over, and the gradient is turned back."""
        turned = np.empty(logits.shape[::-1], np.float32 if logits.dtype == np.float16 else logits.dtype)
        columns = self._columns(turned, targets, share, turned, losses)

        def run() -> None:
            np.copyto(turned, logits.T)
            columns()
            np.copyto(delta, turned.T, casting="same_kind")

        return run

    def _columns(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> Ready:
        """`numpy` for class indices and few classes, turned over: an example is a column of (classes, count).

        A few logits an example are then reduced along an axis that is not contiguous, which NumPy does several
        examples at a time. `share` is one number or (count,); `delta` may be `logits`.
        """
        classes, count = logits.shape
        weighted, one_hot, each = np.ndim(share) > 0, np.eye(classes, dtype=logits.dtype), np.arange(count)
        if not weighted:
            share = logits.dtype.type(share)
            one_hot *= share
        largest, total, wanted = np.empty(count, logits.dtype), np.empty(count, logits.dtype), np.empty_like(logits)

        def run() -> None:
            np.maximum.reduce(logits, axis=0, out=largest)
            np.subtract(logits, largest, out=delta)
            if losses is not None:
                # How far the label's logit is behind the largest.
                np.negative(delta[targets, each], out=losses)
            np.exp(delta, out=delta)
            np.add.reduce(delta, axis=0, out=total)
            if losses is not None:
                np.add(losses, np.log(total), out=losses)
            np.divide(share, total, out=total)
            np.multiply(delta, total, out=delta)
            one_hot.take(targets, 1, wanted, "clip")
            if weighted:
                np.multiply(wanted, share, out=wanted)
            np.subtract(delta, wanted, out=delta)

        return run

    def _rows(self, logits: np.ndarray, targets: np.ndarray, share: Any, delta: np.ndarray, losses: Any) -> None:
        """`numpy` for some rows; `share` is one number or (count,)."""
        count, classes = logits.shape
        real = logits.dtype.type
        share = real(share) if np.ndim(share) == 0 else share[:, None]
        np.subtract(logits, np.maximum.reduce(logits, axis=1, keepdims=True), out=delta)
        if self._plain(targets):
            each = np.arange(count)
            if losses is not None:
                np.negative(delta[each, targets], out=losses)
            np.exp(delta, out=delta)
            total = np.add.reduce(delta, axis=1, keepdims=True)
            if losses is not None:
                losses += np.log(total[:, 0])
            delta *= np.divide(share, total, out=total)
            delta[each, targets] -= np.ravel(share)
        else:
            wanted = one_hot(targets, classes, logits.dtype)
            if self.label_smoothing:
                wanted *= real(1 - self.label_smoothing)
                wanted += real(self.label_smoothing / classes)
            mass = wanted.sum(axis=1, keepdims=True)
            if losses is not None:
                losses[...] = -np.einsum("rc,rc->r", wanted, delta)
            np.exp(delta, out=delta)
            total = delta.sum(axis=1, keepdims=True)
            if losses is not None:
                losses += mass[:, 0] * np.log(total[:, 0])
            delta *= mass / total
            delta -= wanted
            delta *= share

    @property
    def cuda_defines(self) -> tuple[tuple[str, str], ...]:
        return (("LABEL_SMOOTHING", repr(self.label_smoothing)),)

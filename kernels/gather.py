"""The batch gather: the rows of one step, taken from the data set on the device and scaled on the way.

The order of the rows is a ring of at least two epochs' permutations (`n` row numbers each). Step `s` takes the
`batch` rows that start at `s * batch` modulo the ring, so every batch is full and a batch may hold
the end of one epoch and the beginning of the next. The host writes each coming epoch's permutation
over one that is no longer read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.kernels import control as at
from gpunet.kernels.build import Ready, operation, raw, types
from gpunet.kernels.launches import launch

#: Elements that are taken, converted and scaled at a time; what one pass writes is in cache for the next.
PIECE = 1 << 17
#: Threads of a block of the CUDA kernel.
THREADS = 128


@operation
def gather(
    images: Any, labels: Any, order: Any, control: Any, scale: float, x: Any, targets: Any, raw_rows: Any,
    weights: Any = None, taken_weights: Any = None, total: Any = None,
) -> Ready:  # fmt: skip
    """Take the next batch: `x = images[rows] * scale`, `targets = labels[rows]`, STEP = NEXT.

    Args:
        images: (n, features), uint8 or the dtype of `x`, C-contiguous.
        labels: (n,) int32 class indices or (n, k) soft targets of the dtype of `x`.
        order: (k n,) int32, the ring of permutations.
        control: the control block (int64).
        scale: what images are multiplied with; 1.0 copies.
        x: (batch, features), written.
        targets: (batch,) or (batch, k), written.
        raw_rows: (batch, features) of the dtype of `images`, room for rows before they are scaled, or None if that is
            the dtype of `x`; unused on CUDA, where they pass through registers.
        weights: (n,) of the dtype of `x`, what each example weighs, or None.
        taken_weights, total: (batch,) and (1,), written where there are weights: those of the batch, and their sum.
    """
    (batch, features), ring, factor = x.shape, len(order), x.dtype.type(scale)
    rows = np.empty(batch, np.intp)  # the type of index that `take` wants
    pieces, length = [], max(PIECE // features, 1)
    for first in range(0, batch, length):
        part = slice(first, first + length)
        scaled = x[part]
        pieces.append((rows[part], scaled if images.dtype == x.dtype else raw_rows[: len(scaled)], scaled))

    def run() -> None:
        step = control[at.STEP] = control[at.NEXT]
        start = int(step) * batch % ring
        in_ring = min(batch, ring - start)
        rows[:in_ring] = order[start : start + in_ring]
        if in_ring < batch:
            rows[in_ring:] = order[: batch - in_ring]
        # mode="clip" lets NumPy skip a bounds check per row and write straight into the target; the order is ours.
        labels.take(rows, 0, targets, "clip")
        if weights is not None:
            weights.take(rows, 0, taken_weights, "clip")
            np.add.reduce(taken_weights, keepdims=True, out=total)
        for some, taken, scaled in pieces:
            images.take(some, 0, taken, "clip")
            if taken is not scaled:
                # Converting and then multiplying is faster than both at once, which NumPy does through a small buffer.
                np.copyto(scaled, taken, casting="unsafe")
            if scale != 1.0:
                np.multiply(scaled, factor, out=scaled)

    return run


@gather.cuda
def _gather_cuda(
    images: Any, labels: Any, order: Any, control: Any, scale: float, x: Any, targets: Any, raw_rows: Any,
    weights: Any = None, taken_weights: Any = None, total: Any = None,
) -> Ready:  # fmt: skip
    batch, features = x.shape
    wide = 1 if features % 4 or any(array.data.ptr % min(4 * array.itemsize, 16) for array in (images, x)) else 4
    # A warp for each row where rows alone keep a large GPU busy and are short.
    group = 32 if batch >= 1024 and features <= 256 * wide else THREADS
    kernel = raw(
        "gather.cu", "gather", *types(IMAGE=images.dtype, LABEL=labels.dtype, REAL=x.dtype),
        ("WIDE", str(wide)), ("GROUP", str(group)),
    )  # fmt: skip
    columns = 1 if targets.ndim == 1 else targets.shape[1]
    return launch(
        kernel, -(-batch * group // THREADS), THREADS, images, labels, order, control, np.float64(scale),
        np.int64(len(order)), np.int32(batch), np.int32(features), np.int32(columns), x, targets,
        weights, taken_weights, total,
    )  # fmt: skip

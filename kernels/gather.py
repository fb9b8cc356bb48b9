"""The batch gather: the rows of one step, taken from the data set on the device and scaled on the way.

The order of the rows is a ring of two epochs' permutations (`2 * n` row numbers). Step `s` takes the
`batch` rows that start at `s * batch` modulo the ring, so every batch is full and a batch may hold
the end of one epoch and the beginning of the next. The host writes each coming epoch's permutation
over the half that is no longer read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.kernels import control as at
from gpunet.kernels.build import operation, raw, types


@operation
def gather(
    images: Any, labels: Any, order: Any, control: Any, scale: float, x: Any, targets: Any, raw_rows: Any
) -> None:
    """Take the next batch: `x = images[rows] * scale`, `targets = labels[rows]`, STEP = NEXT.

    Args:
        images: (n, features), uint8 or the dtype of `x`, C-contiguous.
        labels: (n,) int32 class indices or (n, k) soft targets of the dtype of `x`.
        order: (2 n,) int32, the ring of permutations.
        control: the control block (int64).
        scale: what images are multiplied with; 1.0 copies.
        x: (batch, features), written.
        targets: (batch,) or (batch, k), written.
        raw_rows: (batch, features) of the dtype of `images`, room for the rows before they are scaled;
            unused on CUDA, where they pass through registers.
    """
    batch, ring = len(x), len(order)
    control[at.STEP] = control[at.NEXT]
    start = int(control[at.STEP]) * batch % ring
    rows = order[start : start + batch]
    if len(rows) < batch:
        rows = np.concatenate((rows, order[: batch - len(rows)]))
    # mode="clip" lets NumPy skip a bounds check per row and write straight into `out`; the order is ours.
    labels.take(rows, 0, targets, "clip")
    if images.dtype == x.dtype:
        images.take(rows, 0, x, "clip")
        if scale != 1.0:
            np.multiply(x, x.dtype.type(scale), out=x)
    else:
        images.take(rows, 0, raw_rows, "clip")
        np.multiply(raw_rows, x.dtype.type(scale), out=x, dtype=x.dtype, casting="unsafe")


@gather.cuda
def _gather_cuda(
    images: Any, labels: Any, order: Any, control: Any, scale: float, x: Any, targets: Any, raw_rows: Any
) -> None:
    kernel = raw("gather.cu", "gather", *types(IMAGE=images.dtype, LABEL=labels.dtype, REAL=x.dtype))
    batch, features = x.shape
    columns = 1 if targets.ndim == 1 else targets.shape[1]
    kernel(
        (batch,),
        (128,),
        (images, labels, order, control, np.float64(scale), np.int64(len(order)), np.int32(batch),
         np.int32(features), np.int32(columns), x, targets),
    )  # fmt: skip

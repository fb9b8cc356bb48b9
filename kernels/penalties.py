"""What acts on the gradient or the weights beside the loss: L2 and L1 penalties, clipping, max-norm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready, in_turn, operation, raw, types
from gpunet.kernels.column_sum import by_column
from gpunet.kernels.launches import launch, over_elements

#: Blocks that add up the squares of a vector, each its share, at most: as many as a large GPU has room for at a time.
PARTIAL_SUMS = 1024
#: Threads of each.
THREADS = 256


@operation
def add_penalty(gradients: Any, parameters: Any, decayed: int, l2: float, l1: float, divisor: Any = None) -> Ready:
    """g += l2 w + l1 sign(w) for the first `decayed` elements, the weights.

    The gradient of the penalty l2 / 2 * sum(w^2) + l1 * sum(|w|), divided by `divisor` (1,) if there is one; where
    that is 0 there is no penalty.
    """
    weights, slope = parameters[:decayed], gradients[:decayed]
    of_squares, of_sizes = weights.dtype.type(l2), weights.dtype.type(l1)
    added = np.empty_like(weights)

    def run() -> None:
        by = 1 if divisor is None else divisor[0] or np.inf
        if l2:
            np.multiply(weights, of_squares / by, out=added)
            np.add(slope, added, out=slope)
        if l1:
            np.sign(weights, out=added)
            np.multiply(added, of_sizes / by, out=added)
            np.add(slope, added, out=slope)

    return run


@add_penalty.cuda
def _add_penalty_cuda(
    gradients: Any, parameters: Any, decayed: int, l2: float, l1: float, divisor: Any = None
) -> Ready:
    return over_elements(
        "add_penalty", "REAL* gradients, const REAL* parameters, double l2, double l1, const REAL* divisor",
        "const ACC w = load(parameters + i), slope = ACC(l2) * w + ACC(l1) * ACC((w > ACC(0)) - (w < ACC(0)));"
        "const ACC by = divisor ? load(divisor) : ACC(1), g = load(gradients + i);",
        "store(gradients + i, g + (by > ACC(0) ? slope / by : ACC(0)));",
        decayed, gradients, parameters, np.float64(l2), np.float64(l1), divisor,
        defines=types(REAL=parameters.dtype),
    )  # fmt: skip


def penalty(parameters: Any, decayed: int, l2: float, l1: float) -> Any:
    """The value of the penalty, l2 / 2 * sum(w^2) + l1 * sum(|w|), on the device of the parameters."""
    weights = parameters[:decayed]
    if l2 and weights.dtype == np.float64:  # whose digits allow for any order of the sum
        squares = 0.5 * l2 * weights.dot(weights)
    else:
        squares = 0.5 * l2 * (weights * weights).sum() if l2 else 0.0
    return squares + l1 * abs(weights).sum() if l1 else squares


@operation
def clip_by_norm(gradients: Any, limit: float, partial_sums: Any = None) -> Ready:
    """Scale the whole gradient down to the Euclidean norm `limit` if it is longer (Pascanu et al. 2013).

    Args:
        gradients: (n,), changed.
        limit: the largest norm.
        partial_sums: room for `PARTIAL_SUMS` float64, on CUDA.
    """

    def run() -> None:
        with np.errstate(over="ignore"):
            norm = math.sqrt(np.dot(gradients, gradients))
        if norm == math.inf:  # squares of what float32 can hold need more range; on CUDA they are added up in float64
            norm = float(np.linalg.norm(gradients.astype(np.float64)))
        if norm > limit:
            np.multiply(gradients, gradients.dtype.type(limit / norm), out=gradients)

    return run


@clip_by_norm.cuda
def _clip_by_norm_cuda(gradients: Any, limit: float, partial_sums: Any = None) -> Ready:
    size, blocks = np.int64(len(gradients)), min(-(-len(gradients) // THREADS), PARTIAL_SUMS)
    summed, clipped = (
        raw("penalties.cu", name, *types(REAL=gradients.dtype)) for name in ("sum_of_squares", "clip_by_norm")
    )
    return in_turn(
        launch(summed, blocks, THREADS, gradients, size, partial_sums),
        launch(clipped, blocks, THREADS, gradients, size, partial_sums, np.int32(blocks), np.float64(limit)),
    )


@operation
def clip_columns(weights: Any, limit: float) -> Ready:
    """Scale each column of weights (fan in, fan out), one unit's incoming weights, down to the norm `limit`."""

    def run() -> None:
        with np.errstate(over="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->j", weights, weights))
        if not np.isfinite(norms).all():  # as above
            wide = weights.astype(np.float64)
            norms = np.sqrt(np.einsum("ij,ij->j", wide, wide))
        np.multiply(weights, (limit / np.maximum(norms, limit)).astype(weights.dtype, copy=False), out=weights)

    return run


@clip_columns.cuda
def _clip_columns_cuda(weights: Any, limit: float) -> Ready:
    rows, columns = weights.shape
    kernel = raw("penalties.cu", "clip_columns", *types(REAL=weights.dtype))
    size = np.int32(rows), np.int32(columns)
    return launch(kernel, *by_column(rows, columns), weights, *size, np.float64(limit))

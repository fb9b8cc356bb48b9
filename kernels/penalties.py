"""What acts on the gradient or the weights beside the loss: L2 and L1 penalties, clipping, max-norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.kernels.build import elementwise, operation, reduction


@operation
def add_penalty(gradients: Any, parameters: Any, decayed: int, l2: float, l1: float) -> None:
    """g += l2 w + l1 sign(w) for the first `decayed` elements, the weights.

    The gradient of the penalty l2 / 2 * sum(w^2) + l1 * sum(|w|).
    """
    weights, slope = parameters[:decayed], gradients[:decayed]
    if l2:
        slope += weights.dtype.type(l2) * weights
    if l1:
        slope += weights.dtype.type(l1) * np.sign(weights)


@add_penalty.cuda
def _add_penalty_cuda(gradients: Any, parameters: Any, decayed: int, l2: float, l1: float) -> None:
    kernel = elementwise(
        "T w, T l2, T l1", "T g", "g += l2 * w + l1 * T((w > T(0)) - (w < T(0)))", "add_penalty"
    )
    kernel(parameters[:decayed], l2, l1, gradients[:decayed])


def penalty(parameters: Any, decayed: int, l2: float, l1: float) -> Any:
    """The value of the penalty, l2 / 2 * sum(w^2) + l1 * sum(|w|), on the device of the parameters."""
    weights = parameters[:decayed]
    return 0.5 * l2 * (weights * weights).sum() + l1 * abs(weights).sum()


@operation
def clip_by_norm(gradients: Any, limit: float) -> None:
    """Scale the whole gradient down to the Euclidean norm `limit` if it is longer (Pascanu et al. 2013)."""
    norm = float(np.sqrt(np.dot(gradients, gradients)))
    if norm > limit:
        gradients *= gradients.dtype.type(limit / norm)


@clip_by_norm.cuda
def _clip_by_norm_cuda(gradients: Any, limit: float) -> None:
    squares = reduction("T g", "T total", "g * g", "a + b", "total = a", "0", "sum_of_squares")(gradients)
    kernel = elementwise(
        "T limit, T squares", "T g", "if (squares > limit * limit) g *= limit / sqrt(squares)", "clip_by_norm"
    )
    kernel(gradients.dtype.type(limit), squares, gradients)


@operation
def clip_columns(weights: Any, limit: float) -> None:
    """Scale each column of weights (fan in, fan out), one unit's incoming weights, down to the norm `limit`."""
    norms = np.sqrt(np.einsum("ij,ij->j", weights, weights))
    weights *= np.minimum(weights.dtype.type(limit) / np.maximum(norms, np.finfo(norms.dtype).tiny), 1)


@clip_columns.cuda
def _clip_columns_cuda(weights: Any, limit: float) -> None:
    squares = reduction("T w", "T total", "w * w", "a + b", "total = a", "0", "column_squares")(weights, axis=0)
    kernel = elementwise(
        "T limit, T squares", "T w", "if (squares > limit * limit) w *= limit / sqrt(squares)", "clip_columns"
    )
    kernel(weights.dtype.type(limit), squares, weights)

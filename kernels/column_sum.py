"""Column sums of a matrix: the bias gradient is the sum of a delta over the batch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready, launch, operation, raw, types


@functools.lru_cache(maxsize=16)
def _ones(count: int, dtype: Any) -> np.ndarray:
    return np.ones(count, dtype)


@operation
def column_sum(matrix: Any, out: Any) -> Ready:
    """out = matrix.sum(axis=0), in an order that is fixed by the shape, accumulated in at least float32.

    Args:
        matrix: (rows, columns).
        out: (columns,), of the same dtype, written.
    """
    if matrix.dtype == np.float16:

        def half() -> None:
            out[...] = np.add.reduce(matrix, axis=0, dtype=np.float32)

        return half
    # A product with a vector of ones: BLAS walks the rows once, NumPy's reduction takes four times as long.
    return functools.partial(np.dot, _ones(len(matrix), matrix.dtype), matrix, out)


@column_sum.cuda
def _column_sum_cuda(matrix: Any, out: Any) -> Ready:
    rows, columns = matrix.shape
    kernel = raw("column_sum.cu", "column_sum", *types(REAL=matrix.dtype))
    return launch(kernel, -(-columns // 32), (32, 8), matrix, out, np.int32(rows), np.int32(columns))

"""Column sums of a matrix: the bias gradient is the sum of a delta over the batch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready, operation, raw, types
from gpunet.kernels.launches import launch

#: Blocks that a large GPU has room for at a time, about.
BLOCKS = 128


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
    return launch(kernel, *by_column(rows, columns), matrix, out, np.int32(rows), np.int32(columns))


def by_column(rows: int, columns: int) -> tuple[int, tuple[int, int]]:
    """The blocks and threads of a kernel that goes down columns (see `column_sum.cuh`).

    Eight columns of float32 are as much as a GPU fetches at a time, 32 as much as a warp asks for at once; few columns
    make a block, as long as there are few blocks. Its threads share the rows, four to each if there are not more.
    """
    wide = next((wide for wide in (32, 16) if columns >= BLOCKS * wide), 8)
    fours = 1 << ((rows - 1) // 4).bit_length()
    return -(-columns // wide), (wide, max(8, min(512 // wide, fours)))

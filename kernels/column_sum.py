"""Column sums of a matrix: the bias gradient is the sum of a delta over the batch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready, in_turn, operation, raw, types
from gpunet.kernels.launches import launch

#: Multiprocessors of a large GPU, about.
BLOCKS = 128
#: Threads of a block, at most.
THREADS = 512
#: Rows that a thread reads before it waits for the first (see `column_sum.cuh`).
AHEAD = 8
#: Up to so many rows a block goes down all of them: a second launch takes as long as four times what it reads at once.
ROWS = 1024


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
    return summed("column_sum.cu", "column_sum", matrix, out)


def summed(
    file: str, name: str, matrix: Any, out: Any, *others: Any, defines: tuple[tuple[str, str], ...] = ()
) -> Ready:
    """A kernel that goes down the columns of a matrix and leaves their sums, ready to be run.

    Of many rows each block leaves the sums of a share of them, which a second launch adds up.

    Args:
        file, name: of the kernel, whose parameters are the matrix, the others, the sums, and the numbers of rows, of
            columns and of the rows of a share.
        matrix: (rows, columns).
        out: (columns,), written.
        others: further arguments of the kernel.
        defines: `#define`s that it needs beside those of its types.
    """
    rows, columns = matrix.shape
    blocks, threads, each = shared_out(rows, columns)
    sums, shares = out, -(-rows // each)
    if shares > 1:
        import cupy

        sums = cupy.empty((shares, columns), np.promote_types(out.dtype, np.float32))
    kernel = raw(file, name, *types(REAL=matrix.dtype, SUM=sums.dtype), *defines)
    down = launch(
        kernel, blocks, threads, matrix, *others, sums, np.int32(rows), np.int32(columns), np.int32(each)
    )  # fmt: skip
    return down if shares == 1 else in_turn(down, column_sum.bind(sums, out))


def by_column(rows: int, columns: int) -> tuple[int, tuple[int, int]]:
    """The blocks and threads of a kernel whose blocks go down whole columns (see `column_sum.cuh`).

    Eight columns of float32 are as much as a GPU fetches at a time, 32 as much as a warp asks for at once; few columns
    make a block, as long as there are few blocks. Its threads share the rows, `AHEAD` to each if there are not more.
    """
    wide = next((wide for wide in (32, 16) if columns >= BLOCKS * wide), 8)
    enough = 1 << ((rows - 1) // AHEAD).bit_length()
    return -(-columns // wide), (wide, max(8, min(THREADS // wide, enough)))


def shared_out(rows: int, columns: int) -> tuple[int, tuple[int, int], int]:
    """The blocks and threads of a kernel whose blocks go down a share of the rows each, and how many these are.

    With many rows there are two blocks for each multiprocessor of a large GPU, or as many as have `AHEAD` rows for each
    thread.
    """
    wide = min(1 << (columns - 1).bit_length(), 32)
    high, across = THREADS // wide, -(-columns // wide)
    each = max(-(-rows // max(2 * BLOCKS // across, 1)), AHEAD * high)
    if rows <= ROWS or each >= rows:
        return *by_column(rows, columns), rows
    return across * -(-rows // each), (wide, high), each

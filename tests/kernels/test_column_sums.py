"""Kernels that go down columns, of few rows and of many, against their NumPy form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import close, layer_both_ways, on, shapes

import gpunet as gn
from gpunet.kernels.build import InTurn, apart, source
from gpunet.kernels.column_sum import AHEAD, BLOCKS, ROWS, column_sum, shared_out
from gpunet.kernels.dense import Below, dense_backward
from gpunet.kernels.launches import together
from gpunet.kernels.penalties import clip_columns

#: A block alone with all rows, and the rows shared out over blocks: both sides of where that changes, and odd sizes.
GOING_DOWN = [
    (1500, 10), (1, 1), (1, 3), (33, 2050), (9, 4100), (70, 4096), (ROWS, 7), (ROWS + 1, 7), (5001, 1), (1100, 70),
    (4099, 33), (1030, 8200),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), GOING_DOWN)
def test_going_down_columns_in_blocks_of_any_shape(cuda: gn.Backend, rows: int, columns: int) -> None:
    rng = np.random.default_rng(columns)
    matrix, wanted = rng.standard_normal((rows, columns)).astype(np.float32), np.empty(columns, np.float32)
    column_sum(matrix, wanted)
    clipped = matrix.copy()
    clip_columns(clipped, 2.0)
    with cuda.use():
        out, (on_device,) = cuda.empty(columns, np.float32), on(cuda, matrix)
        column_sum(on_device, out)
        clip_columns(on_device, 2.0)
    close(cuda, out, wanted)
    close(cuda, on_device, clipped)


@shapes
@given(rows=st.integers(1, 300), columns=st.integers(1, 100))
def test_column_sum(cuda: gn.Backend, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)
    wanted = np.empty(columns, np.float32)
    column_sum(matrix, wanted)
    with cuda.use():
        out = cuda.empty(columns, np.float32)
        column_sum(cuda.to_device(matrix), out)
    close(cuda, out, wanted)


@pytest.mark.parametrize(("dtype", "masked"), [("float32", True), ("float64", False)])
@pytest.mark.parametrize(("batch", "inputs"), [(ROWS, 5), (ROWS + 1, 5), (2600, 1), (1537, 41)])
def test_a_layer_of_many_rows(cuda: gn.Backend, batch: int, inputs: int, dtype: str, masked: bool) -> None:
    layer_both_ways(cuda, batch, inputs, 3, dtype, masked=masked)


def test_sums_of_shares_keep_the_digits_that_halves_lack(cuda: gn.Backend) -> None:
    matrix = np.full((2 * ROWS, 3), 2, np.float16)
    matrix[0], matrix[ROWS:] = 3, -2
    assert shared_out(*matrix.shape)[2] == ROWS == 1024  # of shares whose sums are 2049, which is no half, and -2048
    with cuda.use():
        out = cuda.empty(3, np.float16)
        column_sum(cuda.to_device(matrix), out)
    assert cuda.to_host(out).tolist() == [1, 1, 1]


def test_networks_of_many_rows_together_have_the_bits_of_each_alone(cuda: gn.Backend, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal((ROWS + 100, 7)).astype(np.float32) for _ in range(4)]
    relu, found = gn.ACTIVATIONS["relu"], []
    with cuda.use():
        delta, weights, *saved = (cuda.to_device(array) for array in (arrays[0], arrays[0][:7].copy(), *arrays[1:]))
        for _ in range(2):
            steps, sums = [], []
            for y in saved:
                below = Below(cuda.xp.empty_like(y), relu, y, None, cuda.empty(7, np.float32))
                grad, of_y = cuda.empty((7, 7), np.float32), cuda.empty(7, np.float32)
                works = dense_backward.bind(delta, y, weights, grad, below), column_sum.bind(y, of_y)
                steps.append(list(apart(works)))
                sums.append((below.delta, below.grad_bias, of_y))
            if found:
                together(steps)()
            else:
                for step in steps:
                    InTurn(step)()
            found.append([cuda.to_host(array).tobytes() for of_one in sums for array in of_one])
    assert found[0] == found[1]


def test_many_rows_take_a_second_launch_and_few_do_not(cuda: gn.Backend) -> None:
    def launches(rows: int) -> int:
        with cuda.use():
            return len(list(apart([column_sum.bind(cuda.empty((rows, 10), np.float32), cuda.empty(10, np.float32))])))

    assert [launches(rows) for rows in (1, 100, 256, ROWS, ROWS + 1, 10_000)] == [1, 1, 1, 1, 2, 2]


@given(rows=st.integers(1, 3_000_000), columns=st.integers(1, 20_000))
def test_every_row_is_in_one_share(rows: int, columns: int) -> None:
    blocks, (wide, high), each = shared_out(rows, columns)
    assert wide * high <= 512
    assert high & (high - 1) == 0
    assert 0 < each <= rows
    assert blocks == -(-columns // wide) * -(-rows // each)
    # What is left for the second launch is no reason for a third.
    assert -(-rows // each) <= ROWS
    assert each == rows or blocks <= 2 * BLOCKS


def test_the_kernels_read_ahead_as_far_as_blocks_are_made_for() -> None:
    assert f"#define AHEAD {AHEAD} " in source("column_sum.cuh")

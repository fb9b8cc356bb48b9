"""Matrix products of our own for CUDA: a layer forward is one kernel, a layer backward another.

cuBLAS is the faster library for large matrices, but leaves bias, activation, derivative and bias gradient to kernels of
their own. For a network as small as 784-50-30-10 the number of kernels is what a step costs, so these (`gemm.cu`) do
all of a layer at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.kernels.activations import ACTIVATIONS, Activation
from gpunet.kernels.build import Ready, launch, raw, types
from gpunet.kernels.dropout import Drop, threshold

#: Tiles of a block and patches of a thread: (rows, columns, slice of the summed index, patch rows, patch columns).
#: Small tiles make enough blocks to occupy a GPU with a small matrix; large ones read each element less often.
SMALL = (16, 16, 64, 2, 2)
LARGE = (64, 64, 16, 4, 4)
#: Products that have at least this many large tiles use them.
MANY_TILES = 96
THREADS = 256


def _tiles(rows: int, columns: int, tile: tuple[int, ...]) -> int:
    return -(-rows // tile[0]) * -(-columns // tile[1])


def _kernel(name: str, dtype: Any, tile: tuple[int, ...], activation: Activation, drops: bool) -> Any:
    names = ("TILE_M", "TILE_N", "SLICE", "PATCH_M", "PATCH_N")
    return raw(
        "gemm.cu", name, *types(REAL=dtype), *((key, str(value)) for key, value in zip(names, tile, strict=True)),
        ("FUNCTIONS", activation.cuda_functions().replace("\n", " ")), ("DROPOUT", str(int(drops))),
    )  # fmt: skip


def forward(x: Any, weights: Any, bias: Any, activation: Activation, pre: Any, out: Any, drop: Drop | None) -> Ready:
    """out = f(x W + b), and its dropout, in one launch; the arguments are those of `dense_forward`."""
    batch, inputs = x.shape
    outputs = weights.shape[1]
    tile = LARGE if _tiles(batch, outputs, LARGE) >= MANY_TILES else SMALL
    kernel = _kernel("dense_forward", x.dtype, tile, activation, drop is not None)
    dropped: tuple[Any, ...] = ()
    if drop is not None:
        factor = np.float64(1 / (1 - drop.rate))
        first = np.int64(drop.first)
        dropped = (*drop.stream.key, threshold(drop.rate), factor, first, drop.control, drop.mask, drop.kept)
    return launch(
        kernel, _tiles(batch, outputs, tile), THREADS, x, weights, bias, pre, out,
        np.int32(batch), np.int32(inputs), np.int32(outputs), *dropped,
    )  # fmt: skip


def backward(delta: Any, x: Any, weights: Any, grad_weights: Any, grad_bias: Any, below: Any) -> Ready:
    """Both products and the bias gradient in one launch; the arguments are those of `dense_backward`."""
    batch, inputs = x.shape
    outputs = weights.shape[1]
    count = _tiles(inputs, outputs, LARGE) + (_tiles(batch, inputs, LARGE) if below is not None else 0)
    tile = LARGE if count >= MANY_TILES else SMALL
    blocks = _tiles(inputs, outputs, tile)
    of_below: tuple[Any, ...] = (None, None, None)
    activation = ACTIVATIONS["identity"]
    if below is not None:
        blocks += _tiles(batch, inputs, tile)
        of_below = (below.delta, below.saved, below.mask)
        activation = below.activation
    return launch(
        _kernel("dense_backward", x.dtype, tile, activation, False), blocks, THREADS,
        delta, x, weights, grad_weights, grad_bias, *of_below, np.int32(batch), np.int32(inputs), np.int32(outputs),
    )  # fmt: skip

"""Dropout: inverted, with a mask from counter-based random numbers that is the same on every device.

Srivastava et al. 2014. An output is kept with probability 1 - rate and then divided by it, so that nothing
has to change for inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.kernels import control as at
from gpunet.kernels.build import Ready, operation, raw, types
from gpunet.kernels.launches import launch
from gpunet.kernels.random import Stream


@dataclass
class Drop:
    """The dropout behind a layer: its random numbers and rate, the control block, and where mask and result go, and
    which of the step's random numbers is that of the first element."""

    stream: Stream
    rate: float
    control: Any
    mask: Any
    kept: Any
    first: int = 0

    def bind(self, y: Any) -> Ready:
        """The dropout of `y`, ready to be run."""
        return dropout.bind(y, self.stream, self.rate, self.control, self.mask, self.kept, self.first)


@operation
def dropout(y: Any, stream: Stream, rate: float, control: Any, mask: Any, out: Any, first: int = 0) -> Ready:
    """out = y * mask, with mask 0 at probability `rate` and 1 / (1 - rate) elsewhere.

    Args:
        y: (batch, n).
        stream: the random numbers of this layer; element i takes number `first` + i of the step in the control block.
        rate: in [0, 1).
        mask: (batch, n), written.
        out: (batch, n), written.
        first: where the rows are part of a larger batch, the number of elements before them.
    """
    limit, factor = threshold(rate), y.dtype.type(1 / (1 - rate))

    def run() -> None:
        bits = stream.draw(int(control[at.STEP]), y.size, first).reshape(y.shape)
        np.multiply(bits < limit, factor, out=mask)
        np.multiply(y, mask, out=out)

    return run


def threshold(rate: float) -> np.uint64:
    """Draws below this 32-bit number are kept."""
    return np.uint64(round((1 - rate) * 2**32))


@dropout.cuda
def _dropout_cuda(y: Any, stream: Stream, rate: float, control: Any, mask: Any, out: Any, first: int = 0) -> Ready:
    kernel = raw("dropout.cu", "dropout", *types(REAL=y.dtype))
    blocks = -(-(first % 8 + y.size) // (8 * 256))
    return launch(
        kernel, max(blocks, 1), 256, y, *stream.key, threshold(rate), np.float64(1 / (1 - rate)), np.int64(first),
        control, mask, out, np.int64(y.size),
    )  # fmt: skip

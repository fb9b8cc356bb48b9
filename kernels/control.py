"""The control block: four counters that live beside the data, so that a captured CUDA graph stays valid.

A step reads everything that changes from one step to the next (which rows, which learning rate, which
random numbers) from here and never from the host. Two of the counters say the same number at
different times, so that no kernel reads a counter while another block of the same kernel writes it:
the batch gather copies NEXT to STEP, all later kernels read STEP, and the optimizer update writes NEXT.
"""

from __future__ import annotations

import numpy as np

#: Index of the step that comes next (0-based); written by the optimizer update, read by the gather.
NEXT = 0
#: Index of the step being done (0-based); written by the gather, read by everything after it.
STEP = 1
#: Index of the first step whose loss was not finite, -1 while there is none; written by the loss.
NONFINITE = 2
#: The step that row 0 of the coefficient table belongs to; written by the host between steps.
BASE = 3


def fresh() -> np.ndarray:
    """The control block (4,) int64 before the first step, in host memory."""
    block = np.zeros(4, np.int64)
    block[NONFINITE] = -1
    return block

"""Counter-based random numbers: the same on every device, and nothing to remember but a counter.

The generator is Philox 4x64-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3" (SC 2011). NumPy has it in C as `numpy.random.Philox`; `philox.cuh` computes the same bits on
CUDA. A draw is keyed on (seed, purpose) and counted by (index, step), so step 1,000 of a resumed run
needs no history.
"""

from __future__ import annotations

import numpy as np

#: The second word of the key says what the numbers are for, so that no two uses share any.
PURPOSES = {"weights": 1, "order": 2, "dropout": 3}


def purpose(name: str, index: int = 0) -> int:
    """The second key word of a purpose; `index` tells layers or other repeated uses apart."""
    return PURPOSES[name] + (index << 8)


def generator(seed: int, name: str, index: int = 0, counter: int = 0) -> np.random.Generator:
    """A NumPy generator on the stream (seed, purpose, index) at `counter` (third counter word)."""
    bits = np.random.Philox(
        key=np.array([seed, purpose(name, index)], np.uint64), counter=np.array([0, 0, counter, 0], np.uint64)
    )
    return np.random.Generator(bits)


class Stream:
    """Raw 32-bit draws of one (seed, purpose) for one step at a time, without making a generator each time."""

    def __init__(self, seed: int, word: int) -> None:
        self.key = np.array([seed, word], np.uint64)
        self._bits = np.random.Philox(key=self.key)
        self._state = self._bits.state

    def draw(self, step: int, count: int, first: int = 0) -> np.ndarray:
        """`count` uint32 numbers of a step, from number `first` on.

        NumPy's Philox adds one to its counter before it computes a block, so block `j` of a step has
        counter (j + 1, 0, step, 0); the CUDA form does the same.
        """
        block, before = divmod(first, 8)
        state = self._state
        state["state"]["counter"] = np.array([block, 0, step, 0], np.uint64)
        state["buffer_pos"] = 4
        self._bits.state = state
        return self._bits.random_raw((before + count + 1) // 2).view(np.uint32)[before : before + count]

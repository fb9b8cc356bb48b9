"""Cache-sized pieces for NumPy: an elementwise form of several passes goes over one piece at a time.

A form such as `y = x / (1 + exp(-x))` makes several passes. Over a large array each of them would fetch
its operands from memory; over a piece that stays in cache only the first one does, and the room for what
lies in between is a few blocks that every call uses again. The pieces of a very large array are shared out over
the cores; they do not depend on each other, so the results are the same to the last bit.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready
from gpunet.kernels.threads import helpers

#: Elements in a piece: few enough that what one pass writes is in cache for the next, and so many that beginning
#: a pass does not count. That takes a microsecond, and with several threads many, since each pass lets go of the
#: interpreter and asks for it again: with half of this, a backward pass of five takes half as long again.
BLOCK = 1 << 16
#: An array of at least this many elements is worth waking other cores for.
SHARED = 1 << 19


class _Room(threading.local):
    """The scratch blocks of one thread."""

    def __init__(self) -> None:
        self.blocks: dict[Any, np.ndarray] = {}


_room = _Room()


def scratch(like: np.ndarray, number: int = 0, dtype: Any = None) -> np.ndarray:
    """Room as long as the one-dimensional `like`, of its dtype by default; each `number` is another room.

    What is in it lasts until the next call that asks for the same number: a form uses it, nothing keeps it.
    """
    key = (like.dtype if dtype is None else dtype, number)
    block = _room.blocks.get(key)
    if block is None or len(block) < len(like):
        block = _room.blocks[key] = np.empty(max(BLOCK, len(like)), key[0])
    return block[: len(like)]


@functools.cache
def _filled(value: float, dtype: Any) -> np.ndarray:
    block = np.full(BLOCK, value, dtype)
    block.flags.writeable = False
    return block


def constant(value: float, like: np.ndarray) -> np.ndarray:
    """`value`, as often as `like` has elements. NumPy's minimum and maximum of two arrays are vectorised;
    with a scalar on one side they are four times slower."""  # fmt: skip
    return _filled(value, like.dtype)[: len(like)]


def over_pieces(work: Callable[[int], Any], length: int, piece: int, elements: int) -> None:
    """Call `work(start)` for the start of each piece, on several cores if there are at least SHARED elements.

    NumPy lets go of the interpreter while it computes, so threads do run side by side.
    """
    starts = range(0, length, piece)
    pool, count = (None, 0) if elements < SHARED else helpers(len(starts) - 1)

    def run(own: range) -> None:
        for start in own:
            work(start)

    if pool is None:
        run(starts)
        return
    share = -(-len(starts) // (count + 1))
    # The context brings along what NumPy does about overflows here.
    others = [
        pool.submit(contextvars.copy_context().run, run, starts[at : at + share])
        for at in range(share, len(starts), share)
    ]
    run(starts[:share])
    for other in others:
        other.result()


class Blockwise:
    """An elementwise form that takes arrays of any shape, size and strides; made by `blockwise`."""

    def __init__(self, form: Callable[..., Any]) -> None:
        functools.update_wrapper(self, form)
        self.form = form

    def __reduce__(self) -> str | tuple[Any, ...]:
        # The form goes under its name by now; pickle finds this object there and not the form.
        named: str = getattr(self, "__qualname__", "")
        known = getattr(sys.modules.get(self.form.__module__), named, None) is self
        return named if known else (Blockwise, (self.form,))

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        self.bind(*arrays)()
        return arrays[-1]

    def bind(self, *arrays: np.ndarray) -> Ready:
        """The form on these arrays, to be run as often as one likes."""
        if not all(array.flags.c_contiguous for array in arrays):
            return self._in_other_order(arrays)
        form, size = self.form, arrays[-1].size
        flat = [array.ravel() for array in arrays]  # views, since they are contiguous
        if size <= BLOCK:
            return functools.partial(form, *flat)

        def piece(start: int) -> None:
            form(*[array[start : start + BLOCK] for array in flat])

        return functools.partial(over_pieces, piece, size, BLOCK, size)

    def _in_other_order(self, arrays: tuple[np.ndarray, ...]) -> Ready:
        """Arrays that are not all in C order: their transposes if those are, else copies."""
        if all(array.flags.f_contiguous for array in arrays):
            return self.bind(*(array.T for array in arrays))
        *inputs, out = arrays

        def through_copies() -> None:
            out[...] = self(*(np.ascontiguousarray(array) for array in inputs), np.empty(out.shape, out.dtype))

        return through_copies


def blockwise(form: Callable[..., Any]) -> Blockwise:
    """Let an elementwise form take arrays of any shape, size and strides.

    The form is called with one-dimensional arrays of at most `BLOCK` elements, the last of which is the
    output; an input may be the output.
    """
    return Blockwise(form)


def bind(form: Callable[..., Any], *arrays: np.ndarray) -> Ready:
    """An elementwise form on these arrays, blockwise or not, to be run as often as one likes."""
    if isinstance(form, Blockwise):
        return form.bind(*arrays)
    return functools.partial(form, *arrays)

"""Cache-sized pieces for NumPy: an elementwise form of several passes goes over one piece at a time.

A form such as `y = x / (1 + exp(-x))` makes several passes. Over a large array each of them would fetch
its operands from memory; over a piece that stays in cache only the first one does, and the room for what
lies in between is a few blocks that every call uses again. The pieces of a very large array are shared out over
the cores; they do not depend on each other, so the results are the same to the last bit.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

#: Elements in a piece: few enough that what one pass writes is in cache for the next, and so many that the
#: microsecond which NumPy takes to begin a pass does not count.
BLOCK = 1 << 15
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


@functools.cache
def _helpers() -> tuple[Any, int]:
    """A pool of threads beside the caller's, and how many there are: OMP_NUM_THREADS, else all cores, less one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    count = (int(asked) if asked.isdigit() and int(asked) else there) - 1
    if count < 1:
        return None, 0
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(count, thread_name_prefix="gpunet"), count


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not come along into the child


def over_pieces(work: Callable[[int], Any], length: int, piece: int, elements: int) -> None:
    """Call `work(start)` for the start of each piece, on several cores if there are at least SHARED elements.

    NumPy lets go of the interpreter while it computes, so threads do run side by side.
    """
    starts = range(0, length, piece)
    pool, helpers = _helpers() if elements >= SHARED else (None, 0)

    def run(own: range) -> None:
        for start in own:
            work(start)

    if pool is None:
        run(starts)
        return
    share = -(-len(starts) // (helpers + 1))
    # The context brings along what NumPy does about overflows here.
    others = [
        pool.submit(contextvars.copy_context().run, run, starts[at : at + share])
        for at in range(share, len(starts), share)
    ]
    run(starts[:share])
    for other in others:
        other.result()


def blockwise(form: Callable[..., Any]) -> Callable[..., Any]:
    """Let an elementwise form take arrays of any shape, size and strides.

    The form is called with one-dimensional arrays of at most `BLOCK` elements, the last of which is the
    output; an input may be the output.
    """

    @functools.wraps(form)
    def run(*arrays: np.ndarray) -> np.ndarray:
        out = arrays[-1]
        flat = []
        for array in arrays:
            if not array.flags.c_contiguous:
                return _in_other_order(run, arrays)
            flat.append(array.ravel())  # a view, since it is contiguous
        size = out.size
        if size <= BLOCK:
            form(*flat)
        else:
            over_pieces(lambda start: form(*[array[start : start + BLOCK] for array in flat]), size, BLOCK, size)
        return out

    return run


def _in_other_order(run: Callable[..., np.ndarray], arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """`run` for arrays that are not all in C order: their transposes if those are, else copies."""
    out = arrays[-1]
    if all(array.flags.f_contiguous for array in arrays):
        run(*(array.T for array in arrays))
    else:
        out[...] = run(*(np.ascontiguousarray(array) for array in arrays[:-1]), np.empty(out.shape, out.dtype))
    return out

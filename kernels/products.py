"""Matrix products on the CPU: small ones as they are, large ones in pieces that other threads may help with.

The pieces depend on the shapes alone, so a product has the same bits whoever computes them. The caller takes pieces
until none is left, and helpers do the same beside it, each into room of its own. A helper that is not scheduled keeps
nobody waiting: what it has not delivered in time the caller computes itself, and what comes too late is dropped.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready
from gpunet.kernels.threads import helpers

#: Products of fewer floating-point operations are computed in one piece: a helper that has slept since the last product
#: needs 100 microseconds to wake, and what it computed lies in the other core's cache. At 50 million nothing is gained.
SHARED = 100e6
#: A product has FEW pieces, or one for each PIECE operations if those are more, each at least NARROW rows or columns:
#: every piece packs the other factor anew, which costs little up to four pieces and 15 % with eight.
FEW, PIECE, NARROW = 4, 1e9, 128
#: After a helper was late, so many products are computed without any; twice as many each further time in a row.
SHORTEST, LONGEST = 1, 1024

Piece = tuple[Any, Any, Any]


def product(a: Any, b: Any, out: Any) -> Ready:
    """out = a b of NumPy matrices, in C or Fortran order, to be run as often as one likes."""
    if not out.flags.c_contiguous:
        a, b, out = b.T, a.T, out.T  # (a b)^T is b^T a^T
    pieces = in_pieces(a, b, out)
    if len(pieces) == 1:
        # `np.dot` is at the BLAS a microsecond sooner than `np.matmul`, but writes contiguous matrices alone.
        return partial(np.dot, a, b, out)
    return partial(_together, pieces)


def in_pieces(a: Any, b: Any, out: Any) -> list[Piece]:
    """The product as products of blocks of rows or, if there are more of them, of columns of the result."""
    rows, columns = out.shape
    work = 2.0 * rows * columns * a.shape[1]
    if work < SHARED:
        return [(a, b, out)]
    length = max(rows, columns)
    count = min(max(FEW, int(work / PIECE)), length // NARROW)
    step = -(-length // max(count, 1))
    parts = [slice(start, start + step) for start in range(0, length, step)]
    if rows >= columns:
        return [(a[part], b, out[part]) for part in parts]
    return [(a, b[:, part], out[:, part]) for part in parts]


class Patience:
    """When to ask for help again after some came late: on a busy machine seldom, on a quiet one always."""

    def __init__(self) -> None:
        self.pause, self.left = SHORTEST, 0

    def asks(self) -> bool:
        """Whether the next product should be shared."""
        self.left = max(self.left - 1, 0)
        return self.left == 0

    def learn(self, late: bool) -> None:
        """Take note of how a shared product went."""
        # On a quiet machine one helper in fifty is late, and the next is not.
        self.left = self.pause + 1 if late else 0
        self.pause = min(2 * self.pause, LONGEST) if late else SHORTEST


patience = Patience()


def _together(pieces: list[Piece]) -> None:
    pool, count = helpers(len(pieces) - 1)
    if count == 0 or not patience.asks():
        for a, b, out in pieces:
            np.matmul(a, b, out=out)
        return
    share = _Share(pieces)
    for _ in range(count):
        pool.submit(share.help)
    patience.learn(share.work())


class _Share:
    """One product that is being computed by several threads."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.take: Callable[[], int] = itertools.count().__next__
        self.lock = threading.Lock()
        self.settled = [False] * len(pieces)  # computed, or taken back from a helper
        self.delivered: queue.SimpleQueue[int] = queue.SimpleQueue()

    def help(self) -> None:
        """Compute pieces into room of one's own, and hand in what is still wanted."""
        while (index := self.take()) < len(self.pieces):
            a, b, out = self.pieces[index]
            part = _room(out.size, out.dtype).reshape(out.shape)
            np.matmul(a, b, out=part)
            with self.lock:
                if self.settled[index]:
                    return  # too late; the arrays are in use for something else by now
                np.copyto(out, part)
                self.settled[index] = True
            self.delivered.put(index)

    def work(self) -> bool:
        """Compute pieces until all are there; whether a helper was late with one."""
        began, own = time.perf_counter(), 0
        while (index := self.take()) < len(self.pieces):
            a, b, out = self.pieces[index]
            np.matmul(a, b, out=out)
            self.settled[index] = True
            own += 1
        late, usual = False, (time.perf_counter() - began) / max(own, 1)
        while not all(self.settled):
            try:
                self.delivered.get(timeout=2 * usual)
            except queue.Empty:
                late = True
                self._take_back()
        return late

    def _take_back(self) -> None:
        for index, (a, b, out) in enumerate(self.pieces):
            with self.lock:
                if self.settled[index]:
                    continue
                self.settled[index] = True
            np.matmul(a, b, out=out)


class _Rooms(threading.local):
    """The room of one helper."""

    def __init__(self) -> None:
        self.rooms: dict[Any, np.ndarray] = {}


_rooms = _Rooms()


def _room(size: int, dtype: Any) -> np.ndarray:
    room = _rooms.rooms.get(dtype)
    if room is None or len(room) < size:
        room = _rooms.rooms[dtype] = np.empty(size, dtype)
    return room[:size]

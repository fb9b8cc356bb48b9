"""The threads of the CPU: how many the matrix products get and the other kernels may take, and the BLAS behind them.

It decides about speed, and about the last bits of a product, on the CPU alone; on CUDA there is nothing to do here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gpunet.checks import whole
from gpunet.kernels import blocks

#: What one core's matrix product reaches at least, in GFLOP/s, by the kernels that OpenBLAS says it uses.
_GFLOPS = {"SkylakeX": 90.0, "Cooperlake": 90.0, "SapphireRapids": 90.0}
_GFLOPS_OTHERS = 40.0
#: A thread wants at least this many microseconds of a product, since it has to be woken and what it wrote fetched out
#: of another core's cache. Measured on two cores: (100, 784) times (784, 10) takes 64 microseconds on one of them and
#: 40 on both, (100, 50) times (50, 30) gains nothing.
_WORTH_A_THREAD = 15.0


@functools.cache
def _controller() -> Any:
    # Looking for the libraries takes milliseconds, so it is done once and only by who trains on a CPU.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


_turn = threading.RLock()


@contextlib.contextmanager
def _limited(number: int | None) -> Iterator[None]:
    """Have the BLAS take this many threads inside a `with` block; None leaves it as it is.

    The number is one of the whole process, and one that changes under a product changes its last bits. So one Python
    thread at a time is in here, and trainings in several of them take turns.
    """
    with _turn, _controller().limit(limits=number):
        yield


def _new_turn() -> None:
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_turn)  # the thread whose turn it was does not come along into the child


def describe() -> list[dict[str, Any]]:
    """What is known of each BLAS library that is loaded: its name, version, kernels and threads."""
    return _controller().info()


class Threads:
    """How many threads the matrix products of a network take, chosen by the size of the largest.

    The choice depends on the network, the batch and the machine alone, never on a measurement: another number of
    threads changes the last bits of a product, and the same run has to give the same bits.

    Attributes:
        number: of the products, or None on CUDA.

    Args:
        backend: the `Backend`; on CUDA nothing is chosen.
        sizes: the widths of the network.
        batch: examples per step.
        asked: a number to take instead, which no kernel goes beyond; None chooses.

    Raises:
        UsageError: the number is none.
    """

    def __init__(self, backend: Any, sizes: Sequence[int], batch: int, asked: int | None = None) -> None:
        self.asked = None if asked is None else whole("threads", asked)
        self.number: int | None = None
        if backend.name != "cpu":
            return
        self.number = self.asked
        if self.number is None:
            with _limited(None):  # else it might be another training's number that is there
                libraries = describe()
            there = max((library["num_threads"] for library in libraries), default=1)
            rates = [_GFLOPS.get(library.get("architecture", ""), _GFLOPS_OTHERS) for library in libraries]
            largest = 2.0 * batch * max(m * n for m, n in pairwise(sizes))
            wanted = int(largest / min(rates, default=_GFLOPS_OTHERS) / 1e3 / _WORTH_A_THREAD)
            self.number = min(max(wanted, 1), there)
        _touch_buffers()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the products of training steps take their number of threads inside a `with` block."""
        if self.number is None:
            yield
            return
        with _limited(self.number), blocks.at_most(self.asked):
            yield

    @contextlib.contextmanager
    def bounded(self) -> Iterator[None]:
        """Have no more threads than were asked for inside a `with` block; products of any size may come in it."""
        if self.number is None or self.asked is None:
            yield
            return
        with self.held():
            yield


@functools.cache
def _touch_buffers() -> None:
    """Have the BLAS use its packing buffers once, far enough that later products never meet a page that is not there.

    OpenBLAS maps a buffer per thread and its kernels prefetch beyond what they pack. While those pages have never
    been written, each such prefetch walks the page tables in vain: the first layer of the write-up's network,
    (100, 784) times (784, 50), took 300 microseconds before one product of this size and 195 after it (NumPy 2.4,
    OpenBLAS 0.3.31, AMD EPYC of family 23).
    """
    with _limited(1):
        np.matmul(np.zeros((512, 128), np.float32), np.zeros((128, 512), np.float32))

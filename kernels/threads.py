"""The threads of the CPU: how many there are, which of them help, and the BLAS, which is kept to one.

A product that the BLAS shares out by itself waits for each of its threads, and on a busy machine one of them is not
scheduled for milliseconds. So the BLAS works with one thread, and large products are shared out here, in pieces that
nobody has to wait for (`products.py`). How many threads help changes no number, not even its last bit.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.checks import whole


@functools.cache
def cores() -> int:
    """How many cores there are to take: OMP_NUM_THREADS, else those this process may run on and is given time for."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(there, cores_granted() or there))


def cores_granted(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The whole cores of a container's CPU quota (cgroups of both versions), at least 1; None without one."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if quota == "max" or int(quota) <= 0 else max(1, int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


_most: contextvars.ContextVar[int | None] = contextvars.ContextVar("most", default=None)


@contextlib.contextmanager
def at_most(threads: int | None) -> Iterator[None]:
    """Take no more threads than this inside a `with` block, the caller's own included; None bounds nothing."""
    outer = _most.get()
    before = _most.set(outer if threads is None else threads if outer is None else min(threads, outer))
    try:
        yield
    finally:
        _most.reset(before)


@functools.cache
def pool() -> Any:
    """The threads that may help the caller's own."""
    from concurrent.futures import ThreadPoolExecutor  # with its logging; only large products want it

    return ThreadPoolExecutor(cores() - 1, thread_name_prefix="gpunet")


def helpers(wanted: int) -> tuple[Any, int]:
    """A pool of threads and how many of them may help the caller's own, at most `wanted`; (None, 0) for none."""
    most = _most.get()
    count = min(cores() if most is None else min(cores(), most), wanted + 1) - 1
    return (pool(), count) if count > 0 else (None, 0)


@functools.cache
def _controller() -> Any:
    # Looking for the libraries takes milliseconds, so it is done once and only by who computes on a CPU.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def describe() -> list[dict[str, Any]]:
    """What is known of each BLAS library that is loaded: its name, version, kernels and threads."""
    with _blas.lock:
        return [{**library, "num_threads": _blas.before or library["num_threads"]} for library in _controller().info()]


class _Blas:
    """Who keeps the BLAS to one thread: its number of threads is one of the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before: int | None = None
        self.limit: Any = None


_blas = _Blas()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have the BLAS work with one thread inside a `with` block, in whatever thread; the last to leave puts it back."""
    with _blas.lock:
        if _blas.users == 0:
            _blas.before = max((library["num_threads"] for library in _controller().info()), default=1)
            _blas.limit = _controller().limit(limits=1)
            _touch_buffers()
        _blas.users += 1
    try:
        yield
    finally:
        with _blas.lock:
            _blas.users -= 1
            if _blas.users == 0:
                _blas.limit.restore_original_limits()
                _blas.before = None


def _after_fork() -> None:
    """Threads do not come along into the child, and nobody there is within `one_blas_thread` of another thread."""
    global _blas
    pool.cache_clear()
    _blas = _Blas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Threads:
    """How many threads a training may take on the CPU.

    Attributes:
        number: how many it may take; None on CUDA.

    Args:
        backend: the `Backend`.
        asked: at most so many; by default all cores, or its share of them.
        processes: how many of this machine share its cores.

    Raises:
        UsageError: the number is none.
    """

    def __init__(self, backend: Any, asked: int | None = None, processes: int = 1) -> None:
        asked = max(cores() // processes, 1) if asked is None else whole("threads", asked)
        self.number = None if backend.name != "cpu" else min(asked, cores())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have no more threads than these inside a `with` block."""
        if self.number is None:
            yield
            return
        with one_blas_thread(), at_most(self.number):
            yield


@functools.cache
def _touch_buffers() -> None:
    """Have the BLAS use its packing buffers once, far enough that later products never meet a page that is not there.

    OpenBLAS maps a buffer per thread and its kernels prefetch beyond what they pack. While those pages have never
    been written, each such prefetch walks the page tables in vain: the first layer of the write-up's network,
    (100, 784) times (784, 50), took 300 microseconds before one product of this size and 195 after it (NumPy 2.4,
    OpenBLAS 0.3.31, AMD EPYC of family 23).
    """
    np.matmul(np.zeros((512, 128), np.float32), np.zeros((128, 512), np.float32))

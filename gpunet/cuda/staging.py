"""Copies from the host while the device works: a part is filled on the one side as another is computed on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class Staging:
    """Arrays on a device that the host fills a part at a time; on the CPU in their place.

    A part is filled, sent and received in this order, and may be filled anew once the work on it was asked for and
    `wait` has returned. All but `host` is to be called inside of `Backend.use`.

    Attributes:
        arrays: on the device, all parts behind each other.
    """

    def __init__(self, xp: Any, parts: int, arrays: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        self._rows = [shape[0] for shape, _ in arrays]
        self.arrays = [xp.empty((parts * shape[0], *shape[1:]), dtype) for shape, dtype in arrays]
        self._host: list[np.ndarray] = self.arrays

    def host(self, part: int) -> list[np.ndarray]:
        """What the host fills for a part of each array."""
        return self._part(self._host, part)

    def _part(self, arrays: Sequence[Any], part: int) -> list[Any]:
        return [array[part * rows : (part + 1) * rows] for array, rows in zip(arrays, self._rows, strict=True)]

    def wait(self, part: int) -> None:
        """Wait until a part may be filled anew."""

    def send(self, part: int) -> None:
        """Have the device take over a part that was filled, behind the work that it was asked for so far."""

    def receive(self, part: int) -> None:
        """Have the device's coming work wait for a part that was sent."""


class CudaStaging(Staging):
    """The same on CUDA: a part is filled in page-locked memory and copied by a stream of its own."""

    def __init__(self, xp: Any, parts: int, arrays: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        super().__init__(xp, parts, arrays)
        self._cuda = xp.cuda
        self._host = [page_locked(xp, array) for array in self.arrays]
        self._stream = self._cuda.Stream(non_blocking=True)
        self._copied: dict[int, Any] = {}

    def wait(self, part: int) -> None:
        """Wait for the last copy of the part."""
        if part in self._copied:
            self._copied[part].synchronize()

    def send(self, part: int) -> None:
        """Ask for the copy of the part, which waits for the work on what it overwrites."""
        self._stream.wait_event(self._cuda.get_current_stream().record())
        for target, source in zip(self._part(self.arrays, part), self.host(part), strict=True):
            target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self._stream)
        self._copied[part] = self._stream.record()

    def receive(self, part: int) -> None:
        """Have the current stream wait for the copy of the part."""
        self._cuda.get_current_stream().wait_event(self._copied[part])

    def __del__(self) -> None:
        # CuPy would give the memory to others while a copy still writes to it.
        with contextlib.suppress(Exception):
            self._stream.synchronize()


def page_locked(cupy: Any, array: Any) -> np.ndarray:
    """Memory of the host for the values of a CUDA array, which the device can read and write by itself."""
    memory = cupy.cuda.alloc_pinned_memory(array.nbytes)
    return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)

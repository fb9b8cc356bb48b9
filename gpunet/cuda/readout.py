"""Copies to the host: what it reads together lies in one piece on the device, and comes with one copy."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.cuda.queues import Queue
from gpunet.cuda.staging import page_locked

#: Bytes at whose multiples arrays begin, as those do that CuPy allocates.
ALIGNMENT = 512


class Readout:
    """Arrays on a device that the host reads all at once; on the CPU in their place.

    Attributes:
        arrays: those on the device, by their names.
    """

    def __init__(self, xp: Any, arrays: Mapping[str, tuple[Any, ...]]) -> None:
        self.arrays = {name: xp.empty(*made) for name, made in arrays.items()}

    def read(self) -> dict[str, np.ndarray]:
        """What is in the arrays, by their names, until the next call; waits for the device.

        To be called inside of `Backend.use`.
        """
        return self.arrays


class CudaReadout(Readout):
    """The same on CUDA: the arrays are parts of one, which is copied into page-locked memory."""

    def __init__(self, cupy: Any, queue: Queue, arrays: Mapping[str, tuple[Any, ...]]) -> None:
        self._cupy, self._queue, self._coming = cupy, queue, False
        sizes = [math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype, *_ in arrays.values()]
        places = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)]).tolist()
        self._whole = cupy.empty(places[-1], np.uint8)
        self._host = page_locked(cupy, self._whole)
        self._address = self._host.ctypes.data
        self.arrays, self._values = {}, {}
        for (name, (shape, dtype, *_)), place, size in zip(arrays.items(), places, sizes, strict=False):
            part = slice(place, place + size)
            self.arrays[name] = self._whole[part].view(dtype).reshape(shape)
            self._values[name] = self._host[part].view(dtype).reshape(shape)

    def read(self) -> dict[str, np.ndarray]:
        """Ask for the copy, and wait for it."""
        stream = self._cupy.cuda.get_current_stream()
        self._coming = True
        self._whole.data.copy_to_host_async(self._address, self._whole.nbytes, stream)
        stream.synchronize()
        self._coming = False
        return self._values

    def __del__(self) -> None:
        # CuPy would give the memory to others while a copy that nobody waited for (Ctrl-C) still writes to it.
        if self._coming:
            with contextlib.suppress(Exception):
                self._queue.stream(self._cupy).synchronize()

"""CUDA graphs: work captured once and launched again, in branches, and with the host's work between two of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.cuda.queues import Queue
from gpunet.cuda.staging import page_locked
from gpunet.errors import DeviceError
from gpunet.wording import first_line


def capture(cupy: Any, queue: Queue, work: Callable[[], None]) -> Any:
    """A CUDA graph of what `work` asks of the device, as `Backend.capture` describes it."""
    # On a stream that does not wait for the default stream: what another thread gives to that one meanwhile (as
    # torch does) would end the capture of any other.
    stream = cupy.cuda.Stream(non_blocking=True)
    with queue.capturing, stream:
        parts = queue.parts = []
        try:
            stream.begin_capture()
            # An array made now would be freed after the capture, and the graph would go on writing to it.
            with cupy.cuda.using_allocator(_refuse_allocation):
                work()
            last = stream.end_capture()
            return _Parts([*parts, last.launch]) if parts else last
        except BaseException as error:
            # A capture that failed must still be ended, after Ctrl-C too, or the thread goes on capturing.
            with contextlib.suppress(Exception):
                stream.end_capture()
            if not isinstance(error, Exception):
                raise
            raise DeviceError(f"the step cannot be captured as a CUDA graph ({first_line(error)}).") from error
        finally:
            queue.parts = []  # the graph alone keeps what it works on


def _refuse_allocation(size: int) -> Any:
    raise RuntimeError(f"it allocates {size:,} bytes of device memory")


def beside(cupy: Any, queue: Queue, works: Sequence[Callable[[], None]]) -> None:
    """Ask for several pieces of work inside of `capture`, each a branch of the graph, on a stream of its own."""
    main, events = cupy.cuda.get_current_stream(), []
    events.append(main.record())
    for work, stream in zip(works, queue.branches(cupy, len(works)), strict=True):
        stream.wait_event(events[0])
        with stream:
            work()
        events.append(stream.record())
    for event in events[1:]:
        main.wait_event(event)


class _Parts:
    """Work of a device in several parts, with work of the host between them."""

    def __init__(self, parts: Sequence[Callable[[], None]]) -> None:
        self._parts = parts

    def launch(self) -> None:
        for part in self._parts:
            part()


class HostChange:
    """`Backend.changed_by_host` on CUDA: through page-locked memory; the copies can be part of a graph."""

    def __init__(self, cupy: Any, queue: Queue, array: Any, change: Callable[[np.ndarray], Any]) -> None:
        self._cupy, self._queue, self._array, self._host = cupy, queue, array, page_locked(cupy, array)
        self._work = functools.partial(change, self._host)

    def __call__(self) -> None:
        """Ask for the copy to the host, the change there, and the copy back."""
        device, host, size = self._array.data.ptr, self._host.ctypes.data, self._array.nbytes
        cuda = self._cupy.cuda
        stream, runtime = cuda.get_current_stream().ptr, cuda.runtime  # CuPy's own copies refuse to be captured
        runtime.memcpyAsync(host, device, size, runtime.memcpyDeviceToHost, stream)
        self._between()
        runtime.memcpyAsync(device, host, size, runtime.memcpyHostToDevice, stream)

    def _between(self) -> None:
        """Have the host do its part after what the device was asked for so far; in `capture` between two graphs."""
        stream = self._cupy.cuda.get_current_stream()
        if stream.is_capturing():
            self._queue.parts += [stream.end_capture().launch, self._between]
            stream.begin_capture()
        else:
            stream.synchronize()
            self._work()

    def __del__(self) -> None:
        # CuPy would give the memory to others while a copy still reads it. Without the queue's lock: any thread may
        # come here, when it collects garbage, and one that the lock's owner waits for would wait for the lock.
        with contextlib.suppress(Exception):
            self._queue.stream(self._cupy).synchronize()

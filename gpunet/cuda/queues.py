"""The order of a CUDA device's work: its stream, who may put work there, and marks that tell how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Queue:
    """The stream that the work for one CUDA device goes to, the lock of whoever puts work there, the one that is held
    while a graph is captured, and what comes before that graph."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.capturing = threading.Lock()
        self.parts: list[Callable[[], None]] = []
        self._stream: Any = None
        self._branches: list[Any] = []

    def branches(self, cupy: Any, count: int) -> list[Any]:
        """Streams for the branches of a graph that is captured; to be asked for with the device as the current one."""
        while len(self._branches) < count:
            self._branches.append(cupy.cuda.Stream(non_blocking=True))
        return self._branches[:count]

    def stream(self, cupy: Any) -> Any:
        """The stream; to be asked for with the device as the current one."""
        if self._stream is None:
            self._stream = cupy.cuda.Stream(non_blocking=False)
        return self._stream


_queues: dict[int, Queue] = {}


def queue_of(ordinal: int) -> Queue:
    """The queue of a CUDA device, the same for whoever asks."""
    # Also where two threads ask at once: `setdefault` is one step of the interpreter.
    return _queues.setdefault(ordinal, Queue())


class Mark:
    """A place in the work of a device. On the CPU, where all is done at once, it is always reached."""

    def __init__(self, event: Any = None, capturing: Any = None) -> None:
        self._event, self._capturing = event, capturing

    @property
    def done(self) -> bool:
        """Whether the device has come this far; asks and does not wait."""
        if self._event is None:
            return True
        # CUDA lets no thread ask for anything that could wait while another one captures a graph.
        if not self._capturing.acquire(blocking=False):
            return False
        try:
            return bool(self._event.done)
        finally:
            self._capturing.release()

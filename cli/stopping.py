"""Ctrl-C and SIGTERM while networks are trained: they end at a place where they can be taken up again."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence

from gpunet.cli.errors import Terminated
from gpunet.training.trainer import Trainer


@contextlib.contextmanager
def handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM call a handler inside a `with` block, those that are not ignored."""
    wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each)


@contextlib.contextmanager
def stopping(trainers: Sequence[Trainer]) -> Iterator[list[BaseException]]:
    """Let the first Ctrl-C or SIGTERM end all training between two steps, where it can be taken up again; the next one
    ends it at once. Yields the list of what has arrived, as exceptions."""
    arrived: list[BaseException] = []

    def stop(number: int, frame: object) -> None:
        cause = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        arrived.append(cause)
        if len(arrived) > 1:
            raise cause
        for trainer in trainers:
            trainer.stop()

    with handled(stop):
        yield arrived

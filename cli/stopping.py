"""Ctrl-C and SIGTERM while networks are trained: they end at a place where they can be taken up again."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence

from gpunet.cli.errors import Terminated
from gpunet.training.trainer import Trainer


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

    wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

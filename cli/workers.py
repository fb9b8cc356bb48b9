"""`gpunet train --device cuda:0,cuda:1`: a process for each device, and this one, which brings them together.

What the ranks tell each other goes through here; the gradients do not. When one has ended with an error, so do all.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import wait

from gpunet.cli import keep
from gpunet.cli.stopping import handled
from gpunet.errors import RankFailed
from gpunet.training.ranks import HUB

#: Seconds that the others have to end by themselves when one has failed; then as many again after SIGTERM.
GRACE = 3.0


class Worker:
    """A process that does the same command as this one, as one of the ranks.

    Args:
        rank: which one.
        devices: those of all of them.
    """

    def __init__(self, rank: int, devices: Sequence[str]) -> None:
        self.device = devices[rank]
        self.pipe, theirs = Pipe()
        told = {HUB: str(theirs.fileno()), "GPUNET_RANK": str(rank), "GPUNET_RANKS": str(len(devices))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpunet", *sys.argv[1:], "--distributed", "nccl"],
            env={**os.environ, **told},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C comes through this process, once
        )
        theirs.close()
        self.message: bytes | None = None

    def receive(self) -> None:
        """Take what it has told; nothing if it has ended."""
        try:
            self.message = self.pipe.recv_bytes()
        except (EOFError, OSError):
            self.pipe.close()


def train_on(devices: Sequence[str]) -> int:
    """Start a worker for each device and stay until all have ended; the exit code.

    Raises:
        RankFailed: one of them was ended by a signal.
    """
    workers = [Worker(rank, devices) for rank in range(len(devices))]

    def forward(number: int, frame: object) -> None:  # so that they end as one does that trains by itself
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    try:
        with handled(forward):
            _bring_together(workers)
            died = next((worker for worker in workers if (worker.process.poll() or 0) < 0), None)
            _end(workers)
    finally:
        for worker in workers:
            worker.process.kill()
    codes = [worker.process.wait() for worker in workers]
    if died is not None:
        name = signal.Signals(-died.process.returncode).name
        raise RankFailed(f"the rank on {died.device} was ended by {name}, and the others with it; {keep.WAY_ON}")
    return next((code for code in codes if code), 0)


def _bring_together(workers: Sequence[Worker]) -> None:
    """Give each what all have told, until one has ended."""
    while all(worker.process.poll() is None for worker in workers):
        waiting = [worker for worker in workers if worker.message is None and not worker.pipe.closed]
        ready = wait([worker.pipe for worker in waiting], timeout=0.2)
        for worker in waiting:
            if worker.pipe in ready:
                worker.receive()
        if all(worker.message is not None for worker in workers):
            told = pickle.dumps([worker.message for worker in workers])
            for worker in workers:
                worker.message = None
                with contextlib.suppress(OSError):
                    worker.pipe.send_bytes(told)


def _end(workers: Sequence[Worker]) -> None:
    """Wait for all; where one has failed, not for long."""
    began, asked = time.monotonic(), False
    while any(worker.process.poll() is None for worker in workers):
        time.sleep(0.05)
        failed = any(worker.process.poll() not in (None, 0) for worker in workers)
        if failed and not asked and time.monotonic() - began > GRACE:
            asked, began = True, time.monotonic()
            for worker in workers:
                worker.process.terminate()
        elif asked and time.monotonic() - began > GRACE:
            return

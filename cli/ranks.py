"""`gpunet train --distributed`: several processes that the terminal hears as one."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TypeVar

import typer

from gpunet.backend import get_backend
from gpunet.cli import keep
from gpunet.errors import GpunetError, RankFailed, UsageError
from gpunet.runs.initial import begin_from
from gpunet.runs.settings import Settings, build_dataset, build_model, build_trainer
from gpunet.training.ranks import Ranks, open_ranks, started
from gpunet.training.trainer import Trainer

E = TypeVar("E", bound=GpunetError)


def taking_part(engine: str | None, device: str) -> Ranks:
    """The ranks that this process is one of; where several devices are named, it starts a worker for each instead.

    Raises:
        UsageError: several processes were started, and each would train the same by itself.
        Exit: likewise, for all of them but one, so that it is said once; or the workers have ended.
    """
    rank, size = started()
    devices = device.split(",")
    if len(devices) > 1 and size == 1:
        if engine == "mpi":
            raise UsageError(f"--device {device}: these are trained on by nccl; leave --distributed out.")
        from gpunet.cli.workers import train_on

        raise typer.Exit(train_on(devices))
    if engine is None and size > 1:
        if rank:
            raise typer.Exit
        raise UsageError(
            f"{size} processes were started, and each would train the same network; share the work out among them with "
            "--distributed mpi (or nccl), or start one."
        )
    return open_ranks(engine)


def alike(error: E) -> E:
    """An error that every rank raises alike."""
    error.everywhere = True
    return error


def assisting(ranks: Ranks, settings: Settings | None) -> Trainer | None:
    """What the other ranks do up to the first step, while rank 0 says what it is about to do.

    Args:
        ranks: this one and the others.
        settings: of the run; None where it is resumed, and rank 0 has them from its folder.

    Returns:
        The trainer; None if there is nothing to do.
    """
    with ranks.together():
        resumed = settings is None
        if settings is None:
            settings = ranks.first(None)
        if settings is None:
            return None
        data = build_dataset(settings)
        trainer = build_trainer(settings, build_model(settings, data, get_backend(ranks.device(settings.device))), data)
        if resumed:
            trainer.restore(*ranks.first(None))
        elif settings.init_from is not None:
            begin_from(trainer, settings.init_from)
    return trainer


@contextlib.contextmanager
def one_voice(ranks: Ranks) -> Iterator[None]:
    """Have rank 0 alone say what all ranks end with; what one of them ends with by itself, it says, and ends the
    others."""
    try:
        yield
    except Exception as error:
        everywhere = isinstance(error, typer.Exit) or getattr(error, "everywhere", False)
        if everywhere and ranks.rank:
            raise typer.Exit from None
        ranks.lost = ranks.size > 1 and not everywhere
        library = type(error).__module__.partition(".")[0]
        if ranks.lost and library == "mpi4py" and (died := ranks.died()) is not None:
            if not died:  # another rank says it
                raise typer.Exit(1) from None
            dead = " and ".join(f"rank {rank}" for rank in died)
            raise RankFailed(f"{dead} died, and the others ended with it; {keep.WAY_ON}") from None
        if ranks.lost and library in ("cupy", "cupy_backends", "mpi4py"):
            told = str(error).partition("\n")[0].rstrip(".")
            raise GpunetError(f"rank {ranks.rank} lost the others, or its device ({told}).") from error
        raise


@contextlib.contextmanager
def last_words(trainer: Trainer, kept: str) -> Iterator[None]:
    """Have rank 0 say where the run stands when the launcher ends it.

    mpirun sends SIGTERM to all ranks when one has died or Ctrl-C was pressed, and a quarter of a second later SIGKILL.
    A rank that waits for one that is gone never comes back to Python, so a thread listens.
    """
    if trainer.ranks.size == 1 or trainer.ranks.rank:
        yield
        return
    import socket

    heard, said = socket.socketpair()
    said.setblocking(False)
    before = signal.set_wakeup_fd(said.fileno(), warn_on_full_buffer=False)
    over = threading.Event()

    def listen() -> None:
        for number in iter(lambda: heard.recv(1), b""):
            if number[0] == signal.SIGTERM and not over.wait(0.1):  # it may end by itself meanwhile
                told = f"the ranks are ended after iteration {trainer.iteration:,}: one has died, or all were told to."
                with contextlib.suppress(OSError):
                    os.write(2, f"\nError: {told}\n{kept}\n".encode())

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        said.close()

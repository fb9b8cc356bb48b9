"""The sum over all ranks of a vector that each of them has, put in its place: what data parallel training sends."""

from __future__ import annotations

import functools
from typing import Any

from gpunet.errors import DeviceError
from gpunet.kernels.build import Ready
from gpunet.wording import first_line


class AllReduce:
    """Base of the ways to add up.

    Attributes:
        captured: whether it is part of a CUDA graph; otherwise the graph ends there, and another one goes on.
    """

    captured = True

    def bind(self, vector: Any, backend: Any) -> Ready:
        """The sum of this vector, ready to be run; every rank does it, on a vector of the same length and type.

        For a number of ranks the sum is the same to the last bit in every run, and on every rank.

        Args:
            vector: (n,) float32 or float64, contiguous, changed.
            backend: the device that it is on.
        """
        return lambda: None


class MpiSum(AllReduce):
    """By MPI, in the memory of the host; what is on a CUDA device is copied there and back.

    Args:
        mpi: the module `mpi4py.MPI`.
        world: the communicator.
    """

    captured = False

    def __init__(self, mpi: Any, world: Any) -> None:
        self._in_place, self._world = mpi.IN_PLACE, world

    def bind(self, vector: Any, backend: Any) -> Ready:
        """One all-reduce."""
        ready: Ready = backend.changed_by_host(vector, functools.partial(self._world.Allreduce, self._in_place))
        return ready


class NcclSum(AllReduce):
    """By NCCL, from one CUDA device to the other, in the order of the stream.

    Args:
        ranks: this one and the others, which hear of each other by other ways.
    """

    def __init__(self, ranks: Any) -> None:
        self._ranks = ranks
        self._communicators: dict[str, Any] = {}

    def bind(self, vector: Any, backend: Any) -> Ready:
        """One all-reduce on the stream that is current when it is run.

        Raises:
            DeviceError: NCCL is not there, or cannot bring the devices together.
        """
        nccl, cuda = backend.nccl, backend.xp.cuda
        reduce = self._communicator(backend, nccl).allReduce
        pointer, count = vector.data.ptr, vector.size
        kind = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}[vector.dtype.name]
        return lambda: reduce(pointer, pointer, count, kind, nccl.NCCL_SUM, cuda.get_current_stream().ptr)

    def _communicator(self, backend: Any, nccl: Any) -> Any:
        ranks = self._ranks
        if backend.device not in self._communicators:
            number = ranks.first(nccl.get_unique_id() if ranks.rank == 0 else None)
            try:
                self._communicators[backend.device] = nccl.NcclCommunicator(ranks.size, number, ranks.rank)
            except Exception as error:
                raise DeviceError(
                    f"NCCL cannot bring {backend.device} together with the other ranks ({first_line(error)}); "
                    "each rank needs a GPU of its own."
                ) from error
        return self._communicators[backend.device]

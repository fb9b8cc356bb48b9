"""How the steps of training runs are carried out on a CUDA device: which products, and as CUDA graphs or not.

What a step of a small network costs is asking for its kernels, not computing them. So several steps are captured once
as a CUDA graph and then replayed, with one launch for all of them. The products of a small network are our own, fused
with what is around them (`kernels/fused.py`), which makes fewer nodes; those of a large one are cuBLAS's
(`kernels/cublas.py`), because there the library's speed counts for more. Products on tensor cores are always
cuBLAS's.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.errors import DeviceError, UsageError
from gpunet.kernels import cublas
from gpunet.kernels.build import Ready
from gpunet.kernels.fused import fits
from gpunet.kernels.launches import alike, together
from gpunet.kernels.tensor_cores import PRECISIONS, SINCE

#: Up to this many floating-point operations per step the products are our own. On an H200 they were the faster ones for
#: 784-50-30-10 with 1,000 examples (168 million) and 784-256-128-10 with 100 (101 million), and the slower ones for
#: three times as much (docs/performance.md).
FUSED_FLOP = 170e6
#: Steps of each network in one launch, unless more or fewer are asked for: asking for a graph takes the host five to
#: ten microseconds, and with ten steps in it that is little beside the work of even the smallest network.
STEPS = 10
#: Steps after which a capture that failed is tried again for the first time.
RETRY = 100


@dataclass(frozen=True)
class LaunchMode:
    """How steps are carried out.

    Attributes:
        captured: whether as a CUDA graph.
        steps: how many follow each other in one launch, at most.
        fused: whether the matrix products are our own, fused with what is around them.
        required: whether a graph was asked for, so that doing without is an error.
        reason: the choice and its reason, in a few words.
        precision: what the products of a float32 network are computed in (see `kernels/tensor_cores.py`).
        cut: whether the graphs end at each all-reduce, which the host does.
    """

    captured: bool
    steps: int
    fused: bool
    required: bool
    reason: str
    precision: str = "float32"
    cut: bool = False

    @property
    def workspace(self) -> int:
        """Bytes that cuBLAS takes for itself on a device: once, and once more for each further branch of a graph."""
        return 0 if self.fused or self == ONE_BY_ONE else cublas.WORKSPACE


#: How a CPU carries them out.
ONE_BY_ONE = LaunchMode(False, 1, False, False, "one after the other")


def step_flop(sizes: Sequence[int], batch: int) -> float:
    """Floating-point operations of a step's matrix products: forward, and backward twice, once for the first layer."""
    products = [2.0 * batch * fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes)]
    return 3 * sum(products) - products[0]


def launch_mode(
    graph: str,
    backend: Any,
    sizes: Sequence[int],
    batch: int,
    precision: str = "float32",
    dtype: Any = "float32",
    steps: int | str = "auto",
    cut: bool = False,
) -> LaunchMode:
    """How to carry out the steps of a network on a device.

    Args:
        graph: "auto", "on" or "off".
        backend: the device.
        sizes: the widths of the network.
        batch: examples per step.
        precision: that of the matrix products.
        dtype: the number type of the network.
        steps: in one launch of a graph, or "auto".
        cut: whether the host does a part of each.

    Raises:
        UsageError: a graph is asked for on the CPU, or a precision that cannot be had.
    """
    _check_precision(precision, backend, dtype)
    if backend.name == "cpu":
        if graph == "on":
            raise UsageError('graph "on" needs a CUDA device; leave it at "auto", or train with device "cuda".')
        return ONE_BY_ONE
    flop = step_flop(sizes, batch)
    small, own = flop <= FUSED_FLOP, precision == "float32"
    fused = small and own and fits(sizes, np.dtype(dtype).itemsize)
    products = "fused products" if fused else "cuBLAS for the products"
    products += "" if own else f" in {PRECISIONS[precision]}"
    work = f"{flop / 1e6:,.3g} MFLOP a step" + ("" if own or not small else "; fused products are float32 alone")
    if graph == "off":
        way = f"kernels launched one by one, {products} (graph off, {work})"
        return LaunchMode(False, 1, fused, False, way, precision)
    count = STEPS if steps == "auto" else int(steps)
    way = "one CUDA graph launch per step" if count == 1 else f"CUDA graphs of up to {count:,} steps"
    way = "CUDA graphs from all-reduce to all-reduce" if cut else way
    return LaunchMode(True, count, fused, graph == "on", f"{way}, {products} ({work})", precision, cut)


def _check_precision(precision: str, backend: Any, dtype: Any) -> None:
    """Refuse a precision that would not be computed."""
    if precision == "float32":
        return
    if str(dtype) != "float32":
        raise UsageError(f"precision {precision} is for a network of float32, not of {dtype}; ask for one of the two.")
    if backend.name == "cpu":
        raise UsageError(
            f"precision {precision} needs a CUDA device: it is for tensor cores, and a CPU would only be slower with "
            'it; leave it at "float32", or train with device "cuda".'
        )
    if backend.compute_capability < SINCE:
        has, needed = (".".join(map(str, each)) for each in (backend.compute_capability, SINCE))
        raise UsageError(
            f"precision {precision} needs a device of compute capability {needed} or newer, and {backend.device} has "
            f"{has}; leave it at float32."
        )
    if precision == "tf32" and os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        raise UsageError("precision tf32 is switched off by NVIDIA_TF32_OVERRIDE=0; unset it, or take float32.")


class Graphs:
    """Steps of one network or of several as CUDA graphs.

    Networks whose launches are alike share them; they and the others are parallel branches.
    One graph is of several steps of each, another of a single step, for what is left of a stretch. They are captured
    anew for other networks.

    All addresses that a graph holds belong to arrays that the networks' steps keep alive, and what changes from step to
    step lies in them.

    Attributes:
        graphs: those that were captured for the networks of the last launch, by the steps that they do of each.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._networks: list[Any] = []
        self._steps: list[Ready] = []  # one of each branch; with tables on the device that the graphs go on reading
        self.graphs: dict[int, Any] = {}

    def take(self, networks: Sequence[Any]) -> None:
        """Make ready for these networks, if they are others than the last time, inside of `Backend.use`: compiles what
        they share, and tries their products (see `Product.together`).

        Args:
            networks: the `TrainingStep` of each, warm.

        Raises:
            DeviceError: cuBLAS cannot be used.
        """
        if self._networks != networks:
            self._networks, self._steps, self.graphs = list(networks), list(_branches(networks)), {}

    def launch(self, networks: Sequence[Any], count: int) -> int:
        """Do up to `count` steps of each network, on the backend's stream, which must be the current one.

        Args:
            networks: the `TrainingStep` of each, warm, with nothing for the host to do for `count` steps.
            count: at least 1.

        Returns:
            How many steps were done.

        Raises:
            DeviceError: a step cannot be captured.
        """
        self.take(networks)
        most = min(network.steps_per_launch for network in networks)
        count = most if count >= most else 1
        if count not in self.graphs:
            works = [functools.partial(_repeat, step, count) for step in self._steps]
            work = works[0] if len(works) == 1 else functools.partial(self._backend.beside, works)
            self.graphs[count] = self._backend.capture(work)
        self.graphs[count].launch()
        return count


def _branches(networks: Sequence[Any]) -> Iterator[Ready]:
    """A step of each branch of the networks' common graph."""
    groups: dict[Any, list[Any]] = {}
    for network in networks:
        groups.setdefault(alike(network.launches), []).append(network)
    numbers = itertools.count()  # branches run at the same time, and must not share cuBLAS's workspace
    for group in groups.values():
        step = together([network.launches for network in group])
        yield step if group[0].mode.fused or len(groups) == 1 else cublas.beside(next(numbers), step)


def _repeat(step: Ready, count: int) -> None:
    for _ in range(count):
        step()


class StepGraph:
    """The steps of one network as CUDA graphs, from the second launch on; one by one where they cannot be captured.

    The first step runs as it is, which compiles every kernel it needs. A capture that fails is tried again later, each
    time after twice as many steps.

    Attributes:
        graphs: the graphs.
        refused: why the steps could not be captured the last time; None if they were, or it was not tried yet.
    """

    def __init__(self, backend: Any, required: bool) -> None:
        self.graphs = Graphs(backend)
        self._required = required
        self._pause, self._next_pause = 1, RETRY  # steps before the next try
        self.refused: str | None = None

    def launch(self, network: Any, count: int) -> int:
        """Do up to `count` steps, on the backend's stream, which must be the current one.

        Args:
            network: the `TrainingStep`, with nothing for the host to do for `count` steps.
            count: at least 1.

        Returns:
            How many steps were done.

        Raises:
            DeviceError: the steps cannot be captured, and a graph was asked for.
        """
        if self._pause:
            network.run_operations()
            self._pause -= 1
            return 1
        try:
            done = self.graphs.launch([network], count)
            self.refused = None
            return done
        except DeviceError as error:
            self.refused = str(error)
            self._pause, self._next_pause = self._next_pause, 2 * self._next_pause
            if self._required:
                raise
        return self.launch(network, count)

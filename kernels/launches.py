"""Launches of CUDA kernels, and how several networks share one.

A step is a list of launches. Networks of one shape ask for the same kernels with the same blocks, and differ in the
arguments alone. So `together` makes one list of their lists: each launch is done once, with the network as a further
dimension of its grid, and its blocks read their arguments from a table on the device. How a kernel does that is not
written anywhere: `source_of_many` makes it of the kernel for one network. Products of matrices have a way of their own
(`cublas.py`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from gpunet.kernels.build import InTurn, Ready, compiled, defined, source

#: Threads of a block of a kernel over elements.
THREADS = 256
#: Elements of a thread where there are many, as many as it reads before it writes the first: what all threads that a
#: GPU has room for read at once must be enough to keep its memory busy.
EACH = 4
#: From so many elements on there are more than a large GPU has threads for at a time.
MANY = 1 << 18


class Launch:
    """A launch of a kernel, ready to be run.

    Args:
        kernel: a `cupy.RawKernel`.
        grid, block: how many blocks, and threads in each.
        arguments: CuPy arrays and NumPy scalars of the types of the kernel's parameters.
        shared: bytes of dynamic shared memory of a block.

    Attributes:
        alike: equal for launches that differ in their arguments alone.
        name: the kernel's.
    """

    def __init__(
        self, kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], shared: int
    ) -> None:
        self._kernel, self._grid, self._block, self._arguments, self._shared = kernel, grid, block, arguments, shared
        self.alike: Hashable = (kernel, grid, block, shared)
        self.name: str = kernel.name
        self._run = functools.partial(kernel, grid, block, arguments, shared_mem=shared)

    def __call__(self) -> None:
        self._run()

    def together(self, others: Sequence[Launch]) -> Launch:
        """This launch and others that are alike as one; their arrays must live as long as it is used."""
        import cupy

        rows = [tuple(map(_in_table, launch._arguments)) for launch in (self, *others)]
        kinds = [(f"argument{at}", np.asarray(value).dtype) for at, value in enumerate(rows[0])]
        table = cupy.asarray(np.array(rows, np.dtype(kinds, align=True)).view(np.uint8))
        return Launch(of_many(self._kernel), (self._grid[0], len(rows)), self._block, (table,), self._shared)


def _in_table(argument: Any) -> Any:
    """An argument as a table on the device holds it: an array is its address."""
    address = getattr(getattr(argument, "data", None), "ptr", None)
    return argument if address is None else np.uintp(address)


def launch(
    kernel: Any, blocks: int | tuple[int, int], threads: int | tuple[int, int], *arguments: Any, shared: int = 0
) -> Launch:
    """A launch of a `raw` kernel, ready to be run; an argument that is None is a pointer to nothing.

    `shared` is the bytes of dynamic shared memory of a block.
    """
    grid, block = ((size,) if isinstance(size, int) else size for size in (blocks, threads))
    return Launch(kernel, grid, block, tuple(np.uintp(0) if each is None else each for each in arguments), shared)


def over_elements(
    name: str, parameters: str, read: str, write: str, size: int, *arguments: Any, defines: Any = (), preamble: str = ""
) -> Launch:
    """A launch of a kernel that does the same for each of `size` elements, ready to be run.

    Args:
        name, parameters: of the kernel, as in CUDA C++.
        read: statements that are done for element `i`, which change nothing that is not theirs.
        write: statements behind those, which leave what is new.
        size: how many there are.
        arguments: as of `launch`.
        defines: `#define`s, the types of the arrays among them.
        preamble: source that the statements use.
    """
    each = EACH if size >= MANY else 1
    kernel = _of_elements(name, parameters, read, write, defines, preamble, each, "int" if size < 2**30 else "int64")
    return launch(kernel, max(-(-size // (each * THREADS)), 1), THREADS, *arguments, np.int64(size))


@functools.cache
def _of_elements(
    name: str, parameters: str, read: str, write: str, defines: tuple[tuple[str, str], ...], preamble: str, each: int,
    index: str,
) -> Any:  # fmt: skip
    places = [f"first + {at * THREADS}" for at in range(each)]
    reads = " ".join(f"const auto write{at} = read({place});" for at, place in enumerate(places))
    writes = " ".join(f"write{at}();" for at in range(each))
    text = f"""{defined(defines)}{source("common.cuh")}
{preamble}
extern "C" __global__ void __launch_bounds__({THREADS}) {name}({parameters}, int64 size) {{
    const auto read = [&](const {index} i) {{ {read} return [=]() {{ {write} }}; }};
    const {index} first = ({index})blockIdx.x * {each * THREADS} + threadIdx.x;
    if ({places[-1]} < size) {{ {reads} {writes} }}
    else for ({index} i = first; i < size; i += {THREADS}) read(i)();
}}
"""
    return compiled(text, name)


@functools.cache
def of_many(kernel: Any) -> Any:
    """The kernel for several networks, compiled, because a capture does not allow that."""
    made = compiled(source_of_many(kernel.code, kernel.name), f"{kernel.name}_of_many")
    made.compile()
    return made


def source_of_many(text: str, name: str) -> str:
    """The source of a kernel as that of the kernel for several networks.

    It takes a table with a row of arguments for each network. Block (i, k) does with row k what block i of the kernel
    does, whose body it has as a function.
    """
    head = re.compile(rf'extern "C" __global__ void (__launch_bounds__\([^)]*\) )?{name}\(([^)]*)\)')
    bounds, parameters = head.search(text).groups("")  # type: ignore[union-attr]
    fields = [" ".join(parameter.split()) for parameter in parameters.split(",")]
    struct = "".join(f"{field}; " for field in fields)
    given = ", ".join(f"own.{field.rpartition(' ')[2]}" for field in fields)
    body = head.sub(rf"__device__ __forceinline__ void {name}_of_one(\2)", text)
    return f"""{body}
struct {name}_arguments {{ {struct}}};

extern "C" __global__ void {bounds}{name}_of_many(const {name}_arguments* __restrict__ of_networks) {{
    const {name}_arguments own = of_networks[blockIdx.y];
    {name}_of_one({given});
}}
"""


def alike(step: Sequence[Ready]) -> Hashable:
    """Equal for steps that `together` can make one of."""
    return tuple(getattr(ready, "alike", ready) for ready in step)


def together(steps: Sequence[Sequence[Ready]]) -> Ready:
    """The steps of several networks as one, whose launches are those of one.

    Args:
        steps: that are `alike`, each as a list of what it does; they must live as long as what is returned.
    """
    return InTurn([one.together(others) if others else one for one, *others in zip(*steps, strict=True)])

"""How an operation is built: its NumPy form and its CUDA form under one name, and the makers of CUDA kernels.

An `Operation` is bound to its arrays once and then run again and again, as a training step does; or it is called
with arrays, which is both at once. The makers (`elementwise`, `raw`) hand CUDA source to CuPy once and remember the
kernel, because making one costs more than launching it a thousand times (cupy#391).
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gpunet.errors import DeviceError

#: The C types that the kernels know, by NumPy name: (storage, arithmetic). Half precision is stored
#: in 16 bits and computed in 32.
C_TYPES = {
    "float16": ("__half", "float"),
    "float32": ("float", "float"),
    "float64": ("double", "double"),
    "uint8": ("unsigned char", "float"),
    "int32": ("int", "float"),
}


def one_line(expression: str) -> str:
    """CUDA source without line ends, so that it can stand in a macro or before other source; `//` comments go."""
    return " ".join(re.sub(r"//.*", "", expression).split())


#: Something that is ready to be run: it takes nothing, because it knows the arrays that it works on.
Ready = Callable[[], Any]


class Operation:
    """One numerical operation with a NumPy form and a CUDA form.

    Either form looks at its arrays once and returns the function that does the work: a step of a small network is a
    few dozen calls of a few microseconds each, and what is looked up between them would take as long. The first array
    argument decides: a `numpy.ndarray` takes the NumPy form, anything else the CUDA form, which imports CuPy when it
    is first used.
    """

    def __init__(self, numpy_form: Callable[..., Ready]) -> None:
        functools.update_wrapper(self, numpy_form)
        self.numpy_form = numpy_form
        self.cuda_form: Callable[..., Ready] | None = None

    def cuda(self, form: Callable[..., Ready]) -> Operation:
        """Give the operation its CUDA form (used as a decorator under the NumPy form)."""
        self.cuda_form = form
        return self

    def bind(self, first: Any, *args: Any, **options: Any) -> Ready:
        """The operation on these arrays, to be run as often as one likes.

        What depends on the arrays' shapes and types alone is done here, once; each run reads and writes
        what is in them at that time.
        """
        here = self.cuda_form is None or type(first) is np.ndarray
        form = self.numpy_form if here else self.cuda_form
        assert form is not None
        return form(first, *args, **options)

    def __call__(self, first: Any, *args: Any, **options: Any) -> Any:
        return self.bind(first, *args, **options)()


def operation(numpy_form: Callable[..., Ready]) -> Operation:
    """Make an `Operation` of its NumPy form; add the CUDA form with `@name.cuda`."""
    return Operation(numpy_form)


class InTurn:
    """Several things that are ready as one, run one after the other.

    Attributes:
        parts: those things.
    """

    def __init__(self, parts: Iterable[Ready]) -> None:
        self.parts = list(parts)

    def __call__(self) -> None:
        for part in self.parts:
            part()


def in_turn(*parts: Ready) -> Ready:
    """Several things that are ready as one, run one after the other."""
    return parts[0] if len(parts) == 1 else InTurn(parts)


def apart(works: Iterable[Ready]) -> Iterator[Ready]:
    """Things that are ready, with the parts of those that are several in their place."""
    for work in works:
        if isinstance(work, InTurn):
            yield from apart(work.parts)
        else:
            yield work


def is_cuda(array: Any) -> bool:
    """Whether an array lives on a CUDA device (asked of its interface, CuPy is not imported)."""
    return not isinstance(array, np.ndarray) and hasattr(array, "__cuda_array_interface__")


def _place(array: Any) -> str:
    if not is_cuda(array):
        return "cpu"
    ordinal = getattr(getattr(array, "device", None), "id", None)
    return "cuda" if ordinal is None else f"cuda:{ordinal}"


def same_device(**arrays: Any) -> None:
    """Refuse arrays of different devices.

    Raises:
        DeviceError: one array is in host memory and another on a CUDA device.
    """
    places = {name: _place(array) for name, array in arrays.items() if array is not None}
    if len(set(places.values())) > 1:
        told = ", ".join(f"{name} on {place}" for name, place in places.items())
        raise DeviceError(
            f"arrays of different devices do not mix ({told}); move them with backend.to_device(array) first."
        )


@functools.cache
def source(file: str) -> str:
    """The text of a `.cu` or `.cuh` file of this package, its own #include "..." lines filled in."""
    text = (importlib.resources.files(__package__) / file).read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        if line.startswith('#include "'):
            lines.append(source(line.split('"')[1]))
        else:
            lines.append(line)
    return "\n".join(lines)


@functools.cache
def elementwise(inputs: str, outputs: str, body: str, name: str, preamble: str = "") -> Any:
    """A memoised `cupy.ElementwiseKernel`; `preamble` may define types and functions that `body` uses."""
    import cupy

    return cupy.ElementwiseKernel(inputs, outputs, body, name, preamble=preamble)


def defined(defines: Iterable[tuple[str, str]]) -> str:
    """`#define`s as source, and what their types need."""
    head = "".join(f"#define {key} {value}\n" for key, value in defines)
    return "#include <cuda_fp16.h>\n" + head if "__half" in head else head


def compiled(text: str, name: str) -> Any:
    """The CUDA kernel of this name in a source; it is compiled when it is first used."""
    import cupy

    return cupy.RawKernel(text, name, options=("--std=c++14",))


@functools.cache
def raw(files: str | tuple[str, ...], name: str, *defines: tuple[str, str]) -> Any:
    """A memoised CUDA kernel out of `.cu` files, compiled with `#define`s in front of their texts."""
    texts = [source(file) for file in ((files,) if isinstance(files, str) else files)]
    return compiled(defined(defines) + "\n" + "\n".join(texts), name)


def types(**dtypes: Any) -> tuple[tuple[str, str], ...]:
    """`#define`s for `raw`: each name as the C storage type of a dtype, ACC as the type to compute in."""
    defines = []
    accumulate = "float"
    for name, dtype in dtypes.items():
        stored, computed = C_TYPES[np.dtype(dtype).name]
        defines.append((name, stored))
        if computed == "double":
            accumulate = "double"
    return (*defines, ("ACC", accumulate))

"""One activation function: its NumPy form, its CUDA form and its derivative in one entry, and what is done with it.

The entries themselves are in `activations.py`. The derivative is computed from what the forward pass leaves
behind: the output `y` where the formula allows it (`saves="output"`, nothing more needs to be kept), else
the input `x` (`saves="input"`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels.blocks import bind
from gpunet.kernels.build import C_TYPES, Ready, elementwise, one_line, operation
from gpunet.keywords import checked


@checked
@dataclass(frozen=True, eq=False)
class Activation:
    """An activation function f, elementwise.

    Attributes:
        name: the name in the table and on the command line.
        forward: NumPy form, `forward(x, out)` writes f(x) to `out` (which may be `x`).
        backward: NumPy form, `backward(grad, saved, out)` writes grad * f'(x) to `out` (which may be
            `grad`); `saved` is f(x) or x, as `saves` says, and must not be changed.
        cuda_forward: a CUDA C++ expression in `x` (of type ACC: float, or double for float64 arrays).
        cuda_derivative: a CUDA C++ expression for f' in `y` (= f(x)) or `x`, as `saves` says.
        saves: "output" or "input".
        formula: f in one line, for the documentation.
        source: where the formula comes from.
        kinks: inputs at which f' jumps; checks by finite differences step around them.
        onnx: how a file for ONNX has it, or None: a function of the graph and the name of its input that gives the name
            of its output, as `lambda graph, x: graph("Mul", x, graph("Sigmoid", x))`; `graph.constant(value)` is a
            number's name.
        torch: its class in `torch.nn`, and the arguments that make that the same function; or None.
    """

    name: str
    forward: Callable[[np.ndarray, np.ndarray], Any]
    backward: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
    cuda_forward: str
    cuda_derivative: str
    saves: str = "output"
    formula: str = ""
    source: str = ""
    kinks: tuple[float, ...] = ()
    onnx: Callable[[Any, str], Any] | None = None
    torch: tuple[str, dict[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"Activation({self.name!r}{f': {self.formula}' if self.formula else ''})"

    def __post_init__(self) -> None:
        if self.saves not in ("output", "input"):
            raise UsageError(f'activation {self.name!r}: saves must be "output" or "input", not {self.saves!r}.')

    def cuda_functions(self, suffix: str = "") -> str:
        """The two device functions `activate` and `derivative`, as a line of CUDA source over the type ACC.

        `derivative` takes f(x) or x, whichever the activation saves.
        """
        kept = "y" if self.saves == "output" else "x"
        forward, derivative = one_line(self.cuda_forward), one_line(self.cuda_derivative)
        return (
            f"__device__ __forceinline__ ACC activate{suffix}(ACC x) {{ return {forward}; }} "
            f"__device__ __forceinline__ ACC derivative{suffix}(ACC {kept}) {{ return {derivative}; }} "
        )


@checked
def from_functions(
    name: str,
    forward: Callable[[np.ndarray], np.ndarray],
    derivative: Callable[[np.ndarray], np.ndarray],
    cuda_forward: str,
    cuda_derivative: str,
    *,
    saves: str = "input",
    formula: str = "",
    source: str = "",
    kinks: tuple[float, ...] = (),
    onnx: Callable[[Any, str], Any] | None = None,
) -> Activation:
    """Make an activation of one's own out of plain NumPy functions and two CUDA expressions.

    Args:
        name: what to call it.
        forward: f, from an array to a new array of the same shape and dtype.
        derivative: f', of x (or of f(x) with `saves="output"`).
        cuda_forward: f as a CUDA C++ expression in `x`, for example "x / (ACC(1) + fabs(x))".
        cuda_derivative: f' as an expression in `x` (or in `y` with `saves="output"`).
        saves, formula, source, kinks, onnx: as of an `Activation`.

    `check_activation` holds the two forms against each other and against finite differences.
    """

    def forward_into(x: np.ndarray, out: np.ndarray) -> None:
        out[...] = forward(x)

    def backward_into(grad: np.ndarray, saved: np.ndarray, out: np.ndarray) -> None:
        np.multiply(grad, derivative(saved).astype(grad.dtype, copy=False), out=out)

    return Activation(
        name, forward_into, backward_into, cuda_forward, cuda_derivative, saves, formula, source, kinks, onnx
    )  # fmt: skip


def _compute_type(dtype: Any) -> str:
    return f"typedef {C_TYPES[np.dtype(dtype).name][1]} ACC;\n"


@operation
def activation_forward(x: Any, activation: Activation, out: Any) -> Ready:
    """out = f(x), elementwise, any shape and strides; `out` may be `x`."""
    if x.dtype == np.float16:  # stored in 16 bits, computed in 32, as on CUDA

        def half() -> Any:
            wide = x.astype(np.float32)
            activation.forward(wide, wide)
            out[...] = wide
            return out

        return half
    apply = bind(activation.forward, x, out)

    def run() -> Any:
        apply()
        return out

    return run


@activation_forward.cuda
def _activation_forward_cuda(x: Any, activation: Activation, out: Any) -> Ready:
    kernel = elementwise(
        "T x_in", "T y_out", "y_out = T(activate(ACC(x_in)))", "activation_forward",
        _compute_type(x.dtype) + activation.cuda_functions(),
    )  # fmt: skip
    return partial(kernel, x, out)


@operation
def activation_backward(grad: Any, saved: Any, activation: Activation, out: Any) -> Ready:
    """out = grad * f', with f' from what the activation saves; `out` may be `grad`."""
    if grad.dtype == np.float16:

        def half() -> Any:
            wide = grad.astype(np.float32)
            activation.backward(wide, saved.astype(np.float32), wide)
            out[...] = wide
            return out

        return half
    apply = bind(activation.backward, grad, saved, out)

    def run() -> Any:
        apply()
        return out

    return run


@activation_backward.cuda
def _activation_backward_cuda(grad: Any, saved: Any, activation: Activation, out: Any) -> Ready:
    kernel = elementwise(
        "T grad, T saved", "T out", "out = T(ACC(grad) * derivative(ACC(saved)))", "activation_backward",
        _compute_type(grad.dtype) + activation.cuda_functions(),
    )  # fmt: skip
    return partial(kernel, grad, saved, out)

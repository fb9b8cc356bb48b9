"""Activation functions: for each its NumPy form, its CUDA form and its derivative, in one entry.

An entry of `ACTIVATIONS` is all there is to an activation; layers, fused kernels, the command line, the
documentation and the tests pick it up from there. The derivative is computed from what the forward
pass leaves behind: the output `y` where the formula allows it (`saves="output"`, nothing more needs
to be kept), else the input `x` (`saves="input"`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels.build import C_TYPES, elementwise, operation


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

    def __post_init__(self) -> None:
        if self.saves not in ("output", "input"):
            raise UsageError(f'activation {self.name!r}: saves must be "output" or "input", not {self.saves!r}.')

    def cuda_functions(self, suffix: str = "") -> str:
        """The two device functions `activate` and `derivative`, as CUDA source over the type ACC.

        `derivative` takes f(x) or x, whichever the activation saves.
        """
        kept = "y" if self.saves == "output" else "x"
        return (
            f"__device__ __forceinline__ ACC activate{suffix}(ACC x) {{ return {self.cuda_forward}; }}\n"
            f"__device__ __forceinline__ ACC derivative{suffix}(ACC {kept}) {{ return {self.cuda_derivative}; }}\n"
        )


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
) -> Activation:
    """Make an activation of one's own out of plain NumPy functions and two CUDA expressions.

    Args:
        name: what to call it.
        forward: f, from an array to a new array of the same shape and dtype.
        derivative: f', of x (or of f(x) with `saves="output"`).
        cuda_forward: f as a CUDA C++ expression in `x`, for example "x / (ACC(1) + fabs(x))".
        cuda_derivative: f' as an expression in `x` (or in `y` with `saves="output"`).

    `check_activation` holds the two forms against each other and against finite differences.
    """

    def forward_into(x: np.ndarray, out: np.ndarray) -> None:
        out[...] = forward(x)

    def backward_into(grad: np.ndarray, saved: np.ndarray, out: np.ndarray) -> None:
        np.multiply(grad, derivative(saved).astype(grad.dtype, copy=False), out=out)

    return Activation(
        name, forward_into, backward_into, cuda_forward, cuda_derivative, saves, formula, source, kinks
    )  # fmt: skip


ACTIVATIONS: dict[str, Activation] = {}


def register(entry: Activation) -> Activation:
    """Add an activation to the table, under its name."""
    ACTIVATIONS[entry.name] = entry
    return entry


def get_activation(name: str | Activation) -> Activation:
    """The activation of a name; an `Activation` is returned as it is.

    Raises:
        UsageError: there is no such name.
    """
    if isinstance(name, Activation):
        return name
    try:
        return ACTIVATIONS[name]
    except (KeyError, TypeError):
        raise UsageError(f"unknown activation {name!r}; choose one of {', '.join(ACTIVATIONS)}.") from None


# --- the table ------------------------------------------------------------------------------------------


def _sigmoid(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    # 0.5 tanh(x / 2) + 0.5 never overflows, and NumPy's tanh is vectorised where its exp plus a division are slower.
    half = x.dtype.type(0.5)
    np.multiply(x, half, out=out)
    np.tanh(out, out=out)
    np.multiply(out, half, out=out)
    return np.add(out, half, out=out)


def _sigmoid_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    slope = np.subtract(y.dtype.type(1), y)
    slope *= y
    np.multiply(grad, slope, out=out)


def _tanh_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    slope = np.multiply(y, y)
    np.subtract(y.dtype.type(1), slope, out=slope)
    np.multiply(grad, slope, out=out)


def _relu(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    return np.maximum(x, x.dtype.type(0), out=out)


def _relu_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    np.multiply(grad, np.greater(y, y.dtype.type(0)), out=out)


def _copy(x: np.ndarray, out: np.ndarray) -> None:
    if out is not x:
        np.copyto(out, x)


register(
    Activation(
        "relu", _relu, _relu_backward, "x > ACC(0) ? x : ACC(0)", "y > ACC(0) ? ACC(1) : ACC(0)",
        formula="max(x, 0)", source="Nair & Hinton 2010", kinks=(0.0,),
    )
)  # fmt: skip
register(
    Activation(
        "sigmoid", _sigmoid, _sigmoid_backward, "ACC(0.5) * tanh(ACC(0.5) * x) + ACC(0.5)", "y * (ACC(1) - y)",
        formula="1 / (1 + exp(-x))",
    )
)  # fmt: skip
register(
    Activation(
        "tanh", lambda x, out: np.tanh(x, out=out), _tanh_backward, "tanh(x)", "ACC(1) - y * y",
        formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
    )
)  # fmt: skip
register(
    Activation(
        "identity", _copy, lambda grad, y, out: _copy(grad, out), "x", "ACC(1)", formula="x",
    )
)  # fmt: skip


# --- the operations --------------------------------------------------------------------------------------


def _compute_type(dtype: Any) -> str:
    return f"typedef {C_TYPES[np.dtype(dtype).name][1]} ACC;\n"


@operation
def activation_forward(x: Any, activation: Activation, out: Any) -> Any:
    """out = f(x), elementwise, any shape and strides; `out` may be `x`."""
    activation.forward(x, out)
    return out


@activation_forward.cuda
def _activation_forward_cuda(x: Any, activation: Activation, out: Any) -> Any:
    kernel = elementwise(
        "T x_in", "T y_out", "y_out = T(activate(ACC(x_in)))", "activation_forward",
        _compute_type(x.dtype) + activation.cuda_functions(),
    )  # fmt: skip
    return kernel(x, out)


@operation
def activation_backward(grad: Any, saved: Any, activation: Activation, out: Any) -> Any:
    """out = grad * f', with f' from what the activation saves; `out` may be `grad`."""
    activation.backward(grad, saved, out)
    return out


@activation_backward.cuda
def _activation_backward_cuda(grad: Any, saved: Any, activation: Activation, out: Any) -> Any:
    kernel = elementwise(
        "T grad, T saved", "T out", "out = T(ACC(grad) * derivative(ACC(saved)))", "activation_backward",
        _compute_type(grad.dtype) + activation.cuda_functions(),
    )  # fmt: skip
    return kernel(grad, saved, out)


def check_activation(activation: str | Activation, backend: Any = None, points: int = 257) -> float:
    """Hold an activation's forms against each other and against finite differences.

    In float64 over `points` inputs in [-6, 6] that keep clear of the kinks: f' against the central
    difference (f(x + h) - f(x - h)) / 2h with h = 1e-6, and, where `backend` is a CUDA device, the CUDA
    forms of f and f' against the NumPy forms.

    Returns:
        The largest absolute difference found, at most 1e-6.

    Raises:
        UsageError: a difference is larger; the sentence says which form, where and by how much.
    """
    entry = get_activation(activation)
    x = np.linspace(-6.0, 6.0, points) + 1e-3 / math.pi
    for kink in entry.kinks:
        x = x[np.abs(x - kink) > 1e-4]
    h = 1e-6

    def forward(values: np.ndarray) -> np.ndarray:
        return activation_forward(values, entry, np.empty_like(values))

    y = forward(x)
    saved = y if entry.saves == "output" else x
    slope = activation_backward(np.ones_like(x), saved, entry, np.empty_like(x))
    pairs = [("derivative against the finite difference", slope, (forward(x + h) - forward(x - h)) / (2 * h))]
    if backend is not None and backend.name == "cuda":
        device_x, device_saved = backend.to_device(x), backend.to_device(saved)
        device_y = activation_forward(device_x, entry, backend.xp.empty_like(device_x))
        ones = backend.xp.ones_like(device_x)
        device_slope = activation_backward(ones, device_saved, entry, backend.xp.empty_like(device_x))
        pairs.append(("CUDA form against the NumPy form", backend.to_host(device_y), y))
        pairs.append(("CUDA derivative against the NumPy derivative", backend.to_host(device_slope), slope))
    worst = 0.0
    for what, got, expected in pairs:
        difference = np.abs(got - expected)
        place = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
        if not difference[place] <= 1e-6:
            raise UsageError(
                f"activation {entry.name!r}: {what} differs at x = {x[place]:.6g}: {got[place]:.9g} and not "
                f"{expected[place]:.9g}; one of the two formulas is wrong."
            )
        worst = max(worst, float(difference[place]))
    return worst

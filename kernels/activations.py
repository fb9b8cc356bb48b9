"""The table of activation functions; an entry is all there is to one.

Layers, fused kernels, the command line, the documentation and the tests pick the entries up from
`ACTIVATIONS`. What an entry consists of says `activation.py`. The NumPy forms work on cache-sized pieces
(`blocks.py`); they stay in the dtype of their arrays, do not overflow and keep the digits of small results.
"""

from __future__ import annotations

import copyreg
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.kernels.activation import Activation, activation_backward, activation_forward, from_functions
from gpunet.kernels.blocks import blockwise, constant, scratch
from gpunet.kernels.series import log1p, upper_tail
from gpunet.registry import Registry

__all__ = [
    "ACTIVATIONS", "Activation", "activation_backward", "activation_forward", "from_functions", "get_activation",
    "register",
]  # fmt: skip

ACTIVATIONS: Registry[Activation, Activation] = Registry(
    "activation",
    Activation,
    synonyms={
        "relu": "rectifier ramp", "sigmoid": "logistic expit logsigmoid", "leaky-relu": "leakyrelu lrelu prelu",
        "gelu-tanh": "gelu-approximate gelu-new", "silu": "swish", "hard-tanh": "hardtanh",
        "identity": "linear none",
    }, group="gpunet.activations",
)  # fmt: skip
register = ACTIVATIONS.register


def get_activation(name: str | Activation) -> Activation:
    """The activation of a name, as a function that pickle finds."""
    return ACTIVATIONS.make(name)


# --- the table ------------------------------------------------------------------------------------------


@blockwise
def _relu(x: np.ndarray, out: np.ndarray) -> None:
    np.maximum(x, constant(0, x), out=out)


@blockwise
def _relu_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    positive = scratch(y, 0, bool)
    np.greater(y, 0, out=positive)
    np.multiply(grad, positive, out=out)


# NaN must come through, so that a run that has gone wrong is noticed; so the test is for x < 0.
register(
    Activation(
        "relu", _relu, _relu_backward, "x < ACC(0) ? ACC(0) : x", "y > ACC(0) ? ACC(1) : ACC(0)",
        formula="max(x, 0)", source="Nair & Hinton 2010", kinks=(0.0,),
        onnx=lambda graph, x: graph("Relu", x),
        torch=("ReLU", {}),
    )
)  # fmt: skip

#: exp of this is finite in a dtype of so many bytes.
_EXP_LIMIT = {4: 87.0, 8: 708.0}


def _sigmoid_piece(x: np.ndarray, out: np.ndarray) -> None:
    # e / (1 + e) keeps the digits of small results; scratch number 4 is used.
    below = scratch(x, 4)
    np.minimum(x, constant(_EXP_LIMIT[x.itemsize], x), out=out)
    np.exp(out, out=out)
    np.add(out, 1, out=below)
    np.divide(out, below, out=out)


@blockwise
def _sigmoid_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    slope = scratch(y)
    np.subtract(1, y, out=slope)
    np.multiply(slope, y, out=slope)
    np.multiply(grad, slope, out=out)


register(
    Activation(
        "sigmoid", blockwise(_sigmoid_piece), _sigmoid_backward, "ACC(1) / (ACC(1) + exp(-x))", "y * (ACC(1) - y)",
        formula="1 / (1 + exp(-x))", source="Rumelhart, Hinton & Williams 1986",
        onnx=lambda graph, x: graph("Sigmoid", x),
        torch=("Sigmoid", {}),
    )
)  # fmt: skip


@blockwise
def _tanh_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    slope = scratch(y)
    np.multiply(y, y, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(grad, slope, out=out)


register(
    Activation(
        "tanh", blockwise(lambda x, out: np.tanh(x, out=out)), _tanh_backward, "tanh(x)", "ACC(1) - y * y",
        formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))", source="LeCun et al. 1998, Efficient BackProp",
        onnx=lambda graph, x: graph("Tanh", x),
        torch=("Tanh", {}),
    )
)  # fmt: skip


def _leaky_relu(slope: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    @blockwise
    def forward(x: np.ndarray, out: np.ndarray) -> None:
        small = scratch(x)
        np.multiply(x, slope, out=small)
        np.maximum(x, small, out=out)

    @blockwise
    def backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        positive, factor = scratch(y, 0, bool), scratch(y)
        np.greater(y, 0, out=positive)
        np.copyto(factor, positive)
        np.maximum(factor, constant(slope, y), out=factor)
        np.multiply(grad, factor, out=out)

    return forward, backward


register(
    Activation(
        "leaky-relu", *_leaky_relu(0.01), "x < ACC(0) ? ACC(0.01) * x : x", "y > ACC(0) ? ACC(1) : ACC(0.01)",
        formula="x if x > 0 else 0.01 x", source="Maas, Hannun & Ng 2013", kinks=(0.0,),
        onnx=lambda graph, x: graph("LeakyRelu", x, alpha=0.01),
        torch=("LeakyReLU", {"negative_slope": 0.01}),
    )
)  # fmt: skip


def _expm1_piece(x: np.ndarray, factor: float) -> None:
    """x = factor * (exp(x) - 1) in place, for x <= 0, with scratch number 1."""
    if x.dtype == np.float64:
        np.expm1(x, out=x)
        np.multiply(x, factor, out=x)
        return
    # exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2): NumPy's tanh is vectorised in float32, its expm1 is not.
    below = scratch(x, 1)
    np.multiply(x, 0.5, out=x)
    np.tanh(x, out=x)
    np.subtract(1, x, out=below)
    np.divide(x, below, out=x)
    np.multiply(x, 2 * factor, out=x)


@blockwise
def _elu(x: np.ndarray, out: np.ndarray) -> None:
    bent = scratch(x)
    np.minimum(x, constant(0, x), out=bent)
    _expm1_piece(bent, 1.0)
    np.maximum(x, constant(0, x), out=out)
    np.add(out, bent, out=out)


@blockwise
def _elu_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    slope = scratch(y)
    np.minimum(y, constant(0, y), out=slope)
    np.add(slope, 1, out=slope)
    np.multiply(grad, slope, out=out)


register(
    Activation(
        "elu", _elu, _elu_backward, "x > ACC(0) ? x : expm1(x)", "y > ACC(0) ? ACC(1) : y + ACC(1)",
        formula="x if x > 0 else exp(x) - 1", source="Clevert, Unterthiner & Hochreiter 2016",
        onnx=lambda graph, x: graph("Elu", x, alpha=1.0),
        torch=("ELU", {"alpha": 1.0}),
    )
)  # fmt: skip

# The fixed point of mean 0 and variance 1, from Klambauer et al.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_SELU_LEFT = _SELU_ALPHA * _SELU_SCALE


@blockwise
def _selu(x: np.ndarray, out: np.ndarray) -> None:
    bent = scratch(x)
    np.minimum(x, constant(0, x), out=bent)
    _expm1_piece(bent, _SELU_LEFT)
    np.maximum(x, constant(0, x), out=out)
    np.multiply(out, _SELU_SCALE, out=out)
    np.add(out, bent, out=out)


@blockwise
def _selu_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    positive, slope, step = scratch(y, 0, bool), scratch(y, 0), scratch(y, 1)
    np.minimum(y, constant(0, y), out=slope)
    np.add(slope, _SELU_LEFT, out=slope)
    np.greater(y, 0, out=positive)
    np.multiply(positive, constant(_SELU_LEFT - _SELU_SCALE, y), out=step)
    np.subtract(slope, step, out=slope)
    np.multiply(grad, slope, out=out)


register(
    Activation(
        "selu", _selu, _selu_backward,
        f"x > ACC(0) ? ACC({_SELU_SCALE}) * x : ACC({_SELU_LEFT}) * expm1(x)",
        f"y > ACC(0) ? ACC({_SELU_SCALE}) : y + ACC({_SELU_LEFT})",
        formula="1.0507 x if x > 0 else 1.7581 (exp(x) - 1)", source="Klambauer et al. 2017", kinks=(0.0,),
        onnx=lambda graph, x: graph("Selu", x),
        torch=("SELU", {}),
    )
)  # fmt: skip


#: Beyond this the tails of gelu and gelu-tanh are 0 in any dtype, and their slope is 0 or 1.
_FAR = 60.0


def _gelu_onnx(graph: Any, x: str) -> Any:
    inner = graph("Erf", graph("Mul", x, graph.constant(0.5**0.5)))
    return graph("Mul", graph("Mul", x, graph.constant(0.5)), graph("Add", inner, graph.constant(1.0)))


@blockwise
def _gelu(x: np.ndarray, out: np.ndarray) -> None:
    # x Phi(x) = max(x, 0) - |x| Q(|x|) on either side of 0; infinity times a tail of 0 would be no number.
    tail, size = scratch(x, 0), scratch(x, 1)
    upper_tail(x, tail, size)
    np.abs(x, out=size)
    np.minimum(size, constant(_FAR, x), out=size)
    np.multiply(tail, size, out=tail)
    np.maximum(x, constant(0, x), out=out)
    np.subtract(out, tail, out=out)


@blockwise
def _gelu_backward(grad: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    # f' = Phi(x) + x phi(x), with Phi = Q(|x|) + (1 - 2 Q(|x|)) [x > 0].
    positive, tail, bell, rest = scratch(x, 0, bool), scratch(x, 0), scratch(x, 1), scratch(x, 2)
    upper_tail(x, tail, bell)
    np.greater(x, 0, out=positive)
    np.multiply(tail, -2, out=rest)
    np.add(rest, 1, out=rest)
    np.multiply(rest, positive, out=rest)
    np.add(tail, rest, out=tail)
    np.multiply(bell, x, out=bell)
    np.multiply(bell, 1 / math.sqrt(2 * math.pi), out=bell)
    np.add(tail, bell, out=tail)
    np.multiply(grad, tail, out=out)


register(
    Activation(
        "gelu", _gelu, _gelu_backward,
        "ACC(0.5) * x * erfc(ACC(-0.70710678118654752) * x)",
        "ACC(0.5) * erfc(ACC(-0.70710678118654752) * x)"
        " + ACC(0.39894228040143268) * x * exp(ACC(-0.5) * x * x)",
        saves="input", formula="x Phi(x) = x (1 + erf(x / sqrt(2))) / 2", source="Hendrycks & Gimpel 2016",
        onnx=_gelu_onnx,
        torch=("GELU", {"approximate": "none"}),
    )
)  # fmt: skip

# 0.5 x (1 + tanh(u)) is x sigmoid(2 u), which keeps the digits of the left tail; 2 u = x (a + b x^2).
_GELU_A = 2 * math.sqrt(2 / math.pi)
_GELU_B = _GELU_A * 0.044715


def _gelu_tanh_onnx(graph: Any, x: str) -> Any:
    cubed = graph("Mul", graph("Mul", graph("Mul", x, x), x), graph.constant(0.044715))
    inner = graph("Tanh", graph("Mul", graph("Add", x, cubed), graph.constant((2 / math.pi) ** 0.5)))
    return graph("Mul", graph("Mul", x, graph.constant(0.5)), graph("Add", inner, graph.constant(1.0)))


@blockwise
def _gelu_tanh(x: np.ndarray, out: np.ndarray) -> None:
    inner = scratch(x)
    np.multiply(x, x, out=inner)
    np.multiply(inner, _GELU_B, out=inner)
    np.add(inner, _GELU_A, out=inner)
    np.multiply(inner, x, out=inner)
    _sigmoid_piece(inner, inner)
    np.multiply(x, inner, out=out)


@blockwise
def _gelu_tanh_backward(grad: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    # f' = s + x s (1 - s) (a + 3 b x^2) with s = sigmoid(x (a + b x^2)); where x^2 overflows, s (1 - s) is 0.
    square, s, rest = scratch(x, 0), scratch(x, 1), scratch(x, 2)
    np.multiply(x, x, out=square)
    np.minimum(square, constant(_FAR**2, x), out=square)
    np.multiply(square, _GELU_B, out=square)
    np.add(square, _GELU_A, out=s)
    np.multiply(s, x, out=s)
    _sigmoid_piece(s, s)
    np.multiply(square, 3, out=square)
    np.add(square, _GELU_A, out=square)
    np.subtract(1, s, out=rest)
    np.multiply(rest, s, out=rest)
    np.multiply(rest, x, out=rest)
    np.multiply(rest, square, out=rest)
    np.add(rest, s, out=rest)
    np.multiply(grad, rest, out=out)


_W = f"(x * (ACC({_GELU_A}) + ACC({_GELU_B}) * x * x))"
_NEAR_SLOPE = (
    f"(ACC(1) + x * (ACC({_GELU_A}) + ACC({3 * _GELU_B}) * x * x) / (ACC(1) + exp({_W}))) / (ACC(1) + exp(-{_W}))"
)
register(
    Activation(
        "gelu-tanh", _gelu_tanh, _gelu_tanh_backward,
        f"x / (ACC(1) + exp(-{_W}))",
        f"x > ACC({_FAR}) ? ACC(1) : x < ACC(-{_FAR}) ? ACC(0) : {_NEAR_SLOPE}",
        saves="input", formula="x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2", source="Hendrycks & Gimpel 2016",
        onnx=_gelu_tanh_onnx,
        torch=("GELU", {"approximate": "tanh"}),
    )
)  # fmt: skip


@blockwise
def _silu(x: np.ndarray, out: np.ndarray) -> None:
    s = scratch(x)
    _sigmoid_piece(x, s)
    np.multiply(x, s, out=out)


@blockwise
def _silu_backward(grad: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    # f' = s + x s (1 - s).
    s, rest = scratch(x, 0), scratch(x, 1)
    _sigmoid_piece(x, s)
    np.subtract(1, s, out=rest)
    np.multiply(rest, x, out=rest)
    np.add(rest, 1, out=rest)
    np.multiply(rest, s, out=rest)
    np.multiply(grad, rest, out=out)


register(
    Activation(
        "silu", _silu, _silu_backward, "x / (ACC(1) + exp(-x))",
        "(ACC(1) + x / (ACC(1) + exp(x))) / (ACC(1) + exp(-x))",
        saves="input", formula="x / (1 + exp(-x))", source="Elfwing, Uchibe & Doya 2018; swish",
        onnx=lambda graph, x: graph("Mul", x, graph("Sigmoid", x)),
        torch=("SiLU", {}),
    )
)  # fmt: skip


@blockwise
def _softplus(x: np.ndarray, out: np.ndarray) -> None:
    # max(x, 0) + log(1 + exp(-|x|))
    e, rest = scratch(x, 0), scratch(x, 1)
    np.abs(x, out=e)
    np.negative(e, out=e)
    np.exp(e, out=e)
    log1p(e, rest)
    np.maximum(x, constant(0, x), out=out)
    np.add(out, rest, out=out)


@blockwise
def _softplus_backward(grad: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    below = scratch(x)
    np.negative(x, out=below)
    with np.errstate(over="ignore"):  # what is infinite divides to the 0 that it should be
        np.exp(below, out=below)
    np.add(below, 1, out=below)
    np.divide(grad, below, out=out)


register(
    Activation(
        "softplus", _softplus, _softplus_backward,
        "(x > ACC(0) ? x : ACC(0)) + log1p(exp(-fabs(x)))", "ACC(1) / (ACC(1) + exp(-x))",
        saves="input", formula="log(1 + exp(x))", source="Dugas et al. 2001",
        onnx=lambda graph, x: graph("Softplus", x),
        # From its threshold on, torch's is linear: where float64 no longer knows the difference.
        torch=("Softplus", {"beta": 1.0, "threshold": 40.0}),
    )
)  # fmt: skip

#: Above this, mish(x) is x to the last digit, and the square of exp is finite.
_MISH_LIMIT = {4: 20.0, 8: 40.0}


def _mish_piece(x: np.ndarray, e: np.ndarray, n: np.ndarray) -> None:
    # tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2), e = exp(x): one exponential instead of three functions.
    np.minimum(x, constant(_MISH_LIMIT[x.itemsize], x), out=e)
    np.exp(e, out=e)
    np.add(e, 2, out=n)
    np.multiply(n, e, out=n)


@blockwise
def _mish(x: np.ndarray, out: np.ndarray) -> None:
    e, n = scratch(x, 0), scratch(x, 1)
    _mish_piece(x, e, n)
    np.add(n, 2, out=e)
    np.divide(n, e, out=n)
    np.multiply(x, n, out=out)


@blockwise
def _mish_backward(grad: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    # f' = n / d + 4 x e (1 + e) / d^2 with d = n + 2; beyond the limit the second part is nothing, whatever x is.
    e, n, d = scratch(x, 0), scratch(x, 1), scratch(x, 2)
    _mish_piece(x, e, n)
    np.subtract(n, e, out=e)  # e (1 + e)
    np.add(n, 2, out=d)
    np.divide(n, d, out=n)
    np.divide(e, d, out=e)
    np.divide(e, d, out=e)
    np.minimum(x, constant(_MISH_LIMIT[x.itemsize], x), out=d)
    np.multiply(e, d, out=e)
    np.multiply(e, 4, out=e)
    np.add(n, e, out=n)
    np.multiply(grad, n, out=out)


register(
    Activation(
        "mish", _mish, _mish_backward, "x * tanh(log1p(exp(x)))",
        "tanh(log1p(exp(x))) + x / (ACC(1) + exp(-x)) * (ACC(1) - tanh(log1p(exp(x))) * tanh(log1p(exp(x))))",
        saves="input", formula="x tanh(log(1 + exp(x)))", source="Misra 2019",
        onnx=lambda graph, x: graph("Mul", x, graph("Tanh", graph("Softplus", x))),
        torch=("Mish", {}),
    )
)  # fmt: skip


@blockwise
def _softsign(x: np.ndarray, out: np.ndarray) -> None:
    size = scratch(x)
    np.abs(x, out=size)
    np.add(size, 1, out=size)
    np.divide(x, size, out=out)


@blockwise
def _softsign_backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    # 1 - |y| = 1 / (1 + |x|), and f' is its square.
    slope = scratch(y)
    np.abs(y, out=slope)
    np.subtract(1, slope, out=slope)
    np.multiply(slope, slope, out=slope)
    np.multiply(grad, slope, out=out)


register(
    Activation(
        "softsign", _softsign, _softsign_backward, "x / (ACC(1) + fabs(x))", "(ACC(1) - fabs(y)) * (ACC(1) - fabs(y))",
        formula="x / (1 + |x|)", source="Turian, Bergstra & Bengio 2009",
        onnx=lambda graph, x: graph("Softsign", x),
        torch=("Softsign", {}),
    )
)  # fmt: skip


def _clip(low: float, high: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    @blockwise
    def forward(x: np.ndarray, out: np.ndarray) -> None:
        np.maximum(x, constant(low, x), out=out)
        np.minimum(out, constant(high, x), out=out)

    @blockwise
    def backward(grad: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        above, below = scratch(y, 0, bool), scratch(y, 1, bool)
        np.greater(y, low, out=above)
        np.less(y, high, out=below)
        np.logical_and(above, below, out=above)
        np.multiply(grad, above, out=out)

    return forward, backward


register(
    Activation(
        "hard-tanh", *_clip(-1, 1), "x < ACC(-1) ? ACC(-1) : x > ACC(1) ? ACC(1) : x",
        "y > ACC(-1) && y < ACC(1) ? ACC(1) : ACC(0)",
        formula="min(max(x, -1), 1)", source="Collobert 2004", kinks=(-1.0, 1.0),
        onnx=lambda graph, x: graph("Clip", x, graph.constant(-1.0), graph.constant(1.0)),
        torch=("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    )
)  # fmt: skip
register(
    Activation(
        "relu6", *_clip(0, 6), "x < ACC(0) ? ACC(0) : x > ACC(6) ? ACC(6) : x",
        "y > ACC(0) && y < ACC(6) ? ACC(1) : ACC(0)",
        formula="min(max(x, 0), 6)", source="Krizhevsky 2010", kinks=(0.0, 6.0),
        onnx=lambda graph, x: graph("Clip", x, graph.constant(0.0), graph.constant(6.0)),
        torch=("ReLU6", {}),
    )
)  # fmt: skip


def _copy(x: np.ndarray, out: np.ndarray) -> None:
    if out is not x:
        np.copyto(out, x)


register(
    Activation(
        "identity", _copy, lambda grad, y, out: _copy(grad, out), "x", "ACC(1)", formula="x",
        onnx=lambda graph, x: x,
        torch=("Identity", {}),
    )
)  # fmt: skip

#: The entries that are here in every process.
BUILT_IN = ACTIVATIONS.registered()


def _reduce(activation: Activation) -> str | tuple[Any, ...]:
    # Some of the functions of those that are here are made on the spot, where pickle cannot find them.
    if BUILT_IN.get(activation.name) is activation:
        return get_activation, (activation.name,)
    return object.__reduce_ex__(activation, 2)


copyreg.pickle(Activation, _reduce)

"""The dense layer's products: forward with bias and activation, backward with the derivative below.

On CUDA there are two ways. The library's way, here, is cuBLAS (`cublas.py`) and a kernel for what surrounds each
product, on tensor cores (`tensor_cores.py`) where these are asked for with `cores`; the fused way (`fused.py`) does
the training step of a small network in three kernels.

The column sums of a gradient with respect to the pre-activations (a delta) are the bias gradient. They are taken
where the delta is made, while it is at hand: in the loss for the last layer, and here for the layer below the one
whose products are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.kernels import cublas
from gpunet.kernels.activations import Activation
from gpunet.kernels.blocks import bind
from gpunet.kernels.build import Ready, in_turn, operation, types
from gpunet.kernels.column_sum import column_sum, summed
from gpunet.kernels.dropout import Drop
from gpunet.kernels.launches import over_elements
from gpunet.kernels.products import product
from gpunet.kernels.tensor_cores import TensorCores, to_bfloat16


@dataclass
class Below:
    """What the backward pass writes into the layer below, and what it needs of it.

    Attributes:
        delta: (batch, n), written: the gradient with respect to its pre-activations.
        activation: its activation.
        saved: (batch, n): its outputs or inputs, as `activation.saves` says.
        mask: (batch, n) dropout factors, or None.
        grad_bias: (n,), written: the column sums of `delta`.
    """

    delta: Any
    activation: Activation
    saved: Any
    mask: Any
    grad_bias: Any


@operation
def dense_forward(
    x: Any, weights: Any, bias: Any, activation: Activation, pre: Any, out: Any, drop: Drop | None = None,
    cores: TensorCores | None = None,
) -> Ready:  # fmt: skip
    """out = f(x W + b), and behind it dropout.

    Args:
        x: (batch, fan in); weights: (fan in, fan out); bias: (fan out,), or None for plain x W.
        activation: f.
        pre: (batch, fan out), written with x W + b where the activation saves its input, else None.
        out: (batch, fan out), written.
        drop: the dropout of `out`, or None.
        cores: the tensor cores to compute the product on, on CUDA alone; None for the precision of the arrays.
    """
    z = out if pre is None else pre
    to_z = product(x, weights, z)
    activate = bind(activation.forward, z, out)

    dropped = None if drop is None else drop.bind(out)

    def run() -> None:
        to_z()
        if bias is not None:
            np.add(z, bias, out=z)
            activate()
        if dropped is not None:
            dropped()

    return run


@dense_forward.cuda
def _dense_forward_cuda(
    x: Any, weights: Any, bias: Any, activation: Activation, pre: Any, out: Any, drop: Drop | None = None,
    cores: TensorCores | None = None,
) -> Ready:  # fmt: skip
    parts, precision = [], None if cores is None else cores.precision
    if cores is not None and precision == "bfloat16":
        parts += [to_bfloat16(x, cores.x), to_bfloat16(weights, cores.weights)]
        x, weights = cores.x, cores.weights
    parts.append(cublas.product(x, weights, out if pre is None else pre, precision))
    if bias is not None:
        parts.append(_bias_activation(bias, activation, pre, out))
    if drop is not None:
        parts.append(drop.bind(out))
    return in_turn(*parts)


def _bias_activation(bias: Any, activation: Activation, pre: Any, out: Any) -> Ready:
    """out = f(z + b), for z in `out`, or in `pre`, which is then overwritten with z + b."""
    z, keep = ("out", "") if pre is None else ("pre", "store(pre + i, x); ")
    return over_elements(
        "bias_activation", "const REAL* bias, int columns, REAL* pre, REAL* out",
        f"const ACC x = load({z} + i) + load(bias + i % columns), y = activate(x);", f"{keep}store(out + i, y);",
        out.size, bias, np.int32(len(bias)), pre, out,
        defines=types(REAL=out.dtype), preamble=activation.cuda_functions(),
    )  # fmt: skip


@operation
def dense_backward(
    delta: Any, x: Any, weights: Any, grad_weights: Any, below: Below | None, cores: TensorCores | None = None
) -> Ready:
    """The gradients of a dense layer: grad_W = x^T delta, and below.delta = (delta W^T) * mask * f'.

    Args:
        delta: (batch, fan out): the gradient with respect to this layer's pre-activations.
        x: (batch, fan in): this layer's input.
        weights: (fan in, fan out), not changed.
        grad_weights: (fan in, fan out), written.
        below: the layer that `x` comes from, or None for the first layer.
        cores: as in `dense_forward`, which leaves there the rounded `x` and `weights`.
    """
    to_grad_weights = product(x.T, delta, grad_weights)
    if below is None:
        return to_grad_weights
    delta_below, mask = below.delta, below.mask
    to_delta_below = product(delta, weights.T, delta_below)
    times_derivative = bind(below.activation.backward, delta_below, below.saved, delta_below)
    sum_below = column_sum.bind(delta_below, below.grad_bias)

    def run() -> None:
        to_grad_weights()
        to_delta_below()
        if mask is not None:
            np.multiply(delta_below, mask, out=delta_below)
        times_derivative()
        sum_below()

    return run


@dense_backward.cuda
def _dense_backward_cuda(
    delta: Any, x: Any, weights: Any, grad_weights: Any, below: Below | None, cores: TensorCores | None = None
) -> Ready:
    parts, precision = [], None if cores is None else cores.precision
    if cores is not None and precision == "bfloat16":
        parts.append(to_bfloat16(delta, cores.delta))
        delta, x, weights = cores.delta, cores.x, cores.weights
    parts.append(cublas.product(x.T, delta, grad_weights, precision))
    if below is None:
        return in_turn(*parts)
    parts.append(cublas.product(delta, weights.T, below.delta, precision))
    times_derivative = summed(
        "times_derivative.cu", "times_derivative", below.delta, below.grad_bias, below.saved, below.mask,
        defines=(("DERIVATIVE", below.activation.cuda_functions()),),
    )  # fmt: skip
    return in_turn(*parts, times_derivative)

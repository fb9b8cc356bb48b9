"""The dense layer's products: forward with bias and activation, backward with the derivative below.

The column sums of a gradient with respect to the pre-activations (a delta) are the bias gradient. They
are taken where the delta is made, while it is at hand: by the loss for the last layer, and here for the
layer below the one whose products are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.kernels.activations import Activation
from gpunet.kernels.build import C_TYPES, elementwise, operation, raw, types


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
def dense_forward(x: Any, weights: Any, bias: Any, activation: Activation, pre: Any, out: Any) -> None:
    """out = f(x W + b).

    Args:
        x: (batch, fan in); weights: (fan in, fan out); bias: (fan out,), or None for plain x W.
        activation: f.
        pre: (batch, fan out), written with x W + b where the activation saves its input, else None.
        out: (batch, fan out), written.
    """
    z = out if pre is None else pre
    np.matmul(x, weights, out=z)
    if bias is not None:
        np.add(z, bias, out=z)
        activation.forward(z, out)


@dense_forward.cuda
def _dense_forward_cuda(x: Any, weights: Any, bias: Any, activation: Activation, pre: Any, out: Any) -> None:
    import cupy

    z = out if pre is None else pre
    cupy.dot(x, weights, out=z)
    if bias is None:
        return
    # Where the activation saves its input, the sum is written back before the function is applied.
    keep, outputs = ("pre = T(x); ", [pre, out]) if pre is not None else ("", [out])
    kernel = elementwise(
        "raw T bias, int32 columns", "T pre, T out" if keep else "T out",
        f"const ACC x = ACC({'pre' if keep else 'out'}) + ACC(bias[i % columns]); {keep}out = T(activate(x))",
        "bias_activation", f"typedef {C_TYPES[x.dtype.name][1]} ACC;\n" + activation.cuda_functions(),
    )  # fmt: skip
    kernel(bias, len(bias), *outputs)


@operation
def dense_backward(delta: Any, x: Any, weights: Any, grad_weights: Any, below: Below | None) -> None:
    """The gradients of a dense layer: grad_W = x^T delta, and below.delta = (delta W^T) * mask * f'.

    Args:
        delta: (batch, fan out): the gradient with respect to this layer's pre-activations.
        x: (batch, fan in): this layer's input.
        weights: (fan in, fan out), not changed.
        grad_weights: (fan in, fan out), written.
        below: the layer that `x` comes from, or None for the first layer.
    """
    np.matmul(x.T, delta, out=grad_weights)
    if below is None:
        return
    np.matmul(delta, weights.T, out=below.delta)
    if below.mask is not None:
        np.multiply(below.delta, below.mask, out=below.delta)
    below.activation.backward(below.delta, below.saved, below.delta)
    np.sum(below.delta, axis=0, out=below.grad_bias)


@dense_backward.cuda
def _dense_backward_cuda(delta: Any, x: Any, weights: Any, grad_weights: Any, below: Below | None) -> None:
    import cupy

    cupy.dot(x.T, delta, out=grad_weights)
    if below is None:
        return
    cupy.dot(delta, weights.T, out=below.delta)
    rows, columns = below.delta.shape
    kernel = raw(
        "activation_backward.cu", "activation_backward", *types(REAL=delta.dtype),
        ("DERIVATIVE", below.activation.cuda_functions().replace("\n", " ")),
    )  # fmt: skip
    mask = np.uintp(0) if below.mask is None else below.mask
    kernel(
        (-(-columns // 32),), (32, 8),
        (below.delta, below.saved, mask, below.grad_bias, np.int32(rows), np.int32(columns)),
    )  # fmt: skip

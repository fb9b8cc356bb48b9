"""The dense layer: what it holds, and the workspace that one batch needs in it.

A layer knows its weights, its activation and `kernels`; it does not know what device it is on. `forward`
and `backward` bind what is then run again and again to the arrays of a `Workspace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gpunet.kernels.activations import Activation
from gpunet.kernels.build import Ready
from gpunet.kernels.dense import Below, dense_backward, dense_forward
from gpunet.kernels.dropout import Drop
from gpunet.kernels.random import Stream
from gpunet.kernels.tensor_cores import TensorCores


@dataclass
class Workspace:
    """The arrays of one layer for one batch size, each (batch, fan out); made once, used by every step.

    Attributes:
        pre: the pre-activations, where the activation saves its input, else None.
        output: the activations; of the last layer, the logits.
        kept: the activations after dropout, which the next layer reads; `output` itself without dropout.
        mask: the dropout factors, or None.
        delta: the gradient with respect to the pre-activations.
        cores: the tensor cores that compute the products on CUDA; None for the precision of the arrays.
        first_row: which row of the whole batch the first one is, where this is a share of it.
    """

    pre: Any
    output: Any
    kept: Any
    mask: Any
    delta: Any
    cores: TensorCores | None
    first_row: int = 0


class Dense:
    """A dense layer: activations f(x W + b), with dropout behind them while training.

    Attributes:
        weights, bias: views into the model's parameters, (fan in, fan out) and (fan out,).
        grad_weights, grad_bias: views into the model's gradients, of the same shapes.
        activation: f.
        dropout: the rate at which activations are dropped while training.
        last: whether this is the output layer, whose bias and activation belong to the loss.
    """

    def __init__(
        self, weights: Any, bias: Any, grad_weights: Any, grad_bias: Any, activation: Activation, rate: float,
        stream: Stream, last: bool,
    ) -> None:  # fmt: skip
        self.weights = weights
        self.bias = bias
        self.grad_weights = grad_weights
        self.grad_bias = grad_bias
        self.activation = activation
        self.dropout = rate
        self.stream = stream
        self.last = last

    def __repr__(self) -> str:
        fan_in, fan_out = self.weights.shape
        return f"<Dense {fan_in} x {fan_out}{'' if self.last else f' {self.activation.name}'}>"

    def output_order(self, backend: Any) -> str:
        """The order of a workspace's output and delta in memory: "C", or on the CPU also "F"."""
        # The rows of a few logits are reduced along the short axis; with the batch contiguous NumPy does that
        # several times faster. BLAS writes that order more slowly; with many inputs the product counts for more, and
        # the loss turns the logits over by itself. CUDA kernels take C order.
        fan_in, fan_out = self.weights.shape
        return "F" if self.last and fan_out <= 32 and fan_in <= 128 and backend.name == "cpu" else "C"

    def workspace(
        self, backend: Any, batch: int, training: bool, fused: bool = False, precision: str = "float32",
        first_row: int = 0, output: Any = None,
    ) -> Workspace:  # fmt: skip
        """A workspace for one batch; without `training` only what the forward pass writes.

        With `fused` it is for the kernels of `kernels/fused.py`, which keep activations and deltas alone; `precision`
        is one of `tensor_cores.PRECISIONS`, `first_row` and `output`, of `output_order`, are as there.
        """
        shape, dtype, order = (batch, self.weights.shape[1]), self.weights.dtype, self.output_order(backend)
        output = backend.empty(shape, dtype, order) if output is None else output
        saves_input = training and not fused and not self.last and self.activation.saves == "input"
        drops = training and not fused and self.dropout > 0
        return Workspace(
            pre=backend.empty(shape, dtype) if saves_input else None,
            output=output,
            kept=backend.empty(shape, dtype) if drops else output,
            mask=backend.empty(shape, dtype) if drops else None,
            delta=backend.empty(shape, dtype, order) if training else None,
            cores=TensorCores.of(precision, backend, batch, *self.weights.shape),
            first_row=first_row,
        )

    def forward(self, x: Any, workspace: Workspace, control: Any = None) -> Ready:
        """f(x W + b) into the workspace, ready to be run; the last layer gives x W alone.

        Args:
            x: (batch, fan in).
            workspace: the layer's for this batch; what the next layer reads will be in its `kept`.
            control: the control block of a training step, which drops; None for inference.
        """
        bias = None if self.last else self.bias
        drop = None
        if workspace.mask is not None and control is not None:
            first = workspace.first_row * self.weights.shape[1]
            drop = Drop(self.stream, self.dropout, control, workspace.mask, workspace.kept, first)
        pre, output, cores = workspace.pre, workspace.output, workspace.cores
        return dense_forward.bind(x, self.weights, bias, self.activation, pre, output, drop, cores)

    def backward(self, x: Any, workspace: Workspace, below: Below | None) -> Ready:
        """The gradient of the weights from `workspace.delta`, and the layer below's delta with its bias gradient."""
        return dense_backward.bind(workspace.delta, x, self.weights, self.grad_weights, below, workspace.cores)

    def as_below(self, workspace: Workspace) -> Below:
        """What the layer above writes into this one when it goes backward."""
        saved = workspace.output if workspace.pre is None else workspace.pre
        return Below(workspace.delta, self.activation, saved, workspace.mask, self.grad_bias)

"""The loss of a batch of one's own and its gradients, without training."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpunet.data.arrays import as_weights
from gpunet.kernels.losses import LOSSES, Loss, loss_step
from gpunet.kernels.threads import Threads
from gpunet.keywords import checked
from gpunet.network.evaluation import dtype_of_targets, targets_of
from gpunet.network.layers import Dense, Workspace
from gpunet.network.mlp import MLP


@checked
def loss_and_gradients(
    model: MLP, inputs: Any, targets: Any, loss: str | Loss | type[Loss] | None = None, weights: Any = None
) -> tuple[Any, list[Any]]:
    """The loss of a batch and its gradient with respect to each parameter; nothing is trained, and nothing dropped.

    Args:
        model: the model; its parameters are not changed, `model.gradients` is overwritten.
        inputs: examples as of `Split.inputs`.
        targets: as of `Split.targets`, of any array library.
        loss: another loss than the model's own, a name or a `Loss`.
        weights: (n,) weights of the examples, or None; the loss is sum(w l) / sum(w).

    Returns:
        The loss, an array () on the model's device, and an array for each of `model.parameters`, of the same shape.

    Raises:
        UsageError: the inputs are of another width than the model takes, or the loss is unknown.
        DataError: the targets are not as many as the inputs, or have no place among the model's outputs.
    """
    loss = model.loss if loss is None else LOSSES.make(loss)
    given = targets_of(model, SimpleNamespace(images=inputs, labels=targets))
    weighs = loss.example_weights(given, as_weights(weights, len(given)), model.outputs, np)
    backend, xp, layers = model.backend, model.backend.xp, model.layers
    with backend.use(), Threads(backend).held():
        x = model.as_inputs(model.preparation.rows(inputs))
        batch = len(x)
        workspaces = [_without_dropout(layer, backend, batch) for layer in layers]
        reads = [x, *(workspace.kept for workspace in workspaces)]
        for read, layer, workspace in zip(reads, layers, workspaces, strict=False):
            layer.forward(read, workspace)()
        goal = backend.to_device(given, dtype_of_targets(given, model.dtype))
        shares = None if weighs is None else backend.to_device(weighs, model.dtype)
        total: Any = None if shares is None else shares.sum(keepdims=True)
        losses = backend.empty(batch, model.dtype)
        top, last = layers[-1], workspaces[-1]
        loss_step(last.output, top.bias, goal, loss, last.delta, top.grad_bias, losses, None, shares, total)
        for index in range(len(layers) - 1, -1, -1):
            below = layers[index - 1].as_below(workspaces[index - 1]) if index else None
            layers[index].backward(reads[index], workspaces[index], below)()
        value = losses.mean() if shares is None else (losses * shares).sum() / total[0]
        return xp.asarray(value), [gradient.copy() for gradient in model.gradients]


def _without_dropout(layer: Dense, backend: Any, batch: int) -> Workspace:
    workspace = layer.workspace(backend, batch, training=True)
    return dataclasses.replace(workspace, kept=workspace.output, mask=None)

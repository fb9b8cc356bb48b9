"""Beginning a run with the weights of an earlier one: fine-tuning, another output layer, or going on for longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import CheckpointError, UsageError
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.network.container import CHECKPOINT, read
from gpunet.network.ensemble import Ensemble
from gpunet.network.mlp import MLP
from gpunet.runs.folder import RunFolder
from gpunet.training.state import identity
from gpunet.training.trainer import Trainer


def earlier_model(path: str) -> MLP:
    """The network of a run folder or a model file, on the CPU.

    Raises:
        CheckpointError: there is none, or it is damaged.
        UsageError: it is a run of several networks.
    """
    if not Path(path).is_dir():
        return MLP.load(path)
    model = RunFolder(path).load()
    if isinstance(model, Ensemble):
        inside = Path(path) / "networks" / "1"
        raise UsageError(f"--init-from {path}: this is an ensemble; begin with one of its networks, such as {inside}.")
    return model


def hidden_layers(path: str) -> dict[str, Any]:
    """The settings `hidden` and `activation` of an earlier network, as far as they can be said by name."""
    model = earlier_model(path)
    names = tuple(activation.name for activation in model.activations)
    found: dict[str, Any] = {"hidden": tuple(model.sizes[1:-1])}
    if names and set(names) <= set(ACTIVATIONS):
        found["activation"] = names if len(set(names)) > 1 else names[0]
    return found


def begin_from(trainer: Trainer, path: str) -> str:
    """Give a fresh trainer's model the weights of an earlier one, layer by layer as long as the shapes are the same.

    Where all layers are, and the run has a checkpoint of the same weights and an optimizer with the same
    hyperparameters (the learning rate aside), the optimizer goes on from there too.

    Args:
        trainer: a trainer that has done no step yet.
        path: a run folder or a model file.

    Returns:
        What was taken over, in words.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        UsageError: not even the first layer has the same shape.
    """
    model, earlier = trainer.model, earlier_model(path)
    count = 0
    for mine, theirs in zip(model.layers, earlier.layers, strict=False):
        if mine.weights.shape != theirs.weights.shape:
            break
        count += 1
    if not count:
        shape = "-".join(map(str, earlier.sizes))
        raise UsageError(
            f"--init-from {path}: its network {shape} does not begin like this one, {'-'.join(map(str, model.sizes))}; "
            "give the same hidden layers and data with as many features."
        )
    for name, array in zip(earlier.parameter_names, earlier.parameters, strict=True):
        if int(name[1:]) <= count:
            model.set_parameter(model.parameter_names.index(name), array)
    if count < len(model.layers) or count < len(earlier.layers):
        return f"the first {count} of {len(earlier.layers)} layers of {path}"
    updates = _take_over_optimizer(trainer, path, earlier)
    told = f"all {count} layers of {path}" if count > 1 else f"the layer of {path}"
    return told + (f" and its optimizer, after {updates:,} updates" if updates else "")


def _take_over_optimizer(trainer: Trainer, path: str, earlier: MLP) -> int:
    """Have the optimizer go on from a run's checkpoint, if it is of these weights; how many updates it has seen."""
    checkpoints = RunFolder(path).checkpoints() if Path(path).is_dir() else []
    if not checkpoints or not trainer.optimizer.state_names:
        return 0
    arrays, facts = read(checkpoints[0], CHECKPOINT)
    try:
        state = facts["state"]
        same = state["identity"]["optimizer"] == identity(trainer)["optimizer"]
        updates = int(state["iteration"]) + int(state.get("before", 0))
        vectors = [arrays[f"optimizer.{name}"] for name in trainer.optimizer.state_names]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{checkpoints[0]}: the checkpoint does not say where training stood.") from None
    wanted = trainer.model.flat
    fits = all(vector.shape == wanted.shape and vector.dtype == wanted.dtype for vector in vectors)
    if not same or not fits or not np.array_equal(arrays["parameters"], earlier.flat):
        return 0
    trainer.step.take_over(vectors, updates)
    return updates

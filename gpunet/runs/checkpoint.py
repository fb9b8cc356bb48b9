"""Checkpoints: all that training needs to go on from where it stood, bit for bit, in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import get_backend
from gpunet.errors import CheckpointError, UsageError
from gpunet.kernels.activations import Activation
from gpunet.keywords import checked
from gpunet.network.container import CHECKPOINT, read, write
from gpunet.network.mlp import MLP
from gpunet.version import __version__


def save_checkpoint(path: str | os.PathLike[str], trainer: Any, **facts: Any) -> None:
    """Write a checkpoint: all that `load_checkpoint` needs to bring a new trainer to where this one is.

    Args:
        path: the file.
        trainer: a `Trainer` between two steps, as callbacks see it in `on_checkpoint`.
        facts: what else to note, as JSON can hold it, under other names than the file's own.

    Raises:
        UsageError: a fact has a name that the file uses itself, or JSON cannot hold it.
        CheckpointError: the file cannot be written, or the weights are no longer finite.
    """
    taken = {"format", "version", "crc32", "gpunet", "state"} & set(facts)
    if taken:
        raise UsageError(f"a checkpoint has a {min(taken)} of its own; note yours under another name.")
    try:
        facts = json.loads(json.dumps(facts))  # as they will be read back: the checksum is of that
    except (TypeError, ValueError) as error:
        raise UsageError(f"a checkpoint can note what JSON can hold, and not this: {error}.") from None
    arrays, state = trainer.state()
    if not np.isfinite(arrays["parameters"]).all():
        raise CheckpointError(f"{path}: no checkpoint was written, the weights are no longer finite.")
    write(path, CHECKPOINT, arrays, {"gpunet": __version__, "state": state, **facts})


@checked
def load_checkpoint(path: str | os.PathLike[str], trainer: Any) -> dict[str, Any]:
    """Bring a trainer to where the one that wrote a checkpoint was; it goes on with the same numbers, bit for bit.

    Returns:
        The checkpoint's description, with the `facts` that it was saved with.

    Raises:
        CheckpointError: the file is missing or damaged, or belongs to another network, data set or way of
            training.
    """
    arrays, facts = read(path, CHECKPOINT)
    restore(path, arrays, facts, trainer)
    return facts


def restore(path: str | os.PathLike[str], arrays: dict[str, np.ndarray], facts: dict[str, Any], trainer: Any) -> None:
    """Bring a trainer to where a checkpoint that was read says that training stood.

    Raises:
        CheckpointError: it does not say so, or belongs to another network, data set or way of training.
    """
    try:
        if not isinstance(facts.get("state"), dict):
            raise CheckpointError("the checkpoint does not say where training stood; it is damaged.")
        trainer.restore(arrays, facts["state"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def model_of_checkpoint(
    path: str | os.PathLike[str], backend: Any = None, activations: Mapping[str, Activation] | None = None
) -> MLP:
    """The model as it was when a checkpoint of a run folder was written.

    Raises:
        CheckpointError: the file is missing or damaged, or does not say what network it is of.
    """
    path = Path(path)
    backend = get_backend("cpu" if backend is None else backend)
    arrays, facts = read(path, CHECKPOINT)
    if not isinstance(facts.get("model"), dict) or "parameters" not in arrays:
        raise CheckpointError(f"{path}: the checkpoint does not say what network it is of; it is damaged.")
    model = MLP.from_description(path, facts["model"], None, backend, activations)
    if arrays["parameters"].shape != model.flat.shape:
        raise CheckpointError(f"{path}: the parameters do not fit the network; the checkpoint is damaged.")
    with backend.use():
        model.flat[...] = backend.to_device(arrays["parameters"], model.dtype)
    return model

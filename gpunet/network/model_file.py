"""What a model file says of its network: written from a model, and read back as the arguments that make it again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.preparation import Preparation
from gpunet.errors import CheckpointError, DataError
from gpunet.kernels.activations import ACTIVATIONS, Activation
from gpunet.kernels.losses import LOSSES
from gpunet.network.container import plain
from gpunet.version import __version__


def describe(model: Any) -> dict[str, Any]:
    """Architecture and preprocessing of an `MLP`, as JSON can hold them."""
    loss = {key: plain(value) for key, value in model.loss.settings().items() if not key.startswith("_")}
    return {
        "gpunet": __version__,
        "sizes": list(model.sizes),
        "activations": [activation.name for activation in model.activations],
        "dropout": list(model.dropout),
        "loss": {"name": model.loss.name, "settings": loss},
        "dtype": model.dtype.name,
        "seed": model.seed,
        "input_scale": float(model.input_scale),
        "image_shape": None if model.image_shape is None else list(model.image_shape),
        "class_names": None if model.class_names is None else list(model.class_names),
        "preparation": model.preparation.to_dict(),
    }


@dataclass(frozen=True)
class Description:
    """A description that was read.

    Attributes:
        arguments: keyword arguments of `MLP`.
    """

    arguments: dict[str, Any]


def parse(
    path: Path,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray] | None,
    activations: Mapping[str, Activation] | None = None,
) -> Description:
    """Read what `describe` wrote.

    Args:
        path: the file, for the sentences.
        facts: the description.
        arrays: the file's tensors, held against it; None if there are none of a model file.
        activations: activations of one's own, by their names.

    Raises:
        CheckpointError: it is not complete, does not fit the tensors, or names an activation or a loss that is not
            known here.
    """
    known = {**ACTIVATIONS, **(activations or {})}
    try:
        sizes = [int(size) for size in facts["sizes"]]
        names = [str(name) for name in facts["activations"]]
        loss_name, loss_settings = str(facts["loss"]["name"]), dict(facts["loss"]["settings"])
        scale, shape, classes = float(facts["input_scale"]), facts["image_shape"], facts["class_names"]
        shape = None if shape is None else tuple(int(length) for length in shape)
        classes = None if classes is None else [str(name) for name in classes]
        dtype, seed, dropout = facts["dtype"], facts["seed"], list(facts["dropout"])
        if len(sizes) < 2:
            raise ValueError(sizes)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise CheckpointError(f"{path}: the model's description is not complete; it is damaged.") from None
    for name in names:
        if name not in known:
            raise CheckpointError(
                f"{path}: the model uses the activation {name!r}, which is not known here; give it as "
                f"MLP.load(path, activations={{{name!r}: ...}}), or add it to ACTIVATIONS first."
            )
    if loss_name not in LOSSES:
        raise CheckpointError(f"{path}: the model was trained with the loss {loss_name!r}; add it to LOSSES first.")
    if arrays is not None:
        _check_shapes(path, sizes, arrays, dtype)
    if not math.isfinite(scale) or (shape is not None and math.prod(shape) != sizes[0]):
        raise CheckpointError(f"{path}: the model's scale or image shape does not fit its {sizes[0]} inputs.")
    if classes is not None and (not sizes or len(classes) not in (sizes[-1], max(sizes[-1], 2))):
        raise CheckpointError(f"{path}: there are {len(classes)} class names for {sizes[-1:]} outputs.")
    preparation = _preparation(path, facts, sizes)
    preparation = preparation.with_changes(
        input_scale=scale, image_shape=shape, class_names=None if classes is None else tuple(classes)
    )
    try:
        loss = LOSSES[loss_name](**loss_settings)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"{path}: the model cannot be built as it is described: {error}") from None
    arguments = {
        "sizes": sizes, "activation": [known[name] for name in names], "initializer": "constant", "dropout": dropout,
        "seed": seed, "dtype": dtype, "loss": loss, "preparation": preparation,
    }  # fmt: skip
    return Description(arguments)


def _preparation(path: Path, facts: dict[str, Any], sizes: list[int]) -> Preparation:
    """The preparation in a description; earlier versions wrote none, only scale, shape and names."""
    try:
        preparation = Preparation.from_dict(facts.get("preparation", {}))
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if preparation.columns is not None and preparation.width(len(preparation.columns)) != sizes[0]:
        raise CheckpointError(f"{path}: the columns of the model do not fit its {sizes[0]} inputs.")
    if preparation.targets is not None and len(preparation.targets.shift) != sizes[-1]:
        raise CheckpointError(f"{path}: the targets of the model do not fit its {sizes[-1]} outputs.")
    return preparation


def _check_shapes(path: Path, sizes: list[int], arrays: dict[str, np.ndarray], dtype: Any) -> None:
    """The file's tensors are those of a network of these sizes; checked before anything is built."""
    wanted: dict[str, tuple[int, ...]] = {}
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), 1):
        wanted[f"W{index}"], wanted[f"b{index}"] = (fan_in, fan_out), (fan_out,)
    if not wanted or set(arrays) != set(wanted):
        raise CheckpointError(f"{path}: the tensors in the file are not those of a network of {len(sizes) - 1} layers.")
    for name, shape in wanted.items():
        array = arrays[name]
        if array.shape != shape or array.dtype.name != dtype:
            raise CheckpointError(
                f"{path}: {name} is {array.dtype.name} of shape {array.shape}, and the description says {dtype} of "
                f"shape {shape}."
            )
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite; the training had diverged.")

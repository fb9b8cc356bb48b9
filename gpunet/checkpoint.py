"""Model files and checkpoints: safetensors with a description in JSON, checked by a checksum; no pickle anywhere.

Both kinds of file are safetensors files with one entry `gpunet` in their metadata: a JSON object with
`format` ("gpunet model" or "gpunet checkpoint"), `version`, `crc32` (of the description without it and of all
tensors) and what the kind adds. A model file holds the parameters as W1, b1, W2, b2 …; a checkpoint holds the
vectors of `Trainer.state` and a model file's description beside its own.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import get_backend
from gpunet.errors import CheckpointError, GpunetError, UsageError
from gpunet.files import write_atomic
from gpunet.kernels.activations import ACTIVATIONS, Activation
from gpunet.kernels.losses import LOSSES
from gpunet.model import MLP
from gpunet.state import plain
from gpunet.version import __version__

MODEL = "gpunet model"
CHECKPOINT = "gpunet checkpoint"
#: The version of both formats; a file of another one is refused.
VERSION = 1
#: Bytes of the largest header that is read; a damaged length asks for any amount of memory.
MAX_HEADER = 1 << 24


# --- the container ---------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], kind: str, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Write a file of one of the two kinds, atomically. The same content gives the same bytes.

    Raises:
        CheckpointError: the file cannot be written.
    """
    from safetensors.numpy import save

    path = Path(path)
    description = {"format": kind, "version": VERSION, **facts}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = json.dumps({**description, "crc32": _checksum(description, arrays)}, sort_keys=True)
    # A single entry: safetensors writes several in an order that changes from process to process.
    content = save(arrays, {"gpunet": described})
    try:
        write_atomic(path, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path}: the file cannot be written ({reason}); choose another place.") from None


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the description of a file that `write` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or of a version that is not known.
    """
    path = Path(path)
    what = kind.removeprefix("gpunet ")
    try:
        content = _content(path)
    except OSError as error:
        raise CheckpointError(f"{path}: the {what} cannot be read ({error.strerror or error}).") from None
    arrays, metadata = _parse(path, what, content)
    facts = _description(path, what, metadata)
    if facts.get("format") != kind:
        other = facts.get("format")
        named = f"a {other.removeprefix('gpunet ')}" if isinstance(other, str) and len(other) < 40 else "something else"
        raise CheckpointError(f"{path}: this is {named} and not a {what}.")
    if facts.get("version") != VERSION:
        writer = f", {str(facts['gpunet'])[:20]}" if facts.get("gpunet") else ""
        raise CheckpointError(
            f"{path}: the {what} is of format version {str(facts.get('version'))[:20]}, and this gpunet "
            f"({__version__}) reads version {VERSION}; use the gpunet that wrote it{writer}."
        )
    claimed = facts.pop("crc32", None)
    if claimed != _checksum(facts, arrays):
        raise CheckpointError(f"{path}: the {what} is damaged, its checksum does not fit; use another copy of it.")
    return arrays, facts


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise OSError(None, "it is a folder")
    if path.exists() and not path.is_file():
        raise OSError(None, "it is no regular file")
    return path.read_bytes()


def _parse(path: Path, what: str, content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8 or length > MAX_HEADER:
        raise CheckpointError(f"{path}: this is no {what}, or it was cut off; a safetensors file is needed.")
    from safetensors.numpy import load

    try:
        header = json.loads(content[8 : 8 + length])
        arrays = load(content)
    except MemoryError:
        raise
    except Exception:  # safetensors has an error class of its own; what it cannot read it may refuse in any way
        raise CheckpointError(f"{path}: the {what} is damaged, it cannot be read as safetensors.") from None
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return arrays, metadata if isinstance(metadata, dict) else {}


def _description(path: Path, what: str, metadata: dict[str, str]) -> dict[str, Any]:
    if "gpunet" not in metadata:
        raise CheckpointError(f"{path}: this safetensors file was not written by gpunet and is no {what}.")
    try:
        facts = json.loads(metadata["gpunet"])
    except (TypeError, ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: the description of the {what} is damaged; use another copy of it.")
    return facts


def _checksum(description: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    """CRC-32 of the description and of all tensors with their names, types and shapes."""
    try:
        total = zlib.crc32(json.dumps(description, sort_keys=True).encode())
    except RecursionError:
        return -1
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype.name} {array.shape}\n".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return total


# --- models ----------------------------------------------------------------------------------------------


def describe(model: MLP) -> dict[str, Any]:
    """Architecture and preprocessing of a model, as JSON can hold them."""
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
    }


def save_model(model: MLP, path: str | os.PathLike[str], parameters: np.ndarray | None = None) -> None:
    """Write a model file: parameters, architecture and preprocessing.

    Args:
        model: the model.
        path: the file, by custom with the suffix .safetensors.
        parameters: another flat vector of parameters (of the layout of `model.flat`) to write in place of
            the model's own.

    Raises:
        CheckpointError: the file cannot be written, or its folder does not exist.
    """
    host = model.backend.to_host(model.flat) if parameters is None else parameters
    arrays = dict(zip(model.parameter_names, model._views(host), strict=True))
    write(path, MODEL, arrays, describe(model))


def load_model(
    path: str | os.PathLike[str],
    backend: Any = None,
    activations: Mapping[str, Activation] | None = None,
) -> MLP:
    """The model of a file that `save_model` wrote, or of the run folder that holds one.

    Args:
        path: the file, or a run folder.
        backend: a `Backend` or the name of a device; the CPU by default.
        activations: activations of one's own that the model was made with, by their names.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or names an activation or a loss
            that is not known here.
    """
    path = Path(path)
    if path.is_dir():
        folder, path = path, path / "model.safetensors"
        if not path.exists():
            raise CheckpointError(f"{folder}: there is no model in this folder; a run that has ended leaves one.")
    backend = get_backend("cpu" if backend is None else backend)
    arrays, facts = read(path, MODEL)
    model = _rebuild(path, facts, backend, {**ACTIVATIONS, **(activations or {})}, arrays)
    for index, name in enumerate(model.parameter_names):
        model.set_parameter(index, arrays[name])
    return model


def _rebuild(
    path: Path, facts: dict[str, Any], backend: Any, known: dict[str, Activation], arrays: dict[str, np.ndarray] | None
) -> MLP:
    """The model that a description describes; its parameters are still to be set."""
    try:
        sizes = [int(size) for size in facts["sizes"]]
        names = [str(name) for name in facts["activations"]]
        loss_name, loss_settings = str(facts["loss"]["name"]), dict(facts["loss"]["settings"])
        scale, shape, classes = float(facts["input_scale"]), facts["image_shape"], facts["class_names"]
        shape = None if shape is None else tuple(int(length) for length in shape)
        classes = None if classes is None else [str(name) for name in classes]
        dtype, seed, dropout = facts["dtype"], facts["seed"], list(facts["dropout"])
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
    try:
        model = MLP(
            sizes,
            [known[name] for name in names],
            initializer="constant",
            dropout=dropout,
            seed=seed,
            dtype=dtype,
            backend=backend,
            loss=LOSSES[loss_name](**loss_settings),
        )
    except (GpunetError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"{path}: the model cannot be built as it is described: {error}") from None
    model.input_scale, model.image_shape, model.class_names = scale, shape, classes
    if classes is not None and len(classes) not in (model.outputs, max(model.outputs, 2)):
        raise CheckpointError(f"{path}: there are {len(classes)} class names for {model.outputs} outputs.")
    return model


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


# --- checkpoints -----------------------------------------------------------------------------------------


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


def load_checkpoint(path: str | os.PathLike[str], trainer: Any) -> dict[str, Any]:
    """Bring a trainer to where the one that wrote a checkpoint was; it goes on with the same numbers, bit for bit.

    Returns:
        The checkpoint's description, with the `facts` that it was saved with.

    Raises:
        CheckpointError: the file is missing or damaged, or belongs to another network, data set or way of
            training.
    """
    arrays, facts = read(path, CHECKPOINT)
    try:
        if not isinstance(facts.get("state"), dict):
            raise CheckpointError("the checkpoint does not say where training stood; it is damaged.")
        trainer.restore(arrays, facts["state"])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return facts


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
    model = _rebuild(path, facts["model"], backend, {**ACTIVATIONS, **(activations or {})}, None)
    if arrays["parameters"].shape != model.flat.shape:
        raise CheckpointError(f"{path}: the parameters do not fit the network; the checkpoint is damaged.")
    with backend.use():
        model.flat[...] = backend.to_device(arrays["parameters"], model.dtype)
    return model

"""The file of models, ensembles and checkpoints: safetensors with a description in JSON and a checksum; no pickles.

A file has one entry `gpunet` in its safetensors metadata: a JSON object with `format` ("gpunet model" or "gpunet
checkpoint"), `version`, `crc32` (of the description without it and of all tensors) and what the kind adds. A model
file holds the parameters as W1, b1, W2, b2 …; a checkpoint holds the vectors of `Trainer.state` and a model file's
description beside its own.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import CheckpointError
from gpunet.files import write_atomic
from gpunet.version import __version__
from gpunet.wording import one_line

MODEL = "gpunet model"
ENSEMBLE = "gpunet ensemble"
CHECKPOINT = "gpunet checkpoint"
#: The version of both formats; a file of another one is refused.
VERSION = 1
#: Bytes of the largest header that is read; a damaged length asks for any amount of memory.
MAX_HEADER = 1 << 24


def write(path: str | os.PathLike[str], kind: str, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Write a file of one of the kinds, atomically. The same content gives the same bytes.

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
        known = isinstance(other, str) and other.isprintable() and len(other) < 40
        named, wanted = (f"a{'n' * name.startswith('e')} {name}" for name in (str(other).removeprefix("gpunet "), what))
        raise CheckpointError(f"{path}: this is {named if known else 'something else'} and not {wanted}.")
    if facts.get("version") != VERSION:
        writer = f", {one_line(facts['gpunet'], 20)}" if facts.get("gpunet") else ""
        raise CheckpointError(
            f"{path}: the {what} is of format version {one_line(facts.get('version'), 20)}, and this gpunet "
            f"({__version__}) reads version {VERSION}; use the gpunet that wrote it{writer}."
        )
    claimed = facts.pop("crc32", None)
    if claimed != _checksum(facts, arrays):
        raise CheckpointError(f"{path}: the {what} is damaged, its checksum does not fit; use another copy of it.")
    return arrays, facts


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Which kind its header says that a file is, without a look at the tensors; None where it cannot be read."""
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would have it wait
            return None
        with path.open("rb") as stream:
            header = stream.read(min(int.from_bytes(stream.read(8), "little"), MAX_HEADER))
        return _description(path, "model", _metadata(header)).get("format")
    except (OSError, ValueError, RecursionError, CheckpointError):
        return None


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
        metadata = _metadata(content[8 : 8 + length])
        arrays = load(content)
    except MemoryError:
        raise
    except Exception:  # safetensors has an error class of its own; what it cannot read it may refuse in any way
        raise CheckpointError(f"{path}: the {what} is damaged, it cannot be read as safetensors.") from None
    return arrays, metadata


def _metadata(header: bytes) -> dict[str, str]:
    """The metadata in the header of a safetensors file."""
    told = json.loads(header)
    metadata = told.get("__metadata__") if isinstance(told, dict) else None
    return metadata if isinstance(metadata, dict) else {}


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


def plain(value: Any) -> Any:
    """A hyperparameter as JSON can hold it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)

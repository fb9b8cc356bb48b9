"""config.json of a run: what it says of the run, how it is read, and what has changed since it was written."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.errors import CheckpointError
from gpunet.files import write_atomic
from gpunet.kernels import threads
from gpunet.version import __version__
from gpunet.wording import one_line

if TYPE_CHECKING:
    from gpunet.training.trainer import Trainer

#: The format of config.json, and its version.
FORMAT, VERSION = "gpunet run", 1
#: What of it is a table, where it is there.
TABLES = ("settings", "recording", "data", "versions")


def write(path: Path, config: dict[str, Any]) -> None:
    """Write a config.json.

    Raises:
        CheckpointError: the file cannot be written.
    """
    content = json.dumps({"format": FORMAT, "version": VERSION, **config}, indent=2) + "\n"
    try:
        write_atomic(path, content.encode())
    except OSError as error:
        raise CheckpointError(f"{path.parent}: the run cannot be written ({error.strerror or error}).") from None


def read(path: Path) -> dict[str, Any]:
    """What a config.json says.

    Raises:
        CheckpointError: it cannot be read, is damaged, or of another version.
    """
    try:
        config = json.loads(path.read_bytes().decode())
    except OSError as error:
        raise CheckpointError(f"{path}: the file cannot be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path}: this is not the config.json of a run, or it is damaged.")
    check_version(path, config)
    for name in TABLES:
        if not isinstance(config.get(name, {}), dict):
            raise CheckpointError(f"{path}: {name} is no table; the file is damaged.")
    return config


def check_version(path: Path, config: dict[str, Any]) -> None:
    """Refuse the config.json of a run of another version of the format.

    Raises:
        CheckpointError: it is of another one.
    """
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: the run is of format version {one_line(config.get('version'), 20)}, and this gpunet "
            f"({__version__}) reads version {VERSION}; use the gpunet that wrote it."
        )


def describe(trainer: Trainer) -> dict[str, Any]:
    """What a run's numbers depend on beside its settings: data, device and versions, for config.json."""
    data, model = trainer.data, trainer.model
    versions = {"gpunet": __version__, "python": platform.python_version(), "numpy": np.__version__}
    if trainer.backend.name == "cuda":
        versions["cupy"] = trainer.backend.xp.__version__
    for library in threads.describe() if trainer.backend.name == "cpu" else ():
        # Another library or other kernels add up in another order.
        versions["blas"] = " ".join(str(library.get(key, "")) for key in ("internal_api", "version", "architecture"))
    return {
        "device": trainer.backend.device,
        "device_reason": trainer.backend.reason,
        "network": model.description,
        "parameters": model.parameter_count,
        "data": {
            "name": data.name,
            "checksum": data.checksum,
            "examples": {name: len(split) for name, split in data.splits().items()},
            "classes": data.classes,
        },
        "versions": versions,
        "platform": f"{sys.platform} {platform.machine()}",
    }


def changes(config: dict[str, Any], trainer: Trainer) -> dict[str, tuple[str, str]]:
    """What is no longer as `describe` found it when a config.json was written: for each the value then and now.

    Only what is noted there is compared: the data's checksum as `data`, the `device` and the versions by their names.
    """
    now = describe(trainer)
    noted = {
        **config.get("versions", {}),
        "device": config.get("device"),
        "data": config.get("data", {}).get("checksum"),
    }
    current = {**now["versions"], "device": now["device"], "data": now["data"]["checksum"]}
    return {
        name: (str(noted[name]), str(value))
        for name, value in current.items()
        if noted.get(name) is not None and noted[name] != value
    }


def remark(changed: dict[str, tuple[str, str]]) -> list[str]:
    """The sentence on `changes` of versions and device, if there are any."""
    told = [f"{name} {one_line(then)}, now {now}" for name, (then, now) in changed.items() if name != "data"]
    return [f"the run was made with {'; '.join(told)}; its numbers may differ in the last digits."] if told else []

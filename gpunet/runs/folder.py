"""Run folders: what training leaves on the disk, so that it can be looked at, repeated and taken up again.

A run folder holds
    config.json               every setting, the command line, versions, device and the checksum of the data
    metrics.jsonl             the records without anything that a clock measured; the same for the same run
    timings.jsonl             seconds and steps per second of the same records
    checkpoint.safetensors    where training stands; older ones are checkpoint-STEP.safetensors
    best.safetensors          the model at its best validation so far
    model.safetensors         the model at the end
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.errors import CheckpointError, TrainingDiverged
from gpunet.files import Lock, remove_leftovers, sync_folder, write_atomic
from gpunet.kernels import threads
from gpunet.network.container import CHECKPOINT, read, write
from gpunet.network.mlp import MLP
from gpunet.network.model_file import describe
from gpunet.runs.checkpoint import model_of_checkpoint
from gpunet.runs.logs import Lines, as_json, cut_lines, json_iteration
from gpunet.training.callbacks import Callback
from gpunet.training.records import Record, ResultRecord
from gpunet.version import __version__

if TYPE_CHECKING:
    from gpunet.training.trainer import Trainer

#: The format of config.json, and its version.
FORMAT, VERSION = "gpunet run", 1
#: Fields of records that a clock measured.
TIMING = ("seconds", "steps_per_second", "train_seconds")
#: The files of a run that --force removes, beside the older checkpoints and TensorBoard's.
OWN_FILES = (
    "config.json",
    "metrics.jsonl",
    "metrics.csv",
    "timings.jsonl",
    "checkpoint.safetensors",
    "best.safetensors",
    "model.safetensors",
)


class RunFolder:
    """The folder of a run, and what is in it.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        metrics, timings, checkpoint, best, model: the paths of its files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.metrics = self.path / "metrics.jsonl"
        self.timings = self.path / "timings.jsonl"
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.best = self.path / "best.safetensors"
        self.model = self.path / "model.safetensors"
        self._lock: Lock | None = None

    def __repr__(self) -> str:
        return f"<RunFolder {self.path}>"

    def lock(self) -> None:
        """Keep other processes from writing this run, until `release` or the end of the process.

        Raises:
            CheckpointError: another one is writing it.
        """
        if self._lock is None:
            try:
                self._lock = Lock(self.path)
            except OSError as error:
                reason = error.strerror or error
                raise CheckpointError(f"{self.path}: the folder cannot be written ({reason}).") from None

    def release(self) -> None:
        """Let other processes write this run."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def create(self, config: dict[str, Any], force: bool = False) -> None:
        """Make the folder, lock it and write its config.json.

        Args:
            config: what to write; `describe_run` makes a good part of it.
            force: whether to remove the run that is there already.

        Raises:
            CheckpointError: there is a run already, or a sweep, or the folder cannot be made or written.
        """
        if (self.path / "results.jsonl").exists():
            raise CheckpointError(f"{self.path}: this is the folder of a sweep; choose another one for the run.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = "there is a file of this name" if isinstance(error, FileExistsError) else error.strerror or error
            raise CheckpointError(f"{self.path}: the folder of the run cannot be made ({reason}).") from None
        self.lock()
        if self._own_files():
            if not force:
                raise CheckpointError(
                    f"{self.path}: there is a run in this folder already; choose another one, go on with "
                    f"--resume {self.path}, or write over it with --force."
                )
            self._clear()
        self.write_config(config)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json."""
        content = json.dumps({"format": FORMAT, "version": VERSION, **config}, indent=2) + "\n"
        try:
            write_atomic(self.path / "config.json", content.encode())
        except OSError as error:
            raise CheckpointError(f"{self.path}: the run cannot be written ({error.strerror or error}).") from None

    def _own_files(self) -> list[Path]:
        named = [self.path / name for name in OWN_FILES]
        return [path for path in (*named, *self.path.glob("checkpoint-*.safetensors")) if path.exists()]

    def _clear(self) -> None:
        for path in (*self._own_files(), *(self.path / "tensorboard").glob("events.out.tfevents.*")):
            try:
                path.unlink()
            except OSError as error:
                raise CheckpointError(f"{path}: the file cannot be removed ({error.strerror or error}).") from None

    def config(self) -> dict[str, Any]:
        """What config.json says.

        Raises:
            CheckpointError: there is no run in the folder, or its config.json is damaged or of another version.
        """
        path = self.path / "config.json"
        if not self.path.is_dir():
            what = "this is a file" if self.path.exists() else "there is no such folder"
            raise CheckpointError(f"{self.path}: {what}; name the folder that gpunet train --out made.")
        if not path.exists():
            raise CheckpointError(f"{self.path}: there is no run in this folder, it has no config.json.")
        try:
            config = json.loads(path.read_bytes().decode())
        except OSError as error:
            raise CheckpointError(f"{path}: the file cannot be read ({error.strerror or error}).") from None
        except (ValueError, RecursionError):
            config = None
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise CheckpointError(f"{path}: this is not the config.json of a run, or it is damaged.")
        check_version(path, config)
        for name in ("settings", "recording", "data", "versions"):
            if not isinstance(config.get(name, {}), dict):
                raise CheckpointError(f"{path}: {name} is no table; the file is damaged.")
        return config

    def result(self) -> dict[str, Any] | None:
        """The result record of a run that has ended, with what the clock measured where that is known, else None."""
        record = _last_result(self.metrics)
        if record is None or not self.model.exists():
            return None
        measured = _last_result(self.timings) or {}
        return {**record, **{name: measured[name] for name in TIMING if name in measured}}

    def checkpoints(self) -> list[Path]:
        """The checkpoints that are there, the newest first."""
        older = sorted(self.path.glob("checkpoint-*.safetensors"), reverse=True)
        return [path for path in (self.checkpoint, *older) if path.exists()]

    def load(self, backend: Any = None, activations: Any = None) -> MLP:
        """The model of the run: of its end or, while it has none, of its newest checkpoint.

        Raises:
            CheckpointError: there is neither, or it is damaged.
        """
        if self.model.exists():
            return MLP.load(self.model, backend, activations)
        for path in self.checkpoints()[:1]:
            return model_of_checkpoint(path, backend, activations)
        self.config()
        raise CheckpointError(f"{self.path}: the run has no model and no checkpoint yet.")

    def take_up(self, trainer: Trainer) -> list[str]:
        """Bring a fresh trainer to the newest checkpoint that can be read, and cut the records back to it.

        Without any checkpoint the run starts over.

        Returns:
            A remark for each checkpoint that was damaged and passed over, or one that there is none yet.

        Raises:
            CheckpointError: a checkpoint or the records belong to another run, or no checkpoint can be read.
        """
        remove_leftovers(self.path)
        damaged: list[tuple[Path, CheckpointError]] = []
        facts: dict[str, Any] = {}
        for path in self.checkpoints():
            try:
                arrays, facts = read(path, CHECKPOINT)
            except CheckpointError as error:
                damaged.append((path, error))
                continue
            try:
                if not isinstance(facts.get("state"), dict):
                    raise CheckpointError("the checkpoint does not say where training stood; it is damaged.")
                trainer.restore(arrays, facts["state"])
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}") from None
            break
        else:
            if damaged:
                older = ", ".join(path.name for path, _ in damaged[1:])
                raise CheckpointError(
                    f"{damaged[0][1]} {f'Nor can {older} be read. ' if older else ''}Begin the run anew with: "
                    f"gpunet train --config {self.path / 'config.json'} --out NEW"
                )
        try:
            self._cut_metrics(facts.get("metrics", {"bytes": 0, "crc32": 0}))
            cut_lines(self.timings, trainer.iteration or -1, json_iteration)
        except OSError as error:
            raise CheckpointError(f"{self.path}: the run cannot be written ({error.strerror or error}).") from None
        for path, _ in damaged:  # out of the way, lest it takes the place of a good one when the next is written
            with contextlib.suppress(OSError):
                path.replace(path.with_name(f"{path.name}.damaged"))
        if not facts:
            return [f"{self.path} has no checkpoint; the run begins anew."]
        return [f"{error} The run goes on from an older checkpoint, to the same end." for _, error in damaged]

    def _cut_metrics(self, place: Any) -> None:
        """Cut metrics.jsonl back to the length that it had at a checkpoint, after checking that it is that file."""
        try:
            length, crc = int(place["bytes"]), int(place["crc32"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise CheckpointError(f"{self.path}: the checkpoint is damaged, it does not know the records.") from None
        if not self.metrics.exists() and length == 0:
            return
        try:
            content = self.metrics.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{self.metrics}: the records cannot be read ({error.strerror or error}).") from None
        if len(content) < length or zlib.crc32(content[:length]) != crc:
            raise CheckpointError(
                f"{self.metrics}: these are not the records that the checkpoint belongs to; the file was changed or "
                "cut off, bring back the old one."
            )
        if len(content) > length:
            os.truncate(self.metrics, length)


def check_version(path: Path, config: dict[str, Any]) -> None:
    """Refuse the config.json of a run of another version of the format.

    Raises:
        CheckpointError: it is of another one.
    """
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: the run is of format version {str(config.get('version'))[:20]}, and this gpunet "
            f"({__version__}) reads version {VERSION}; use the gpunet that wrote it."
        )


def _last_result(path: Path) -> dict[str, Any] | None:
    """The record in the last line of a file of JSON lines, if it is a result, else None."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 65536, 0))
            last = file.read()
        record = json.loads(last[:-1].rpartition(b"\n")[2]) if last.endswith(b"\n") else None
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("event") == "result" else None


class Recorder(Callback):
    """The callback that keeps a run: records, checkpoints, best weights and the model at the end.

    Args:
        folder: the run's folder, which has its config.json already.
        keep: how many checkpoints to keep.
    """

    def __init__(self, folder: RunFolder, keep: int = 1) -> None:
        self.folder = folder
        self.keep = keep
        self._metrics: Lines | None = None
        self._timings: Lines | None = None
        self._crc = self._bytes = 0
        self._saved: int | None = None
        self._best: int | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Open the records; those that are there are those of the steps already done."""
        self._metrics, self._timings = Lines(self.folder.metrics), Lines(self.folder.timings)
        content = self.folder.metrics.read_bytes()
        self._crc, self._bytes = zlib.crc32(content), len(content)
        self._saved = trainer.iteration or None

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Write a record; at the result, the models first, so that a run with a result has all its files."""
        assert self._metrics is not None
        assert self._timings is not None
        values = record.as_dict()
        ended = isinstance(record, ResultRecord)
        if ended:
            trainer.model.save(self.folder.model)
        timings = {"event", "iteration", "iterations", *TIMING}
        self._timings.write(as_json({name: value for name, value in values.items() if name in timings}))
        line = as_json({name: value for name, value in values.items() if name not in TIMING})
        added = self._metrics.write(line)
        self._crc, self._bytes = zlib.crc32(added, self._crc), self._bytes + len(added)
        if ended:
            self._metrics.sync()
            sync_folder(self.folder.path)

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Write the best weights, if they are new, and a checkpoint; keep as many older ones as was asked for."""
        assert self._metrics is not None
        arrays, state = trainer.state()
        if not np.isfinite(arrays["parameters"]).all():
            raise TrainingDiverged(
                f"the weights are no longer finite numbers after iteration {trainer.iteration}; lower the learning "
                "rate, or clip the gradient with clip_norm.",
                trainer.iteration,
            )
        if "best" in arrays and self._best != state["best"]["iteration"]:
            trainer.model.save(self.folder.best, arrays["best"])
            self._best = state["best"]["iteration"]
        self._metrics.sync()
        if self.keep > 1 and self._saved not in (None, trainer.iteration) and self.folder.checkpoint.exists():
            self.folder.checkpoint.replace(self.folder.path / f"checkpoint-{self._saved:010d}.safetensors")
        place = {"bytes": self._bytes, "crc32": self._crc}
        facts = {"gpunet": __version__, "model": describe(trainer.model), "state": state, "metrics": place}
        write(self.folder.checkpoint, CHECKPOINT, arrays, facts)
        self._saved = trainer.iteration
        for path in self.folder.checkpoints()[self.keep :]:
            with contextlib.suppress(OSError):
                path.unlink()

    def on_end(self, trainer: Trainer) -> None:
        """Close the files, and let other processes write this run."""
        for lines in (self._metrics, self._timings):
            if lines is not None:
                lines.close()
        self.folder.release()


def describe_run(trainer: Trainer) -> dict[str, Any]:
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

"""Run folders: what training leaves on the disk, so that it can be looked at, repeated and taken up again.

A run folder holds
    config.json               every setting, the command line, versions, device and the checksum of the data
    metrics.jsonl             the records without anything that a clock measured; the same for the same run
    timings.jsonl             seconds and steps per second of the same records
    checkpoint.safetensors    where training stands; older ones are checkpoint-STEP.safetensors
    best.safetensors          the model at its best validation so far
    model.safetensors         the model at the end
A run of several networks holds a run folder of each in `networks/` (see `several.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import json
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import get_backend
from gpunet.data.catalog import DATASETS
from gpunet.errors import CheckpointError, TrainingDiverged, UsageError
from gpunet.files import Lock, remove_leftovers, sync_folder
from gpunet.keywords import checked
from gpunet.network.container import CHECKPOINT, read, write
from gpunet.network.ensemble import Ensemble, load_model, single
from gpunet.network.mlp import MLP
from gpunet.network.model_file import describe
from gpunet.runs import config as run_config
from gpunet.runs.checkpoint import model_of_checkpoint, restore
from gpunet.runs.logs import Lines, as_json, cut_lines, json_iteration
from gpunet.runs.recording import Recording
from gpunet.runs.settings import Settings, build_dataset, build_model, build_trainer
from gpunet.training.callbacks import Callback
from gpunet.training.records import Record, ResultRecord
from gpunet.training.trainer import Trainer
from gpunet.version import __version__

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


@checked
class RunFolder:
    """The folder of a run, and what is in it.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        metrics, timings, checkpoint, best, model: the paths of its files.
        remarks: what `resume` found worth saying, in sentences.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.metrics = self.path / "metrics.jsonl"
        self.timings = self.path / "timings.jsonl"
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.best = self.path / "best.safetensors"
        self.model = self.path / "model.safetensors"
        self.remarks: list[str] = []
        self._lock: Lock | None = None

    def __repr__(self) -> str:
        return f"<RunFolder {self.path}>"

    @classmethod
    def start(
        cls,
        path: str | os.PathLike[str],
        trainer: Trainer,
        settings: Settings | None = None,
        *,
        force: bool = False,
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = None,
        keep: int = 1,
        log: Sequence[str] = (),
        command: Sequence[str] | None = None,
    ) -> RunFolder:
        """Make the folder of a new run, and have the trainer keep there what it does, as `gpunet train --out` does.

        Args:
            path: the folder.
            trainer: a trainer that has done no step yet.
            settings: what the trainer was made of; without them only a script that makes it again can resume the run.
            force: whether a run that is there already is removed.
            checkpoint_every: steps from one checkpoint to the next.
            checkpoint_seconds: seconds from one to the next; 30 where neither is given.
            keep: how many checkpoints to keep, the newest ones.
            log: further logs, as KIND or KIND:PATH: csv, tensorboard, jsonl.
            command: the command line to note; this program's own by default.

        Raises:
            CheckpointError: there is a run already, or a sweep, or the folder cannot be made or written.
            UsageError: there is no such log.
            MissingExtra: a log needs a package that is not installed.
        """
        folder = cls(path)
        if trainer.ranks.rank:
            return folder  # rank 0 keeps the run
        recording = Recording(checkpoint_every, checkpoint_seconds, keep, tuple(log))
        logs = recording.logs(folder.path)
        folder.create(new_config(trainer, settings, recording, sys.argv if command is None else command), force)
        folder._keep(trainer, recording, logs)
        return folder

    def resume(
        self,
        trainer: Trainer | None = None,
        *,
        device: str | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> Trainer:
        """A trainer that goes on with the run from its newest checkpoint, and keeps it as before.

        Args:
            trainer: a fresh trainer of the same network, data and options; by default it is made from the settings in
                config.json.
            device: another device than the run's, for the trainer that is made.
            progress: called while a data set is downloaded, see `load_dataset`.

        Of several ranks each calls this with its trainer; rank 0 alone reads and keeps the run.

        Returns:
            The trainer, at the step of the checkpoint. `remarks` holds what is worth saying.

        Raises:
            CheckpointError: there is no run, it is damaged or of other data, or another process is writing it.
            UsageError: config.json has no settings, so that a trainer has to be given.
        """
        if trainer is not None and trainer.ranks.rank:
            trainer.restore(*trainer.ranks.first(None))
            return trainer
        config = self.config()
        self.lock()
        recording = Recording.from_dict(config.get("recording"), self.path)
        if trainer is None:
            settings = self.settings()
            settings = settings.with_changes(distributed=None, **({} if device is None else {"device": device}))
            data = build_dataset(settings, progress)
            trainer = build_trainer(settings, build_model(settings, data, get_backend(settings.device)), data)
        changed = run_config.changes(config, trainer)
        if "data" in changed:
            raise CheckpointError(f"{self.path}: the run was made with other data than {trainer.data.name} has now.")
        self.remarks = [*run_config.remark(changed), *self.restore(trainer)]
        if trainer.ranks.size > 1:
            trainer.ranks.first(trainer.state())
        self._keep(trainer, recording, recording.logs(self.path))
        return trainer

    def _keep(self, trainer: Trainer, recording: Recording, logs: Sequence[Callback]) -> None:
        trainer.checkpoints = recording.timer()
        trainer.callbacks += [Recorder(self, recording.keep), *logs]

    def settings(self) -> Settings:
        """The settings of the run, out of config.json.

        Raises:
            CheckpointError: there is no run, or its config.json is damaged.
            UsageError: a script made the run without settings.
        """
        told = self.config().get("settings")
        if told is None:
            raise UsageError(f"{self.path}: a script made this run without settings; resume it there, with a trainer.")
        try:
            return Settings.from_dict(told)
        except UsageError as error:
            raise CheckpointError(f"{self.path / 'config.json'}: {error}") from None

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
            config: what to write; `describe` makes a good part of it.
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
        remove_leftovers(self.path)
        run_config.write(self.path / "config.json", config)

    def members(self, count: int | None = None) -> list[RunFolder]:
        """The folders of the networks of a run of several: of the first `count`, or of all that are there."""
        inside = self.path / "networks"
        if count is None:
            there = (path for path in inside.glob("*") if path.name.isdecimal() and path.is_dir())
            return [RunFolder(path) for path in sorted(there, key=lambda path: int(path.name))]
        return [RunFolder(inside / str(number)) for number in range(1, count + 1)]

    def _own_files(self) -> list[Path]:
        named = [self.path / name for name in OWN_FILES]
        own = [path for path in (*named, *self.path.glob("checkpoint-*.safetensors")) if path.exists()]
        return [*own, *(path for member in self.members() for path in member._own_files())]

    def _clear(self) -> None:
        logs = self.path.glob("**/tensorboard/events.out.tfevents.*")
        for path in (*self._own_files(), *logs):
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
        return run_config.read(path)

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

    def load(self, backend: Any = None, activations: Any = None) -> MLP | Ensemble:
        """The model of the run: of its end or, while it has none, of its newest checkpoint; of a run of several
        networks the ensemble of all.

        Raises:
            CheckpointError: there is neither, or it is damaged.
        """
        if self.model.exists():
            return load_model(self.model, backend, activations)
        for path in self.checkpoints()[:1]:
            return model_of_checkpoint(path, backend, activations)
        if members := self.members():
            return Ensemble([single(member.load(backend, activations)) for member in members])
        self.config()
        raise CheckpointError(f"{self.path}: the run has no model and no checkpoint yet.")

    def restore(self, trainer: Trainer) -> list[str]:
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
            restore(path, arrays, facts, trainer)
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

    take_up = restore  # its name in earlier versions

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


def new_config(
    trainer: Trainer, settings: Settings | None, recording: Recording, command: Sequence[str], **more: Any
) -> dict[str, Any]:
    """What config.json says of a run that begins now, `more` among it."""
    return {
        "command": list(command),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        **more,
        **({} if settings is None else {"settings": _located(settings, trainer).to_dict()}),
        "recording": recording.to_dict(),
        **run_config.describe(trainer),
    }


def _located(settings: Settings, trainer: Trainer) -> Settings:
    """Settings that mean the same wherever they are read: nothing is left to a default, and the paths are absolute."""
    changes: dict[str, Any] = {"device": trainer.backend.device, "distributed": None}
    if trainer.recipe.shuffle == "chunks":  # which may have been chosen by the memory that this machine has
        changes["shuffle"] = "chunks"
    if settings.data not in DATASETS:
        changes["data"] = os.path.abspath(os.path.expanduser(settings.data))
        if glob.has_magic(settings.data) and settings.target is not None:  # patterns of files, as the data is one
            changes["target"] = tuple(os.path.abspath(os.path.expanduser(each)) for each in settings.target)
    for name in ("data_dir", "init_from"):
        if getattr(settings, name) is not None:
            changes[name] = os.path.abspath(getattr(settings, name))
    return settings.resolved().with_changes(**changes)


@checked
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

    def __repr__(self) -> str:
        return f"Recorder({self.folder!r}, keep={self.keep})"

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

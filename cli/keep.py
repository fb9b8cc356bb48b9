"""Keeping a run: the options of `gpunet train` about run folders, resuming and logs, and what they set up."""

from __future__ import annotations

import dataclasses
import datetime
import os
import sys
from pathlib import Path
from typing import Any

from gpunet.cli import display
from gpunet.data.catalog import DATASETS
from gpunet.errors import CheckpointError, UsageError
from gpunet.runs.folder import Recorder, RunFolder, describe_run
from gpunet.runs.logs import CsvLog, JsonLinesLog, TensorBoardLog
from gpunet.runs.settings import Settings
from gpunet.training.callbacks import Timer
from gpunet.training.trainer import Trainer

#: Seconds between two checkpoints of a run that is kept, where no interval was asked for.
CHECKPOINT_SECONDS = 30.0
#: What a log is written to inside the run folder; the records in JSON lines are there anyway.
LOGS = {"csv": "metrics.csv", "jsonl": None, "tensorboard": "tensorboard"}


@dataclasses.dataclass(frozen=True)
class Keeping:
    """What is to be kept of a run, and where.

    Attributes:
        out: the folder of a new run, or None.
        resume: the folder of a run to go on with, or None.
        force: whether a run in `out` is written over.
        checkpoint_every, checkpoint_seconds: steps and seconds between checkpoints, or None.
        keep: how many checkpoints to keep.
        logs: KIND or KIND:PATH for each log.
    """

    out: str | None = None
    resume: str | None = None
    force: bool = False
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = None
    keep: int | None = None
    logs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.resume is not None:
            for name in ("out", "force", "checkpoint_every", "checkpoint_seconds", "keep", "logs"):
                if getattr(self, name):
                    raise UsageError(
                        f"--{'log' if name == 'logs' else name.replace('_', '-')}: a resumed run keeps what it began "
                        "with; leave this out, or start a new run."
                    )
        elif self.out is None:
            for name in ("force", "checkpoint_every", "checkpoint_seconds", "keep"):
                if getattr(self, name):
                    raise UsageError(f"--{name.replace('_', '-')} needs a folder for the run; give --out RUN.")
        for log in self.logs:
            kind, _, place = log.partition(":")
            if kind not in LOGS:
                raise UsageError(f"--log {log}: there is no log {kind!r}; choose from {', '.join(LOGS)}.")
            if not place and self.out is None and self.resume is None:
                raise UsageError(f"--log {log}: say where, as in --log {kind}:PATH, or keep the run with --out RUN.")

    def as_dict(self) -> dict[str, Any]:
        """What config.json notes."""
        return {
            "checkpoint_every": self.checkpoint_every,
            "checkpoint_seconds": self.checkpoint_seconds,
            "keep": self.keep or 1,
            "log": [self._absolute(log) for log in self.logs],
        }

    @staticmethod
    def _absolute(log: str) -> str:
        kind, colon, place = log.partition(":")
        return f"{kind}:{os.path.abspath(place)}" if colon else log

    def of_config(self, config: dict[str, Any], source: Path) -> Keeping:
        """What a run that is resumed began with."""
        noted = config.get("recording", {})
        try:
            return dataclasses.replace(
                self,
                checkpoint_every=None if noted["checkpoint_every"] is None else int(noted["checkpoint_every"]),
                checkpoint_seconds=None if noted["checkpoint_seconds"] is None else float(noted["checkpoint_seconds"]),
                keep=max(int(noted["keep"]), 1),
                resume=None,
                out=self.resume,
                logs=tuple(str(log) for log in noted["log"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, UsageError):
            raise CheckpointError(f"{source}: recording is not what gpunet writes; the file is damaged.") from None

    def attach(self, trainer: Trainer, folder: RunFolder | None) -> None:
        """Give the trainer the callbacks that keep the run and write the logs."""
        if folder is not None:
            every, seconds = self.checkpoint_every, self.checkpoint_seconds
            trainer.checkpoints = Timer(every, CHECKPOINT_SECONDS if every is None and seconds is None else seconds)
            trainer.callbacks.append(Recorder(folder, self.keep or 1))
        for log in self.logs:
            kind, _, place = log.partition(":")
            name = LOGS[kind]
            if place:
                target = Path(place).expanduser()
            elif folder is not None and name is not None:
                target = folder.path / name
            else:
                continue  # metrics.jsonl has it
            if kind == "csv":
                trainer.callbacks.append(CsvLog(target))
            elif kind == "jsonl":
                trainer.callbacks.append(JsonLinesLog(target))
            else:
                trainer.callbacks.append(TensorBoardLog(target))


def new_folder(keeping: Keeping, settings: Settings, trainer: Trainer) -> RunFolder:
    """Make the folder of a new run, with its config.json.

    Raises:
        CheckpointError: there is a run in it already, or it cannot be made.
    """
    folder = RunFolder(str(keeping.out))
    changes: dict[str, Any] = {"device": trainer.backend.device}
    if settings.data not in DATASETS:
        changes["data"] = os.path.abspath(os.path.expanduser(settings.data))
    if settings.data_dir is not None:
        changes["data_dir"] = os.path.abspath(settings.data_dir)
    config = {
        "command": ["gpunet", *sys.argv[1:]],
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "settings": settings.resolved().with_changes(**changes).to_dict(),
        "recording": keeping.as_dict(),
        **describe_run(trainer),
    }
    folder.create(config, keeping.force)
    return folder


def settings_of(folder: RunFolder, config: dict[str, Any], given: dict[str, Any]) -> Settings:
    """The settings of a run that is resumed; of the command line only the device may be another.

    Raises:
        UsageError: another setting was given.
        CheckpointError: config.json does not hold settings.
    """
    for name in given:
        if name != "device":
            raise UsageError(
                f"--{name.replace('_', '-')}: a resumed run keeps its settings; leave it out, or start a new run with "
                f"--config {folder.path / 'config.json'} --{name.replace('_', '-')} {given[name]}."
            )
    source = folder.path / "config.json"
    try:
        settings = Settings.from_dict(config.get("settings"))
    except UsageError as error:
        raise CheckpointError(f"{source}: {error}") from None
    return settings.with_changes(**given)


def check_surroundings(config: dict[str, Any], trainer: Trainer, source: str, resumed: bool) -> None:
    """Hold the data and the versions against those that a run was made with, and say what is different.

    Raises:
        CheckpointError: the run is to be resumed, and its data are not the same.
    """
    now = describe_run(trainer)
    data = config.get("data")
    then = data.get("checksum") if isinstance(data, dict) else None
    if then is not None and then != now["data"]["checksum"]:
        if resumed:
            raise CheckpointError(f"{source}: the run was made with other data than {trainer.data.name} has now.")
        display.note(f"note: {source} is of a run on other data than {trainer.data.name} has now.")
    old = config.get("versions")
    versions = old if isinstance(old, dict) else {}
    changed = [
        f"{name} {str(versions[name])[:60]}, now {version}"
        for name, version in now["versions"].items()
        if versions.get(name, version) != version
    ]
    if config.get("device", now["device"]) != now["device"]:
        changed.append(f"device {str(config['device'])[:20]}, now {now['device']}")
    if changed:
        display.note(f"note: the run was made with {'; '.join(changed)}; its numbers may differ in the last digits.")


def run_config(path: str | None) -> dict[str, Any] | None:
    """The config.json of a run that settings are taken from, or None if they are from another file."""
    if path is None or Path(path).name != "config.json":
        return None
    try:
        return RunFolder(Path(path).parent).config()
    except CheckpointError:
        return None  # settings of one's own in a file of that name

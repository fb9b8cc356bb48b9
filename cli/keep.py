"""Keeping a run: the options of `gpunet train` about run folders, resuming and logs, checked before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpunet.cli import display
from gpunet.errors import CheckpointError, UsageError
from gpunet.runs import config as run_config
from gpunet.runs.folder import RunFolder
from gpunet.runs.logs import LOGS
from gpunet.training.trainer import Trainer

#: What comes of a run whose processes did not all end together.
WAY_ON = "what was kept with --out RUN goes on from its last checkpoint with gpunet train --resume RUN."


def options(out: str | None, resume: str | None, force: bool, log: list[str] | None, **kept: Any) -> dict[str, Any]:
    """The options of `RunFolder.start` that were given: `log` and `kept`.

    Raises:
        UsageError: they do not go with a resumed run, or need a folder that was not named, or there is no such log.
    """
    given = {name: value for name, value in {**kept, "log": tuple(log or ())}.items() if value}
    for name in [*given, *(["force"] if force else []), *(["out"] if out else [])]:
        option = f"--{name.replace('_', '-')}"
        if resume is not None:
            raise UsageError(f"{option}: a resumed run keeps what it began with; leave this out, or start a new run.")
        if out is None and name != "log":
            raise UsageError(f"{option} needs a folder for the run; give --out RUN.")
    for each in given.get("log", ()):
        kind, _, place = each.partition(":")
        if kind not in LOGS:
            raise UsageError(f"--log {each}: {LOGS.unknown(kind)}")
        if not place and out is None:
            raise UsageError(f"--log {each}: say where, as in --log {kind}:PATH, or keep the run with --out RUN.")
    return given


def check_resumed(folder: RunFolder, given: dict[str, Any]) -> None:
    """Refuse settings for a run that is resumed; only the device and the ranks may be others.

    Raises:
        UsageError: another setting was given.
    """
    for name in given:
        if name not in ("device", "distributed"):
            raise UsageError(
                f"--{name.replace('_', '-')}: a resumed run keeps its settings; leave it out, or start a new run with "
                f"--config {folder.path / 'config.json'} --{name.replace('_', '-')} {given[name]}."
            )


def way_on(folder: RunFolder | None) -> str:
    """How a run that was stopped can go on, if it was kept."""
    if folder is None:
        return "Nothing was kept; with --out RUN the run could go on from here."
    return f"Kept in {folder.path}; go on with: gpunet train --resume {folder.path}"


def note_changes(path: str, trainer: Trainer) -> None:
    """Where settings are from a run's config.json, say what is no longer as it was then."""
    if Path(path).name != "config.json":
        return
    try:
        changed = run_config.changes(run_config.read(Path(path)), trainer)
    except CheckpointError:
        return  # settings of one's own in a file of that name
    if "data" in changed:
        display.note(f"note: {path} is of a run on other data than {trainer.data.name} has now.")
    for remark in run_config.remark(changed):
        display.note(f"note: {remark}")

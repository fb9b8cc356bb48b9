"""`gpunet train --ensemble N` and `--folds K`: several networks of the same settings, trained side by side."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpunet.backend import Backend
from gpunet.cli import display
from gpunet.cli.errors import Interrupted, as_typed
from gpunet.cli.header import header, show_estimate, steps_row, tried_out
from gpunet.cli.keep import way_on
from gpunet.cli.results import result_line
from gpunet.cli.stopping import stopping
from gpunet.data.dataset import Dataset
from gpunet.errors import CheckpointError, TrainingDiverged, UsageError
from gpunet.runs import config as run_config
from gpunet.runs import several
from gpunet.runs.folder import RunFolder
from gpunet.runs.logs import as_json
from gpunet.runs.recipes import Losses
from gpunet.runs.settings import Settings
from gpunet.runs.several import Several
from gpunet.training.callbacks import Callback
from gpunet.training.progress import ProgressRows
from gpunet.training.records import Record, ResultRecord, TrainingResult
from gpunet.training.together import steps_together
from gpunet.training.trainer import Trainer
from gpunet.wording import figure

#: What of an estimate is for all networks together.
OF_ALL = ("memory_bytes", "train_seconds")


def asked(ensemble: int | None, folds: int | None, resume: str | None, config: str | None) -> Several | None:
    """How many networks are to be trained, as the options say, or the run that is resumed or repeated; None for one.

    Raises:
        UsageError: two of them say so.
        CheckpointError: the run is damaged.
    """
    if resume is not None:
        for option, value in (("--ensemble", ensemble), ("--folds", folds)):
            if value is not None:
                raise UsageError(f"{option}: a resumed run keeps what it began with; leave this out.")
        return Several.of(RunFolder(resume).config(), resume)
    if ensemble is not None and folds is not None:
        raise UsageError("--ensemble and --folds are two ways to train several networks; give one of them.")
    if ensemble is not None:
        return Several("ensemble", ensemble)
    if folds is not None:
        return Several("folds", folds)
    with contextlib.suppress(CheckpointError):  # settings of one's own in a file of that name
        if config is not None and Path(config).name == "config.json":
            return Several.of(run_config.read(Path(config)), config)
    return None


class Shown(Callback):
    """What is told of each network: with JSON every record, with the network's number; else a line at its end."""

    def __init__(self, trainers: Sequence[Trainer], json: bool) -> None:
        self._numbers = {id(trainer): number for number, trainer in enumerate(trainers, 1)}
        self._json = json

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Write the record."""
        number = self._numbers[id(trainer)]
        if self._json:
            told = record.as_dict()
            print(as_json({"event": told.pop("event"), "network": number, **told}), flush=True)
        elif isinstance(record, ResultRecord):
            ended = f", {record.stopped}" if record.stopped != "completed" else ""
            told_of = result_line(record.as_dict())
            print(f"network {number}  {record.iterations:,} iterations{ended}  {told_of}", flush=True)


def train(
    networks: Several, settings: Settings, whole: Dataset, backend: Backend, folder: RunFolder | None, out: str | None,
    force: bool, kept: dict[str, Any], *, losses: Losses, dry_run: bool, json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Train all networks to their ends, new ones or those of a folder, and say what came of them.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; each network has come to the end of a step.
    """
    for log in kept.get("log", ()):
        if ":" in log:
            raise UsageError(f"--log {log}: each network has a log of its own in the run's folder; leave the path out.")
    parts = networks.parts(settings, whole)
    each = networks.settings(settings, parts)
    trainers, taken = several.build_trainers(each, whole, backend)
    if not quiet and (not json or display.can_redraw(sys.stderr)):
        rows = header(each[0], trainers[0].data, backend, losses)
        rows += [("networks", networks.told(settings, parts)), *steps_row(trainers[0])]
        rows += [("begin with", taken)] if taken else []
        display.pairs(rows, stderr=json, width=11)
        display.write("", stderr=json)
        sys.stdout.flush()
    if dry_run:
        estimate = tried_out(trainers[0])
        show_estimate({**estimate, **{name: networks.count * estimate[name] for name in OF_ALL}}, json)
        return
    found: list[TrainingResult | Exception | None] = [None] * networks.count
    if folder is not None:
        found[:], remarks = several.resume(folder, networks, trainers, each)
        for remark in remarks:
            display.note(f"note: {remark}")
    elif out is not None:
        command = ["gpunet", *sys.argv[1:]]
        folder = several.start(out, networks, settings, trainers, each, command, force, **kept)
    try:
        results = _run(trainers, found, folder, json, quiet)
        metrics = trainers[0].metrics
        told = several.conclude(networks, results, whole, parts, metrics, folder)
    finally:
        if folder is not None:
            folder.release()
    if json:
        print(as_json(told), flush=True)
        return
    for number, sentence in told.get("failed", {}).items():
        display.note(f"network {number} is left out: {sentence}")
    _show(networks, told, (trainers[0].judge or metrics[0]).key, quiet)
    if folder is not None and not quiet:
        display.line(f"kept in {folder.path}; evaluate it with: gpunet evaluate {folder.path}")


def _run(
    trainers: Sequence[Trainer], found: list[Any], folder: RunFolder | None, json: bool, quiet: bool
) -> list[TrainingResult | Exception]:
    """Train those of which nothing is found yet; the result of each, or the `TrainingDiverged` that it ended with."""
    places = {id(trainer): place for place, trainer in enumerate(trainers)}
    left = [trainer for place, trainer in enumerate(trainers) if found[place] is None]
    rows = ProgressRows(left, numbers=[places[id(trainer)] + 1 for trainer in left])
    for trainer in left:
        trainer.callbacks += [] if quiet else [rows]
        trainer.callbacks += [Shown(trainers, json)] if json or not quiet else []
    with stopping(left) as signals, contextlib.nullcontext() if quiet else rows:
        for trainer, record in steps_together(left):
            if isinstance(record, TrainingDiverged):
                found[places[id(trainer)]] = as_typed(record)
            elif isinstance(record, Exception):
                raise record
            elif isinstance(record, ResultRecord):
                found[places[id(trainer)]] = TrainingResult(record, [], trainer.model)
    if None in found:
        done, total = (sum(getattr(each, name) for each in trainers) for name in ("iteration", "iterations"))
        told = f"Stopped after {done:,} of {total:,} iterations of all networks."
        raise Interrupted(f"{told}\n{way_on(folder)}", signals[0])
    return found


def _show(networks: Several, told: dict[str, Any], judge: str, quiet: bool) -> None:
    """Write the result: a table of the networks' scores, and mean and spread of each score."""
    split = next(split for split in ("test", "validation", "train") if f"{split}_loss" in told["scores"])
    if networks.kind == "folds":
        split = "validation"
    spread = ", ".join(
        f"{name.replace('_', ' ')} {_figure(told['mean'][name])} ±{_figure(told['deviation'][name])}"
        for name in told["scores"]
        if name.startswith(f"{split}_")
    )
    if not quiet:
        display.line()
        display.table(*_table(networks, told, judge))
        display.line()
    if networks.kind == "folds":
        display.line(f"{networks.count} folds: {spread}")
        return
    own = result_line({name: value for name, value in told.items() if name in told["scores"] and split in name})
    display.line(f"ensemble of {len(told['scores'][f'{split}_loss'])}: {own}; each network: {spread}")


def _table(networks: Several, told: dict[str, Any], judge: str) -> tuple[list[str], list[list[str]]]:
    """The score of each network on each split, mean and deviation, and what they reach as one."""
    splits = [split for split in ("train", "validation", "test") if f"{split}_{judge}" in told["scores"]]
    numbers = [number for number in range(1, networks.count + 1) if str(number) not in told.get("failed", ())]
    rows = [
        [str(number), *(_figure(told["scores"][f"{split}_{judge}"][place]) for split in splits)]
        for place, number in enumerate(numbers)
    ]
    for name in ("mean", "deviation"):
        rows.append([name, *(_figure(told[name][f"{split}_{judge}"]) for split in splits)])
    own = [split for split in splits if split == "test" or not told["parts"]]
    if own:
        rows.append(["ensemble", *(_figure(told[f"{split}_{judge}"]) if split in own else "" for split in splits)])
    return [judge.replace("_", " "), *splits], rows


def _figure(value: float | None) -> str:
    return "" if value is None else figure(value)

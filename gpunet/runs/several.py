"""Several networks of the same settings in one run: an ensemble, or a network for each fold of the data.

The run's folder holds
    config.json           the settings, and how many networks there are of which kind
    networks/1, 2, ...    a run folder for each network (see `folder.py`)
    model.safetensors     at the end: the ensemble of all networks
    metrics.jsonl         at the end: the result, without anything that a clock measured
    timings.jsonl         the same of the clock
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunet.backend import Backend
from gpunet.data.dataset import Dataset
from gpunet.errors import CheckpointError, TrainingDiverged, UsageError
from gpunet.files import write_atomic
from gpunet.network.ensemble import single
from gpunet.runs.folder import TIMING, RunFolder, new_config
from gpunet.runs.initial import begin_from
from gpunet.runs.logs import as_json, finite
from gpunet.runs.recording import Recording
from gpunet.runs.settings import Settings, build_model, build_trainer, check_data, hold_out
from gpunet.training.folds import EnsembleTraining, parts_of
from gpunet.training.records import ResultRecord, TrainingResult
from gpunet.training.trainer import Trainer

#: What the records of a run may leave out.
_UNKNOWN = {"validation_loss": None, "test_loss": None, "train_seconds": 0.0, "steps_per_second": 0.0}
#: Networks that differ in the seed, and networks that differ in the fold that they hold out.
KINDS = ("ensemble", "folds")


@dataclass(frozen=True)
class Several:
    """How many networks there are, and in what they differ.

    Attributes:
        kind: "ensemble" or "folds".
        count: how many.
    """

    kind: str
    count: int

    @classmethod
    def of(cls, config: dict[str, Any], source: Path | str) -> Several | None:
        """What a run's config.json says; None of a run of a single network.

        Raises:
            CheckpointError: it says something else than gpunet writes; the sentence begins with `source`.
        """
        told = config.get("networks")
        if told is None:
            return None
        try:
            kind, count = str(told["kind"]), int(told["count"])
        except (KeyError, TypeError, ValueError, OverflowError):
            kind, count = "", 0
        if kind not in KINDS or count < 1:
            raise CheckpointError(f"{source}: networks is not what gpunet writes; the file is damaged.")
        return cls(kind, count)

    def parts(self, settings: Settings, data: Dataset) -> int:
        """Of how many parts of the data each network holds out another; 0 where all see the same.

        Args:
            settings: those of all.
            data: the data before anything is held out.

        Raises:
            UsageError: the settings say what to hold out otherwise, or it is too much.
        """
        held = settings.validation
        if self.kind == "folds":
            if held != "auto":
                raise UsageError(f"--validation {held}: each fold is the validation split of a network; leave it out.")
            try:
                data.fold(1, self.count)
            except UsageError as error:
                raise UsageError(f"--folds {self.count}: {error}") from None
            return self.count
        if isinstance(held, str):
            return 0
        try:
            return parts_of(data, held)
        except UsageError as error:
            raise UsageError(f"--validation {held:g}: {error}") from None

    def settings(self, settings: Settings, parts: int) -> list[Settings]:
        """The settings of each network: the seeds of an ensemble count up, and so do the parts that are held out.

        Args:
            settings: those of all.
            parts: how many there are, as `parts` says.
        """
        found = []
        for number in range(self.count):
            changes: dict[str, Any] = {"validation": f"{number % parts + 1}of{parts}"} if parts else {}
            if self.kind == "ensemble":
                changes["seed"] = settings.seed + number
            found.append(settings.with_changes(**changes))
        return found

    def told(self, settings: Settings, parts: int) -> str:
        """In what the networks differ, for a header."""
        if self.kind == "folds":
            return f"{self.count}, each with another fold of {self.count} held out"
        seeds = f"seeds {settings.seed} to {settings.seed + self.count - 1}"
        held = f", each with another of {parts} parts held out" if parts else ""
        return f"{self.count}, {seeds}{held}"


def build_trainers(each: Sequence[Settings], whole: Dataset, backend: Backend) -> tuple[list[Trainer], str]:
    """A trainer for each of several settings, on what they leave of the data, and what was taken of an earlier run.

    Networks that hold out the same examples share one data set.
    """
    seen: dict[Any, Dataset] = {}
    trainers, taken = [], ""
    for settings in each:
        if settings.validation not in seen:
            seen[settings.validation] = hold_out(settings, whole)
            check_data(settings, seen[settings.validation])
        data = seen[settings.validation]
        trainer = build_trainer(settings, build_model(settings, data, backend), data)
        if settings.init_from is not None:
            taken = begin_from(trainer, settings.init_from)
        trainers.append(trainer)
    return trainers, taken


def start(
    path: str, several: Several, settings: Settings, trainers: Sequence[Trainer], each: Sequence[Settings],
    command: Sequence[str], force: bool = False, **kept: Any,
) -> RunFolder:  # fmt: skip
    """Make the folder of a new run of several networks, and have each trainer keep there what it does.

    Args:
        path: the folder.
        several: of how many networks.
        settings: those of all.
        trainers, each: of each network the trainer and its settings.
        command: the command line to note.
        force: whether a run that is there already is removed.
        kept: further options of `RunFolder.start`.

    Raises:
        CheckpointError: there is a run already, or the folder cannot be made or written.
    """
    folder = RunFolder(path)
    networks = {"kind": several.kind, "count": several.count}
    folder.create(new_config(trainers[0], settings, Recording(**kept), command, networks=networks), force)
    folder.metrics.touch()
    for member, trainer, own in zip(folder.members(several.count), trainers, each, strict=True):
        RunFolder.start(member.path, trainer, own, command=command, **kept)
    return folder


def resume(
    folder: RunFolder, several: Several, trainers: Sequence[Trainer], each: Sequence[Settings]
) -> tuple[list[TrainingResult | None], list[str]]:
    """Bring the networks of a run to where they were; those that had not begun begin now.

    Args:
        folder: the run's.
        several: of how many networks.
        trainers, each: fresh trainers of the networks, and their settings.

    Returns:
        The result of each network that has come to its end, else None, and what is worth saying.

    Raises:
        CheckpointError: the run of a network is damaged or of other data, or another process is writing it.
    """
    config = folder.config()
    recording = Recording.from_dict(config.get("recording"), folder.path)
    results: list[TrainingResult | None] = []
    remarks: list[str] = []
    for member, trainer, own in zip(folder.members(several.count), trainers, each, strict=True):
        told = member.result() if (member.path / "config.json").exists() else None
        if told is not None:
            model = single(member.load(trainer.backend))
            results.append(TrainingResult(ResultRecord.from_dict({**_UNKNOWN, **told}), [], model))
            continue
        results.append(None)
        if (member.path / "config.json").exists():
            member.resume(trainer)
            remarks += [remark for remark in member.remarks if remark not in remarks]
        else:
            kept = {**recording.to_dict(), "log": recording.log}
            RunFolder.start(member.path, trainer, own, command=config.get("command", []), **kept)
    return results, remarks


def conclude(
    several: Several,
    results: Sequence[TrainingResult | Exception],
    data: Dataset,
    parts: int,
    metrics: Sequence[Any],
    folder: RunFolder | None,
) -> dict[str, Any]:
    """What came of all networks, as a result record, kept in the folder together with the ensemble.

    Args:
        several: how many networks there are.
        results: of each, or the `TrainingDiverged` that it ended with.
        data: what they were trained on, before anything was held out.
        parts: of how many parts each held out another.
        metrics: what is measured.
        folder: the run's.

    Returns:
        `mean`, `deviation` and `scores` of the networks, `failed` with a sentence for each that diverged, by its
        number; the ensemble's own scores as of a `ResultRecord`. Where each network held out another part, the scores
        on the train and validation splits are the means.

    Raises:
        TrainingDiverged: all of them did.
    """
    found = EnsembleTraining(results, data, parts)
    if not found.trained:
        raise next(result for result in results if isinstance(result, TrainingDiverged))
    scores = found.scores
    mean = {name: statistics.fmean(values) for name, values in scores.items()}
    own: dict[str, Any] = {}
    for name, evaluation in found.evaluations(metrics).items():
        own |= {f"{name}_{key}": value for key, value in {**evaluation.metrics, "loss": evaluation.loss}.items()}
    trained = [result.record for result in found.trained]
    told: dict[str, Any] = {
        "event": "result",
        "kind": several.kind,
        "networks": several.count,
        "parts": parts,
        "device": trained[0].device,
        "iterations": sum(record.iterations for record in trained),
        "train_seconds": sum(record.train_seconds for record in trained),
        **{name: own.get(name, value) for name, value in mean.items()},
        "mean": mean,
        "deviation": {name: statistics.stdev(each) if len(each) > 1 else 0.0 for name, each in scores.items()},
        "scores": scores,
    }
    diverged = {str(number): str(each) for number, each in enumerate(results, 1) if isinstance(each, Exception)}
    if diverged:
        told["failed"] = diverged
    told = finite(told)
    if folder is not None:
        found.ensemble.save(folder.model)
        for path, names in ((folder.timings, {"event", *TIMING}), (folder.metrics, told.keys() - TIMING)):
            write_atomic(path, f"{as_json({name: told[name] for name in told if name in names})}\n".encode())
    return told

"""Search by Optuna (extra `optuna`): asked for settings, and told what came of them.

What was asked for and told stands in the sweep's folder, in Optuna's own journal, so that a search that was stopped
goes on with all that it knew. What is asked for next is a function of the seed, of how many trials there were before,
and of what was told of them: the random numbers of each trial are drawn anew from the seed and its number. So one trial
after the other, or several side by side in one process, are the same trials for the same seed; of several processes it
depends on which is done first.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import DataError, MissingExtra, UsageError
from gpunet.sweeps.grids import Range
from gpunet.training.callbacks import Callback
from gpunet.training.records import Record, StepRecord

#: How often a trial that is trained is judged, at most, in equal shares of its run.
LOOKS = 20
#: What stops a trial early, by name: a pruner of Optuna with its options.
PRUNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "median": ("MedianPruner", {}),
    "halving": ("SuccessiveHalvingPruner", {"min_resource": 1}),
    "hyperband": ("HyperbandPruner", {"min_resource": 1, "max_resource": LOOKS}),
    "none": ("NopPruner", {}),
}


def optuna() -> Any:
    """The package.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtra("optuna", "optuna", "the search by Optuna") from None
    return optuna


@dataclass(frozen=True)
class Place:
    """Where a search is kept, for this process and for others.

    Attributes:
        path: of the journal.
        name: of the search in it.
        pruner: a name of `PRUNERS`.
        maximize: whether more is better.
    """

    path: str
    name: str
    pruner: str
    maximize: bool


@functools.lru_cache(maxsize=1)
def study_of(place: Place) -> Any:
    """Optuna's study, made where there is none; kept, because a worker runs one trial after the other of it."""
    package = optuna()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    lock = JournalFileOpenLock(place.path) if os.name == "nt" else None
    kind, options = PRUNERS[place.pruner]
    with _quiet(package):
        return package.create_study(
            study_name=place.name,
            storage=JournalStorage(JournalFileBackend(place.path, lock)),
            direction="maximize" if place.maximize else "minimize",
            sampler=package.samplers.RandomSampler(),
            pruner=getattr(package.pruners, kind)(**options),
            load_if_exists=True,
        )


class Search:
    """The settings that Optuna tries, one trial after the other.

    Args:
        folder: where the journal is kept.
        grid: the settings that vary: names to values or a `Range`.
        about: what the search depends on beside the grid and the seed, as JSON can hold it; another search in the
            folder is one of its own.
        seed: of all random numbers.
        pruner: a name of `PRUNERS`.
        maximize: whether more of what trials are judged by is better.

    Raises:
        MissingExtra: Optuna is not installed.
        UsageError: there is no such pruner.
        DataError: the journal is damaged.
    """

    def __init__(
        self, folder: Path, grid: Mapping[str, Any], about: Any, seed: int, pruner: str, maximize: bool
    ) -> None:
        if pruner not in PRUNERS:
            raise UsageError(f"there is no pruner {pruner!r}; take {', '.join(PRUNERS)}.")
        self._optuna = optuna()
        # Optuna knows numbers and texts, and the values of a setting may be lists.
        self._grid = {
            name: values if isinstance(values, Range) else {_text(value): value for value in values}
            for name, values in grid.items()
        }
        self._seed = seed
        values = {name: str(each) if isinstance(each, Range) else list(each) for name, each in self._grid.items()}
        told = json.dumps([values, about, seed, pruner], sort_keys=True)
        path = folder / "optuna.jsonl"
        _tidy(path)
        name = hashlib.sha256(told.encode()).hexdigest()[:16]
        self.place = Place(str(path), name, pruner, maximize)
        study_of.cache_clear()  # of a folder that was there before
        try:
            self._study = study_of(self.place)
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}: this is no journal of Optuna, or it is damaged ({error}).") from None

    def __len__(self) -> int:
        """How many trials were asked for."""
        return len(self._study.get_trials(deepcopy=False))

    def asked(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The trials that were asked for so far: their numbers, and what they try."""
        for number in range(len(self)):
            yield number, self._suggested(number)

    def running(self, number: int) -> bool:
        """Whether a trial was asked for, and nothing told of it yet."""
        return not self._study.get_trials(deepcopy=False)[number].state.is_finished()

    def ask(self) -> tuple[int, dict[str, Any]]:
        """The number of the next trial, and what it tries."""
        number = len(self)
        self._seeded(number)
        with _quiet(self._optuna):
            self._study.ask()
        return number, self._suggested(number)

    def tell(self, number: int, value: float | None, pruned: bool) -> None:
        """Say what came of a trial.

        Args:
            number: of the trial.
            value: what it is judged by; None where it failed.
            pruned: whether it was stopped early.
        """
        states = self._optuna.trial.TrialState
        known = value is not None and np.isfinite(value)
        state = states.PRUNED if pruned else states.COMPLETE if known else states.FAIL
        with _quiet(self._optuna):
            self._study.tell(number, value if state == states.COMPLETE else None, state=state)

    def reporter(self, number: int, metric: str | None) -> Reporter:
        """What reports the validations of a running trial; `metric` is the key of what it is judged by, or None for the
        loss."""
        return Reporter(self.place, self._study.get_trials(deepcopy=False)[number]._trial_id, metric)

    def _seeded(self, number: int) -> None:
        """Draw what comes next from the numbers of this trial."""
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        with _quiet(self._optuna):
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _suggested(self, number: int) -> dict[str, Any]:
        """What a trial tries; where it was asked for and stopped before it was known, it is drawn now."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        params = dict(frozen.params)
        if params.keys() != self._grid.keys():
            self._seeded(number)
            trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
            with _quiet(self._optuna):
                params = {name: _suggest(trial, name, values) for name, values in self._grid.items()}
        return {
            name: values.rounded(params[name]) if isinstance(values, Range) else values[params[name]]
            for name, values in self._grid.items()
        }


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _suggest(trial: Any, name: str, values: Any) -> Any:
    if not isinstance(values, Range):
        return trial.suggest_categorical(name, list(values))
    if values.whole:
        return trial.suggest_int(name, int(values.low), int(values.high), log=values.logarithmic)
    return trial.suggest_float(name, values.low, values.high, log=values.logarithmic)


@dataclass
class Reporter(Callback):
    """Reports the validations of a trial to Optuna while it is trained, and stops it where its pruner says so.

    Args:
        place: of the search.
        trial: Optuna's number of it.
        metric: the key of what it is judged by; None for the loss.

    Attributes:
        pruned: the record at which it was stopped.
    """

    place: Place
    trial: int
    metric: str | None
    pruned: StepRecord | None = None
    _looks: int = 0
    _handle: Any = field(default=None, repr=False)

    def on_record(self, record: Record, trainer: Any) -> None:
        """Report a validation, if the next share of the run is over."""
        if not isinstance(record, StepRecord) or record.validation_loss is None:
            return
        look = LOOKS * record.iteration // trainer.iterations
        if look <= self._looks or record.iteration == trainer.iterations:
            return
        self._looks = look
        value = record.validation_loss if self.metric is None else (record.validation_metrics or {})[self.metric]
        if self._handle is None:
            self._handle = optuna().trial.Trial(study_of(self.place), self.trial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a look that was reported before the search was stopped and resumed
            self._handle.report(float(value), look)
        if self._handle.should_prune():
            self.pruned = record
            trainer.stop()


@contextlib.contextmanager
def _quiet(package: Any) -> Iterator[None]:
    """Without Optuna's messages of what it does, and its warnings of what is experimental."""
    before = package.logging.get_verbosity()
    package.logging.set_verbosity(package.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        package.logging.set_verbosity(before)


def _tidy(path: Path) -> None:
    """Take away what a process that was killed left: a lock, and a line that was cut off."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.lock")
    with contextlib.suppress(FileNotFoundError):
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)

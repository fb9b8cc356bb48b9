"""Trials: the runs of a sweep, what came out of them, and the rows of its table; `running.py` runs them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable
from typing import Any

from gpunet.runs.settings import Settings
from gpunet.training.records import BaseRecord


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        settings: of the run, its seed among them.
        varied: the settings that differ within the sweep, as a table shows them.
        key: names the settings (and the data's content); the same in every sweep that has this run.
    """

    settings: Settings
    varied: dict[str, str]
    key: str


@dataclasses.dataclass(frozen=True)
class Result(BaseRecord):
    """What came out of a trial.

    A metric is an attribute too: `result.validation_accuracy` is `result.validation_metrics["accuracy"]`.

    Attributes:
        key: of the trial.
        varied: the settings that differ within the sweep.
        seed: of the trial.
        train_metrics, train_loss, validation_metrics, validation_loss: as of a `ResultRecord`; None where the run
            failed, a loss also where it grew beyond all numbers.
        iterations, train_seconds, device: as of a `ResultRecord`.
        error: why the run failed, or None.
        pruned: True of a run that the search stopped early, of which the validation is the last that there was.
    """

    event = "trial"

    key: str
    varied: dict[str, str]
    seed: int
    train_metrics: dict[str, float] | None = None
    train_loss: float | None = None
    validation_metrics: dict[str, float] | None = None
    validation_loss: float | None = None
    iterations: int | None = None
    train_seconds: float | None = None
    device: str | None = None
    error: str | None = None
    pruned: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it, without what is None."""
        told = super().as_dict()
        del told["event"]
        return told

    def value(self, name: str) -> float | None:
        """A metric or another number by its name in `as_dict`; None where there is none."""
        return getattr(self, name, None)


@dataclasses.dataclass(frozen=True)
class Spread:
    """The mean of a number over the seeds, and its standard deviation (n - 1; None for a single seed)."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread | None:
        """Of some numbers; None of none."""
        known = list(numbers)
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))

    def __str__(self) -> str:
        return f"{self.mean:.4f}" + ("" if self.deviation is None else f" ±{self.deviation:.4f}")


class Row:
    """The trials of one combination of settings, which differ in the seed alone, and what is known of them."""

    def __init__(
        self, varied: dict[str, str], trials: list[Trial], results: dict[str, Result], tests: dict[str, float]
    ) -> None:
        self.varied = varied
        self.trials = trials
        self._results = results
        self._tests = tests

    def named(self, without: str = "") -> str:
        """The settings that differ within the sweep, but for one, in words: "lr 0.1, batch size 20"."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.varied.items() if name != without)

    @property
    def results(self) -> list[Result]:
        """The results that are there so far."""
        return [self._results[trial.key] for trial in self.trials if trial.key in self._results]

    @property
    def tests(self) -> list[float]:
        """The test scores that were measured."""
        return [self._tests[trial.key] for trial in self.trials if trial.key in self._tests]

    @property
    def done(self) -> bool:
        """Whether every seed has a result."""
        return len(self.results) == len(self.trials)

    @property
    def errors(self) -> list[str]:
        """Why runs failed."""
        return [result.error for result in self.results if result.error is not None]

    @property
    def pruned(self) -> bool:
        """Whether a run was stopped early by the search."""
        return any(result.pruned for result in self.results)

    def spread(self, name: str) -> Spread | None:
        """Mean and spread over the seeds of a metric or a loss ("validation_accuracy"), or of a test score; runs that
        were stopped early do not count."""
        if name.startswith("test_"):
            return Spread.of(self.tests)
        found = (result.value(name) for result in self.results if not result.pruned)
        return Spread.of(value for value in found if value is not None)

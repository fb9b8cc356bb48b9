"""Several networks of one recipe: an ensemble, or cross-validation with a network for each fold of a data set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpunet.checks import needs
from gpunet.data.dataset import DATASET_WANTED, Dataset
from gpunet.errors import TrainingDiverged, UsageError
from gpunet.keywords import checked
from gpunet.network.ensemble import Ensemble
from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.training.records import TrainingResult
from gpunet.training.together import train_together
from gpunet.training.trainer import Trainer


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` found.

    Attributes:
        results: of the training of each fold.
    """

    results: list[TrainingResult] = field(repr=False)

    @property
    def scores(self) -> dict[str, list[float]]:
        """The score of each fold on the examples held out in it, by the metric's name; "loss" among them."""
        told = [{**(result.validation_metrics or {}), "loss": result.validation_loss} for result in self.results]
        return {name: [float(each[name]) for each in told] for name in told[0]}

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each score over the folds."""
        return {name: statistics.fmean(values) for name, values in self.scores.items()}

    @property
    def deviation(self) -> dict[str, float]:
        """The standard deviation of each score over the folds (n - 1)."""
        return {name: statistics.stdev(values) for name, values in self.scores.items()}

    @property
    def ensemble(self) -> Ensemble:
        """The networks of all folds as one, which has seen every example."""
        return Ensemble([result.model for result in self.results])

    def __repr__(self) -> str:
        deviation = self.deviation
        told = (f"{name}={mean:.4g} ±{deviation[name]:.2g}" for name, mean in self.mean.items())
        return f"CrossValidation({len(self.results)} folds: {', '.join(told)})"


@checked
def cross_validate(
    make: Callable[[Dataset], Trainer], data: Dataset, folds: int = 5, *, seed: int = 0, progress: bool = False
) -> CrossValidation:
    """Train a network for each fold of a data set, all at once, and judge each by the examples held out in it.

    With early stopping a fold's weights are chosen by the examples that judge it, so its score is too good by a little.

    Args:
        make: what makes the trainer of a fold of its data set: `lambda fold: gn.Trainer(gn.MLP([4, 9, 3]), fold)`.
        data: the data set; its test split is not used.
        folds: how many (see `Dataset.folds`).
        seed: of the draw of the folds.
        progress: whether a row for each network is drawn, in a terminal on standard error or in a notebook.

    Raises:
        TrainingDiverged: one of them diverges.
        UsageError: there are not that many folds, or `make` gives something else than a trainer of its data set.
    """
    _check_arguments(make, data)
    parts = data.folds(folds, seed)
    results: list[Any] = train_together(_checked([make(part) for part in parts], parts), progress=progress)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return CrossValidation(results)


@dataclass(frozen=True)
class EnsembleTraining:
    """What `train_ensemble` found.

    Attributes:
        results: of the training of each network, or the `TrainingDiverged` that it ended with.
        data: what they were trained on, as it was given.
        parts: of how many parts each held out another; 0 where all were trained on the same examples.
    """

    results: Sequence[TrainingResult | Exception] = field(repr=False)
    data: Dataset = field(repr=False)
    parts: int = 0

    @property
    def trained(self) -> list[TrainingResult]:
        """The results of the networks that came to their ends."""
        return [result for result in self.results if isinstance(result, TrainingResult)]

    @property
    def ensemble(self) -> Ensemble:
        """These networks as one."""
        return Ensemble([result.model for result in self.trained])

    @property
    def scores(self) -> dict[str, list[float]]:
        """What each of these networks reached, by the names that a result record has: "validation_accuracy"."""
        told = [result.record.as_dict() for result in self.trained]
        names = [name for name in told[0] if name.startswith(SPLITS) and name != "train_seconds"]
        return {name: [each.get(name, math.nan) for each in told] for name in names}

    def evaluations(self, metrics: Sequence[Any] = ()) -> dict[str, Evaluation]:
        """The ensemble's own scores on each split that none of its networks was trained on; and on the train split
        where all were trained on the same examples.

        Args:
            metrics: what to measure beside the metrics of the task.
        """
        ensemble = self.ensemble
        splits = self.data.splits() if not self.parts else {"test": self.data.test} if self.data.test else {}
        return {name: evaluate(ensemble, split, metrics=metrics) for name, split in splits.items()}

    def __repr__(self) -> str:
        return f"EnsembleTraining({len(self.trained)} of {len(self.results)} networks)"


#: What the names of a result record's scores begin with.
SPLITS = ("train_", "validation_", "test_")


def parts_of(data: Dataset, validation: int | float) -> int:
    """Of how many equal parts each is as large as a number or a share of validation examples; 0.2 is one of five.

    Raises:
        UsageError: more than half of the examples, or none, would be held out.
    """
    examples = len(data.train) + (0 if data.validation is None else len(data.validation))
    share = validation if validation < 1 else validation / examples
    if not 0 < share <= 0.5:
        raise UsageError(
            f"of several networks each holds out another part of the {examples:,} examples, half of them at most, not "
            f"{validation:g}."
        )
    return min(round(1 / share), examples)


@checked
def train_ensemble(
    make: Callable[[Dataset, int], Trainer],
    data: Dataset,
    count: int = 5,
    *,
    validation: int | float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> EnsembleTraining:
    """Train several networks of one recipe all at once, each with another seed, to answer as one.

    A network that diverges is left out of the ensemble.

    Args:
        make: what makes a trainer of a data set and a seed:
            `lambda data, seed: gn.Trainer(gn.MLP([4, 9, 3], seed=seed), data)`.
        data: the data set.
        count: how many networks.
        validation: how many of the train examples, or what share of them, each network holds out: each another one of
            the parts of that size (see `Dataset.folds`; where there are fewer parts than networks, they are taken
            again). By default all have the data as they are.
        seed: of the first network; the next has the next number.
        progress: whether a row for each network is drawn, in a terminal on standard error or in a notebook.

    Raises:
        TrainingDiverged: all of them diverge.
        UsageError: so many cannot be held out, or `make` gives something else than a trainer of its data set.
    """
    _check_arguments(make, data)
    parts = 0 if validation is None else parts_of(data, validation)
    made = [data.fold(number, parts) for number in range(1, min(count, parts) + 1)] or [data]
    seen = [made[number % len(made)] for number in range(count)]
    trainers = _checked([make(part, seed + number) for number, part in enumerate(seen)], seen)
    results = train_together(trainers, progress=progress)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, TrainingDiverged):
            raise result
    if all(isinstance(result, Exception) for result in results):
        raise results[0]  # type: ignore[misc]
    return EnsembleTraining(results, data, parts)


def _check_arguments(make: Any, data: Any) -> None:
    needs(make, "__call__", "make must be a function that gives a trainer of its data set")
    needs(data, "train", DATASET_WANTED)


def _checked(trainers: list[Any], parts: Sequence[Dataset]) -> list[Trainer]:
    for part, trainer in zip(parts, trainers, strict=True):
        if not isinstance(trainer, Trainer) or trainer.data is not part:
            raise UsageError("make is to give a trainer of the data set that it is called with.")
    return trainers

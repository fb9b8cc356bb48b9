"""Cross-validation: as many networks as folds, each judged by the examples that it was not trained on."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpunet.data.dataset import Dataset
from gpunet.errors import UsageError
from gpunet.network.ensemble import Ensemble
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
        told = (f"{name}={mean:.4g} ±{self.deviation[name]:.2g}" for name, mean in self.mean.items())
        return f"CrossValidation({len(self.results)} folds: {', '.join(told)})"


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
        progress: whether a row for each network is drawn on standard error, if that is a terminal.

    Raises:
        TrainingDiverged: one of them diverges.
        UsageError: there are not that many folds, or `make` gives something else than a trainer of its data set.
    """
    parts = data.folds(folds, seed)
    trainers = [make(part) for part in parts]
    for part, trainer in zip(parts, trainers, strict=True):
        if not isinstance(trainer, Trainer) or trainer.data is not part:
            raise UsageError("make is to give a trainer of the data set that it is called with.")
    results: list[Any] = train_together(trainers, progress=progress)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return CrossValidation(results)

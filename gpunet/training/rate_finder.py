"""The learning-rate range test: which rates a network learns with, before it is trained."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

import gpunet.readers as read
from gpunet.checks import needs
from gpunet.data.dataset import DATASET_WANTED, Dataset
from gpunet.errors import TrainingDiverged, UsageError
from gpunet.kernels.optimizers import OPTIMIZERS, SGD, Optimizer
from gpunet.keywords import checked
from gpunet.network.mlp import MLP
from gpunet.training.schedules import Exponential
from gpunet.training.trainer import Trainer

#: The test ends where the smoothed loss is so many times the lowest.
TOO_HIGH = 4.0
#: How much of the smoothed loss is kept from one step to the next.
SMOOTHING = 0.9
#: How far below the rate with the lowest loss the suggestion is: that one is nearly too high already.
SAFETY = 10.0
#: What counts as a lower loss than at the start: by how much of it.
LEAST = 0.02
#: What the recipe says of a whole run, and the test decides itself.
DECIDED = ("iterations", "epochs", "log_every", "early_stopping", "validate_every", "callbacks")


@dataclass(frozen=True, repr=False)
class RangeTest:
    """What `find_learning_rate` found.

    Attributes:
        rates: (n,) the learning rate of each step, rising by the same factor.
        losses: (n,) the loss of each step's batch, before its update.
        smoothed: (n,) its exponential moving mean, corrected for its start.
        suggestion: a tenth of the rate at which the smoothed loss is lowest; None where no rate lowers it.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.2g}"
        return f"RangeTest(suggestion={found}, {len(self.rates)} rates from {self.rates[0]:g} to {self.rates[-1]:.2g})"


@checked
def find_learning_rate(
    model: MLP,
    data: Dataset,
    *,
    optimizer: str | Optimizer | type[Optimizer] | None = None,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    **options: Any,
) -> RangeTest:
    """Train a copy of a model for some steps while the learning rate rises, and see what the loss does.

    With small rates the loss stays, with good ones it falls, with large ones it rises; there the test ends. The model
    itself is not changed.

    Args:
        model: the model, with the weights to begin with.
        data: a `Dataset`; its training split is taken.
        optimizer: as of a `Trainer`; its learning rate plays no part.
        lowest, highest: the first and the last rate.
        steps: from the one to the other.
        options: further options of a `Trainer`, such as `batch_size`.

    Raises:
        UsageError: an option that cannot be used, or that the test decides itself.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, 2017, section 3.3.
    """
    for name in DECIDED:
        if name in options:
            raise UsageError(f"find_learning_rate takes no {name}; it trains for `steps` steps and reads each loss.")
    low, high = (read.number(above=0)(name, value) for name, value in (("lowest", lowest), ("highest", highest)))
    if not low < high:
        raise UsageError(f"the lowest rate {low:g} is not below the highest, {high:g}.")
    count = read.whole(10)("steps", steps)
    optimizer = copy.copy(SGD() if optimizer is None else OPTIMIZERS.make(optimizer))
    optimizer.learning_rate = Exponential(low, every=1, factor=(high / low) ** (1 / (count - 1)))
    needs(data, "train", DATASET_WANTED)
    # Without the other splits, which nobody looks at, and with a step that is not reached, after which they would be.
    alone = Dataset(
        data.name, data.train, class_names=data.class_names, image_shape=data.image_shape, preparation=data.preparation
    )
    trainer = Trainer(copy.deepcopy(model), alone, optimizer=optimizer, iterations=count + 1, log_every=1, **options)
    rates, losses, smoothed = np.array([*_course(trainer, count)]).reshape(-1, 3).T
    return RangeTest(rates, losses, smoothed, suggestion=_suggested(rates, smoothed))


def _course(trainer: Trainer, count: int) -> Iterator[tuple[float, float, float]]:
    """Rate, loss and smoothed loss of each step, of `count` or until the loss is too high."""
    mean, best = 0.0, math.inf
    with (
        contextlib.suppress(TrainingDiverged),
        contextlib.closing(cast(Generator[Any, None, None], trainer.steps())) as steps,
    ):
        for number, record in enumerate(steps, start=1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * record.loss
            smoothed = mean / (1 - SMOOTHING**number)
            best = min(best, smoothed)
            yield record.learning_rate, record.loss, smoothed
            if number == count or (number > count // 10 and smoothed > TOO_HIGH * best):
                return


def _suggested(rates: np.ndarray, smoothed: np.ndarray) -> float | None:
    if not len(rates):
        return None
    start, best = smoothed[: max(len(smoothed) // 10, 1)].mean(), int(np.argmin(smoothed))
    return float(rates[best]) / SAFETY if smoothed[best] < start - LEAST * abs(start) else None

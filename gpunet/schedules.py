"""Learning-rate schedules: the learning rate as a function of the step.

A schedule gives the rates of many steps at once (`rates`), in float64; the optimizer turns them into its
table of coefficients, which both devices read. An entry of `SCHEDULES` is all there is to a schedule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError


class Schedule:
    """Base of the schedules.

    Attributes:
        name: the name in the table.
        initial: the learning rate that the schedule starts from.
        formula: the rate at step t (0-based), for the documentation.
    """

    name = ""
    formula = ""

    def __init__(self, initial: float) -> None:
        self.initial = number(f"schedule {self.name!r}", "learning rate", initial, 0.0, above=True)

    def rates(self, steps: np.ndarray, total: int) -> np.ndarray:
        """The learning rates (n,) float64 of 0-based step numbers (n,), out of `total` steps of training."""
        raise UsageError(f"schedule {self.name!r} has no rates.")

    def settings(self) -> dict[str, Any]:
        """The hyperparameters, as JSON can hold them."""
        return dict(vars(self))


class Constant(Schedule):
    """The same learning rate at every step."""

    name = "constant"
    formula = "lr"

    def rates(self, steps: np.ndarray, total: int) -> np.ndarray:
        return np.full(len(steps), self.initial)


SCHEDULES: dict[str, type[Schedule]] = {entry.name: entry for entry in (Constant,)}


def as_schedule(rate: Any) -> Schedule:
    """A schedule as it is, or a number as a constant schedule."""
    return rate if isinstance(rate, Schedule) else Constant(rate)

"""Learning-rate schedules: the learning rate as a function of the step.

A schedule gives the rates of many steps at once (`rates`), in float64; the optimizer turns them into its
table of coefficients, which both devices read. An entry of `SCHEDULES` is all there is to a schedule, and each of
them can begin with a linear warm-up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError
from gpunet.registry import Entry, Registry


class Schedule(Entry):
    """Base of the schedules.

    Args:
        initial: the learning rate that the schedule starts from.
        warmup: over so many steps the rate first grows linearly to `initial` (Goyal et al. 2017): step t has
            (t + 1) / warmup of it. The schedule proper begins behind them and has the remaining steps.

    Attributes:
        name: the name in the table.
        formula: the rate at step t (0-based, behind the warm-up) of T, for the documentation.
        source: where it comes from.
        watches_validation: whether the rate depends on validation losses, so that there must be some.
    """

    watches_validation = False

    def __init__(self, initial: float, *, warmup: int = 0) -> None:
        self.initial = self._number("learning rate", initial, 0.0, above=True)
        self.warmup = self._whole("warmup", warmup, 0)

    def _number(self, name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> float:
        return number(f"schedule {self.name}", name, value, low, high, above=above)

    def _whole(self, name: str, value: Any, low: int) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
            raise UsageError(
                f"schedule {self.name}: {name} must be a whole number of steps, at least {low}, not {value!r}."
            )
        return int(value)

    def rates(self, steps: np.ndarray, total: int) -> np.ndarray:
        """The learning rates (n,) float64 of 0-based step numbers (n,), out of `total` steps of training."""
        steps = np.asarray(steps)
        rates = self.behind_warmup(np.maximum(steps - self.warmup, 0).astype(np.float64), max(total - self.warmup, 1))
        return rates * np.minimum((steps + 1) / self.warmup, 1.0) if self.warmup else rates

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        """The rates of steps (n,) float64 counted from the end of the warm-up, of which there are `total`."""
        raise UsageError(f"schedule {self.name!r} has no rates.")

    def observe(self, validation_loss: float) -> bool:
        """Take note of a validation loss, or of what else is judged by, the lower the better; whether the rates of the
        coming steps have changed by it."""
        return False

    def state(self) -> dict[str, Any]:
        """What it remembers of the run so far, as JSON can hold it; `restore` takes it back."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; raises KeyError, TypeError or ValueError for anything else."""


SCHEDULES: Registry[type[Schedule], Schedule] = Registry(
    "schedule",
    Schedule,
    apart=("initial",),
    synonyms={
        "constant": "none fixed", "step": "steplr multistep staircase piecewise", "exponential": "exp exponentiallr",
        "inverse-time": "inverse invscaling inverse-scaling hyperbolic", "polynomial": "linear poly linear-decay",
        "cosine": "cosine-annealing cosineannealinglr cosine-decay", "reduce-on-plateau": "reducelronplateau adaptive",
    }, group="gpunet.schedules",
)  # fmt: skip


@SCHEDULES.register
class Constant(Schedule):
    """The same learning rate at every step."""

    name = "constant"
    formula = "lr"

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return np.full(len(steps), self.initial)


@SCHEDULES.register
class Step(Schedule):
    """The rate is multiplied by `factor` after every `every` steps."""

    name = "step"
    formula = "lr * factor^floor(t / every)"

    def __init__(self, initial: float, every: int = 1000, factor: float = 0.5, *, warmup: int = 0) -> None:
        super().__init__(initial, warmup=warmup)
        self.every = self._whole("every", every, 1)
        self.factor = self._number("factor", factor, 0.0, above=True)

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return self.initial * self.factor ** np.floor(steps / self.every)


@SCHEDULES.register
class Exponential(Schedule):
    """The rate shrinks by `factor` over `every` steps, a little at each."""

    name = "exponential"
    formula = "lr * factor^(t / every)"

    def __init__(self, initial: float, every: int = 1000, factor: float = 0.5, *, warmup: int = 0) -> None:
        super().__init__(initial, warmup=warmup)
        self.every = self._whole("every", every, 1)
        self.factor = self._number("factor", factor, 0.0, above=True)

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return self.initial * self.factor ** (steps / self.every)


@SCHEDULES.register
class InverseTime(Schedule):
    """The rate falls as one over time: to a half after `every` steps with decay 1, to a third after two."""

    name = "inverse-time"
    formula = "lr / (1 + decay * t / every)"
    source = "Robbins & Monro 1951"

    def __init__(self, initial: float, every: int = 1000, decay: float = 1.0, *, warmup: int = 0) -> None:
        super().__init__(initial, warmup=warmup)
        self.every = self._whole("every", every, 1)
        self.decay = self._number("decay", decay, 0.0)

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return self.initial / (1 + self.decay * steps / self.every)


@SCHEDULES.register
class Polynomial(Schedule):
    """The rate falls from `initial` to `final` over the whole run; along a straight line with power 1."""

    name = "polynomial"
    formula = "final + (lr - final) * (1 - t / T)^power"

    def __init__(self, initial: float, final: float = 0.0, power: float = 1.0, *, warmup: int = 0) -> None:
        super().__init__(initial, warmup=warmup)
        self.final = self._number("final", final, 0.0)
        self.power = self._number("power", power, 0.0, above=True)

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        left = np.maximum(1 - steps / total, 0.0)
        return self.final + (self.initial - self.final) * left**self.power


@SCHEDULES.register
class Cosine(Schedule):
    """The rate falls from `initial` to `final` over the whole run, along half a cosine."""

    name = "cosine"
    formula = "final + (lr - final) * (1 + cos(pi * t / T)) / 2"
    source = "Loshchilov & Hutter 2017, without restarts"

    def __init__(self, initial: float, final: float = 0.0, *, warmup: int = 0) -> None:
        super().__init__(initial, warmup=warmup)
        self.final = self._number("final", final, 0.0)

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return self.final + (self.initial - self.final) * (1 + np.cos(np.pi * np.minimum(steps / total, 1.0))) / 2


@SCHEDULES.register
class ReduceOnPlateau(Schedule):
    """The rate is multiplied by `factor` whenever `patience` validations in a row brought no lower loss.

    It needs a validation split. A loss that is not a number counts as not lower.
    """

    name = "reduce-on-plateau"
    formula = "max(final, lr * factor^k) after k plateaus"
    watches_validation = True

    def __init__(
        self, initial: float, factor: float = 0.5, patience: int = 5, final: float = 0.0, *, warmup: int = 0
    ) -> None:
        super().__init__(initial, warmup=warmup)
        self.factor = self._number("factor", factor, 0.0, 1.0, above=True)
        if isinstance(patience, bool) or not isinstance(patience, (int, np.integer)) or patience < 1:
            raise UsageError(
                f"schedule {self.name}: patience must be a whole number of validations, at least 1, not {patience!r}."
            )
        self.patience = int(patience)
        self.final = self._number("final", final, 0.0)
        self._best: float | None = None
        self._waited = 0
        self._plateaus = 0

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return np.full(len(steps), max(min(self.final, self.initial), self.initial * self.factor**self._plateaus))

    def observe(self, validation_loss: float) -> bool:
        if self._best is None and math.isfinite(validation_loss):
            self._best = validation_loss
            return False
        if self._best is not None and validation_loss < self._best:
            self._best, self._waited = validation_loss, 0
            return False
        self._waited += 1
        if self._waited < self.patience:
            return False
        self._waited = 0
        self._plateaus += 1
        return True

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited, "plateaus": self._plateaus}

    def restore(self, state: dict[str, Any]) -> None:
        self._best = None if state["best"] is None else float(state["best"])
        self._waited, self._plateaus = int(state["waited"]), int(state["plateaus"])


def as_schedule(rate: Any) -> Schedule:
    """A schedule as it is, or a number as a constant schedule."""
    return rate if isinstance(rate, Schedule) else Constant(rate)

"""Early stopping: the best validation so far, its weights, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from typing import Any


class EarlyStopping:
    """Watches validations: keeps the weights of the best one, and says when to stop.

    Args:
        patience: stop after this many validations in a row without a better one; None watches and never stops.

    Attributes:
        value: the best value so far, infinite before the first.
        iteration: the steps that were done at the best validation; 0 before the first.
        waited: validations since then.
        weights: a copy of the parameters at the best validation, on the device; None before the first.
    """

    def __init__(self, patience: int | None = None) -> None:
        self.patience = patience
        self.value = math.inf
        self.iteration = 0
        self.waited = 0
        self.weights: Any = None

    @property
    def best(self) -> tuple[int, Any] | None:
        """The step and the weights to go back to; None without patience, and before the first validation."""
        return None if self.patience is None or self.weights is None else (self.iteration, self.weights)

    def observe(self, value: float, iteration: int, weights: Any) -> bool:
        """Take note of a validation; whether to stop.

        Args:
            value: what is judged by, the lower the better; a value that is not a number is no better.
            iteration: the steps done.
            weights: the parameters, copied if they are the best so far.
        """
        if value < self.value:
            self.value, self.iteration, self.waited = value, iteration, 0
            self.weights = weights.copy()
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What it remembers beside the weights, as JSON can hold it; `restore` takes it back."""
        value = self.value if math.isfinite(self.value) else None
        return {"loss": value, "iteration": self.iteration, "waited": self.waited}

    def restore(self, state: dict[str, Any], weights: Any = None) -> None:
        """Go on from what `state` returned and the best weights; raises KeyError, TypeError or ValueError for
        anything else."""
        value, iteration, waited = state["loss"], int(state["iteration"]), int(state["waited"])
        self.value = math.inf if value is None else float(value)
        self.iteration, self.waited, self.weights = iteration, waited, weights

"""The optimizer's coefficients of the coming steps, on the device, with the same protocol as the order of batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.kernels import control as at

#: Steps whose coefficients are computed (and, on a GPU, copied) at a time.
TABLE_ROWS = 8192


class Coefficients:
    """The tables of coefficients that the update reads: a row per step, a window of steps at a time.

    Args:
        backend: the device.
        dtype: of the table.
        optimizer: what the rates are coefficients of.
        schedule: the learning rate of each step.
        iterations: the steps of the whole run.
        control: the control block; its BASE is the step of the tables' first rows.
        factors: those that parts of the network have on the learning rate.

    Attributes:
        tables: (rows, coefficients) by factor, on the device.
        before: updates that the optimizer's vectors have seen before this run; 0 where they start at zero.
    """

    def __init__(
        self, backend: Any, dtype: Any, optimizer: Any, schedule: Any, *, iterations: int, control: Any,
        factors: Iterable[float] = (1.0,),
    ) -> None:  # fmt: skip
        self.backend = backend
        self.optimizer = optimizer
        self.schedule = schedule
        self.iterations = iterations
        self.control = control
        width = optimizer.coefficients(np.ones(1), np.ones(1)).shape[1]
        self.rows = min(TABLE_ROWS, iterations)
        self.tables = {factor: backend.zeros((self.rows, width), dtype) for factor in factors}
        self.before = 0
        self._rates = np.empty(0)
        self._start = self._end = 0

    def forget(self) -> None:
        """Have the tables filled anew by the next `refill`, with what the schedule says then."""
        self._end = self._start

    def refill(self, step: int) -> int:
        """Fill in what step `step` (0-based) reads.

        Returns:
            The first later step that has to call this again; in between, steps need nothing of the host.
        """
        if not self._start <= step < self._end:
            self._fill(step)
        return self._end

    def _fill(self, step: int) -> None:
        # Windows begin at multiples of their length, wherever a run was resumed, so that the same numbers are
        # computed in arrays of the same shape and come out the same to the last bit.
        first = step - step % self.rows
        steps = np.arange(first, min(first + self.rows, self.iterations))
        self._rates = self.schedule.rates(steps, self.iterations)
        self._start, self._end = first, first + len(steps)
        with self.backend.use():
            for factor, table in self.tables.items():
                found = self.optimizer.coefficients(steps + 1.0 + self.before, self._rates * factor)
                table[: len(steps)] = self.backend.to_device(found.astype(table.dtype))
            self.control[at.BASE] = first

    def rate(self, step: int) -> float:
        """The learning rate of a step (0-based) of the window that was filled last."""
        return float(self._rates[step - self._start])

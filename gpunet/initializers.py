"""Initial weights: drawn on the host from counter-based random numbers, so that every device starts alike.

An initializer draws a (fan in, fan out) matrix in float64 from a NumPy generator; the model rounds it to its
dtype. An entry of `INITIALIZERS` is all there is to an initializer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError


class Initializer:
    """Base of the initializers.

    Attributes:
        name: the name in the table.
        formula: the distribution, for the documentation.
        source: where it comes from.
    """

    name = ""
    formula = ""
    source = ""

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        """A (fan_in, fan_out) float64 matrix."""
        raise UsageError(f"initializer {self.name!r} draws nothing.")

    def settings(self) -> dict[str, Any]:
        """The hyperparameters, as JSON can hold them."""
        return dict(vars(self))


class TruncatedNormal(Initializer):
    """Normal with mean 0 and the given deviation, values beyond two deviations drawn again."""

    name = "truncated-normal"
    formula = "N(0, stddev^2), redrawn beyond 2 stddev"

    def __init__(self, stddev: float = 0.1) -> None:
        self.stddev = number(f"initializer {self.name!r}", "stddev", stddev, 0.0, above=True)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        values = generator.standard_normal((fan_in, fan_out))
        beyond = np.abs(values) > 2
        while beyond.any():
            values[beyond] = generator.standard_normal(int(beyond.sum()))
            beyond = np.abs(values) > 2
        return values * self.stddev


class Constant(Initializer):
    """The same value everywhere."""

    name = "constant"
    formula = "value"

    def __init__(self, value: float = 0.1) -> None:
        self.value = number(f"initializer {self.name!r}", "value", value, -np.inf)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        return np.full((fan_in, fan_out), self.value)


INITIALIZERS: dict[str, type[Initializer]] = {entry.name: entry for entry in (TruncatedNormal, Constant)}


def get_initializer(initializer: str | Initializer | type[Initializer], **hyperparameters: Any) -> Initializer:
    """The initializer of a name, a class or an instance (which is returned as it is).

    Raises:
        UsageError: there is no such name, or it has no such hyperparameter.
    """
    if isinstance(initializer, Initializer):
        return initializer
    entry = INITIALIZERS.get(initializer) if isinstance(initializer, str) else initializer
    if entry is None:
        raise UsageError(f"unknown initializer {initializer!r}; choose one of {', '.join(INITIALIZERS)}.")
    try:
        return entry(**hyperparameters)
    except TypeError as error:
        raise UsageError(f"initializer {entry.name!r}: {error}.") from None

"""Initial weights: drawn on the host from counter-based random numbers, so that every device starts alike.

An initializer draws a (fan in, fan out) matrix in float64 from a NumPy generator; the model rounds it to its
dtype. An entry of `INITIALIZERS` is all there is to an initializer.
"""

from __future__ import annotations

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError
from gpunet.registry import Entry, Registry


class Initializer(Entry):
    """Base of the initializers.

    Attributes:
        name: the name in the table.
        formula: the distribution, for the documentation.
        source: where it comes from.
    """

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        """A (fan_in, fan_out) float64 matrix."""
        raise UsageError(f"initializer {self.name!r} draws nothing.")


INITIALIZERS: Registry[type[Initializer], Initializer] = Registry(
    "initializer",
    Initializer,
    synonyms={
        "truncated-normal": "trunc-normal truncnorm", "normal": "gaussian random-normal",
        "uniform": "random random-uniform", "glorot-normal": "xavier xavier-normal",
        "glorot-uniform": "xavier xavier-uniform", "he-normal": "kaiming kaiming-normal msra",
        "he-uniform": "kaiming kaiming-uniform", "constant": "fill ones", "zeros": "zero",
    }, group="gpunet.initializers",
)  # fmt: skip


@INITIALIZERS.register
class TruncatedNormal(Initializer):
    """Normal with mean 0 and the given deviation, values beyond two deviations drawn again."""

    name = "truncated-normal"
    formula = "N(0, stddev^2), redrawn beyond 2 stddev"

    def __init__(self, stddev: float = 0.1) -> None:
        self.stddev = number(f"initializer {self.name}", "stddev", stddev, 0.0, above=True)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        values = generator.standard_normal((fan_in, fan_out))
        beyond = np.abs(values) > 2
        while beyond.any():
            values[beyond] = generator.standard_normal(int(beyond.sum()))
            beyond = np.abs(values) > 2
        return values * self.stddev


@INITIALIZERS.register
class Normal(Initializer):
    """Normal with mean 0 and the given deviation."""

    name = "normal"
    formula = "N(0, stddev^2)"

    def __init__(self, stddev: float = 0.1) -> None:
        self.stddev = number(f"initializer {self.name}", "stddev", stddev, 0.0, above=True)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        return generator.standard_normal((fan_in, fan_out)) * self.stddev


@INITIALIZERS.register
class Uniform(Initializer):
    """Uniform between -limit and limit."""

    name = "uniform"
    formula = "U(-limit, limit)"

    def __init__(self, limit: float = 0.1) -> None:
        self.limit = number(f"initializer {self.name}", "limit", limit, 0.0, above=True)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        return generator.uniform(-self.limit, self.limit, (fan_in, fan_out))


class VarianceScaling(Initializer):
    """Base of the initializers whose variance is gain / fan, so that signals keep their size from layer to layer.

    Attributes:
        gain: 1, or 2 for activations that pass half of their inputs.
        fan: "in", the units that lead into one, or "mean", the mean of these and those that one leads into.
        uniform: whether the distribution is uniform, of limit sqrt(3 gain / fan), instead of normal.
    """

    gain = 1.0
    fan = "in"
    uniform = False

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        variance = self.gain / (fan_in if self.fan == "in" else (fan_in + fan_out) / 2)
        if self.uniform:
            limit = np.sqrt(3 * variance)
            return generator.uniform(-limit, limit, (fan_in, fan_out))
        return generator.standard_normal((fan_in, fan_out)) * np.sqrt(variance)


@INITIALIZERS.register
class GlorotNormal(VarianceScaling):
    """Normal, for sigmoid and tanh: a compromise between the sizes of activations and of gradients."""

    name = "glorot-normal"
    formula = "N(0, 2 / (fan in + fan out))"
    source = "Glorot & Bengio 2010"
    fan = "mean"


@INITIALIZERS.register
class GlorotUniform(GlorotNormal):
    """Uniform, for sigmoid and tanh: a compromise between the sizes of activations and of gradients."""

    name = "glorot-uniform"
    formula = "U(-l, l), l = sqrt(6 / (fan in + fan out))"
    uniform = True


@INITIALIZERS.register
class HeNormal(VarianceScaling):
    """Normal, for relu and its kin, which pass half of their inputs."""

    name = "he-normal"
    formula = "N(0, 2 / fan in)"
    source = "He et al. 2015"
    gain = 2.0


@INITIALIZERS.register
class HeUniform(HeNormal):
    """Uniform, for relu and its kin, which pass half of their inputs."""

    name = "he-uniform"
    formula = "U(-l, l), l = sqrt(6 / fan in)"
    uniform = True


@INITIALIZERS.register
class LeCunNormal(VarianceScaling):
    """Normal, for selu and tanh-like activations."""

    name = "lecun-normal"
    formula = "N(0, 1 / fan in)"
    source = "LeCun et al. 1998"


@INITIALIZERS.register
class LeCunUniform(LeCunNormal):
    """Uniform, for selu and tanh-like activations."""

    name = "lecun-uniform"
    formula = "U(-l, l), l = sqrt(3 / fan in)"
    uniform = True


@INITIALIZERS.register
class Orthogonal(Initializer):
    """A random matrix whose columns (or rows, whichever are fewer) are orthogonal and of length `gain`."""

    name = "orthogonal"
    formula = "gain * Q, Q^T Q = 1 or Q Q^T = 1"
    source = "Saxe, McClelland & Ganguli 2014"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number(f"initializer {self.name}", "gain", gain, 0.0, above=True)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        q, r = np.linalg.qr(generator.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out))))
        # The decomposition is unique, and its Q uniformly distributed, once R's diagonal is positive (Mezzadri 2007).
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if fan_in >= fan_out else q.T)


@INITIALIZERS.register
class Fill(Initializer):
    """The same value everywhere."""

    name = "constant"
    formula = "value"

    def __init__(self, value: float = 0.1) -> None:
        self.value = number(f"initializer {self.name}", "value", value, -np.inf)

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        return np.full((fan_in, fan_out), self.value)


@INITIALIZERS.register
class Zeros(Initializer):
    """Zero everywhere. Hidden units that start alike stay alike, so this is for a network without hidden layers."""

    name = "zeros"
    formula = "0"

    def draw(self, generator: np.random.Generator, fan_in: int, fan_out: int) -> np.ndarray:
        return np.zeros((fan_in, fan_out))

"""Optimizers: hyperparameters, NumPy form and CUDA form of each update rule, in one entry.

An update works on flat buffers: all parameters p, all gradients g and the optimizer's own state are one
vector each, so that a step is one CUDA kernel or a few in-place NumPy passes. Everything that changes
from step to step (the learning rate, Adam's bias corrections) is computed beforehand, in float64, into a
table with one row of coefficients per step; both forms read row `step` of the same table.

The first `decayed` elements of the buffers are the weights, the rest the biases: decoupled weight decay
acts on the former only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels import control as at
from gpunet.kernels.build import C_TYPES, elementwise, operation

#: Elements that the NumPy form updates at a time, so that what one pass writes is in cache for the next.
BLOCK = 1 << 16


def _number(owner: str, name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """`value` as a float within [low, high), or (low, high) with `above`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (low < number if above else low <= number) or not number < high:
        limits = f"above {low:g}" if above else f"at least {low:g}"
        limits += "" if high == math.inf else f" and below {high:g}"
        raise UsageError(f"{owner}: {name} must be a number {limits}, not {value!r}.")
    return number


class Optimizer:
    """Base of the optimizers.

    Attributes:
        name: the name in the table.
        learning_rate: a number, or a schedule (`gpunet.schedules`).
        state_names: the vectors of state that it keeps; each starts at zero.
        cuda: CUDA C++ statements that update p and the state from g; all are of type ACC, `c(k)` is
            coefficient k of this step and `decays` says whether the element is a weight.
        formula: the update rule, for the documentation.
        source: where the rule comes from.
    """

    name = ""
    state_names: tuple[str, ...] = ()
    cuda = ""
    formula = ""
    source = ""
    default_learning_rate = 0.1

    def __init__(self, learning_rate: Any = None) -> None:
        rate = self.default_learning_rate if learning_rate is None else learning_rate
        self.learning_rate: Any = rate
        if not hasattr(rate, "rates"):
            self.learning_rate = _number(self.name, "learning rate", rate, 0.0, above=True)

    def settings(self) -> dict[str, Any]:
        """The hyperparameters other than the learning rate, as JSON can hold them."""
        return {key: value for key, value in vars(self).items() if key != "learning_rate"}

    def coefficients(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """The table of coefficients: (n, k) float64 for 1-based step numbers and learning rates (n,)."""
        return rates[:, None]

    def numpy(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any, decayed: int) -> None:
        """Update `p` and `state` in place; `g` is used up."""
        raise UsageError(f"optimizer {self.name!r} has no NumPy form.")


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr g."""

    name = "sgd"
    formula = "p -= lr * g"
    source = "Robbins & Monro 1951"
    cuda = "p -= c(0) * g;"

    def numpy(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any, decayed: int) -> None:
        g *= c[0]
        p -= g


class Momentum(Optimizer):
    """SGD with momentum: v = mu v + g, p -= lr v (Polyak 1964; the form of Sutskever et al. 2013 in PyTorch)."""

    name = "momentum"
    state_names = ("velocity",)
    formula = "v = mu * v + g; p -= lr * v"
    source = "Polyak 1964"
    cuda = "s0 = c(1) * s0 + g; p -= c(0) * s0;"

    def __init__(self, learning_rate: Any = None, momentum: float = 0.9) -> None:
        super().__init__(learning_rate)
        self.momentum = _number(self.name, "momentum", momentum, 0.0, 1.0)

    def coefficients(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
        return np.column_stack((rates, np.full(len(rates), self.momentum)))

    def numpy(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any, decayed: int) -> None:
        (velocity,) = state
        velocity *= c[1]
        velocity += g
        np.multiply(velocity, c[0], out=g)
        p -= g


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps in the direction of the mean gradient, scaled by its root mean square."""

    name = "adam"
    state_names = ("mean", "square")
    formula = "m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr * m' / (sqrt(v') + eps), m', v' without bias"
    source = "Kingma & Ba 2015"
    default_learning_rate = 0.001
    cuda = (
        "s0 = g + c(1) * (s0 - g); s1 = g * g + c(2) * (s1 - g * g);"
        "p -= c(0) * s0 / (sqrt(s1) * c(3) + c(4));"
    )  # fmt: skip

    def __init__(
        self, learning_rate: Any = None, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        super().__init__(learning_rate)
        self.beta1 = _number(self.name, "beta1", beta1, 0.0, 1.0)
        self.beta2 = _number(self.name, "beta2", beta2, 0.0, 1.0)
        self.epsilon = _number(self.name, "epsilon", epsilon, 0.0, above=True)

    def coefficients(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
        ones = np.ones(len(rates))
        return np.column_stack(
            (
                rates / (1 - self.beta1**steps),
                self.beta1 * ones,
                self.beta2 * ones,
                1 / np.sqrt(1 - self.beta2**steps),
                self.epsilon * ones,
            )
        )

    def numpy(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any, decayed: int) -> None:
        mean, square = state
        # m = g + b1 (m - g) and v = g^2 + b2 (v - g^2) need no room beside the gradient.
        mean -= g
        mean *= c[1]
        mean += g
        np.multiply(g, g, out=g)
        square -= g
        square *= c[2]
        square += g
        np.sqrt(square, out=g)
        g *= c[3]
        g += c[4]
        np.divide(mean, g, out=g)
        g *= c[0]
        p -= g


OPTIMIZERS: dict[str, type[Optimizer]] = {entry.name: entry for entry in (SGD, Momentum, Adam)}


def get_optimizer(optimizer: str | Optimizer | type[Optimizer], **hyperparameters: Any) -> Optimizer:
    """The optimizer of a name, a class or an instance (which is returned as it is).

    Raises:
        UsageError: there is no such name, or it has no such hyperparameter.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    entry = OPTIMIZERS.get(optimizer) if isinstance(optimizer, str) else optimizer
    if entry is None:
        raise UsageError(f"unknown optimizer {optimizer!r}; choose one of {', '.join(OPTIMIZERS)}.")
    try:
        return entry(**hyperparameters)
    except TypeError as error:
        raise UsageError(f"optimizer {entry.name!r}: {error}.") from None


@operation
def update(
    parameters: Any, gradients: Any, state: list[Any], optimizer: Optimizer, table: Any, control: Any, decayed: int
) -> None:
    """One step of an optimizer on the flat buffers; then the control block's NEXT is one more than STEP.

    Args:
        parameters: (n,), updated.
        gradients: (n,) of the same dtype; used up.
        state: one (n,) vector for each of the optimizer's `state_names`, updated.
        optimizer: an entry of `OPTIMIZERS`.
        table: (rows, k) of the same dtype, from `Optimizer.coefficients`; row 0 belongs to step BASE.
        control: the control block.
        decayed: how many elements at the front are weights.
    """
    step = int(control[at.STEP])
    c = table[step - int(control[at.BASE])]
    size = len(parameters)
    if size <= BLOCK:
        optimizer.numpy(parameters, gradients, state, c, decayed)
    else:
        for start in range(0, size, BLOCK):
            part = slice(start, min(start + BLOCK, size))
            inside = min(max(decayed - start, 0), part.stop - start)
            optimizer.numpy(parameters[part], gradients[part], [s[part] for s in state], c, inside)
    control[at.NEXT] = step + 1


@update.cuda
def _update_cuda(
    parameters: Any, gradients: Any, state: list[Any], optimizer: Optimizer, table: Any, control: Any, decayed: int
) -> None:
    states = [f"s{k}" for k in range(len(state))]
    load = "".join(f"ACC {s} = {s}_io; " for s in states)
    keep = "".join(f"{s}_io = {s}; " for s in states)
    kernel = elementwise(
        "T gradient, raw T table, int64 decayed, int32 width",
        ", ".join(["T p_io", *(f"T {s}_io" for s in states), "raw int64 control"]),
        f"const ACC g = gradient; ACC p = p_io; {load} const bool decays = i < decayed;"
        "const long long row = (control[1] - control[3]) * width;"
        f"{optimizer.cuda} p_io = p; {keep}"
        # Only this thread touches NEXT: no other reads it in this kernel.
        "if (i == 0) control[0] = control[1] + 1; (void)decays;",
        f"update_{optimizer.name.replace('-', '_')}",
        f"typedef {C_TYPES[parameters.dtype.name][1]} ACC;\n#define c(k) ACC(table[row + (k)])\n",
    )
    kernel(gradients, table, decayed, table.shape[1], parameters, *state, control)

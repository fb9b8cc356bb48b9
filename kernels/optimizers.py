"""Optimizers: hyperparameters, NumPy form and CUDA form of each update rule, in one entry.

An update works on flat buffers: all parameters p, all gradients g and the optimizer's own state are one
vector each, so that a step is one CUDA kernel or a few in-place NumPy passes. Everything that changes
from step to step (the learning rate, Adam's bias corrections) is computed beforehand, in float64, into a
table with one row of coefficients per step; both forms read row `step` of the same table.

The first `decayed` elements of the buffers are the weights, the rest the biases: decoupled weight decay
acts on the former only.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np

from gpunet.checks import number
from gpunet.errors import UsageError
from gpunet.kernels import control as at
from gpunet.kernels.blocks import BLOCK, over_pieces, scratch
from gpunet.kernels.build import Ready, one_line, operation, types
from gpunet.kernels.launches import over_elements
from gpunet.registry import Entry, Registry


class Optimizer(Entry):
    """Base of the optimizers.

    Args:
        learning_rate: a number, or a schedule (`gpunet.training.schedules`).
        weight_decay: each step first multiplies the weights (not the biases) by 1 - lr * weight_decay. This
            decoupled decay (Loshchilov & Hutter 2019) never enters the gradient or the optimizer's state.

    Attributes:
        name: the name in the table.
        state_names: the vectors of state that it keeps; each starts at zero.
        rule: CUDA C++ statements that update p and the state s0, s1 … from g; all are of type ACC and `c(k)`
            is coefficient k of this step.
        formula: the update rule, for the documentation.
        source: where the rule comes from.
    """

    state_names: tuple[str, ...] = ()
    rule = ""
    default_learning_rate = 0.1

    def __init__(self, learning_rate: Any = None, *, weight_decay: float = 0.0) -> None:
        rate = self.default_learning_rate if learning_rate is None else learning_rate
        self.learning_rate: Any = rate
        if not hasattr(rate, "rates"):
            self.learning_rate = number(self.name, "learning rate", rate, 0.0, above=True)
        self.weight_decay = number(self.name, "weight decay", weight_decay, 0.0)

    def settings(self) -> dict[str, Any]:
        """The hyperparameters other than the learning rate, as JSON can hold them."""
        return {key: value for key, value in super().settings().items() if key != "learning_rate"}

    @property
    def cuda(self) -> str:
        """The whole update as CUDA C++ statements; `decays` says whether the element is a weight."""
        return f"if (decays) p *= c(0); {self.rule}" if self.weight_decay else self.rule

    def coefficients(self, steps: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """The table of coefficients: (n, k) float64 for 1-based step numbers and learning rates (n,).

        Coefficient 0 is what the weights are multiplied with, 1 the learning rate; `more` gives the rest.
        """
        more = [np.broadcast_to(column, rates.shape) for column in self.more(steps, rates)]
        return np.column_stack((1 - rates * self.weight_decay, rates, *more))

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        """Coefficients 2, 3 …, each (n,) or one number for all steps."""
        return ()

    def numpy(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any, decayed: int) -> None:
        """Update `p` and `state` in place; `g` is used up."""
        if self.weight_decay:
            p[:decayed] *= c[0]
        self.apply(p, g, state, c)

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        """The NumPy form of `rule`."""
        raise UsageError(f"optimizer {self.name!r} has no NumPy form.")


OPTIMIZERS: Registry[type[Optimizer], Optimizer] = Registry(
    "optimizer",
    Optimizer,
    apart=("learning_rate",),
    synonyms={
        "sgd": "gd gradient-descent stochastic-gradient-descent", "momentum": "heavy-ball polyak",
        "nesterov": "nag nesterov-momentum", "adam": "amsgrad nadam adamax", "adamw": "adam-w",
    }, group="gpunet.optimizers",
)  # fmt: skip


@OPTIMIZERS.register
class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr g."""

    name = "sgd"
    formula = "p -= lr * g"
    source = "Robbins & Monro 1951"
    rule = "p -= c(1) * g;"

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        g *= c[1]
        p -= g


@OPTIMIZERS.register
class Momentum(Optimizer):
    """SGD with momentum: v = mu v + g, p -= lr v (Polyak 1964; the form of Sutskever et al. 2013 in PyTorch)."""

    name = "momentum"
    state_names = ("velocity",)
    formula = "v = mu * v + g; p -= lr * v"
    source = "Polyak 1964"
    rule = "s0 = c(2) * s0 + g; p -= c(1) * s0;"

    def __init__(self, learning_rate: Any = None, momentum: float = 0.9, *, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.momentum = number(self.name, "momentum", momentum, 0.0, 1.0)

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        return (self.momentum,)

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        (velocity,) = state
        velocity *= c[2]
        velocity += g
        np.multiply(velocity, c[1], out=g)
        p -= g


@OPTIMIZERS.register
class Nesterov(Momentum):
    """Nesterov's momentum: v = mu v + g, p -= lr (g + mu v): the gradient counts once more, ahead of time."""

    name = "nesterov"
    formula = "v = mu * v + g; p -= lr * (g + mu * v)"
    source = "Nesterov 1983; Sutskever et al. 2013"
    rule = "s0 = c(2) * s0 + g; p -= c(1) * g + c(3) * s0;"

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        return self.momentum, self.momentum * rates

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        (velocity,) = state
        velocity *= c[2]
        velocity += g
        g *= c[1]
        p -= g
        np.multiply(velocity, c[3], out=g)
        p -= g


@OPTIMIZERS.register
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011): a rate of its own for each parameter, from all squared gradients so far."""

    name = "adagrad"
    state_names = ("square",)
    formula = "s = s + g^2; p -= lr * g / (sqrt(s) + eps)"
    source = "Duchi, Hazan & Singer 2011"
    default_learning_rate = 0.01
    rule = "s0 += g * g; p -= c(1) * g / (sqrt(s0) + c(2));"

    def __init__(self, learning_rate: Any = None, epsilon: float = 1e-10, *, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.epsilon = number(self.name, "epsilon", epsilon, 0.0, above=True)

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        return (self.epsilon,)

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        (square,) = state
        root = scratch(p)
        np.multiply(g, g, out=root)
        square += root
        np.sqrt(square, out=root)
        root += c[2]
        g /= root
        g *= c[1]
        p -= g


@OPTIMIZERS.register
class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012): the gradient over the root of its running mean square."""

    name = "rmsprop"
    state_names = ("square",)
    formula = "s = d s + (1 - d) g^2; p -= lr * g / (sqrt(s) + eps)"
    source = "Tieleman & Hinton 2012"
    default_learning_rate = 0.001
    rule = "s0 = g * g + c(2) * (s0 - g * g); p -= c(1) * g / (sqrt(s0) + c(3));"

    def __init__(
        self, learning_rate: Any = None, decay: float = 0.9, epsilon: float = 1e-7, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.decay = number(self.name, "decay", decay, 0.0, 1.0)
        self.epsilon = number(self.name, "epsilon", epsilon, 0.0, above=True)

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        return self.decay, self.epsilon

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        (square,) = state
        root = scratch(p)
        np.multiply(g, g, out=root)
        square -= root
        square *= c[2]
        square += root
        np.sqrt(square, out=root)
        root += c[3]
        g /= root
        g *= c[1]
        p -= g


@OPTIMIZERS.register
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps in the direction of the mean gradient, scaled by its root mean square."""

    name = "adam"
    state_names = ("mean", "square")
    formula = "m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr * m' / (sqrt(v') + eps), m', v' without bias"
    source = "Kingma & Ba 2015"
    default_learning_rate = 0.001
    rule = (
        "s0 = g + c(3) * (s0 - g); s1 = g * g + c(4) * (s1 - g * g);"
        "p -= c(2) * s0 / (sqrt(s1) * c(5) + c(6));"
    )  # fmt: skip

    def __init__(
        self,
        learning_rate: Any = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.beta1 = number(self.name, "beta1", beta1, 0.0, 1.0)
        self.beta2 = number(self.name, "beta2", beta2, 0.0, 1.0)
        self.epsilon = number(self.name, "epsilon", epsilon, 0.0, above=True)

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        # The running means start at zero; these two factors take that bias out.
        unbiased = rates / (1 - self.beta1**steps)
        return unbiased, self.beta1, self.beta2, 1 / np.sqrt(1 - self.beta2**steps), self.epsilon

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        mean, square = state
        # m = g + b1 (m - g) and v = g^2 + b2 (v - g^2) need no room beside the gradient.
        mean -= g
        mean *= c[3]
        mean += g
        np.multiply(g, g, out=g)
        square -= g
        square *= c[4]
        square += g
        np.sqrt(square, out=g)
        g *= c[5]
        g += c[6]
        np.divide(mean, g, out=g)
        g *= c[2]
        p -= g


@OPTIMIZERS.register
class AdamW(Adam):
    """AdamW (Loshchilov & Hutter 2019): Adam with decoupled weight decay, 0.01 by default."""

    name = "adamw"
    formula = "w *= 1 - lr * weight_decay; then adam"
    source = "Loshchilov & Hutter 2019"

    def __init__(
        self,
        learning_rate: Any = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay)


@OPTIMIZERS.register
class Lion(Optimizer):
    """Lion (Chen et al. 2023): steps of one length, by the sign of the gradient mixed with its running mean."""

    name = "lion"
    state_names = ("mean",)
    formula = "w *= 1 - lr * weight_decay; p -= lr * sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g"
    source = "Chen et al. 2023"
    default_learning_rate = 0.0001
    rule = (
        "const ACC u = g + c(2) * (s0 - g); p -= c(1) * ACC((u > ACC(0)) - (u < ACC(0)));"
        "s0 = g + c(3) * (s0 - g);"
    )  # fmt: skip

    def __init__(
        self, learning_rate: Any = None, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.beta1 = number(self.name, "beta1", beta1, 0.0, 1.0)
        self.beta2 = number(self.name, "beta2", beta2, 0.0, 1.0)

    def more(self, steps: np.ndarray, rates: np.ndarray) -> tuple[Any, ...]:
        return self.beta1, self.beta2

    def apply(self, p: np.ndarray, g: np.ndarray, state: list[np.ndarray], c: Any) -> None:
        (mean,) = state
        mixed = scratch(p)
        mean -= g
        np.multiply(mean, c[2], out=mixed)
        mixed += g
        np.sign(mixed, out=mixed)
        mixed *= c[1]
        p -= mixed
        mean *= c[3]
        mean += g


@operation
def update(
    parameters: Any, gradients: Any, state: list[Any], optimizer: Optimizer, table: Any, control: Any, decayed: int
) -> Ready:
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
    size = len(parameters)
    pieces = {}
    for start in range(0, size, BLOCK):
        part = slice(start, min(start + BLOCK, size))
        inside = min(max(decayed - start, 0), part.stop - start)
        pieces[start] = (parameters[part], gradients[part], [vector[part] for vector in state], inside)

    def piece(coefficients: np.ndarray, start: int) -> None:
        p, g, vectors, inside = pieces[start]
        optimizer.numpy(p, g, vectors, coefficients, inside)

    def run() -> None:
        step = int(control[at.STEP])
        coefficients = table[step - int(control[at.BASE])]
        if len(pieces) == 1:
            piece(coefficients, 0)
        else:
            over_pieces(partial(piece, coefficients), size, BLOCK, size)
        control[at.NEXT] = step + 1

    return run


@update.cuda
def _update_cuda(
    parameters: Any, gradients: Any, state: list[Any], optimizer: Optimizer, table: Any, control: Any, decayed: int
) -> Ready:
    states = [f"s{k}" for k in range(len(state))]
    return over_elements(
        re.sub(r"\W", "_", f"update_{optimizer.name}"),
        "const REAL* gradients, const REAL* table, int64 width, int64 decayed, REAL* parameters, int64* control"
        + "".join(f", REAL* {s}_at" for s in states),
        "const int64 row = (control[STEP] - control[BASE]) * width; const bool decays = i < decayed;"
        "const ACC g = load(gradients + i); ACC p = load(parameters + i);"
        + "".join(f"ACC {s} = load({s}_at + i);" for s in states)
        + f"{one_line(optimizer.cuda)} (void)decays;",
        "store(parameters + i, p);"
        + "".join(f"store({s}_at + i, {s});" for s in states)
        # Only this thread touches NEXT: no other reads it in this kernel.
        + "if (i == 0) control[NEXT] = control[STEP] + 1;",
        len(parameters), gradients, table, np.int64(table.shape[1]), np.int64(decayed), parameters, control, *state,
        defines=types(REAL=parameters.dtype), preamble="#define c(k) ACC(table[row + (k)])",
    )  # fmt: skip

"""When training ends, and at what rate it goes on: epoch by epoch, by scikit-learn's rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.training.callbacks import Callback
from gpunet.training.schedules import Schedule


def steps(epochs: int, examples: int, batch: int) -> int:
    """How many steps it takes to have seen each example so often; the last of them may begin the next epoch."""
    return -(-epochs * examples // batch)


class InverseScaling(Schedule):
    """The rate of an epoch is initial / (n + 1)^power, n being the examples seen before it; of the first it is initial.

    Args:
        initial: the rate of the first epoch.
        power: as above.
        examples: how many there are in an epoch.
        batch: examples of a step.
        seen: examples that were seen before the run.
        fresh: whether the first epoch has the initial rate whatever was seen before.
    """

    name = "invscaling"
    formula = "lr / (n + 1)^power"

    def __init__(self, initial: float, power: float, *, examples: int, batch: int, seen: int, fresh: bool) -> None:
        super().__init__(initial)
        self.power, self.examples, self.batch, self.seen, self.fresh = power, examples, batch, seen, fresh

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        epochs = steps * self.batch // self.examples
        rates = self.initial / (self.seen + epochs * self.examples + 1) ** self.power
        return np.where(epochs > 0, rates, self.initial) if self.fresh else rates


class Adaptive(Schedule):
    """The same rate at every step, until `lower` is called; see `Convergence`."""

    name = "adaptive"
    formula = "lr / 5^k after k times without improvement"
    #: Where the rate is as low as this, training ends instead.
    LOWEST = 1e-6

    def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
        return np.full(len(steps), self.initial)

    def lower(self) -> bool:
        """Divide the rate by 5; False where it is too low for that."""
        if self.initial <= self.LOWEST:
            return False
        self.initial /= 5
        return True


class Convergence(Callback):
    """Keeps the loss of each epoch, and ends training where neither it nor the validation score gets better.

    Args:
        examples: how many there are in an epoch.
        batch: examples of a step.
        tol: by how much an epoch has to be better than the best so far.
        patience: for how many epochs in a row it may be no better.
        verbose: whether to print each epoch's loss.
        score: the score of a model on the validation examples, the higher the better; None to judge by the loss.
        outputs: what losses without penalties are divided by (scikit-learn's squared error is a mean over the outputs).

    Attributes:
        epochs: how many are done.
        loss_curve: the mean loss, with penalties, of the batches of each epoch.
        validation_scores: the score after each epoch.
        best_loss, best_score: the best of them.
        best_weights: the parameters at the best score, on the device.
        waited: for how many epochs there was no better one.
        converged: whether training was ended here.
    """

    def __init__(
        self, examples: int, batch: int, *, tol: float, patience: float, verbose: bool,
        score: Callable[[Any], float] | None, outputs: int = 1,
    ) -> None:  # fmt: skip
        self.examples, self.batch = examples, batch
        self.tol, self.patience, self.verbose, self.score, self.outputs = tol, patience, verbose, score, outputs
        self.epochs = 0
        self.loss_curve: list[float] = []
        self.validation_scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.best_weights: Any = None
        self.waited = 0
        self.converged = False
        self._losses: Any = 0.0  # the sums of this epoch, of each place in a batch, or of batches with weights
        self._penalties: Any = 0.0
        self._first, self._last = 0, steps(1, examples, batch)

    def on_step(self, trainer: Any) -> None:
        step = trainer.step
        self._losses = self._losses + (step.losses if step.batch_weights is None else step.batch_loss() - step.penalty)
        self._penalties = self._penalties + step.penalty
        if trainer.iteration == self._last:
            self._end_epoch(trainer)

    def _end_epoch(self, trainer: Any) -> None:
        loss = float(self._losses.mean() / self.outputs + self._penalties) / (trainer.iteration - self._first)
        self._losses, self._penalties = 0.0, 0.0
        self._first, self._last = trainer.iteration, steps(self.epochs + 2, self.examples, self.batch)
        self.epochs += 1
        self.loss_curve.append(loss)
        if self.verbose:
            print(f"Epoch {self.epochs}, loss {loss:.8f}")
        if not math.isfinite(loss):
            trainer.stop()  # which says since when
            return
        self.waited = 0 if self._is_better(trainer) else self.waited + 1
        if self.waited > self.patience:
            self._no_better(trainer)

    def _is_better(self, trainer: Any) -> bool:
        """Whether the last epoch was better than the best so far, which it may become."""
        if self.score is None:
            loss = self.loss_curve[-1]
            better = loss <= self.best_loss - self.tol
            self.best_loss = min(loss, self.best_loss)
            return better
        score = self.score(trainer.model)
        self.validation_scores.append(score)
        if self.verbose:
            print(f"Validation score {score:.6f}")
        better = score >= self.best_score + self.tol
        if score > self.best_score:
            self.best_score, self.best_weights = score, trainer.model.flat.copy()
        return better

    def _no_better(self, trainer: Any) -> None:
        if isinstance(trainer.schedule, Adaptive) and trainer.schedule.lower():
            trainer.step.ask_rates_again()
            self.waited = 0
            told = f"the learning rate is {trainer.schedule.initial:g} from here on"
        else:
            trainer.stop()
            self.converged = True
            told = "training ends"
        if self.verbose:
            what = "The training loss" if self.score is None else "The validation score"
            print(f"{what} has not improved by {self.tol:g} for {self.patience:g} epochs; {told}.")

"""The regressor: one number an example, or several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d

import gpunet.readers as read
from gpunet.backend import Backend
from gpunet.data.fitting import Targets
from gpunet.data.preparation import Preparation
from gpunet.errors import UsageError
from gpunet.kernels.activations import Activation
from gpunet.kernels.losses import LOSSES as TABLE
from gpunet.kernels.optimizers import Optimizer
from gpunet.keywords import checked
from gpunet.network.mlp import MLP
from gpunet.sklearn.base import BaseMLP, Task
from gpunet.sklearn.losses import HalfPoissonDeviance, HalfSquaredError
from gpunet.training.schedules import Schedule

#: The losses under scikit-learn's names, and what it calls their outputs.
LOSSES = {"squared_error": (HalfSquaredError, "identity"), "poisson": (HalfPoissonDeviance, "exp")}


@checked
class MLPRegressor(RegressorMixin, BaseMLP):
    """A multi-layer perceptron that answers numbers, with the parameters of scikit-learn's MLPRegressor.

    Targets are taken as they are; standardise them where they are large (`TransformedTargetRegressor` does that).

    Args:
        loss: "squared_error" for half the squared error, or "poisson" for half the Poisson deviance, with targets of at
            least 0 and answers that are the exponential of the outputs.

    The other parameters and the attributes are those of `MLPClassifier`, but for `classes_`.
    """

    _scorer = staticmethod(r2_score)

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Iterable[int] = (100,),
        activation: str | Activation | Sequence[str | Activation] = "relu",
        *,
        solver: str | Optimizer | type[Optimizer] = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        schedule: str | Schedule | None = None,
        dropout: float | Sequence[float] = 0.0,
        device: str | Backend | None = None,
    ) -> None:
        # scikit-learn reads a class's parameters from its own signature, so they all stand here once more.
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start,
            momentum=momentum, nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, max_fun=max_fun, schedule=schedule, dropout=dropout, device=device,
        )  # fmt: skip
        self.loss = loss

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch on these examples, going on from what was fitted before, the optimizer too.

        Args:
            X: (n, features).
            y: (n,) or (n, targets).
            sample_weight: (n,) weights of the examples, or None.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight, going_on="model_" in vars(self), partial=True)

    def predict(self, X: Any) -> Any:
        """The number (n,) or numbers (n, targets) of each example; CuPy where `X` is on a CUDA device, else NumPy."""
        rows = self._examples(X)
        with self.model_.backend.use():
            answers = self._answers(self.model_, rows)
            return self._finish(X, answers[:, 0] if answers.shape[1] == 1 else answers)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R², the mean over the targets.

        Args:
            X: (n, features).
            y: (n,) or (n, outputs).
            sample_weight: (n,) weights of the examples, or None.
        """
        return self._score(X, y, sample_weight)

    def _keep(self, model: MLP, *others: Any) -> None:
        super()._keep(model, *others)
        if self.loss == "squared_error":
            model.loss = TABLE.make("mse")  # the same but for a factor, and known to whoever reads the model's file

    def _answers(self, model: MLP, X: Any) -> Any:
        logits = model.forward(X)
        with model.backend.use():
            return model.loss.values(logits, model.backend.xp)

    def _task(self, y: np.ndarray, dtype: Any, *, going_on: bool, partial: bool, classes: Any) -> Task:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        targets = np.ascontiguousarray(y.reshape(len(y), -1), dtype)
        loss, output = LOSSES[read.choice(LOSSES, "loss")("loss", self.loss)]
        if self.loss == "poisson" and targets.min() < 0:
            raise UsageError("y has negative numbers, and the loss poisson is for counts of at least 0.")
        outputs = targets.shape[1]
        names = ("target",) if outputs == 1 else tuple(f"target {number}" for number in range(outputs))
        plain = Targets(names, (0.0,) * outputs, (1.0,) * outputs)
        return Task(targets, outputs, 0, loss(), Preparation(task="regression", targets=plain), output, None)

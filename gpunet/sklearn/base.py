"""What the classifier and the regressor share: scikit-learn's parameters, and fitting by a `Trainer`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

import gpunet.readers as read
from gpunet.backend import Backend, as_numpy
from gpunet.data.dataset import Dataset
from gpunet.data.preparation import Preparation
from gpunet.data.split import Split
from gpunet.errors import UsageError
from gpunet.kernels.activations import Activation
from gpunet.kernels.losses import Loss
from gpunet.kernels.optimizers import OPTIMIZERS, SGD, Momentum, Nesterov, Optimizer
from gpunet.keywords import checked
from gpunet.network.mlp import MLP
from gpunet.sklearn.adam import EarlyAdam
from gpunet.sklearn.arrays import backend_for, check_examples, check_pairs, check_weights, like, on_cuda
from gpunet.sklearn.convergence import Adaptive, Convergence, InverseScaling, steps
from gpunet.training.schedules import SCHEDULES, Constant, Schedule
from gpunet.training.trainer import Trainer

#: scikit-learn's names of activations that are called otherwise here.
ACTIVATION_NAMES = {"logistic": "sigmoid"}

#: Examples of a batch by default, or all where there are fewer.
BATCH = 200

#: How parameters are read and checked where `fit` is called.
READERS: dict[str, read.Reader] = {
    "alpha": read.number(0, example="0.0001"),
    "learning_rate": read.choice(("constant", "invscaling", "adaptive"), "learning rate"),
    "learning_rate_init": read.number(above=0, example="0.001"),
    "power_t": read.number(0, example="0.5"),
    "max_iter": read.whole(1, example="200"),
    "shuffle": read.switch,
    "tol": read.number(0, example="0.0001"),
    "warm_start": read.switch,
    "momentum": read.hyperparameter(OPTIMIZERS, "momentum", "0.9"),
    "nesterovs_momentum": read.switch,
    "early_stopping": read.switch,
    "validation_fraction": read.number(above=0, below=1, example="0.1"),
    "beta_1": read.hyperparameter(OPTIMIZERS, "beta1", "0.9"),
    "beta_2": read.hyperparameter(OPTIMIZERS, "beta2", "0.999"),
    "epsilon": read.hyperparameter(OPTIMIZERS, "epsilon", "1e-8"),
}


class Task(NamedTuple):
    """What a network is to learn.

    Attributes:
        targets: (n,) int32 class indices, or (n, outputs) numbers.
        outputs: how many outputs it needs.
        classes: how many classes or labels there are, 0 of a regression.
        loss: what is minimised.
        preparation: how its outputs become answers.
        output_activation: what scikit-learn calls that.
        stratify: classes (n,) that are to be as frequent among the validation examples, or None.
    """

    targets: np.ndarray
    outputs: int
    classes: int
    loss: Loss
    preparation: Preparation
    output_activation: str
    stratify: np.ndarray | None


class Memory(NamedTuple):
    """What an optimizer remembers from one `partial_fit` to the next.

    Attributes:
        kind: the class of the optimizer.
        vectors: its state, on the device.
        updates: how often they were updated.
        rate: the learning rate that an adaptive schedule had come to.
    """

    kind: type[Optimizer]
    vectors: list[Any]
    updates: int
    rate: float


@checked
class BaseMLP(BaseEstimator):
    """The base of the estimators; see `MLPClassifier` and `MLPRegressor`."""

    #: A score of targets and answers with weights, the higher the better.
    _scorer: Callable[..., float]

    model_: MLP
    t_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    #: What a later fit goes on with: the optimizer, and how training stood.
    _memory: Memory
    _best_loss: float
    _best_score: float
    _waited: int

    def __init__(
        self,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.schedule = schedule
        self.dropout = dropout
        self.device = device

    # --- what the two differ in ----------------------------------------------------------------------

    def _task(self, y: np.ndarray, dtype: Any, *, going_on: bool, partial: bool, classes: Any) -> Task:
        """What is to be learned from targets; sets what the answers are read with, such as `classes_`.

        Args:
            y: the targets, as scikit-learn's check leaves them.
            dtype: the network's.
            going_on: whether the classes must be those that were fitted.
            partial: whether some of the classes may be missing.
            classes: all classes, for the first `partial_fit`.
        """
        raise NotImplementedError

    def _answers(self, model: MLP, X: Any) -> Any:
        """The model's answers in the form of `Task.targets`, on its device."""
        raise NotImplementedError

    # --- fitting -------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on examples and their targets; with `warm_start`, go on from the last fit.

        Args:
            X: (n, features), NumPy, CuPy or a frame; float32 is computed in float32, all other numbers in float64.
            y: (n,) or (n, outputs).
            sample_weight: (n,) weights of the examples, or None.

        Returns:
            The estimator.

        Raises:
            ValueError: a parameter or the data cannot be used.
            TrainingDiverged: the loss is no longer a finite number.
        """
        warm = bool(self.warm_start) and "model_" in vars(self)
        return self._fit(X, y, sample_weight, going_on=warm)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, going_on: bool, partial: bool = False, classes: Any = None
    ) -> Any:
        given = self._parameters()
        if partial and given["early_stopping"]:
            raise UsageError("partial_fit does not go with early_stopping=True; there is no validation in it.")
        backend = backend_for(self.device, X)
        numeric = not hasattr(self, "predict_proba")
        X, y = check_pairs(self, X, y, numeric=numeric, reset=not going_on, backend=backend)
        weights = check_weights(sample_weight, len(X))
        before: MLP | None = self.model_ if going_on else None
        dtype = X.dtype if before is None else before.dtype
        task = self._task(y, dtype, going_on=going_on, partial=partial, classes=classes)
        sizes = self._sizes(X.shape[1], task.outputs)
        if before is not None and before.sizes != sizes:
            raise UsageError(f"the network was {before.sizes} and would be {sizes} now; fit without warm_start.")
        random = check_random_state(self.random_state)
        drawn = self._initial_parameters(sizes, random) if before is None else before.flat

        targets, score = task.targets, None
        if given["early_stopping"]:
            X, targets, weights, score = self._hold_out(X, task, weights, random, given, backend)
        count = len(X)
        batch = self._batch(count)
        model = self._network(sizes, dtype, task, random, backend)
        if before is None:
            for index, values in enumerate(drawn):
                model.set_parameter(index, values)
        else:
            with backend.use():
                model.flat[...] = backend.to_device(drawn)

        # The vectors of a partial_fit's optimizer are those of the fit before it, of a warm start they are new.
        seen, memory = (self.t_, self._memory) if going_on else (0, None)
        memory = memory if partial else None
        split = Split.trusted(X, targets, task.classes, task.preparation, weights)
        watch = self._watch(task, count, batch, given["tol"], score, going_on)
        epochs = 1 if partial else given["max_iter"]
        length = steps(epochs, count, batch)
        trainer = Trainer(
            model,
            Dataset("the training data", split, class_names=task.preparation.class_names, preparation=task.preparation),
            optimizer=self._optimizer(given, count, batch, seen, memory),
            callbacks=[watch],
            iterations=length,
            batch_size=batch,
            shuffle=given["shuffle"],
            l2=given["alpha"] / (batch if weights is None else 1),
            log_every=length,
        )
        if weights is not None:  # which scikit-learn divides alpha by, in each batch
            trainer.step.penalise_by_weight()
        if memory is not None and memory.kind is type(trainer.optimizer):
            trainer.step.take_over(memory.vectors, memory.updates)
        else:
            memory = None
        self._run(trainer)
        if not partial and watch.epochs == epochs and not watch.converged:
            warnings.warn(
                f"training ends after max_iter={epochs} epochs, and was still getting better.",
                ConvergenceWarning,
                stacklevel=3,
            )
        if watch.best_weights is not None:
            with backend.use():
                model.flat[...] = watch.best_weights
        self._keep(model, task, watch, count)
        updates = trainer.iteration + (0 if memory is None else memory.updates)
        rate = float(trainer.schedule.initial)
        self._memory = Memory(type(trainer.optimizer), trainer.step.optimizer_state, updates, rate)
        return self

    def _network(self, sizes: list[int], dtype: Any, task: Task, random: Any, backend: Any) -> MLP:
        """The network, whose first weights others draw."""
        return MLP(
            sizes,
            self._activations(len(sizes) - 2),
            initializer="zeros",
            bias=0.0,
            dropout=self.dropout,
            seed=int(random.randint(np.iinfo(np.int32).max)),
            dtype=dtype,
            backend=backend,
            loss=task.loss,
            preparation=task.preparation,
        )

    def _watch(self, task: Task, count: int, batch: int, tol: float, score: Any, going_on: bool) -> Convergence:
        """What sees whether it still gets better, where the fit before left it if this one goes on."""
        watch = Convergence(
            count, batch, tol=tol, patience=self._patience(), verbose=bool(self.verbose), score=score,
            outputs=task.outputs if task.loss.name == "half-squared-error" else 1,
        )  # fmt: skip
        if going_on:
            watch.loss_curve = list(self.loss_curve_)
            watch.validation_scores = list(self.validation_scores_ or ())
            watch.best_loss, watch.best_score, watch.waited = self._best_loss, self._best_score, self._waited
        return watch

    @staticmethod
    def _run(trainer: Trainer) -> None:
        """Train to the end, without the evaluation that a trainer ends with."""
        records = trainer.steps()
        try:
            next(records, None)
        except KeyboardInterrupt:
            warnings.warn("training was interrupted; the estimator is as far as it came.", stacklevel=4)
        finally:
            records.close()  # type: ignore[attr-defined]

    def _keep(self, model: MLP, task: Task, watch: Convergence, count: int) -> None:
        """Keep what was fitted."""
        self.t_ = watch.epochs * count + (self.t_ if len(watch.loss_curve) > watch.epochs else 0)
        self.model_ = model
        self.n_iter_ = watch.epochs
        self.n_layers_ = len(model.sizes)
        self.n_outputs_ = model.outputs
        self.out_activation_ = task.output_activation
        self.loss_curve_ = watch.loss_curve
        self.loss_ = watch.loss_curve[-1] if watch.loss_curve else math.nan
        validated = watch.score is not None
        self.best_loss_ = None if validated else watch.best_loss
        self.validation_scores_ = watch.validation_scores if validated else None
        self.best_validation_score_: float | Any = watch.best_score if validated else None
        self._best_loss, self._best_score, self._waited = watch.best_loss, watch.best_score, watch.waited

    @property
    def coefs_(self) -> list[Any]:
        """The weights of each layer, (fan in, fan out), on the model's device; views that may be written to."""
        return self._fitted_parameters()[0::2]

    @property
    def intercepts_(self) -> list[Any]:
        """The biases of each layer, (fan out,), on the model's device; views that may be written to."""
        return self._fitted_parameters()[1::2]

    def _fitted_parameters(self) -> list[Any]:
        if "model_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet.")
        return self.model_.parameters

    # --- parameters ----------------------------------------------------------------------------------

    def _parameters(self) -> dict[str, Any]:
        """The parameters that are read in one way only, checked."""
        return {name: reader(name, getattr(self, name)) for name, reader in READERS.items()}

    def _sizes(self, features: int, outputs: int) -> list[int]:
        hidden = self.hidden_layer_sizes
        widths = list(hidden) if np.iterable(hidden) and not isinstance(hidden, str) else [hidden]
        for width in widths:
            if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1:
                raise UsageError(f"hidden_layer_sizes must be whole numbers of at least 1, not {hidden!r}.")
        return [features, *map(int, widths), outputs]

    def _activations(self, hidden: int) -> list[Any]:
        given = self.activation
        each = list(given) if isinstance(given, (list, tuple)) else [given] * hidden
        return [ACTIVATION_NAMES.get(one, one) if isinstance(one, str) else one for one in each]

    def _initial_parameters(self, sizes: list[int], random: np.random.RandomState) -> list[np.ndarray]:
        """W1, b1, W2, b2 … as scikit-learn draws them: uniform, by Glorot & Bengio (2010), the biases too."""
        factor = 2.0 if self.activation in ("logistic", "sigmoid") else 6.0
        drawn = []
        for fan_in, fan_out in pairwise(sizes):
            bound = math.sqrt(factor / (fan_in + fan_out))
            drawn += [random.uniform(-bound, bound, (fan_in, fan_out)), random.uniform(-bound, bound, fan_out)]
        return drawn

    def _patience(self) -> float:
        if self.n_iter_no_change == math.inf:
            return math.inf
        return read.whole(1, example="10")("n_iter_no_change", self.n_iter_no_change)

    def _batch(self, count: int) -> int:
        if isinstance(self.batch_size, str) and self.batch_size == "auto":
            return min(BATCH, count)
        batch = int(read.whole(1, example="auto")("batch_size", self.batch_size))
        if batch > count:
            warnings.warn(f"batch_size={batch} is more than the {count} examples; they are taken all.", stacklevel=4)
        return min(batch, count)

    def _optimizer(self, given: dict[str, Any], count: int, batch: int, seen: int, memory: Memory | None) -> Optimizer:
        """The solver with its learning rate: scikit-learn's sgd and adam, another by name, or an `Optimizer`."""
        if isinstance(self.solver, str) and self.solver == "lbfgs":
            raise UsageError(
                "solver='lbfgs' is not there, because it needs many passes through all the data for each step; take "
                "'adam' or 'sgd', or scikit-learn's own MLP for small data."
            )
        rate = self._rate(given, count, batch, seen, memory)
        if self.solver == "adam":
            return EarlyAdam(rate, given["beta_1"], given["beta_2"], given["epsilon"])
        if self.solver == "sgd":
            if not given["momentum"]:
                return SGD(rate)
            return (Nesterov if given["nesterovs_momentum"] else Momentum)(rate, given["momentum"])
        if isinstance(self.solver, Optimizer):
            return self.solver
        return OPTIMIZERS.make(self.solver, learning_rate=rate)

    def _rate(self, given: dict[str, Any], count: int, batch: int, seen: int, memory: Memory | None) -> Schedule:
        """The learning rate of each step; `learning_rate` is for sgd alone, as in scikit-learn."""
        initial, kind = given["learning_rate_init"], given["learning_rate"]
        if self.schedule is not None:
            first = {} if isinstance(self.schedule, Schedule) else {"initial": initial}
            schedule = SCHEDULES.make(self.schedule, **first)
            if schedule.watches_validation:
                raise UsageError(
                    f"the schedule {schedule.name} watches validations, which a fit has none of; take solver='sgd' and "
                    "learning_rate='adaptive', which lowers the rate where the loss no longer falls."
                )
            return schedule
        if self.solver == "sgd" and kind == "invscaling":
            return InverseScaling(
                initial, given["power_t"], examples=count, batch=batch, seen=seen, fresh=memory is None
            )
        if self.solver == "sgd" and kind == "adaptive":
            return Adaptive(initial if memory is None else memory.rate)
        return Constant(initial)

    # --- validation ----------------------------------------------------------------------------------

    def _hold_out(
        self, X: Any, task: Task, weights: np.ndarray | None, random: Any, given: dict[str, Any], backend: Backend
    ) -> tuple[Any, np.ndarray, np.ndarray | None, Callable[[MLP], float]]:
        """The examples, targets and weights that are left to train on, and the score on those held out."""
        left, held = train_test_split(
            np.arange(len(X)), random_state=random, test_size=given["validation_fraction"], stratify=task.stratify
        )
        if len(held) < 2:
            raise UsageError("validation_fraction leaves fewer than two examples to validate on; make it larger.")
        with backend.use():
            rows = [X[backend.to_device(index)] if on_cuda(X) else X[index] for index in (left, held)]
        wanted, held_weights = task.targets[held], None if weights is None else weights[held]

        def score(model: MLP) -> float:
            answers = backend.to_host(self._answers(model, rows[1]))
            if not np.isfinite(answers).all():
                return math.nan
            return float(self._scorer(wanted, answers.reshape(wanted.shape), sample_weight=held_weights))

        return rows[0], task.targets[left], None if weights is None else weights[left], score

    # --- answering -----------------------------------------------------------------------------------

    def _examples(self, X: Any) -> Any:
        """Examples to answer, checked against those of the fit."""
        check_is_fitted(self)
        backend = backend_for(None, X) if on_cuda(X) else self.model_.backend
        return check_examples(self, X, reset=False, backend=backend)

    def _finish(self, X: Any, values: Any) -> Any:
        return like(X, values, self.model_.backend)

    def _score(self, X: Any, y: Any, sample_weight: Any) -> float:
        weights = None if sample_weight is None else as_numpy(sample_weight)
        return float(self._scorer(as_numpy(y), as_numpy(self.predict(X)), sample_weight=weights))

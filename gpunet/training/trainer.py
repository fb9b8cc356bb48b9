"""Training: the loop around the step, what it judges by, and the records that it yields.

The host reads loss and accuracy at log steps; in between it only asks for steps (see `gpunet/training/step.py`).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import gpunet.readers as read
from gpunet.checks import needs
from gpunet.data.dataset import DATASET_WANTED, Dataset
from gpunet.data.split import Split
from gpunet.errors import TrainingDiverged, UsageError
from gpunet.kernels.losses import LOSSES, Loss
from gpunet.kernels.optimizers import OPTIMIZERS, SGD, Optimizer
from gpunet.kernels.threads import Threads
from gpunet.keywords import checked
from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.network.mlp import MLP
from gpunet.training import state
from gpunet.training.batches import near
from gpunet.training.callbacks import Callback, Timer, as_callbacks
from gpunet.training.graph import launch_mode
from gpunet.training.memory import explaining
from gpunet.training.progress import ProgressBar
from gpunet.training.ranks import open_ranks
from gpunet.training.recipe import Options, Recipe, TrainerOptions
from gpunet.training.records import Record, ResultRecord, StepRecord, TrainingResult
from gpunet.training.schedules import Schedule, as_schedule
from gpunet.training.step import TrainingStep
from gpunet.training.stopping import EarlyStopping
from gpunet.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Seconds after which several ranks ask each other, at the latest, whether to go on.
LOOK = 0.5


@checked
class Trainer:
    """Trains a model on a data set, step by step.

    Args:
        model: the model; its parameters are changed in place.
        data: a `Dataset`.
        loss: a name or `Loss`; the model's own by default.
        optimizer: a name or `Optimizer`; `SGD(0.1)` by default. Its schedule is copied (`Trainer.schedule`).
        callbacks: objects that are told what happens (see `Callback`); a function is told of each record.
        checkpoint_every: steps between two calls of the callbacks' `on_checkpoint`.
        checkpoint_seconds: seconds between two such calls, about; both may be given.
        options: those of a `Recipe`: for how long, how many examples at a time, penalties and the like.

    Attributes:
        recipe: the options, fitted to the data.
        ranks: the processes that train together; one by itself without `distributed`.
        share: how many examples of a batch each of them does, at most.
        metrics: what is measured, at log steps, validations and the end.
        step: the step that is done again and again, with its arrays (see `gpunet/training/step.py`).
        seconds: how long the steps took that are done.
        stopped: why training is over, or None while it is not.
        error: the exception that training ends with, while `Callback.on_end` is told.
        evaluating: the split that is being evaluated, the examples done and all there are; None between evaluations.

    Raises:
        UsageError: an option that cannot be used, or data that does not fit the model.
    """

    def __init__(
        self,
        model: MLP,
        data: Dataset,
        *,
        loss: str | Loss | type[Loss] | None = None,
        optimizer: str | Optimizer | type[Optimizer] | None = None,
        callbacks: Sequence[Callback | Callable[[Any], Any]] = (),
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        needs(model, "layers", "the model must be an MLP")
        needs(data, "train", DATASET_WANTED)
        self.model = model
        self.data = data
        self.backend = model.backend
        self.loss = model.loss if loss is None else LOSSES.make(loss)
        self.optimizer = SGD(0.1) if optimizer is None else OPTIMIZERS.make(optimizer)
        self.schedule = _own(as_schedule(self.optimizer.learning_rate))
        self.recipe = recipe = Recipe.of(options, TrainerOptions.__annotations__).fitted(data, model.seed)
        _check_fit(model, data, self.loss, self.schedule)
        self.metrics, self.judge = recipe.measured(data.task), recipe.judged_by()
        self.batch, self.iterations = int(recipe.batch_size), int(recipe.iterations or 0)
        self.ranks = open_ranks(recipe.distributed)
        recipe.check_ranks(self.ranks.size)
        self.share = -(-self.batch // self.ranks.size)
        self.mode = launch_mode(
            recipe.graph, self.backend, model.sizes, self.share, recipe.precision, model.dtype, recipe.steps_per_launch,
            cut=not self.ranks.all_reduce.captured,
        )  # fmt: skip
        self.threads = Threads(self.backend, recipe.threads, self.ranks.neighbours)
        self.logs, self.validations = Timer(recipe.log_every), Timer(recipe.validate_every)
        self.checkpoints = Timer(
            read.optional(read.whole(1))("checkpoint_every", checkpoint_every),
            read.optional(read.number(above=0))("checkpoint_seconds", checkpoint_seconds),
        )
        self.callbacks = as_callbacks(callbacks)
        model.loss = self.loss
        model.preparation = data.preparation
        if data.class_names and len(data.class_names) not in (model.outputs, max(model.outputs, 2)):
            model.class_names = None  # fewer names than outputs would leave some predictions without one
        self.seconds = 0.0
        self.stopped: str | None = None
        self.error: BaseException | None = None
        self.evaluating: tuple[str, int, int] | None = None
        self._stop_asked = False
        self._owner: Any = None  # the call of `steps` that told the callbacks of its start last
        self._pace = 0.0  # seconds per step, lately
        self.early_stopping = EarlyStopping(recipe.early_stopping)
        with explaining(model, data, self.optimizer, self.share, self.mode):
            self.step = TrainingStep(
                model, data, self.loss, self.optimizer, self.schedule, recipe, self.mode, self.ranks
            )
        if self.ranks.size > 1:
            weights = zlib.crc32(self.backend.to_host(model.flat).tobytes())
            self.ranks.check({"version of gpunet": __version__, **state.identity(self), "weights": weights})

    def __repr__(self) -> str:
        where = f"{self.model.description} on {self.data.name} ({self.backend.device})"
        return f"<Trainer of {where}: iteration {self.iteration:,} of {self.iterations:,}>"

    @property
    def iteration(self) -> int:
        """How many steps are done."""
        return self.step.done

    @property
    def plan(self) -> dict[str, Any]:
        """What is about to happen, as facts for a header."""
        return {
            "data": self.data.name,
            "examples": len(self.data.train),
            "network": self.model.description,
            "parameters": self.model.parameter_count,
            "device": self.backend.device,
            "reason": self.backend.reason,
            "batches": self.step.batches,
            "order": self.step.order.told,
            "graph": self.how,
            "threads": self.threads.number,
            "ranks": self.ranks.size,
            "iterations": self.iterations,
            "batch_size": self.batch,
        }

    @property
    def how(self) -> str:
        """How the steps are run and why so, in a few words."""
        refused = self.step.refused
        return f"kernels launched one by one; {refused}" if refused else self.mode.reason

    # --- the loop ------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Record]:
        """Train to the end; a `StepRecord` every `log_every` steps, at each validation and at the last step, and a
        `ResultRecord` at last.

        The iterator may be left at any record; a later call goes on from there.

        Raises:
            TrainingDiverged: the loss is no longer finite; the sentence names the step.
        """
        return cast(Iterator[Record], self._course(goals=False))

    def course(self) -> Iterator[Record | int]:
        """As `steps`, and before each stretch of steps the step that it goes to, for whoever does the steps of several
        trainers together (see `together.py`); what is not done then is done here."""
        return self._course(goals=True)

    def _course(self, goals: bool) -> Iterator[Record | int]:
        if self._owner is not None:  # an iterator that was left at a record and is still referred to
            self.callbacks.end(self)
        mine = self._owner = object()
        self.model.loss = self.loss  # another trainer of the model may have set its own
        try:
            self.callbacks.start(self)
            yield from self._steps(goals)
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise
        finally:
            if self._owner is mine:
                self._owner = None
                self._stop_asked = False
                self.callbacks.end(self)
                self.error = None  # it holds on to the frames that it went through, and they to the trainer

    def _steps(self, goals: bool) -> Iterator[Record | int]:
        since = self.iteration, self.seconds
        with self._running():
            self.step.warm_up(self.metrics)  # not on the clock
        self.checkpoints.restart()
        while (goal := self._next_stop()) > self.iteration:
            if goals:
                yield goal
            loss, metrics = self._run_to(goal)
            if self.iteration < goal:
                break  # `stop` was called in between, where nothing is recorded
            validation = self._validate()
            if self.logs.is_due(goal) or self._ended or validation:
                yield self.callbacks.record(self._record(loss, metrics, validation, since), self)
            if self.checkpoints.is_due(goal) and not self._ended:
                self.callbacks.checkpoint(self)
                self.checkpoints.restart()
        if self._ended and self.stopped is None:
            self.stopped = "completed"
        self.callbacks.checkpoint(self)
        if self._ended:
            yield self.callbacks.record(self._result(since), self)

    @property
    def _ended(self) -> bool:
        return self.stopped is not None or self.iteration == self.iterations

    def stop(self) -> None:
        """Let `steps` end after the step that is being done, without a result; a later call goes on from there.

        May be called from a signal handler or another thread.
        """
        self._stop_asked = True

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All that training needs to go on from here, bit for bit: host arrays, and facts that JSON can hold."""
        return state.state_dict(self)

    def restore(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Go on from where `state` was taken, by a trainer of the same network, data and options.

        Raises:
            CheckpointError: the state is of another network, data set or way of training, and which.
        """
        state.load_state_dict(self, arrays, facts)

    def _next_stop(self) -> int:
        """The next step after which the host looks at the results; that which is done, if this is the end."""
        timers = (self.logs, self.validations, self.checkpoints)
        goal = int(min(self.iterations, *(timer.next(self.iteration, self._pace) for timer in timers)))
        goal = self.iteration if self._ended or self._stop_asked else goal
        if self.ranks.size == 1:
            return goal
        # Clocks, signals and callbacks differ: rank 0 says how far to go, and whoever wants to stop stops all.
        goal = min(goal, self.iteration + max(int(LOOK / self._pace), 1) if self._pace else self.iteration + 1)
        told = self.ranks.gathered((goal, self.stopped))
        self.stopped = next((stopped for _, stopped in told if stopped), None)
        return self.iteration if self.stopped or min(goal for goal, _ in told) == self.iteration else told[0][0]

    def _run_to(self, goal: int) -> tuple[float, dict[str, float]]:
        """Do the steps up to `goal`, or until `stop` is called; loss and metrics of the last one."""
        watchers = self.callbacks.each_step
        first, clock = self.iteration, time.perf_counter()
        with self._running():
            while self.iteration < goal:
                self.step.run(self.iteration + 1 if watchers else goal)
                for callback in watchers:
                    callback.on_step(self)
                if self._stop_asked and self.ranks.size == 1:  # several stop together, at the next goal
                    break
            loss, metrics, nonfinite = self.step.read(self.metrics)
        self.took(self.iteration - first, time.perf_counter() - clock)
        self._check_finite(nonfinite)
        return loss, metrics

    def took(self, steps: int, seconds: float) -> None:
        """Note how long some steps took."""
        self.seconds += seconds
        if steps:
            self._pace = seconds / steps

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called, and training has not ended yet."""
        return self._stop_asked

    @property
    def joins(self) -> bool:
        """Whether its steps can be done together with those of others, as branches of one graph."""
        mode = self.mode
        return mode.captured and not mode.cut and self.step.refused is None and not self.callbacks.each_step

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        # An overflow is reported once, as the step whose loss is not finite, and not by NumPy's warnings.
        held = self.step.source.nbytes
        memory = explaining(self.model, self.data, self.optimizer, self.share, self.mode, held)
        with memory, self.backend.use(), self.threads.held(), np.errstate(over="ignore", invalid="ignore"):
            yield

    def _check_finite(self, step: int) -> None:
        if step >= 0:
            error = TrainingDiverged(
                f"the loss is not a finite number since iteration {step + 1}; lower the learning rate "
                f"(it is {float(self.schedule.initial):g}), or clip the gradient with clip_norm.",
                step + 1,
            )
            error.everywhere = True
            raise error

    def _near(self, name: str, again: bool = False) -> Split | None:
        split = getattr(self.data, name)
        return None if split is None else near(split, self.backend, self.model.dtype, again)

    @functools.cached_property
    def _validation(self) -> Split | None:
        return self._near("validation", again=True)

    def _evaluate(self, name: str) -> Evaluation | None:
        split = self._validation if name == "validation" else self._near(name)
        if split is None:
            return None

        def progress(done: int, total: int) -> None:
            self.evaluating = name, done, total

        try:
            with self.threads.held():
                return evaluate(self.model, split, self.loss, progress, metrics=self.metrics, ranks=self.ranks)
        finally:
            self.evaluating = None

    def _validate(self) -> Evaluation | None:
        """Validate, if it is time to, and show it to the schedule and to early stopping."""
        if not (self.validations.is_due(self.iteration) or self._ended):
            return None
        validation = self._evaluate("validation")
        if validation is None:
            return None
        cost = validation.loss if self.judge is None else -self.judge.merit(validation.metrics[self.judge.key])
        if self.schedule.observe(cost):
            self.step.ask_rates_again()
        with self.backend.use():
            if self.early_stopping.observe(cost, self.iteration, self.model.flat):
                self.stopped = "early stopping"
        return validation

    def _record(
        self, loss: float, metrics: dict[str, float], validation: Evaluation | None, since: tuple[int, float]
    ) -> StepRecord:
        return StepRecord(
            iteration=self.iteration,
            epoch=self.iteration * self.batch / len(self.data.train),
            metrics=metrics,
            loss=loss,
            learning_rate=self.step.coefficients.rate(self.iteration - 1),
            seconds=self.seconds,
            steps_per_second=self._speed(since),
            validation_loss=validation.loss if validation else None,
            validation_metrics=validation.metrics if validation else None,
        )

    def gathered(self, records: Sequence[Record]) -> TrainingResult:
        """The records of a training, from its first to its last, as one result."""
        result = records[-1] if records and isinstance(records[-1], ResultRecord) else self._result()
        return TrainingResult(result, [record for record in records if isinstance(record, StepRecord)], self.model)

    def _speed(self, since: tuple[int, float]) -> float:
        """Steps per second since there were so many steps and seconds."""
        steps, seconds = self.iteration - since[0], self.seconds - since[1]
        return steps / seconds if seconds else 0.0

    def _result(self, since: tuple[int, float] = (0, 0.0)) -> ResultRecord:
        best_iteration = None
        if (best := self.early_stopping.best) is not None:
            best_iteration, weights = best
            with self.backend.use():
                self.model.flat[...] = weights
        train, validation, test = map(self._evaluate, ("train", "validation", "test"))
        assert train is not None
        return ResultRecord(
            device=self.backend.device,
            iterations=self.iteration,
            train_seconds=self.seconds,
            steps_per_second=self._speed(since),
            train_metrics=train.metrics,
            train_loss=train.loss,
            validation_metrics=validation.metrics if validation else None,
            validation_loss=validation.loss if validation else None,
            test_metrics=test.metrics if test else None,
            test_loss=test.loss if test else None,
            stopped=self.stopped or "stopped",
            best_iteration=best_iteration,
        )


def _check_fit(model: MLP, data: Dataset, loss: Loss, schedule: Schedule) -> None:
    """Refuse data, a loss or a schedule that do not go together."""
    if schedule.watches_validation and data.validation is None:
        raise UsageError(
            f"the schedule {schedule.name} needs a validation split; hold one out of the training set first."
        )
    if data.features != model.sizes[0]:
        raise UsageError(f"the model takes {model.sizes[0]} features per example, and {data.name} has {data.features}.")
    labels = data.train.labels
    if labels.ndim == 2 and labels.shape[1] != model.outputs:
        raise UsageError(f"the model has {model.outputs} outputs, and the targets have {labels.shape[1]}.")
    if labels.ndim == 1 and data.classes > max(model.outputs, 2):
        raise UsageError(f"the model has {model.outputs} outputs, and {data.name} has {data.classes} classes.")
    if data.task == "regression" and not loss.answers_values:
        raise UsageError(f"the targets are numbers, and the loss {loss.name} is for classes; take mse, mae or huber.")
    if data.task == "multi-label" and loss.compares:
        raise UsageError(
            f"an example may have several labels, and the loss {loss.name} is for a single class; take "
            "binary-cross-entropy."
        )
    if model.outputs == 1 and loss.compares:
        raise UsageError(
            "the softmax of a single output is always 1; take two outputs, or the loss binary-cross-entropy."
        )


def _own(schedule: Schedule) -> Schedule:
    """A copy, because a schedule may remember validations, and those of another run are none of its business."""
    try:
        return copy.deepcopy(schedule)
    except TypeError:  # it holds something that cannot be copied, a lock for one
        return copy.copy(schedule)


@checked
def training_steps(model: MLP, data: Dataset, **options: Unpack[TrainerOptions]) -> Iterator[Record]:
    """Train step by step: the records of `Trainer(model, data, **options)`, the result record last.

    A `Record` is a `StepRecord` or a `ResultRecord`; `record.event` says which, "step" or "result".
    """
    return Trainer(model, data, **options).steps()


@checked
def train(model: MLP, data: Dataset, *, progress: bool = False, **options: Unpack[TrainerOptions]) -> TrainingResult:
    """Train to the end, or until a callback calls `Trainer.stop`; see `Trainer` and `Recipe` for the options.

    With `progress` a bar is drawn on standard error, if that is a terminal, or in a notebook (see `ProgressBar`).

    Trainings in several Python threads run side by side. A process that is forked while one of them trains may wait for
    ever, for a module that the thread was importing or for a lock of the BLAS: start processes by spawn.

    In an interactive session Ctrl-C, and a notebook's stop, end the training with a warning, and what was trained so
    far is the result; a script is ended by it as ever.

    Returns:
        The final accuracies and losses, the history of records, and the model.
    """
    trainer = Trainer(model, data, **options)
    if progress:
        trainer.callbacks.append(ProgressBar())
    records: list[Record] = []
    try:
        for record in trainer.steps():
            records.append(record)
    except KeyboardInterrupt:
        if not hasattr(sys, "ps1"):
            raise
        trainer.stopped = "interrupted"
        warnings.warn(f"training was interrupted after {trainer.iteration:,} steps; this is its result.", stacklevel=3)
    return trainer.gathered(records)

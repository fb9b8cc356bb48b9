"""Training: the step that everything uses, the loop around it, and the records that it yields.

What a step does says `Trainer.operations`, once for both devices. All arrays of a step exist before the first
one, so its operations are made ready for them once and then run again and again (on CUDA also as one graph).
What changes from step to step lies in device memory (the control block, the table of coefficients, the ring
of permutations); the host refills them at boundaries and reads loss and accuracy at log steps, and does
nothing else in between.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpunet import state
from gpunet.batches import Order
from gpunet.callbacks import Timer, as_callbacks
from gpunet.checks import positive, whole
from gpunet.checks import seed as check_seed
from gpunet.errors import TrainingDiverged, UsageError
from gpunet.graph import StepGraph, choose_way
from gpunet.kernels import control as at
from gpunet.kernels.blas import BlasThreads
from gpunet.kernels.build import Ready
from gpunet.kernels.gather import gather
from gpunet.kernels.losses import get_loss, loss_step
from gpunet.kernels.optimizers import SGD, get_optimizer, update
from gpunet.kernels.penalties import PARTIAL_SUMS, add_penalty, clip_by_norm, clip_columns, penalty
from gpunet.memory import explaining
from gpunet.metrics import evaluate
from gpunet.model import MLP
from gpunet.records import Record, ResultRecord, StepRecord, TrainingResult
from gpunet.schedules import as_schedule

#: Steps whose coefficients are computed (and, on a GPU, copied) at a time.
TABLE_ROWS = 8192
#: The write-up's number of steps.
DEFAULT_ITERATIONS = 5000


class Trainer:
    """Trains a model on a data set, step by step.

    Args:
        model: the model; its parameters are changed in place.
        data: a `Dataset`.
        loss: a name or `Loss`; the model's own by default.
        optimizer: a name or `Optimizer`; `SGD(0.1)` by default.
        iterations, epochs: how long to train, one of the two; 5,000 iterations by default.
        batch_size: examples per step, or "all" for the full batch.
        log_every: steps between two records.
        seed: of the order of the examples; the model's seed by default.
        l2, l1: penalties on the weights, added to the loss: l2 / 2 * sum(w^2) and l1 * sum(|w|).
        max_norm: the largest norm of a unit's incoming weights.
        clip_norm: the largest norm of the whole gradient.
        early_stopping: stop after this many validations without a lower loss, and give back the best weights.
        validate_every: steps between two validations; an epoch by default.
        graph: "auto", "on" or "off": whether the steps are replayed as a CUDA graph.
        threads: threads of the matrix products on the CPU; by default chosen by their size (`kernels/blas.py`).
        callbacks: objects that are told what happens (see `Callback`); a function is told of each record.
        checkpoint_every: steps between two calls of the callbacks' `on_checkpoint`.
        checkpoint_seconds: seconds between two such calls, about; both may be given.

    Raises:
        UsageError: an option that cannot be used, or data that does not fit the model.
    """

    def __init__(
        self,
        model: MLP,
        data: Any,
        *,
        loss: Any = None,
        optimizer: Any = None,
        iterations: int | None = None,
        epochs: float | None = None,
        batch_size: int | str = 100,
        log_every: int = 100,
        seed: int | None = None,
        l2: float = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        early_stopping: int | None = None,
        validate_every: int | None = None,
        graph: str = "auto",
        threads: int | None = None,
        callbacks: Sequence[Any] = (),
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = None,
    ) -> None:
        self.model = model
        self.data = data
        self.backend = model.backend
        self.loss = model.loss if loss is None else get_loss(loss)
        model.loss = self.loss
        self.optimizer = SGD(0.1) if optimizer is None else get_optimizer(optimizer)
        # A copy, because a schedule may remember validations, and those of another run are none of its business.
        self.schedule = copy.copy(as_schedule(self.optimizer.learning_rate))
        examples = len(data.train)
        self.batch = examples if batch_size == "all" else whole("batch_size", batch_size)
        if self.batch > examples:
            raise UsageError(
                f"a batch of {self.batch} examples is larger than the training set, which has {examples}; "
                'give a smaller batch_size, or "all".'
            )
        if iterations is not None and epochs is not None:
            raise UsageError("give iterations or epochs, not both.")
        if epochs is not None:
            iterations = math.ceil(positive("epochs", epochs) * examples / self.batch)
        self.iterations = DEFAULT_ITERATIONS if iterations is None else whole("iterations", iterations)
        self.log_every = whole("log_every", log_every)
        self.l2, self.l1 = positive("l2", l2, zero=True), positive("l1", l1, zero=True)
        self.max_norm = None if max_norm is None else positive("max_norm", max_norm)
        self.clip_norm = None if clip_norm is None else positive("clip_norm", clip_norm)
        self.patience = None if early_stopping is None else whole("early_stopping", early_stopping)
        if self.patience is not None and data.validation is None:
            raise UsageError("early stopping needs a validation split; hold one out of the training set first.")
        every = math.ceil(examples / self.batch) if validate_every is None else whole("validate_every", validate_every)
        self.validate_every = every if data.validation is not None else 0
        if self.schedule.watches_validation and data.validation is None:
            raise UsageError(
                f"the schedule {self.schedule.name} needs a validation split; hold one out of the training set first."
            )
        if graph not in ("auto", "on", "off"):
            raise UsageError(f'graph must be "auto", "on" or "off", not {graph!r}.')
        self.graph = graph
        self.way = choose_way(graph, self.backend, model.sizes, self.batch)
        self.threads = BlasThreads(self.backend, model.sizes, self.batch, threads)
        self.seed = model.seed if seed is None else check_seed(seed)
        self.callbacks = as_callbacks(callbacks)
        self.checkpoints = Timer(
            None if checkpoint_every is None else whole("checkpoint_every", checkpoint_every),
            None if checkpoint_seconds is None else positive("checkpoint_seconds", checkpoint_seconds),
        )
        self._check_fit()
        model.input_scale = data.scale
        model.class_names = data.class_names
        model.image_shape = data.image_shape
        self.iteration = 0
        self.seconds = 0.0
        #: Why training is over, or None while it is not.
        self.stopped: str | None = None
        self._stop_asked = False
        self._pace = 0.0  # seconds per step, lately
        self.best: dict[str, Any] = {"loss": math.inf, "iteration": 0, "waited": 0}
        self._best_flat: Any = None
        #: The penalty of the weights before the last step, on the device.
        self._penalty: Any = 0.0
        self._make_room()

    def _check_fit(self) -> None:
        data, model = self.data, self.model
        if data.features != model.sizes[0]:
            raise UsageError(
                f"the model takes {model.sizes[0]} features per example, and {data.name} has {data.features}."
            )
        labels = data.train.labels
        if labels.ndim == 2 and labels.shape[1] != model.outputs:
            raise UsageError(f"the model has {model.outputs} outputs, and the targets have {labels.shape[1]}.")
        if labels.ndim == 1 and data.classes > max(model.outputs, 2):
            raise UsageError(f"the model has {model.outputs} outputs, and {data.name} has {data.classes} classes.")
        if model.outputs == 1 and self.loss.output == "softmax":
            raise UsageError(
                "the softmax of a single output is always 1; take two outputs, or the loss binary-cross-entropy."
            )

    def _make_room(self) -> None:
        """Everything a step touches, allocated once: data, workspace, optimizer state, tables, counters."""
        model, backend, train = self.model, self.backend, self.data.train
        with explaining(model, self.data, self.optimizer, self.batch), backend.use():
            images = train.images
            if images.dtype != np.uint8:
                images = images.astype(model.dtype, copy=False)
            self.images = backend.to_device(images)
            self.labels = backend.to_device(train.labels, np.int32 if train.labels.ndim == 1 else model.dtype)
            self.order = Order(backend, len(train), self.batch, self.seed)
            self.control = backend.to_device(at.fresh())
            width = self.optimizer.coefficients(np.ones(1), np.ones(1)).shape[1]
            self.table = backend.zeros((min(TABLE_ROWS, self.iterations), width), model.dtype)
            self._table_end = 0
            self.optimizer_state = [backend.zeros(model.flat.shape, model.dtype) for _ in self.optimizer.state_names]
            features = model.sizes[0]
            self.x = backend.empty((self.batch, features), model.dtype)
            same = self.images.dtype == model.dtype
            self.raw_rows = None if same else backend.empty((self.batch, features), self.images.dtype)
            self.targets = backend.empty((self.batch, *self.labels.shape[1:]), self.labels.dtype)
            own = self.way.captured
            self.spaces = [layer.space(backend, self.batch, training=True, own=own) for layer in model.layers]
            wide = np.float64 if model.dtype == np.float64 else np.float32
            self.rows = backend.zeros((2, self.batch), wide)
            self.partial_sums = backend.empty(PARTIAL_SUMS, wide)
            self._ready = {want_rows: list(self.operations(want_rows)) for want_rows in (False, True)}
        self._graph = StepGraph(backend, self.step, self.way.required) if self.way.captured else None
        self._boundary = 0

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
            "graph": self.how,
            "threads": self.threads.number,
            "iterations": self.iterations,
            "batch_size": self.batch,
        }

    @property
    def how(self) -> str:
        """How the steps are run and why so, in a few words."""
        if self._graph is not None and self._graph.refused:
            return f"kernels launched one by one; {self._graph.refused}"
        return self.way.told

    # --- the step ------------------------------------------------------------------------------------

    def operations(self, want_rows: bool) -> Iterator[Ready]:
        """What a step does, in its order: batch, forward, loss, backward, update; each made ready to be run.

        Args:
            want_rows: whether the loss and the right answers of each example go to `rows`.
        """
        model, data, control = self.model, self.data, self.control
        layers, spaces = model.layers, self.spaces
        ring, rows = self.order.ring, self.rows if want_rows else None
        yield gather.prepare(self.images, self.labels, ring, control, data.scale, self.x, self.targets, self.raw_rows)
        inputs = [self.x, *(space.kept for space in spaces)]
        for x, layer, space in zip(inputs, layers, spaces, strict=False):
            yield layer.forward(x, space, control)
        top, delta, grad_bias = layers[-1], spaces[-1].delta, layers[-1].early_grad_bias(spaces[-1])
        yield loss_step.prepare(inputs[-1], top.bias, self.targets, self.loss, delta, grad_bias, rows, control)
        for index in range(len(layers) - 1, -1, -1):
            below = layers[index - 1].as_below(spaces[index - 1]) if index else None
            yield layers[index].backward(inputs[index], spaces[index], below)
        gradients, weights = model.flat_gradients, model.weight_count
        if self.l2 or self.l1:
            yield add_penalty.prepare(gradients, model.flat, weights, self.l2, self.l1)
        if self.clip_norm is not None:
            yield clip_by_norm.prepare(gradients, self.clip_norm, self.partial_sums)
        moved = self.optimizer_state
        yield update.prepare(model.flat, gradients, moved, self.optimizer, self.table, control, weights)
        if self.max_norm is not None:
            for layer in layers:
                yield clip_columns.prepare(layer.weights, self.max_norm)

    def step(self, want_rows: bool = True) -> None:
        """One training step. The host waits for nothing.

        Args:
            want_rows: see `operations`.
        """
        for run in self._ready[want_rows]:
            run()

    def _prepare(self) -> None:
        """Refill what the coming steps read; sets the step at which this is needed again."""
        step = self.iteration
        again = self.order.prepare(step)
        if step >= self._table_end:
            self._fill_table(step)
        self._boundary = min(again, self._table_end)

    def forget_prepared(self) -> None:
        """Have everything that steps read ahead refilled before the next one; `iteration` was changed."""
        self.order.forget()
        self._boundary = self._table_end = self.iteration

    def _fill_table(self, step: int) -> None:
        """Coefficients of the steps around `step`, and BASE."""
        # Windows begin at multiples of their length, wherever a run was resumed, so that the same numbers are
        # computed in arrays of the same shape and come out the same to the last bit.
        first = step - step % len(self.table)
        steps = np.arange(first, min(first + len(self.table), self.iterations))
        rates = self.schedule.rates(steps, self.iterations)
        self.rates = rates
        self._table_start, self._table_end = first, first + len(steps)
        with self.backend.use():
            self.table[: len(steps)] = self.backend.to_device(
                self.optimizer.coefficients(steps + 1.0, rates).astype(self.model.dtype)
            )
            self.control[at.BASE] = first

    # --- the loop ------------------------------------------------------------------------------------

    def steps(self) -> Iterator[Record]:
        """Train to the end; a `StepRecord` every `log_every` steps and a `ResultRecord` at last.

        The iterator may be left at any record; a later call goes on from there.

        Raises:
            TrainingDiverged: the loss is no longer finite; the sentence names the step.
        """
        try:
            self.callbacks.start(self)
            yield from self._steps()
        finally:
            self.callbacks.end(self)

    def _steps(self) -> Iterator[Record]:
        began, started = self.iteration, self.seconds
        self.checkpoints.restart()
        while self.iteration < self.iterations and self.stopped is None and not self._stop_asked:
            goal, first = self._next_stop(), self.iteration
            clock = time.perf_counter()
            with self._running():
                self._run_to(goal)
                loss, accuracy = self._read()
            spent = time.perf_counter() - clock
            self.seconds += spent
            self._pace = spent / max(self.iteration - first, 1)
            self._check_finite()
            if self.iteration < goal:
                break  # `stop` was called in between, where nothing is recorded
            validation = None
            if self.validate_every and (goal % self.validate_every == 0 or goal == self.iterations):
                validation = evaluate(self.model, self.data.validation, self.loss)
            if validation is not None and self._judge(validation.loss):
                self.stopped = "early stopping"
            if goal % self.log_every == 0 or goal == self.iterations or self.stopped or validation:
                spent = self.seconds - started
                yield self.callbacks.record(
                    StepRecord(
                        iteration=goal,
                        epoch=goal * self.batch / len(self.data.train),
                        accuracy=accuracy,
                        loss=loss,
                        learning_rate=float(self.rates[goal - 1 - self._table_start]),
                        seconds=self.seconds,
                        steps_per_second=(goal - began) / spent if spent else 0.0,
                        validation_loss=validation.loss if validation else None,
                        validation_accuracy=validation.accuracy if validation else None,
                    ),
                    self,
                )
            if goal < self.iterations and self.stopped is None and self.checkpoints.is_due(goal):
                self.callbacks.checkpoint(self)
                self.checkpoints.restart()
        self._stop_asked = False
        ended = self.stopped is not None or self.iteration == self.iterations
        if ended and self.stopped is None:
            self.stopped = "completed"
        self.callbacks.checkpoint(self)
        if ended:
            yield self.callbacks.record(self._result(began, started), self)

    def stop(self) -> None:
        """Let `steps` end after the step that is being done, without a result; a later call goes on from there.

        May be called from a signal handler or another thread.
        """
        self._stop_asked = True

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All that training needs to go on from here, bit for bit: host arrays, and facts that JSON can hold."""
        return state.take(self)

    def restore(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Go on from where `state` was taken, by a trainer of the same network, data and options.

        Raises:
            CheckpointError: the state is of another network, data set or way of training, and which.
        """
        state.put_back(self, arrays, facts)

    def _next_stop(self) -> int:
        """The next step after which the host looks at the results."""
        stops = [(self.iteration // self.log_every + 1) * self.log_every, self.iterations]
        if self.validate_every:
            stops.append((self.iteration // self.validate_every + 1) * self.validate_every)
        stops += self.checkpoints.stops(self.iteration, self._pace)
        return min(stops)

    def _run_to(self, goal: int) -> None:
        while self.iteration < goal:
            if self.iteration >= self._boundary:
                self._prepare()
            if self.iteration == goal - 1 and (self.l2 or self.l1):
                self._penalty = penalty(self.model.flat, self.model.weight_count, self.l2, self.l1)
            if self._graph is not None:
                self._graph.launch()
            else:
                self.step(want_rows=self.iteration == goal - 1)
            self.iteration += 1
            if self._stop_asked:
                break

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        # An overflow is reported once, as the step whose loss is not finite, and not by NumPy's warnings.
        memory = explaining(self.model, self.data, self.optimizer, self.batch)
        with memory, self.backend.use(), self.threads.held(), np.errstate(over="ignore", invalid="ignore"):
            yield

    def _read(self) -> tuple[float, float]:
        """Loss (with penalties) and accuracy of the last step's batch; waits for the device."""
        loss, accuracy = self.backend.to_host(self.rows).mean(axis=1, dtype=np.float64)
        if self.l2 or self.l1:
            loss += float(self._penalty)
        return float(loss), float(accuracy)

    def _check_finite(self) -> None:
        step = int(self.control[at.NONFINITE])
        if step >= 0:
            raise TrainingDiverged(
                f"the loss is not a finite number since iteration {step + 1}; lower the learning rate "
                f"(it is {float(self.schedule.initial):g}), or clip the gradient with clip_norm.",
                step + 1,
            )

    def _judge(self, loss: float) -> bool:
        """Note a validation loss; whether to stop. The best weights are kept, on the device."""
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "iteration": self.iteration, "waited": 0}
            with self.backend.use():
                self._best_flat = self.model.flat.copy()
        else:
            self.best["waited"] += 1
        if self.schedule.observe(loss):
            self._boundary = self._table_end = self.iteration  # the coming steps have other rates than the table
        return self.patience is not None and self.best["waited"] >= self.patience

    def _result(self, began: int, started: float) -> ResultRecord:
        best = None
        if self.patience is not None and self._best_flat is not None:
            with self.backend.use():
                self.model.flat[...] = self._best_flat
            best = self.best["iteration"]
        data = self.data
        found = [
            evaluate(self.model, split, self.loss) if split is not None else None
            for split in (data.train, data.validation, data.test)
        ]
        train, validation, test = found
        spent = self.seconds - started
        assert train is not None
        return ResultRecord(
            device=self.backend.device,
            iterations=self.iteration,
            train_seconds=self.seconds,
            steps_per_second=(self.iteration - began) / spent if spent else 0.0,
            train_accuracy=train.accuracy,
            train_loss=train.loss,
            validation_accuracy=validation.accuracy if validation else None,
            validation_loss=validation.loss if validation else None,
            test_accuracy=test.accuracy if test else None,
            test_loss=test.loss if test else None,
            stopped=self.stopped or "stopped",
            best_iteration=best,
        )


def training_steps(model: MLP, data: Any, **options: Any) -> Iterator[Record]:
    """Train step by step: the records of `Trainer(model, data, **options)`, the result record last."""
    return Trainer(model, data, **options).steps()


def train(model: MLP, data: Any, **options: Any) -> TrainingResult:
    """Train to the end, or until a callback calls `Trainer.stop`; see `Trainer` for the options.

    Returns:
        The final accuracies and losses, the history of records, and the model.
    """
    trainer = Trainer(model, data, **options)
    records = list(trainer.steps())
    result = records[-1] if records and isinstance(records[-1], ResultRecord) else trainer._result(0, 0.0)
    return TrainingResult(result, [record for record in records if isinstance(record, StepRecord)], model)

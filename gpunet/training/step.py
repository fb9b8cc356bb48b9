"""The training step: its arrays, what it does with them, and what it reads ahead.

What a step does says `TrainingStep.operations`, once for both devices. All arrays of a step exist before the first
one, so its operations are bound to them once and then run again and again (on CUDA also as one graph).
What changes from step to step lies in device memory (the control block, the table of coefficients, the ring
of permutations); the host refills them at boundaries, and does nothing else in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels import control as at
from gpunet.kernels import fused
from gpunet.kernels.build import Ready, apart
from gpunet.kernels.encoding import encode
from gpunet.kernels.gather import gather
from gpunet.kernels.losses import loss_step
from gpunet.kernels.optimizers import update
from gpunet.kernels.penalties import PARTIAL_SUMS, add_penalty, clip_by_norm, clip_columns, penalty
from gpunet.network.metrics import Answers, Measurement, Metric, mean
from gpunet.training.batches import Order
from gpunet.training.coefficients import Coefficients
from gpunet.training.graph import LaunchMode, StepGraph
from gpunet.training.layer_rates import factors, spans
from gpunet.training.ranks import ALONE, Ranks
from gpunet.training.recipe import Recipe
from gpunet.training.streaming import source_of

#: Bytes of logits up to which the host reads them and measures by itself, sooner than it could ask for kernels.
#: What are more the device measures.
READ = 1 << 16


class TrainingStep:
    """Everything that a training step touches, allocated once, and the operations on it.

    Args:
        model: the model; its parameters are changed in place.
        data: a `Dataset`, on whose training split the model is trained.
        loss, optimizer, schedule: what is minimised, how, and the learning rate of each step.
        recipe: how to train, `fitted` to the data.
        mode: how steps are carried out (see `graph.launch_mode`).
        ranks: the processes that a batch is shared out among; what is said of a batch below is of this one's share.

    Attributes:
        source: what the batches are taken from (see `streaming.py`), and `batches`: what it is and why, in a few words.
        images, labels: its arrays on the device, (n, features) and (n,) or (n, outputs).
        control: the control block (see `kernels/control.py`).
        coefficients: those of the optimizer, a row per step.
        factors, spans: on the learning rate, of each layer and of each stretch of the parameters.
        optimizer_state: the optimizer's vectors, each as long as the parameters.
        x, targets: the batch, (batch, features) and (batch,) or (batch, outputs); there is no `x` for the fused
            kernels, which read the rows where they lie in the data.
        weights: (n,), what each of them weighs (see `Loss.example_weights`), or None where all weigh the same.
        batch_weights, total_weight: (batch,) and (1,), those of the batch and their sum.
        columns: the batch before it is encoded, (batch, columns); `x` itself where nothing is.
        workspaces: those of the layers.
        network: the network as the fused kernels know it, or None where they are not the way.
        losses: (batch,), the loss of each example, where the last step was asked for them.
        readout: what the host reads of a batch, `control`, `targets` and `losses` among it.
        divisor: (1,), what the penalties of a batch are divided by, or None (see `penalise_by_weight`).
        steps_per_launch: how many steps are done with one launch, at most.
        done: how many steps are done.
        boundary: the step (0-based) before which the host has to refill something.
    """

    def __init__(
        self, model: Any, data: Any, loss: Any, optimizer: Any, schedule: Any, recipe: Recipe, mode: LaunchMode,
        ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        self.model, self.data, self.mode = model, data, mode
        self.loss, self.optimizer, self.schedule, self.recipe = loss, optimizer, schedule, recipe
        self.ranks, self.iterations = ranks, int(recipe.iterations or 0)
        whole, iterations = int(recipe.batch_size), self.iterations
        rows = ranks.share(whole)
        self.batch = batch = rows.stop - rows.start
        self.backend = backend = model.backend
        self.factors = factors(model, recipe.layer_rates)
        self.spans = spans(model, self.factors)
        with backend.use():
            self.source, self.batches = source_of(model, data, loss, optimizer, recipe, mode, ranks)
            self.images, self.labels, self.weights = self.source.inputs, self.source.labels, self.source.weights
            self.readout = backend.readout(self._to_be_read())
            read = self.readout.arrays
            self.control, self.losses, self.targets = read["control"], read["losses"], read["targets"]
            self.control[...] = backend.to_device(at.fresh())
            self.losses.fill(0)
            self.batch_weights = read.get("weights")
            self.total_weight = None if self.weights is None else backend.empty(1, model.dtype)
            if ranks.size > 1 and self.weights is None:  # an example counts one of the whole batch, not of the share
                self.batch_weights = backend.to_device(np.ones(batch, model.dtype))
                self.total_weight = backend.to_device(np.array([whole], model.dtype))
            self.coefficients = Coefficients(
                backend, model.dtype, optimizer, schedule, iterations=iterations, control=self.control,
                factors=[span.factor for span in self.spans if span.factor],
            )  # fmt: skip
            self.optimizer_state = list(backend.zeros((len(optimizer.state_names), *model.flat.shape), model.dtype))
            if not mode.fused:
                columns = self.images.shape[1]
                self.x = backend.empty((batch, model.sizes[0]), model.dtype)
                self.columns = self.x if model.encoding is None else backend.empty((batch, columns), model.dtype)
                same = self.images.dtype == model.dtype
                self.raw_rows = None if same else backend.empty((batch, columns), self.images.dtype)
            self.workspaces = [
                layer.workspace(
                    backend, batch, True, mode.fused, mode.precision, rows.start,
                    read.get("logits") if layer.last else None,
                )
                for layer in model.layers
            ]  # fmt: skip
            self.partial_sums = backend.empty(PARTIAL_SUMS, np.float64)
            self.divisor: Any = None
            self._bind()
        self._graph = StepGraph(backend, mode.required) if mode.captured else None
        self.steps_per_launch = mode.steps
        self._penalty: Any = 0.0
        self._warm = False
        self.boundary = self.done = 0

    def _to_be_read(self) -> dict[str, tuple[Any, ...]]:
        """The shapes and types of what the host reads of a batch."""
        model, batch, last = self.model, self.batch, self.model.layers[-1]
        arrays: dict[str, tuple[Any, ...]] = {
            "control": (at.fresh().shape, np.int64),
            "losses": ((batch,), model.dtype),
            "targets": ((batch, *self.labels.shape[1:]), self.labels.dtype),
            "penalty": ((), np.float64),
        }
        if self.weights is not None:
            arrays["weights"] = (batch,), model.dtype
        if self.backend.name == "cpu" or batch * model.outputs * model.dtype.itemsize <= READ:
            arrays["logits"] = (batch, model.outputs), model.dtype, last.output_order(self.backend)
        return arrays

    def _bind(self) -> None:
        self.network = self._fused() if self.mode.fused else None
        self._ready = {want_losses: list(apart(self.operations(want_losses))) for want_losses in (False, True)}

    def __reduce__(self) -> Any:
        # The operations hold on to the arrays that they are bound to, and would go on working on those.
        raise UsageError(
            "a trainer cannot be copied; make another one and hand it the state: restore(*trainer.state())."
        )

    # --- what it does --------------------------------------------------------------------------------

    def _gradients(self, want_losses: bool) -> Iterator[Ready]:
        """From the batch to the gradients of the loss."""
        model, data, control = self.model, self.data, self.control
        layers, workspaces = model.layers, self.workspaces
        ring, losses = self.source.ring, self.losses if want_losses else None
        columns, targets = self.columns, self.targets
        weights, total, ranks = self.batch_weights, self.total_weight, self.ranks
        taken = () if self.weights is None else (self.weights, weights, total)
        yield gather.bind(self.images, self.labels, ring, control, data.scale, columns, targets, self.raw_rows, *taken)
        if taken and ranks.size > 1:
            yield ranks.all_reduce.bind(total, self.backend)
        if model.encoding is not None:
            yield encode.bind(columns, model.encoding, self.x)
        inputs = [self.x, *(workspace.kept for workspace in workspaces)]
        for x, layer, workspace in zip(inputs, layers, workspaces, strict=False):
            yield layer.forward(x, workspace, control)
        z, top, delta, loss = inputs[-1], layers[-1], workspaces[-1].delta, self.loss
        yield loss_step.bind(z, top.bias, targets, loss, delta, top.grad_bias, losses, control, weights, total)
        lowest = next(index for index, each in enumerate(self.factors) if any(each))  # no gradient is wanted below it
        for index in range(len(layers) - 1, lowest - 1, -1):
            below = layers[index - 1].as_below(workspaces[index - 1]) if index > lowest else None
            yield layers[index].backward(inputs[index], workspaces[index], below)

    def _fused_gradients(self, network: fused.Network) -> Iterator[Ready]:
        """From the batch to the gradients, penalties included, and where nothing comes in between to the update."""
        first, *rest = fused.bind(network)
        yield first
        if self.weights is not None and self.ranks.size > 1:
            yield self.ranks.all_reduce.bind(self.total_weight, self.backend)
        yield from rest

    def operations(self, want_losses: bool) -> Iterator[Ready]:
        """What a step does, in its order: batch, forward, loss, backward, update; each bound to its arrays.

        Args:
            want_losses: whether the loss of each example goes to `losses`.
        """
        model, recipe, control, ranks = self.model, self.recipe, self.control, self.ranks
        gradients, decayed = model.flat_gradients, model.weight_count
        yield from self._gradients(want_losses) if self.network is None else self._fused_gradients(self.network)
        if ranks.size > 1:
            yield ranks.all_reduce.bind(gradients, self.backend)
        if (recipe.l2 or recipe.l1) and (self.network is None or not self.network.penalises):
            yield add_penalty.bind(gradients, model.flat, decayed, recipe.l2, recipe.l1, self.divisor)
        updated = self.network is not None and self.network.updates
        for span in self.spans:
            if not span.factor and not updated:
                yield partial(gradients[span.place].fill, 0)
        if recipe.clip_norm is not None:
            yield clip_by_norm.bind(gradients, recipe.clip_norm, self.partial_sums)
        for place, inside, factor in self.spans:
            if factor and not updated:
                p, g, moved = model.flat[place], gradients[place], [vector[place] for vector in self.optimizer_state]
                yield update.bind(p, g, moved, self.optimizer, self.coefficients.tables[factor], control, inside)
        if recipe.max_norm is not None:
            for layer in [layer for layer, each in zip(model.layers, self.factors, strict=True) if each[0]]:
                yield clip_columns.bind(layer.weights, recipe.max_norm)

    @property
    def launches(self) -> list[Ready]:
        """What a step does that writes the loss of each example, launch by launch."""
        return self._ready[True]

    def _fused(self) -> fused.Network:
        """The network as the fused kernels know it."""
        model, recipe, backend, source = self.model, self.recipe, self.backend, self.source
        tables, encoding = self.coefficients.tables, model.encoding
        alone = self.ranks.size == 1 and self.divisor is None
        layers = [
            {
                "kept": workspace.kept, "delta": workspace.delta, "first": workspace.first_row * layer.bias.size,
                "weights": layer.weights, "bias": layer.bias, "inputs": layer.weights.shape[0],
                "outputs": layer.bias.size, "seed": layer.stream.key[0], "word": layer.stream.key[1],
                "weights_table": tables.get(of_weights), "bias_table": tables.get(of_bias),
            }
            for layer, workspace, (of_weights, of_bias) in zip(model.layers, self.workspaces, self.factors, strict=True)
        ]  # fmt: skip
        splits = fused.splits(self.batch, *model.sizes[:2])
        return fused.Network(
            layers, model.activations, model.dropout, self.loss, self.optimizer, self.batch,
            updates=alone and recipe.clip_norm is None, penalises=alone, l2=recipe.l2, l1=recipe.l1, encoding=encoding,
            images=self.images, labels=self.labels, weights=self.weights, order=source.ring, scale=self.data.scale,
            control=self.control, targets=self.targets, batch_weights=self.batch_weights,
            total_weight=self.total_weight, losses=self.losses, parameters=model.flat, gradients=model.flat_gradients,
            sums=backend.empty((splits, self.batch, model.sizes[1]), model.dtype),
            state=self.optimizer_state[0].base if self.optimizer_state else None,
        )  # fmt: skip

    def run_operations(self, want_losses: bool = True) -> None:
        """Ask for a step, for a graph, or for whoever counts it in `done`."""
        for run in self._ready[want_losses]:
            run()

    def run(self, goal: int | None = None) -> None:
        """Do the next step, or as many as one launch of a CUDA graph does.

        Args:
            goal: how many steps will be done when `read` is called; by default one more than there are.

        Raises:
            DeviceError: the step cannot be captured, and a graph was asked for.
            UsageError: all steps of the run are done.
        """
        goal = self.done + 1 if goal is None else goal
        self.done += self._launch(self.ahead(goal), want_losses=self.done == goal - 1)

    def _launch(self, count: int, want_losses: bool) -> int:
        if self._graph is not None:
            return self._graph.launch(self, count)
        self.run_operations(want_losses)
        return 1

    def warm_up(self, metrics: Sequence[Metric]) -> None:
        """Compile, load and capture what steps and their reading need, which may take seconds the first time.

        It does some steps on CUDA and undoes them; on the CPU there is nothing to do.

        Raises:
            DeviceError: the step cannot be captured, and a graph was asked for.
        """
        if self.backend.name == "cpu" or self._warm or self.done >= self.iterations:
            return
        count = self.ahead(min(self.done + self.steps_per_launch + 1, self.iterations))
        changed = (self.model.flat, *self.optimizer_state, self.control)
        kept = [array.copy() for array in changed]
        for steps in (1, 1, count):  # all but the first capture a graph
            try:
                self._launch(steps, want_losses=True)
                self.read(metrics)
            finally:
                for array, before in zip(changed, kept, strict=True):
                    array[...] = before
        self._warm = True

    def ahead(self, goal: int) -> int:
        """Have the host do what the next step needs of it.

        Args:
            goal: how many steps will be done when `read` is called.

        Returns:
            How many steps towards the goal need nothing more of the host.

        Raises:
            UsageError: all steps of the run are done.
        """
        if self.done >= goal:
            return 0
        wanted = min(self.steps_per_launch, goal - self.done)
        if self.boundary - self.done < wanted:
            self.refill(wanted)
        free = min(goal, self.boundary) - self.done
        if self.recipe.l2 or self.recipe.l1:  # the penalty is that of the weights before the last step
            if self.done < goal - 1:
                return min(free, goal - 1 - self.done)
            self._penalty = penalty(self.model.flat, self.model.weight_count, self.recipe.l2, self.recipe.l1)
        return free

    @property
    def order(self) -> Order:
        """The order of the rows."""
        return self.source.order

    @property
    def refused(self) -> str | None:
        """Why the step could not be captured as a graph; None if it was, was not to be, or was not tried yet."""
        return None if self._graph is None else self._graph.refused

    # --- what the host does for it -------------------------------------------------------------------

    def refill(self, steps: int = 1) -> None:
        """Refill what the coming steps read, as many as `steps` if the run has so many; sets `boundary`.

        Raises:
            UsageError: all steps of the run are done.
        """
        if self.done >= self.iterations:
            raise UsageError(f"all {self.iterations:,} steps are done; ask for more iterations.")
        self.boundary = min(self.source.refill(self.done, steps), self.coefficients.refill(self.done))

    def ask_rates_again(self) -> None:
        """Have the learning rates of the coming steps asked of the schedule again."""
        self.coefficients.forget()
        self.boundary = self.done

    def take_over(self, vectors: Sequence[Any], updates: int) -> None:
        """Go on with an optimizer's vectors of an earlier run of the same network, on whatever data that was.

        Args:
            vectors: as of `optimizer_state`; they are copied.
            updates: how often they were updated.
        """
        with self.backend.use():
            for vector, given in zip(self.optimizer_state, vectors, strict=True):
                vector[...] = self.backend.to_device(given)
        self.coefficients.before = updates
        self.ask_rates_again()

    def penalise_by_weight(self) -> None:
        """From here on divide the penalties of a batch by the weights of its examples, as scikit-learn does; without
        weights nothing changes. For whoever trains by himself: no checkpoint knows of it."""
        with self.backend.use():
            self.divisor = self.total_weight
            self._bind()

    def resume_at(self, done: int) -> None:
        """Have `done` steps done, whatever was done before."""
        self.done = done
        with self.backend.use():
            self.control[at.NEXT] = done
            self.control[at.STEP] = max(done - 1, 0)
            self.control[at.NONFINITE] = -1
        self.source.forget()
        self.ask_rates_again()

    def read(self, metrics: Sequence[Metric]) -> tuple[float, dict[str, float], int]:
        """Loss (with penalties) and metrics of the last step's batch, and the first step (0-based) whose loss was not
        finite, -1 if there is none, of all ranks; waits for the device. To be called inside of `Backend.use`."""
        joined, penalised = self.ranks.joined, self.recipe.l2 or self.recipe.l1
        if penalised:
            self.readout.arrays["penalty"][...] = self.penalty
        found = self.readout.read()
        measured = Measurement(metrics, self.backend, joined)
        # The loss has left the logits with their bias.
        logits, targets, xp = self.workspaces[-1].output, self.targets, self.backend.xp
        if "logits" in found:
            logits, targets, xp = found["logits"], found["targets"], np
        measured.add(Answers(logits, targets, self.loss, self.data.preparation, xp))
        samples = self.data.train.weights
        if samples is not None:  # before the first step nobody looks at them
            samples = joined(samples[self.source.rows(max(self.done - 1, 0))])
        loss = float(mean(joined(found["losses"]), joined(found.get("weights"))))
        if penalised:
            loss += float(found["penalty"])
        nonfinite = self.ranks.gathered(int(found["control"][at.NONFINITE]))
        return loss, measured.read(samples), min((step for step in nonfinite if step >= 0), default=-1)

    @property
    def penalty(self) -> Any:
        """That of the weights before the last step that was asked for losses, on the device."""
        return self._penalty if self.divisor is None else self._penalty / self._total()

    def _total(self) -> Any:
        """The weights of the batch, on the device; infinite where it weighs nothing, so that it counts nothing."""
        weights: Any = self.batch_weights
        total = weights.sum()
        return self.backend.xp.where(total > 0, total, np.inf)

    def batch_loss(self) -> Any:
        """The loss (with penalties) of the last step's batch, if it was asked for its losses: one number on the device,
        for which nothing waits. Of several ranks each has that of its share."""
        if self.batch_weights is None:
            return self.losses.mean() + self.penalty
        return (self.losses * self.batch_weights).sum() / self._total() + self.penalty

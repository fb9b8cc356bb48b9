"""The recipe of a training run: every option that a trainer takes, each said once.

A field of `Recipe` is an option in Python (`gn.train(..., l2=1e-4)`), on the command line (`--l2 1e-4`), in a file of
settings and in a sweep, because `Settings` derives from it. A field says how its value is read, what it means, and
by which name a checkpoint keeps it, if the numbers of a run depend on it.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict, cast

import numpy as np

import gpunet.readers as read
from gpunet.data.stored import thrashes
from gpunet.errors import UsageError
from gpunet.kernels.losses import Loss
from gpunet.kernels.optimizers import Optimizer
from gpunet.kernels.tensor_cores import PRECISIONS
from gpunet.keywords import SYNONYMS, checked, suggestion
from gpunet.network.metrics import METRICS, Metric, chosen
from gpunet.notebook import changed
from gpunet.training.callbacks import Callback
from gpunet.training.layer_rates import reader as read_layer_rates
from gpunet.training.ranks import ENGINES

TRAINING = "Training"
REGULARISATION = "Regularisation"
RUN = "Device and log"

#: The write-up's number of steps.
DEFAULT_ITERATIONS = 5000
#: Examples per step; a smaller training set is taken whole.
DEFAULT_BATCH = 100


#: Options that are given elsewhere, by where that is.
ELSEWHERE = {
    "with the optimizer, as in optimizer=gn.Adam(0.001)": "lr learning_rate momentum weight_decay schedule beta1 beta2",
    "with the model, as in gn.MLP([784, 50, 10], dropout=0.2)": "hidden activation dropout init initializer dtype",
    "with the model's backend, as in gn.MLP([784, 50, 10], backend='cuda')": "device backend",
    "with the loss, as in loss=gn.LOSSES.make('softmax-cross-entropy', label_smoothing=0.1)": (
        "label_smoothing class_weights"
    ),
}


def option(
    default: Any,
    reader: read.Reader,
    group: str,
    metavar: str,
    help: str,
    shown: str | None = None,
    names: Iterable[str] = (),
    identity: str | None = None,
) -> Any:
    """A field: its default, how a value is read, and what the help says.

    Args:
        default: the default.
        reader: reads and checks a value (see `gpunet/readers.py`).
        group: the heading that it stands under in the help.
        metavar: what stands for a value in the help.
        help: what it means, in a sentence.
        shown: the default in words.
        names: what completion offers.
        identity: what a checkpoint calls it; None where the numbers of a run do not depend on it.
    """
    details = {"reader": reader, "group": group, "metavar": metavar, "help": help, "shown": shown}
    return dataclasses.field(default=default, metadata={**details, "names": names, "identity": identity})


def metric_list(option: str, value: Any) -> tuple[Any, ...]:
    """Reads metrics: names of `METRICS`, with hyperparameters or without, or metrics of one's own."""
    if value is None or value == "none":
        return ()
    if isinstance(value, (Metric, type)):
        value = [value]
    if isinstance(value, (list, tuple)) and not value:
        return ()
    named = read.specification(METRICS)
    given = read.pieces(option, value, "top-k:k=3,roc-auc")
    return tuple(named(option, each) if isinstance(each, str) else METRICS.make(each) for each in given)


def shuffling(option: str, value: Any) -> str:
    """Reads how examples are shuffled: auto, exact, chunks or off; a truth value is auto or off."""
    words: dict[Any, str] = {"on": "auto", "true": "auto", "false": "off"}
    if isinstance(value, (bool, np.bool_)):
        return "auto" if value else "off"
    value = words.get(value.lower(), value) if isinstance(value, str) else value
    return read.one_of(option, value, ("auto", "exact", "chunks", "off"), "order")


@checked
@dataclasses.dataclass(frozen=True, repr=False)
class Recipe:
    """How to train: the options of `Trainer`, `train` and `training_steps`, checked and brought to one form.

    Raises:
        UsageError: a value cannot be used; the sentence names the option, the value and the remedy.
    """

    batch_size: int | str = option(DEFAULT_BATCH, read.batch_size, TRAINING, "N",
        "Examples per iteration; all for the whole training set.", identity="batch size")  # fmt: skip
    iterations: int | None = option(None, read.optional(read.whole(1, example="5000")), TRAINING, "N",
        "Length of the run in iterations (batches).", shown=f"{DEFAULT_ITERATIONS}", identity="iterations")  # fmt: skip
    epochs: float | None = option(None, read.optional(read.epochs), TRAINING, "N",
        "Length of the run in epochs (passes through the training set), instead of iterations.")  # fmt: skip
    early_stopping: int | None = option(None, read.optional(read.whole(1, example="5")), TRAINING, "N",
        "Stop after this many validations without a better one, and take the best weights.",
        shown="off", identity="early stopping")  # fmt: skip
    validate_every: int | None = option(None, read.optional(read.whole(1, example="500")), TRAINING, "N",
        "Iterations from one validation to the next.", shown="one epoch", identity="validation interval")  # fmt: skip
    metric: str | None = option(None, read.optional(read.text), TRAINING, "NAME",
        "What validations are judged by, by early stopping and a schedule that watches them, and what a sweep chooses "
        f"by: loss or a metric: {', '.join(METRICS)}.", shown="loss, and in a sweep the task's first metric",
        names=("loss", *METRICS), identity="metric")  # fmt: skip
    metrics: Sequence[str | Metric | type[Metric]] = option((), metric_list, TRAINING, "NAME",
        "Metrics to measure beside those of the task.", shown="accuracy for classes", names=METRICS)  # fmt: skip
    seed: int | None = option(None, read.optional(read.seed), TRAINING, "N",
        "Seed of the order of the examples.", shown="the model's", identity="seed of the order")  # fmt: skip
    shuffle: bool | str = option("auto", shuffling, TRAINING, "HOW",
        "A new order of the examples in each epoch: exact, a permutation of all; chunks, where stretches of rows are "
        "shuffled and then the rows of some at a time; auto, exact but for files larger than memory; off, as they lie.",
        names=("auto", "exact", "chunks", "off"), identity="shuffle")  # fmt: skip

    l2: float = option(0.0, read.number(0, example="0.0001"), REGULARISATION, "X",
        "L2 penalty in the loss: X / 2 times the sum of the squared weights.", identity="l2")  # fmt: skip
    l1: float = option(0.0, read.number(0, example="0.0001"), REGULARISATION, "X",
        "L1 penalty in the loss: X times the sum of the absolute weights.", identity="l1")  # fmt: skip
    max_norm: float | None = option(None, read.optional(read.number(above=0, example="3")), REGULARISATION, "X",
        "Largest length of the weights that lead into a neuron.", shown="off", identity="max_norm")  # fmt: skip
    clip_norm: float | None = option(None, read.optional(read.number(above=0, example="1")), REGULARISATION, "X",
        "Largest length of the gradient; a longer one is scaled down.", shown="off", identity="clip_norm")  # fmt: skip

    layer_rates: Sequence[float] | Mapping[Any, float] | str | None = option(None, read_layer_rates, TRAINING, "X,X",
        "Factor on the learning rate of each layer, 0 to leave it as it is; or of layers and parameters by name, "
        "as in 1=0,b3=10.", shown="1 for all", identity="layer rates")  # fmt: skip

    stream: str = option("auto", read.choice(("auto", "on", "off"), "way to hold the data"), RUN, "HOW",
        "Bring the rows of coming batches to the device ahead of the steps, in place of all at once: on, off, or "
        "auto, where they do not fit; changes no number.", names=("auto", "on", "off"))  # fmt: skip
    graph: str = option("auto", read.choice(("auto", "on", "off"), "way to run steps"), RUN, "HOW",
        "Capture a step once as a CUDA graph and replay it: auto, on or off.", names=("auto", "on", "off"))  # fmt: skip
    precision: str = option("float32", read.choice(PRECISIONS, "precision"), RUN, "TYPE",
        "What a GPU computes the matrix products of training in: float32, or on its tensor cores tf32 or bfloat16; "
        "weights, sums, loss and optimizer stay float32.", names=PRECISIONS, identity="precision")  # fmt: skip
    steps_per_launch: int | str = option("auto", read.automatic(read.whole(1, example="10, or auto")), RUN, "N",
        "Steps in one CUDA graph, where so many follow each other without the host; changes no number.",
        names=("auto",))  # fmt: skip
    threads: int | None = option(None, read.optional(read.whole(1, example="1")), RUN, "N",
        "Threads on the CPU, at most; how many there are changes no number.", shown="all cores")  # fmt: skip
    distributed: str | None = option(None, read.optional(read.choice(ENGINES, "engine")), RUN, "HOW",
        "Share every batch out among the processes that mpirun or srun started; gradients are added up by mpi, or "
        "between GPUs by nccl.",
        shown="off", names=ENGINES)  # fmt: skip
    log_every: int = option(100, read.whole(1), RUN, "N", "Iterations from one line of the log to the next.")

    __repr__ = changed

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(
                self, field.name, field.metadata["reader"](self.named(field.name), getattr(self, field.name))
            )
        if self.iterations is not None and self.epochs is not None:
            length = f"{self.named('iterations')} and {self.named('epochs')}"
            raise UsageError(f"{length} both give the length of the run; give one of them.")
        self.judged_by()

    @staticmethod
    def named(name: str) -> str:
        """What a sentence calls an option."""
        return name

    @classmethod
    def of(cls, options: Mapping[str, Any], others: Collection[str] = ()) -> Recipe:
        """The recipe of some options by name.

        Args:
            options: the options.
            others: the names of what else might have been given, for the sentence about an unknown one.

        Raises:
            UsageError: an option is unknown, or its value cannot be used.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                hint = suggestion(name, [*known, *others], SYNONYMS).strip() or f"there are {', '.join(known)}."
                place = next((place for place, names in ELSEWHERE.items() if name in names.split()), None)
                raise UsageError(f"there is no option {name}; {f'it is given {place}.' if place else hint}")
        return cls(**options)

    def judged_by(self) -> Metric | None:
        """The metric that validations are judged by, or None for the loss.

        Raises:
            UsageError: there is no such metric.
        """
        if self.metric is None or self.metric == "loss":
            return None
        for given in self.metrics:
            metric = METRICS.make(given)
            if self.metric in (metric.name, metric.key, given):
                return metric
        return METRICS.make(read.specification(METRICS)(self.named("metric"), self.metric))

    def measured(self, task: str) -> list[Metric]:
        """The metrics to measure for a task ("classification", "multi-label" or "regression"): its own and the others
        that are asked for.

        Raises:
            UsageError: one is not for the task.
        """
        judge = self.judged_by()
        return chosen(task, [*self.metrics, *([] if judge is None else [judge])])

    def check(self, data: Any) -> None:
        """Refuse what does not go with a data set.

        Raises:
            UsageError: the batch is larger than the training set, or there are no validation examples to judge by.
        """
        examples = len(data.train)
        asked = self.batch_size not in ("all", DEFAULT_BATCH)
        if asked and self.batch_size > examples:  # type: ignore[operator]
            read.refuse(self.named("batch_size"), self.batch_size,
                f"the training set has only {examples} examples; take at most as many, or all.")  # fmt: skip
        if data.validation is None and self.early_stopping is not None:
            read.refuse(self.named("early_stopping"), self.early_stopping,
                f"{data.name} has no validation examples; hold some out of the training set.")  # fmt: skip

    def check_ranks(self, count: int) -> None:
        """Refuse a batch that is too small to be shared out among so many ranks; of a `fitted` recipe.

        Raises:
            UsageError: some rank would get no example.
        """
        if int(self.batch_size) < count:
            read.refuse(self.named("batch_size"), self.batch_size,
                f"{count} ranks share every batch out; give each of them an example at least.")  # fmt: skip

    def fitted(self, data: Any, seed: int) -> Recipe:
        """The recipe in numbers: what it leaves open, or says in other units, for a data set.

        Args:
            data: a `Dataset`.
            seed: where the recipe has none.

        Returns:
            A recipe with `iterations` (and without `epochs`), a number for `batch_size`, a `seed`, a `shuffle` that is
            not "auto", and `validate_every` exactly where there are validation examples.

        Raises:
            UsageError: it does not go with the data set.
        """
        self.check(data)
        examples = len(data.train)
        batch = examples if self.batch_size == "all" else int(self.batch_size)
        if self.batch_size == DEFAULT_BATCH:  # nobody asked for it
            batch = min(batch, examples)
        iterations = DEFAULT_ITERATIONS if self.iterations is None else self.iterations
        if self.epochs is not None:
            # Rounded first: 0.07 epochs of 100 examples are 7, and 7.000000000000001 in binary.
            iterations = math.ceil(round(self.epochs * examples / batch, 9))
        every = self.validate_every or math.ceil(examples / batch)
        return dataclasses.replace(
            self,
            batch_size=batch,
            iterations=iterations,
            epochs=None,
            validate_every=None if data.validation is None else every,
            shuffle=self.shuffle if self.shuffle != "auto" else "chunks" if thrashes(data.train.inputs) else "exact",
            seed=seed if self.seed is None else self.seed,
        )

    def options(self) -> Options:
        """The options by name, as a trainer takes them."""
        return cast(Options, {field.name: getattr(self, field.name) for field in dataclasses.fields(Recipe)})

    def identity(self) -> dict[str, Any]:
        """What the numbers of a run depend on, by the names that a checkpoint has for it; of a `fitted` recipe."""
        fields = [field for field in dataclasses.fields(self) if field.metadata["identity"] is not None]
        labels = {field.metadata["identity"]: getattr(self, field.name) for field in fields}
        labels = {name: list(value) if isinstance(value, tuple) else value for name, value in labels.items()}  # as JSON
        # As checkpoints have always had them.
        labels["validation interval"] = self.validate_every or 0
        labels["shuffle"] = {"auto": True, "exact": True, "off": False}.get(str(self.shuffle), self.shuffle)
        return labels


def with_options(recipe: type[Recipe]) -> str:
    """The docstring of a class of options with these, as their fields have them."""
    lines = ["", "", "Args:"]
    for field in dataclasses.fields(recipe):
        default = field.metadata["shown"] or repr(field.default)
        lines.append(f"    {field.name}: {field.metadata['help']} By default {default.strip(chr(39))}.")
    return inspect.cleandoc(recipe.__doc__ or "") + "\n".join(lines)


Recipe.__doc__ = with_options(Recipe)


class Options(TypedDict, total=False):
    """The options of a `Recipe`, for type checkers."""

    batch_size: int | str
    iterations: int | None
    epochs: float | None
    early_stopping: int | None
    validate_every: int | None
    metric: str | None
    metrics: Sequence[str | Metric | type[Metric]]
    seed: int | None
    shuffle: bool | str
    l2: float
    l1: float
    max_norm: float | None
    clip_norm: float | None
    layer_rates: Sequence[float] | Mapping[Any, float] | str | None
    stream: str
    graph: str
    precision: str
    steps_per_launch: int | str
    threads: int | None
    distributed: str | None
    log_every: int


class TrainerOptions(Options, total=False):
    """Everything that `train` takes by name, for type checkers; see `Trainer`."""

    loss: str | Loss | type[Loss] | None
    optimizer: str | Optimizer | type[Optimizer] | None
    callbacks: Sequence[Callback | Callable[[Any], Any]]
    checkpoint_every: int | None
    checkpoint_seconds: float | None

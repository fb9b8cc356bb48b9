"""The settings of a training run: every option of the command line, checked, and what is built from them.

One field of `Settings` is one option: `lr` is `--lr` on the command line, a key in a TOML or JSON file, a column
of a sweep. A field says how its value is read and what it means; a new option is one line here, picked up
by the command line, its help and the run's `config.json`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import gpunet.readers as read
from gpunet.backend import SYNONYMS as DEVICE_SYNONYMS
from gpunet.data.catalog import DATASETS
from gpunet.data.dataset import Dataset
from gpunet.data.load import load_dataset
from gpunet.data.preparation import SCALES, TASKS, Preparation
from gpunet.errors import DataError, UsageError
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.losses import LOSSES, Loss
from gpunet.kernels.optimizers import OPTIMIZERS, Optimizer
from gpunet.keywords import SYNONYMS, checked, suggestion
from gpunet.network.initializers import INITIALIZERS
from gpunet.network.mlp import MLP
from gpunet.registry import Registry
from gpunet.runs.config import FORMAT, check_version
from gpunet.training.recipe import DEFAULT_ITERATIONS, REGULARISATION, RUN, TRAINING, Recipe, with_options
from gpunet.training.recipe import option as setting
from gpunet.training.schedules import SCHEDULES
from gpunet.training.trainer import Trainer

T = TypeVar("T")

DATA = "Data"
NETWORK = "Network"
#: The headings of the help, in their order.
GROUPS = (DATA, NETWORK, TRAINING, REGULARISATION, RUN)

#: Sets of options for a kind of data (see `recipes.py`), and what a header says of them.
RECIPES = {
    "table": "table: what was not asked for is as it suits tables",
    "write-up": "write-up: what was not asked for is as the help says",
}

#: The loss of each task where none is asked for.
LOSS_OF_TASK = {
    "classification": "softmax-cross-entropy",
    "multi-label": "binary-cross-entropy",
    "regression": "mse",
}

#: Hyperparameters of a loss and of an optimizer that are options of their own.
_WITH_LOSS = ("label_smoothing", "class_weights")
_WITH_OPTIMIZER = ("momentum", "weight_decay")


def _takers(option: str, table: Registry[Any, Any], key: str) -> str:
    """What to do about a key that an entry does not have: the entries that have it, or leave it out."""
    names = [name for name in table if key in table.parameters(name)]
    return f"take {option} {' or '.join(names)}, or leave it out" if names else "leave it out"


def _device(option: str, value: Any) -> str:
    """auto, cpu, cuda or cuda:N, or several of the latter."""
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda|cuda:\d{1,4}(,cuda:\d{1,4})*", value):
        return value
    return read.one_of(option, value, ("auto", "cpu", "cuda", "cuda:1"), "device", DEVICE_SYNONYMS)


@checked
@dataclasses.dataclass(frozen=True, repr=False)
class Settings(Recipe):
    """The settings of one run. Values may be given as text, as the command line has them, or as JSON and TOML
    have them; they are checked and brought to one form when the object is made.

    Raises:
        UsageError: a value cannot be used; the sentence names the option, the value and the remedy.
    """

    recipe: str = setting("auto", read.choice(("auto", *RECIPES), "recipe"), TRAINING, "NAME",
        "What options have that are not given: table suits tables, write-up is what is said here; auto takes the one "
        "that suits the data.", names=("auto", *RECIPES))  # fmt: skip
    data: str = setting("mnist-5k", read.text, DATA, "NAME",
        f"Data set: {DATASETS.offer()}, or a folder of one's own.", names=DATASETS)  # fmt: skip
    data_dir: str | None = setting(None, read.optional(read.text), DATA, "DIR",
        "Folder that holds the data set's files.",
        "$GPUNET_DATA, ./MNIST_data, the cache, then a download")  # fmt: skip
    classes: tuple[int | str, ...] | None = setting(None, read.class_list, DATA, "A,B",
        "Keep only these classes, numbered anew from 0: 3,8 sets threes against eights.", "all")  # fmt: skip
    validation: int | float | str = setting("auto", read.validation, DATA, "N",
        "Training examples held out for validation: a count, a fraction, one of several equal parts (2of5), auto for"
        " the data set's own, or none.")  # fmt: skip

    target: tuple[str, ...] | None = setting(None, read.optional(read.listing(read.name, "price")), DATA,
        "NAME", "Target column of a table, by name or by position (from 0; -1 is the last), or several.",
        "found by its name")  # fmt: skip
    features: tuple[str, ...] | None = setting(None, read.optional(read.listing(read.name, "age,sex")), DATA,
        "A,B", "Columns of a table that are inputs.", "all but the target")  # fmt: skip
    drop: tuple[str, ...] | None = setting(None, read.optional(read.listing(read.name, "id")), DATA, "A,B",
        "Columns of a table to leave out.", "none")  # fmt: skip
    task: str = setting("auto", read.choice(("auto", *TASKS), "task"), DATA, "NAME",
        f"What is learned: auto (by the target), {', '.join(TASKS)}.", names=("auto", *TASKS))  # fmt: skip
    scale: str = setting("auto", read.choice(SCALES, "scale"), DATA, "NAME",
        f"How numbers of a table are scaled: {', '.join(SCALES)}; fitted on the training rows.",
        names=SCALES)  # fmt: skip
    missing: str = setting("impute", read.choice(("impute", "flag"), "treatment"), DATA, "NAME",
        "Missing values of a table become the median or the most frequent one; flag adds a column that says where.",
        names=("impute", "flag"))  # fmt: skip
    bins: int = setting(0, read.whole(0, 256, example="16"), DATA, "N",
        "Quantile bins of a piecewise-linear encoding that each number of a table gets beside it.", "none")  # fmt: skip
    clip: str = setting("off", read.choice(("on", "off"), "choice"), DATA, "on|off",
        "Keep predictions of numbers in the range of the training targets.", names=("on", "off"))  # fmt: skip
    test: float | None = setting(0.2, read.optional(read.number(above=0, below=1, example="0.2, or none")), DATA,
        "X", "Share of a table without a test split that is kept for testing, or none.")  # fmt: skip
    group: str | None = setting(None, read.optional(read.name), DATA, "NAME",
        "Column of a table whose rows stay together when a test split is drawn; it is no feature.", "none")  # fmt: skip
    weight: str | None = setting(None, read.optional(read.name), DATA, "NAME",
        "Column of a table with a sample weight for each row; it is no feature.", "none")  # fmt: skip
    image_size: tuple[int, int] | None = setting(None, read.image_size, DATA, "RxC",
        "Size that pictures are brought to, or shape of the pixels in a row.", "their own")  # fmt: skip

    hidden: tuple[int, ...] = setting((50, 30), read.hidden_layers, NETWORK, "N,N",
        "Neurons in each hidden layer; none for softmax or logistic regression.", "50,30")  # fmt: skip
    activation: str | tuple[str, ...] = setting("relu", read.one_or_each(read.entry(ACTIVATIONS), "relu,tanh"), NETWORK,
        "NAME", f"Activation of all hidden layers, or one for each: {ACTIVATIONS.offer()}.",
        names=ACTIVATIONS)  # fmt: skip
    loss: str = setting("auto", read.automatic(read.specification(LOSSES, _WITH_LOSS)), NETWORK,
        "NAME", f"Loss, the mean over the batch: {LOSSES.offer(_WITH_LOSS)}.",
        "by the task: softmax-cross-entropy, binary-cross-entropy or mse", names=LOSSES)  # fmt: skip
    init: str = setting("truncated-normal", read.specification(INITIALIZERS), NETWORK,
        "NAME", f"Initial weights: {INITIALIZERS.offer()}.", names=INITIALIZERS)  # fmt: skip
    init_from: str | None = setting(None, read.optional(read.text), NETWORK, "RUN",
        "Begin with the weights of this run or model file, as far as the layers have the same shape; where all have, "
        "with the run's optimizer too. Without --hidden the layers are those of it.", "fresh weights")  # fmt: skip
    bias: float = setting(0.1, read.number(), NETWORK, "X", "Initial value of every bias.")

    optimizer: str = setting("sgd", read.specification(OPTIMIZERS, _WITH_OPTIMIZER), TRAINING, "NAME",
        f"Optimizer: {OPTIMIZERS.offer(_WITH_OPTIMIZER)}; values as in adam:beta1=0.8.",
        names=OPTIMIZERS)  # fmt: skip
    lr: float | None = setting(None, read.optional(read.hyperparameter(OPTIMIZERS, "learning_rate")), TRAINING, "X",
        "Learning rate, a factor on the gradient.", "the optimizer's own, 0.1 for sgd")  # fmt: skip
    momentum: float | None = setting(None, read.optional(read.hyperparameter(OPTIMIZERS, "momentum", "0.9")),
        TRAINING, "X", "Momentum, from 0 to below 1; with sgd it makes the optimizer momentum.",
        "the optimizer's own")  # fmt: skip
    schedule: str = setting("constant", read.specification(SCHEDULES), TRAINING, "NAME",
        f"How the learning rate changes over the run: {SCHEDULES.offer()}; values as in cosine:warmup=500.",
        names=SCHEDULES)  # fmt: skip
    seed: int = setting(0, read.seed, TRAINING, "N",
        "Seed of all random numbers; the same seed gives the same run.")  # fmt: skip

    weight_decay: float | None = setting(None, read.optional(read.hyperparameter(OPTIMIZERS, "weight_decay", "0.01")),
        REGULARISATION, "X",
        "Decoupled weight decay: every iteration shrinks the weights by the learning rate times X.",
        "the optimizer's own")  # fmt: skip
    dropout: float | tuple[float, ...] = setting(0.0,
        read.one_or_each(read.number(0, below=1, example="0.5"), "0.2,0.5"), REGULARISATION, "P",
        "Probability that a hidden neuron is dropped in a step, for all hidden layers or one for each.")  # fmt: skip
    label_smoothing: float = setting(0.0, read.hyperparameter(LOSSES, "label_smoothing"), REGULARISATION, "S",
        "Share of each label's probability that is spread over all classes, from 0 to below 1.")  # fmt: skip
    class_weights: str | tuple[float, ...] | None = setting(None, read.class_weights, REGULARISATION,
        "W,W", "Weight of each class in the loss; balanced weighs rare classes up.",
        "all alike")  # fmt: skip

    device: str = setting("auto", _device, RUN, "NAME",
        "Device to train on: cpu, cuda, cuda:N or auto, which takes CUDA where it works, else the CPU; cuda:0,cuda:1 "
        "trains one network on both.",
        names=("auto", "cpu", "cuda"))  # fmt: skip
    dtype: str = setting("float32", read.choice(("float32", "float64"), "number type"), RUN, "TYPE",
        "Number type of weights and computation: float32 or float64.", names=("float32", "float64"))  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum is not None and self.optimizer == "sgd" and "momentum" in OPTIMIZERS:
            object.__setattr__(self, "optimizer", "momentum")
        self._check_layers("activation", "an activation")
        self._check_layers("dropout", "a probability")
        for name in _WITH_OPTIMIZER:
            kind = self.optimizer.partition(":")[0]
            if getattr(self, name) is not None and name not in OPTIMIZERS.parameters(kind):
                read.refuse(option(name), getattr(self, name),
                    f"the optimizer {kind} has none; {_takers('--optimizer', OPTIMIZERS, name)}.")  # fmt: skip
        self.make_loss()
        self.make_optimizer()
        construct("--init", self.init, INITIALIZERS)

    @staticmethod
    def named(name: str) -> str:
        """What a sentence calls an option: as the command line has it."""
        return option(name)

    def _check_layers(self, name: str, what: str) -> None:
        given = getattr(self, name)
        if isinstance(given, tuple) and len(given) != len(self.hidden):
            layers = f"{len(self.hidden)} hidden layer{'s' if len(self.hidden) != 1 else ''}"
            read.refuse(option(name), ",".join(map(str, given)),
                f"{what} for each of {len(given)} layers, but the network has {layers}; give one for all "
                "or one for each.")  # fmt: skip

    # -- to and from other forms

    @classmethod
    def from_dict(cls, given: Any, source: str | None = None) -> Settings:
        """Settings from a dict as JSON or TOML holds it; `source` (a file's name) opens the error's sentence.

        Raises UsageError for an unknown key and for a value of the wrong kind.
        """
        try:
            return cls(**check_keys(given))
        except UsageError as error:
            raise UsageError(f"{source}: {error}" if source else str(error)) from None

    def to_dict(self) -> dict[str, Any]:
        """Every setting, as JSON can hold it; `from_dict` takes it back."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def with_changes(self, **changes: Any) -> Settings:
        """A copy with some settings changed; the length of the run may change its unit."""
        check_keys(changes)
        return Settings(**layered(vars(self), changes))

    def resolved(self) -> Settings:
        """A copy in which no value is left to a default elsewhere: learning rate, momentum, length of the run."""
        defaults = OPTIMIZERS.parameters(self.optimizer.partition(":")[0])
        changes: dict[str, Any] = {"lr": self.learning_rate}
        for name in _WITH_OPTIMIZER:
            if getattr(self, name) is None and name in defaults:
                changes[name] = defaults[name].default
        if self.iterations is None and self.epochs is None:
            changes["iterations"] = DEFAULT_ITERATIONS
        return self.with_changes(**changes)

    @property
    def data_options(self) -> dict[str, Any]:
        """How data of one's own is read, as `load_dataset` takes it; only what is not as it is by default."""
        given = {name: getattr(self, name) for name in DATA_OPTIONS}
        return {name: value for name, value in given.items() if value != FIELDS[name].default}

    @property
    def learning_rate(self) -> float:
        """`lr`, or the optimizer's own learning rate where none was given."""
        return self.lr if self.lr is not None else default_learning_rate(self.optimizer)

    def loss_of(self, task: str) -> str:
        """`loss`, or that of the task where none was asked for."""
        return LOSS_OF_TASK.get(task, LOSS_OF_TASK["classification"]) if self.loss == "auto" else self.loss

    def make_loss(self, data: Dataset | None = None) -> Loss:
        """The loss with its hyperparameters; balanced class weights are counted in the training labels of `data`."""
        extra: dict[str, Any] = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        if self.class_weights is not None:
            extra["class_weights"] = _class_weights(self.class_weights, data)
        loss = self.loss_of(self.task if data is None else data.task)
        name = loss.partition(":")[0]
        for key in extra:
            if key not in LOSSES.parameters(name):
                read.refuse(option(key), getattr(self, key),
                    f"the loss {name} has none; {_takers('--loss', LOSSES, key)}.")  # fmt: skip
        return construct("--loss", loss, LOSSES, **extra)

    def make_optimizer(self) -> Optimizer:
        """The optimizer with its schedule and hyperparameters."""
        schedule = construct("--schedule", self.schedule, SCHEDULES, initial=self.learning_rate)
        extra = {name: getattr(self, name) for name in _WITH_OPTIMIZER}
        extra = {name: value for name, value in extra.items() if value is not None}
        return construct("--optimizer", self.optimizer, OPTIMIZERS, learning_rate=schedule, **extra)


Settings.__doc__ = with_options(Settings)


def _place(field: dataclasses.Field[Any]) -> tuple[int, bool]:
    """Where a setting stands in the help: under its heading, and there those of its own before those of the recipe."""
    return GROUPS.index(field.metadata["group"]), field.name in Recipe.__annotations__


#: The settings by name, in the order of the help.
FIELDS: dict[str, dataclasses.Field[Any]] = {
    field.name: field for field in sorted(dataclasses.fields(Settings), key=_place)
}


def option(name: str) -> str:
    """The command line's spelling of a setting: batch_size is --batch-size."""
    return "--" + name.replace("_", "-")


def default_learning_rate(optimizer: str) -> float:
    """The learning rate that an optimizer has of its own."""
    entry = OPTIMIZERS[optimizer.partition(":")[0]]
    return float(entry.default_learning_rate)


def construct(option: str, spec: str, table: Registry[Any, T], **extra: Any) -> T:
    """Make the object that NAME:key=value describes; the sentence of an error begins with the option."""
    try:
        return table.make(spec, **extra)
    except UsageError as error:
        read.refuse(option, spec, str(error))


#: Settings that say how data of one's own is read.
DATA_OPTIONS = (
    "target", "features", "drop", "task", "scale", "missing", "bins", "clip", "test", "group", "weight", "image_size",
)  # fmt: skip


def check_keys(given: Any) -> dict[str, Any]:
    """`given` if it is a dict whose keys are settings, else a sentence that names the nearest setting."""
    if not isinstance(given, Mapping):
        raise UsageError(f"settings are a table of names and values, not {read.shown(given)}.")
    for key, value in given.items():
        if key not in FIELDS and isinstance(value, Mapping):
            section = f"[{read.shown(key)}] is a section"
            raise UsageError(f"{section}; settings stand above all sections, or in a single one called [settings].")
        if key not in FIELDS:
            hint = suggestion(str(key), FIELDS, SYNONYMS).rstrip() or f"there are {', '.join(FIELDS)}."
            raise UsageError(f"unknown setting {read.shown(key)}; {hint}")
    return dict(given)


def layered(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `below` with those of `above` on top; a length in one unit replaces one in the other."""
    result = {**below, **above}
    for unit, other in (("iterations", "epochs"), ("epochs", "iterations")):
        if above.get(unit) is not None and above.get(other) is None:
            result[other] = None
    return result


def read_file(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML or JSON file, unread and unchecked but for their names.

    A file with a table `settings`, such as a run's `config.json`, gives that table; everything beside it is
    a record of facts and is left alone.

    Raises:
        DataError: the file cannot be read.
        UsageError: it holds no settings, or unknown ones.
        CheckpointError: it is the config.json of a run of another version of the format.
    """
    path = Path(path)
    if path.is_dir():
        inside = path / "config.json"
        advice = f"its settings are in {inside}." if inside.exists() else "give a TOML or JSON file of settings."
        raise DataError(f"{path}: this is a folder; {advice}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; give a TOML or JSON file of settings.") from None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        document = (json.loads if kind == "JSON" else tomllib.loads)(content.decode())
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise DataError(f"{path}: this is no {kind} file ({reason.rstrip('.')}).") from None
    if isinstance(document, dict) and isinstance(document.get("settings"), dict):
        if document.get("format") == FORMAT:
            check_version(path, document)
            document["settings"].setdefault("recipe", "write-up")  # as a run has it from before there were others
        document = document["settings"]
    try:
        return check_keys(document)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _class_weights(weights: str | tuple[float, ...], data: Dataset | None) -> tuple[float, ...]:
    if weights != "balanced":
        if data is not None and len(weights) != data.classes:
            read.refuse("--class-weights", ",".join(f"{weight:g}" for weight in weights),
                f"there are {len(weights)} weights and {data.classes} classes; give one for each class.")  # fmt: skip
        return weights  # type: ignore[return-value]
    if data is None:
        return (1.0,)
    return tuple(len(data.train) / (data.classes * max(int(count), 1)) for count in data.train.class_counts())


def build_dataset(
    settings: Settings,
    progress: Callable[[str, int, int | None], None] | None = None,
    preparation: Preparation | None = None,
) -> Dataset:
    """Load the data set, keep the classes asked for and hold out the validation examples.

    Args:
        settings: what to load.
        progress: called as progress(file name, bytes done, bytes total or None) while a file is fetched.
        preparation: that of a network that was trained already, to which the data is brought.

    Raises:
        DataError: the data cannot be had or is damaged.
        UsageError: the settings do not fit the data.
    """
    data = hold_out(settings, load_whole(settings, progress, preparation))
    if preparation is not None:
        data = data.with_preparation(preparation)
    check_data(settings, data)
    return data


def load_whole(
    settings: Settings,
    progress: Callable[[str, int, int | None], None] | None = None,
    preparation: Preparation | None = None,
) -> Dataset:
    """As `build_dataset`, before validation examples are held out."""
    options = settings.data_options
    data = load_dataset(settings.data, settings.data_dir, progress, preparation=preparation, **options)
    known = preparation is not None and preparation.class_names is not None
    if settings.classes is not None and not known:
        try:
            data = data.select_classes(list(settings.classes))
        except UsageError as error:
            read.refuse("--classes", ",".join(map(str, settings.classes)), str(error))
    return data


def hold_out(settings: Settings, data: Dataset) -> Dataset:
    """The data with the validation examples that the settings ask for.

    Raises:
        UsageError: so many cannot be held out.
    """
    held = settings.validation
    if held == "auto":
        return data
    if held == "none":
        return data if data.validation is None else data.hold_out(0)
    try:
        if isinstance(held, str):
            return data.fold(*map(int, held.split("of")))
        return data.hold_out(held)
    except UsageError as error:
        read.refuse("--validation", held, str(error))


def check_data(settings: Settings, data: Dataset) -> None:
    """Refuse settings that do not go with the data.

    Raises:
        UsageError: as it says.
    """
    if data.validation is None:
        if settings.validate_every is not None:
            read.refuse("--validate-every", settings.validate_every,
                f"{data.name} has no validation examples; hold some out with --validation 500.")  # fmt: skip
        if SCHEDULES[settings.schedule.partition(":")[0]].watches_validation:
            read.refuse("--schedule", settings.schedule,
                f"it watches the validation loss, and {data.name} has no validation examples; hold some out with "
                "--validation 500.")  # fmt: skip
    settings.check(data)
    settings.make_loss(data)


def layer_sizes(settings: Settings, data: Dataset) -> list[int]:
    """The neurons in each layer of the network for `data`, inputs and outputs included.

    Two classes under a loss that looks at each output by itself (all but the softmax) need a single output.
    """
    single = data.task == "classification" and data.classes == 2 and not settings.make_loss(data).compares
    return [data.features, *settings.hidden, 1 if single else data.outputs]


def build_model(settings: Settings, data: Dataset, backend: Any) -> MLP:
    """The network for `data`, with its initial weights, on `backend`."""
    activation = settings.activation
    return MLP(
        layer_sizes(settings, data),
        activation=list(activation) if isinstance(activation, tuple) else activation,
        initializer=construct("--init", settings.init, INITIALIZERS),
        bias=settings.bias,
        dropout=list(settings.dropout) if isinstance(settings.dropout, tuple) else settings.dropout,
        seed=settings.seed,
        dtype=settings.dtype,
        backend=backend,
        loss=settings.make_loss(data),
    )


def build_trainer(settings: Settings, model: MLP, data: Dataset) -> Trainer:
    """The trainer for `model` on `data`."""
    return Trainer(model, data, optimizer=settings.make_optimizer(), **settings.options())

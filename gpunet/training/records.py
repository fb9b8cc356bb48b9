"""The records that training yields: one per log step and validation, and one at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from gpunet.network.metrics import metric_of
from gpunet.notebook import Table

if TYPE_CHECKING:
    from gpunet.network.mlp import MLP


R = TypeVar("R", bound="BaseRecord")


class BaseRecord:
    """Base of the records; `event` says which one it is."""

    event: ClassVar[str]

    def as_dict(self) -> dict[str, Any]:
        """The event and the fields that are there, in order, each metric a field; what is None is left out."""
        told: dict[str, Any] = {"event": self.event}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name.endswith("metrics"):
                before = field.name.removesuffix("metrics")
                told.update({before + key: number for key, number in (value or {}).items()})
            elif value is not None:
                told[field.name] = value
        return told

    @classmethod
    def from_dict(cls: type[R], told: Mapping[str, Any]) -> R:
        """A record of what `as_dict` gave; fields that it does not have are left aside.

        Raises:
            TypeError: a field is missing.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        values = {name: told[name] for name in names if name in told}
        for name in names:
            if name.endswith("metrics"):
                before = name.removesuffix("metrics")
                found = {key.removeprefix(before): told[key] for key in told if key.startswith(before)}
                found = {key: value for key, value in found.items() if before + key not in names}
                values[name] = found if before and found else None
        return cls(**values)

    def _metrics(self) -> dict[str, dict[str, float] | None]:
        """The metrics by what stands before their names."""
        held = self.__dict__
        return {name.removesuffix("metrics"): held[name] for name in held if name.endswith("metrics")}

    def __repr__(self) -> str:
        told = ((name, value) for name, value in self.as_dict().items() if name != "event")
        values = (f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}" for name, value in told)
        return f"{type(self).__name__}({', '.join(values)})"

    def __getattr__(self, name: str) -> Any:
        return metric_of(self, self._metrics(), name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.as_dict()]


@dataclass(frozen=True, repr=False)
class StepRecord(BaseRecord):
    """One logged step.

    A metric is an attribute too: `record.accuracy` is `record.metrics["accuracy"]`, and so is
    `record.validation_accuracy`.

    Attributes:
        iteration: how many steps are done, this one included.
        epoch: passes over the training set so far, a fraction.
        metrics, loss: of the batch of this step, as the network was before its update; the loss with
            the L2 and L1 penalties.
        learning_rate: of this step.
        seconds: training time so far, without evaluations.
        steps_per_second: since training began (or was resumed).
        validation_loss, validation_metrics: on the validation split, where it was evaluated after this step.
    """

    event: ClassVar[Literal["step"]] = "step"

    iteration: int
    epoch: float
    metrics: dict[str, float]
    loss: float
    learning_rate: float
    seconds: float
    steps_per_second: float
    validation_loss: float | None = None
    validation_metrics: dict[str, float] | None = None

    @property
    def accuracy(self) -> float:
        """The fraction of the batch answered right, of a classification."""
        return metric_of(self, self._metrics(), "accuracy")

    @property
    def validation_accuracy(self) -> float | None:
        """The fraction of the validation split answered right, of a classification, where it was evaluated."""
        return metric_of(self, self._metrics(), "validation_accuracy")


@dataclass(frozen=True, repr=False)
class ResultRecord(BaseRecord):
    """The end of training: metrics and loss (without penalties) on each split that there is.

    A metric is an attribute too: `result.test_accuracy` is `result.test_metrics["accuracy"]`, or None without a test
    split. (`float | Any` lets type checkers take it for a number where a script knows that there is one.)

    Attributes:
        device: "cpu" or "cuda:N".
        iterations: steps done.
        train_seconds: training time, without evaluations.
        stopped: "completed", "early stopping", "stopped" by a callback, or "interrupted" by Ctrl-C.
        best_iteration: the step whose weights were given back, with early stopping.
    """

    event: ClassVar[Literal["result"]] = "result"

    device: str
    iterations: int
    train_seconds: float
    steps_per_second: float
    train_metrics: dict[str, float]
    train_loss: float
    validation_metrics: dict[str, float] | None
    validation_loss: float | Any
    test_metrics: dict[str, float] | None
    test_loss: float | Any
    stopped: str = "completed"
    best_iteration: int | None = None

    @property
    def train_accuracy(self) -> float:
        """The fraction of the training split answered right, of a classification."""
        return metric_of(self, self._metrics(), "train_accuracy")

    @property
    def validation_accuracy(self) -> float | Any:
        """The fraction of the validation split answered right, of a classification; None without one."""
        return metric_of(self, self._metrics(), "validation_accuracy")

    @property
    def test_accuracy(self) -> float | Any:
        """The fraction of the test split answered right, of a classification; None without one."""
        return metric_of(self, self._metrics(), "test_accuracy")


#: What training yields; `event` tells a type checker too which of the two a record is.
Record = StepRecord | ResultRecord


class TrainingResult:
    """What `train` returns: the result record's fields and metrics, the history and the model.

    Attributes:
        record: the `ResultRecord`, whose fields are those of the result too.
        history: a `StepRecord` for each log step and validation.
        model: the model that was trained.
    """

    device: str
    iterations: int
    train_seconds: float
    steps_per_second: float
    train_metrics: dict[str, float]
    train_loss: float
    train_accuracy: float
    validation_metrics: dict[str, float] | None
    validation_loss: float | Any
    validation_accuracy: float | Any
    test_metrics: dict[str, float] | None
    test_loss: float | Any
    test_accuracy: float | Any
    stopped: str
    best_iteration: int | None

    def __init__(self, record: ResultRecord, history: list[StepRecord], model: MLP) -> None:
        self.record, self.history, self.model = record, history, model

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "record":
            raise AttributeError(name)
        return getattr(self.record, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.record.as_dict()]

    def __repr__(self) -> str:
        record = self.record
        split = next(name for name in ("test", "validation", "train") if getattr(record, f"{name}_metrics") is not None)
        scores = ", ".join(f"{split}_{key}={value:.4g}" for key, value in getattr(record, f"{split}_metrics").items())
        return f"TrainingResult({scores}, {record.iterations:,} iterations, {record.train_seconds:.1f} s)"

    def columns(self) -> dict[str, list[Any]]:
        """The history by columns, one value for each step record, None where a record has none.

        `pandas.DataFrame(result.columns())` and `polars.DataFrame(result.columns())` take it as it is.
        """
        rows = [record.as_dict() for record in self.history]
        names = dict.fromkeys(name for row in rows for name in row if name != "event")
        return {name: [row.get(name) for row in rows] for name in names}

    def _repr_html_(self) -> str:
        record = self.record
        splits = [name for name in ("train", "validation", "test") if getattr(record, f"{name}_metrics") is not None]
        metrics = getattr(record, f"{splits[0]}_metrics")
        rows = [
            [name, *getattr(record, f"{name}_metrics").values(), getattr(record, f"{name}_loss")] for name in splits
        ]
        told = f"{record.iterations:,} iterations in {record.train_seconds:.2f} s on {record.device}, {record.stopped}"
        return Table(told, ["split", *metrics, "loss"], rows)._repr_html_()

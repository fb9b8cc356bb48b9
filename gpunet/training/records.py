"""The records that training yields: one per log step and validation, and one at the end."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from gpunet.network.mlp import MLP


class Record:
    """Base of the records; `event` says which one it is."""

    event: ClassVar[str]

    def as_dict(self) -> dict[str, Any]:
        """The event and the fields that are there, in order; what is None is left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"event": self.event, **{name: value for name, value in values.items() if value is not None}}


@dataclass(frozen=True)
class StepRecord(Record):
    """One logged step.

    Attributes:
        iteration: how many steps are done, this one included.
        epoch: passes over the training set so far, a fraction.
        accuracy, loss: of the batch of this step, as the network was before its update; the loss with
            the L2 and L1 penalties.
        learning_rate: of this step.
        seconds: training time so far, without evaluations.
        steps_per_second: since training began (or was resumed).
        validation_loss, validation_accuracy: on the validation split, where it was evaluated after this step.
    """

    event = "step"

    iteration: int
    epoch: float
    accuracy: float
    loss: float
    learning_rate: float
    seconds: float
    steps_per_second: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class ResultRecord(Record):
    """The end of training: accuracy and loss (without penalties) on each split that there is.

    Attributes:
        device: "cpu" or "cuda:N".
        iterations: steps done.
        train_seconds: training time, without evaluations.
        stopped: "completed", "early stopping", or "stopped" by a callback.
        best_iteration: the step whose weights were given back, with early stopping.
    """

    event = "result"

    device: str
    iterations: int
    train_seconds: float
    steps_per_second: float
    train_accuracy: float
    train_loss: float
    validation_accuracy: float | None
    validation_loss: float | None
    test_accuracy: float | None
    test_loss: float | None
    stopped: str = "completed"
    best_iteration: int | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What `train` returns: the result record's fields, the history and the model."""

    record: ResultRecord
    history: list[StepRecord]
    model: MLP

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "record":
            raise AttributeError(name)
        return getattr(self.record, name)

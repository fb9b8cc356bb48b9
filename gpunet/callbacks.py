"""Callbacks: what is told about a training run while it goes on, and the logs that are kept in this way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpunet.errors import UsageError

if TYPE_CHECKING:
    from gpunet.records import Record
    from gpunet.training import Trainer


class Callback:
    """Base of the callbacks; each method does nothing, so that a callback has those that it needs.

    Callbacks look and do not touch: training gives the same numbers with them and without.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Training begins, or goes on after it was stopped or resumed."""

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """A record was made: a `StepRecord` at each log step and validation, a `ResultRecord` at the end."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """The moment to save `trainer.state()`: every `checkpoint_every` steps or `checkpoint_seconds`, where
        training was stopped, and after the last step. All records up to this step have been told."""


class _Function(Callback):
    """A function that is told of each record."""

    def __init__(self, function: Callable[[Record], Any]) -> None:
        self._function = function

    def on_record(self, record: Record, trainer: Trainer) -> None:
        self._function(record)


def as_callbacks(given: Sequence[Any]) -> list[Callback]:
    """A list of callbacks out of `Callback`s and functions of a record.

    Raises:
        UsageError: something in it is neither.
    """
    callbacks: list[Callback] = []
    for each in given:
        if isinstance(each, Callback):
            callbacks.append(each)
        elif callable(each) and not isinstance(each, type):
            callbacks.append(_Function(each))
        else:
            raise UsageError(f"callbacks are Callback objects or functions of a record, not {each!r}.")
    return callbacks

"""Callbacks: what is told about a training run while it goes on, and the logs that are kept in this way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gpunet.errors import UsageError

if TYPE_CHECKING:
    from gpunet.training.records import Record


class Callback:
    """Base of the callbacks; each method does nothing, so that a callback has those that it needs.

    Training gives the same numbers with callbacks and without, unless `on_step` changes what it finds. Of several
    ranks (see `Trainer.ranks`) each tells the callbacks that have an `on_step`, which may change the weights, and rank
    0 alone the others, which may write and draw.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def on_start(self, trainer: Any) -> None:
        """Training begins, or goes on after it was stopped or resumed."""

    def on_step(self, trainer: Any) -> None:
        """A step was asked of the device, which may not have done it yet.

        The loss of its batch is `trainer.step.batch_loss()`, its gradients are `trainer.model.gradients`. The weights
        may be changed here, and so may the schedule, if `trainer.step.ask_rates_again()` is called then. Reading a
        number waits for the device. Without a callback that has this method no step asks for its losses.
        """

    def on_record(self, record: Record, trainer: Any) -> None:
        """A record was made: a `StepRecord` at each log step and validation, a `ResultRecord` at the end."""

    def on_checkpoint(self, trainer: Any) -> None:
        """The moment to save `trainer.state()`: every `checkpoint_every` steps or `checkpoint_seconds`, where
        training was stopped, and after the last step. All records up to this step have been told."""

    def on_end(self, trainer: Any) -> None:
        """Training ends here; the moment to close files.

        Why it ends: `trainer.error` is the exception that ended it (Ctrl-C is one), or None; `trainer.stopped` says how
        it came to its end, and is None where it was stopped or left and can go on.
        """


class Callbacks(list[Callback]):
    """The callbacks of a run; what is told to them is told to each in turn."""

    def _told(self, trainer: Any) -> list[Callback]:
        return self.each_step if trainer.ranks.rank else self

    def start(self, trainer: Any) -> None:
        """Tell that training begins."""
        for callback in self._told(trainer):
            callback.on_start(trainer)

    @property
    def each_step(self) -> list[Callback]:
        """Those that have an `on_step` of their own."""
        return [callback for callback in self if type(callback).on_step is not Callback.on_step]

    def record(self, record: Record, trainer: Any) -> Record:
        """Tell a record, and give it back."""
        for callback in self._told(trainer):
            callback.on_record(record, trainer)
        return record

    def checkpoint(self, trainer: Any) -> None:
        """Tell that it is time for a checkpoint."""
        for callback in self._told(trainer):
            callback.on_checkpoint(trainer)

    def end(self, trainer: Any) -> None:
        """Tell that training ends here."""
        for callback in self._told(trainer):
            callback.on_end(trainer)


class Timer:
    """When something is due: every so many steps, every so many seconds, both or never.

    Logging, validation and checkpoints each have one. No clock is read between steps: at which step the time will be
    up is told from the pace so far.
    """

    def __init__(self, every: int | None = None, seconds: float | None = None) -> None:
        self.every = every
        self.seconds = seconds
        self._due = math.inf

    def restart(self) -> None:
        """Count the seconds from now."""
        self._due = time.perf_counter() + (math.inf if self.seconds is None else self.seconds)

    def next(self, iteration: int, pace: float) -> float:
        """The step after `iteration` at which to ask `is_due` again; `pace` is seconds per step, 0 if not known."""
        step = math.inf if self.every is None else (iteration // self.every + 1) * self.every
        if self.seconds is not None:
            left = max(self._due - time.perf_counter(), 0.0)
            step = min(step, iteration + (max(math.ceil(left / pace), 1) if pace else 1))
        return step

    def is_due(self, iteration: int) -> bool:
        """Whether it is due after step `iteration`."""
        return (self.every is not None and iteration % self.every == 0) or time.perf_counter() >= self._due


class _Function(Callback):
    """A function that is told of each record."""

    def __init__(self, function: Callable[[Record], Any]) -> None:
        self._function = function

    def on_record(self, record: Record, trainer: Any) -> None:
        self._function(record)


def as_callbacks(given: Sequence[Any]) -> Callbacks:
    """The callbacks out of `Callback`s and functions of a record.

    Raises:
        UsageError: something in it is neither.
    """
    callbacks = Callbacks()
    if isinstance(given, Callback) or not isinstance(given, Iterable):
        raise UsageError(f"callbacks are a list; write callbacks=[...] with {given!r} in it.")
    for each in given:
        if isinstance(each, Callback):
            callbacks.append(each)
        elif callable(each) and not isinstance(each, type):
            callbacks.append(_Function(each))
        else:
            raise UsageError(f"callbacks are Callback objects or functions of a record, not {each!r}.")
    return callbacks

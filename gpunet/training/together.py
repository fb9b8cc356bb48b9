"""Many networks at once: the trainers of several networks are brought to their ends side by side.

Each trainer has its own course (`Trainer.course`): stretches of steps, and after each what the host does there,
validations, records, checkpoints. Here the courses take turns, so that what happens to one network is no matter of
the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from gpunet.errors import UsageError
from gpunet.training.callbacks import as_callbacks
from gpunet.training.progress import ProgressRows
from gpunet.training.records import Record, TrainingResult
from gpunet.training.trainer import Trainer


class Course:
    """How far a trainer has come among others.

    Attributes:
        trainer: the trainer.
        goal: the step that its steps go to next, before which there is nothing to do for the host.
        over: whether it has come to its end.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.goal = trainer.iteration
        self.over = False
        self._course = trainer.course()

    def go_on(self) -> Iterator[Record | Exception]:
        """What the host does at the goal: the records there, or the exception that training ended with."""
        while not self.over:
            try:
                found = next(self._course)
            except StopIteration:
                self.over = True
            except Exception as error:
                self.over = True
                yield error
            else:
                if isinstance(found, int):
                    self.goal = found
                    return
                yield found

    def close(self) -> None:
        """Leave training here, and tell the callbacks so."""
        self._course.close()  # type: ignore[attr-defined]


def steps_together(trainers: Sequence[Trainer]) -> Iterator[tuple[Trainer, Record | Exception]]:
    """Train several networks at once; the records of each as they come, with its trainer.

    Each network's numbers are bitwise those of training it alone. Where one fails, because it diverges or a callback
    of it raises an exception, the exception comes in place of further records, and the others go on. The iterator may
    be left at any record; a later call goes on from there.

    Args:
        trainers: of networks of any shapes, options and data sets.

    Raises:
        UsageError: two of the trainers are of one model.
    """
    if len({id(trainer.model) for trainer in trainers}) < len(trainers):
        raise UsageError("two of the trainers change the same model; give each a model of its own.")
    courses = [Course(trainer) for trainer in trainers]
    try:
        while courses:
            for course in courses:
                for found in course.go_on():
                    yield course.trainer, found
            courses = [course for course in courses if not course.over]
    finally:
        for course in courses:
            course.close()


def train_together(
    trainers: Sequence[Trainer], *, progress: bool = False, callbacks: Sequence[Any] = ()
) -> list[TrainingResult | Exception]:
    """Train several networks at once, each to its end; see `steps_together`.

    Args:
        trainers: of networks of any shapes, options and data sets.
        progress: whether a row for each network is drawn on standard error, if that is a terminal.
        callbacks: further callbacks of each trainer.

    Returns:
        In the order of the trainers what `train` returns, or the exception that a network's training ended with.

    Raises:
        UsageError: two of the trainers are of one model.
    """
    rows = [ProgressRows(trainers)] if progress else []
    for trainer in trainers:
        trainer.callbacks += as_callbacks([*callbacks, *rows])
    records: dict[int, list[Record]] = {id(trainer): [] for trainer in trainers}
    errors: dict[int, Exception] = {}
    with contextlib.ExitStack() as shown:
        for each in rows:
            shown.enter_context(each)
        for trainer, found in steps_together(trainers):
            if isinstance(found, Record):
                records[id(trainer)].append(found)
            else:
                errors[id(trainer)] = found
    return [errors.get(id(trainer)) or trainer.gathered(records[id(trainer)]) for trainer in trainers]

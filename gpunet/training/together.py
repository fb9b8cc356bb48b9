"""Many networks at once: the trainers of several networks are brought to their ends side by side.

Each trainer has its own course (`Trainer.course`): stretches of steps, and after each what the host does there,
validations, records, checkpoints. Here the courses take turns, so that what happens to one network is no matter of
the others.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpunet.checks import needs
from gpunet.errors import DeviceError, UsageError
from gpunet.keywords import checked
from gpunet.training.callbacks import as_callbacks
from gpunet.training.graph import Graphs
from gpunet.training.progress import ProgressRows
from gpunet.training.records import Record, TrainingResult
from gpunet.training.trainer import Trainer

TRAINER_WANTED = "what is trained together must be Trainers, as gn.Trainer(model, data)"


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

    @property
    def arrived(self) -> bool:
        """Whether there is something to do for the host."""
        return self.trainer.iteration >= self.goal or self.trainer.stopping

    def close(self) -> None:
        """Leave training here, and tell the callbacks so."""
        self._course.close()  # type: ignore[attr-defined]


class Joint:
    """The steps of the networks on one CUDA device, launched together: the networks are branches of one graph.

    Attributes:
        graphs: those of their steps.
        refused: why the steps cannot be launched together; None where they can, or were not yet.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.graphs = Graphs(backend)
        self.refused: str | None = None

    def run(self, courses: Sequence[Course]) -> None:
        """Do steps of all until the first has arrived; the host waits for them only then."""
        steps = [course.trainer.step for course in courses]
        before, clock = [step.done for step in steps], time.perf_counter()
        try:
            with self.backend.use():
                self.graphs.take(steps)
                clock = time.perf_counter()
                while free := min(step.ahead(course.goal) for course, step in zip(courses, steps, strict=True)):
                    while free and not any(course.trainer.stopping for course in courses):
                        done = self.graphs.launch(steps, free)
                        free -= done
                        for step in steps:
                            step.done += done
                    if free:
                        break
                self.backend.synchronize()
        except DeviceError as error:
            self.refused = str(error)
        spent = time.perf_counter() - clock
        for course, step, done in zip(courses, steps, before, strict=True):
            course.trainer.took(step.done - done, spent)


@checked
def steps_together(
    trainers: Iterable[Trainer], at_once: int | None = None
) -> Iterator[tuple[Trainer, Record | Exception]]:
    """Train several networks at once; the records of each as they come, with its trainer.

    Each network's numbers are bitwise those of training it alone. Where one fails, because it diverges or a callback
    of it raises an exception, the exception comes in place of further records, and the others go on. The iterator may
    be left at any record; a later call goes on from there.

    Args:
        trainers: of networks of any shapes, options and data sets.
        at_once: how many are trained at a time; the next is taken when one is done. All of them by default.

    Raises:
        UsageError: two of the trainers are of one model.
    """
    waiting, courses = iter(trainers), list[Course]()
    joints: dict[str, Joint] = {}
    try:
        while True:
            for trainer in itertools.islice(waiting, None if at_once is None else at_once - len(courses)):
                needs(trainer, "callbacks", TRAINER_WANTED)
                if any(course.trainer.model is trainer.model for course in courses):
                    raise UsageError("two of the trainers change the same model; give each a model of its own.")
                courses.append(Course(trainer))
            if not courses:
                return
            for course in _bring_on(courses, joints):
                for found in course.go_on():
                    yield course.trainer, found
            courses = [course for course in courses if not course.over]
    finally:
        for course in courses:
            course.close()


def _bring_on(courses: Sequence[Course], joints: dict[str, Joint]) -> list[Course]:
    """Have the steps done that are launched together, each device's up to the first goal there, and give the courses
    whose turn it is: those that have arrived, and all those that do their steps by themselves."""
    turns = []
    together: dict[str, list[Course]] = {}
    for course in courses:
        backend = course.trainer.backend
        joint = joints.setdefault(backend.device, Joint(backend))
        if course.trainer.joins and joint.refused is None:
            together.setdefault(backend.device, []).append(course)
        else:
            turns.append(course)
    for device, those in together.items():
        if not any(course.arrived for course in those):
            joints[device].run(those)
        turns += [course for course in those if course.arrived]
    return turns


@checked
def train_together(
    trainers: Sequence[Trainer], *, progress: bool = False, callbacks: Sequence[Any] = ()
) -> list[TrainingResult | Exception]:
    """Train several networks at once, each to its end; see `steps_together`.

    Args:
        trainers: of networks of any shapes, options and data sets.
        progress: whether a row for each network is drawn, in a terminal on standard error or in a notebook.
        callbacks: further callbacks of each trainer.

    Returns:
        In the order of the trainers what `train` returns, or the exception that a network's training ended with.

    Raises:
        UsageError: two of the trainers are of one model.
    """
    rows = [ProgressRows(trainers)] if progress else []
    for trainer in trainers:
        needs(trainer, "callbacks", TRAINER_WANTED)
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

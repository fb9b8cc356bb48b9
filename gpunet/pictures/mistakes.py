"""Mistakes: the examples that a network gets wrong, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.network.evaluation import Evaluation, evaluate, true_classes
from gpunet.pictures.picture import Options, Subject, percent
from gpunet.pictures.pixels import picture, picture_shape
from gpunet.pictures.sheets import LONGEST, Sheet, Tile
from gpunet.pictures.style import legible_names


@dataclass(frozen=True)
class Mistake:
    """An example that a model got wrong.

    Attributes:
        index: its place in the split.
        truth, answer: the numbers of its class and of the class that the model took it for.
        probability: what the model gave its answer, 0 to 1; None if the model gives no probabilities.
        loss: of the example.
    """

    index: int
    truth: int
    answer: int
    probability: float | None
    loss: float


def worst_mistakes(model: Any, split: Any, found: Evaluation | None = None, count: int | None = None) -> list[Mistake]:
    """The wrong answers of a model on a split, those with the highest loss first; at most `count`.

    Args:
        found: the evaluation of the model on the split, if it is there already.
    """
    found = found or evaluate(model, split)
    truth = true_classes(split.targets)
    wrong = np.flatnonzero(found.predictions != truth)
    wrong = wrong[np.argsort(-found.losses[wrong], kind="stable")][:count]
    shares = None
    if model.loss.gives_probabilities and len(wrong):
        shares = np.asarray(model.backend.to_host(model.predict_proba(split.inputs[wrong])))
    answers = found.predictions
    return [
        Mistake(
            index,
            int(truth[index]),
            int(answers[index]),
            None if shares is None else float(shares[place, answers[index]]),
            float(found.losses[index]),
        )
        for place, index in enumerate(wrong.tolist())
    ]


def class_names(model: Any) -> list[str]:
    """A name for each class of a model."""
    return model.class_names or [str(index) for index in range(max(model.outputs, 2))]


class Mistakes(Sheet):
    """The examples answered wrong, with the answer and its probability."""

    name = "mistakes"
    aliases = ("--wrong",)
    help = "The examples answered wrong, the highest loss first."
    needs = "examples"
    heading = "Mistakes"

    def __init__(self, subject: Subject, count: int | None = None, title: str | None = None) -> None:
        super().__init__(count)
        picture_shape(subject.model.image_shape, "the examples")
        self.subject, self._title = subject, title

    @classmethod
    def of(cls, subject: Subject, options: Options) -> Mistakes:
        """Of a subject's model and split."""
        return cls(subject, options.count)

    def tiles(self, count: int) -> list[Tile]:
        """The worst mistakes."""
        subject, model = self.subject, self.subject.model
        found = worst_mistakes(model, subject.split, subject.evaluation, count)
        wrong = int((subject.evaluation.predictions != subject.evaluation.truth).sum())
        asked = f"{len(subject.split):,} {subject.split_name} examples".replace("  ", " ")
        some = f", {len(found)} shown" if len(found) < wrong else ""
        self.title = f"{wrong:,} of {asked} are answered wrong{some}" if wrong else f"all {asked} are answered right"
        self.title = self._title or self.title
        names = legible_names(class_names(model), LONGEST)
        return [self._tile(one, names[one.truth], names[one.answer]) for one in found]

    def _tile(self, one: Mistake, truth: str, answer: str) -> Tile:
        sure = () if one.probability is None else (f"{percent(one.probability)} sure",)
        words = f"{truth}, read as {answer}"
        long = len(truth) + len(answer) > 6  # names that need two lines
        return Tile(
            picture(self.subject.split.inputs[one.index], self.subject.model.image_shape),
            f"{truth}→{answer}",
            told=((f"{truth},", f"read as {answer}") if long else (words,)) + sure,
            what=words,
        )

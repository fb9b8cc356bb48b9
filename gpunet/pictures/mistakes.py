"""Mistakes: the examples that a network gets wrong, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.pictures.picture import Options, Subject, percent
from gpunet.pictures.pixels import picture, picture_shape
from gpunet.pictures.sheets import LONGEST, Sheet, Tile
from gpunet.pictures.style import legible_names


@dataclass(frozen=True)
class Mistake:
    """An example that a model got wrong.

    Attributes:
        index: its place in the split.
        truth, answer: what was right and what the model answered, in the form of the task: the number of a class, the
            labels as zeros and ones, or the values of a regression.
        probability: what the model gave its answer, 0 to 1; None if the model gives no probabilities.
        loss: of the example.
    """

    index: int
    truth: Any
    answer: Any
    probability: float | None
    loss: float


def worst_mistakes(model: Any, split: Any, found: Evaluation | None = None, count: int | None = None) -> list[Mistake]:
    """The wrong answers of a model on a split, those with the highest loss first; at most `count`.

    The answers of a regression are all off by something.

    Args:
        found: the evaluation of the model on the split, if it is there already.
    """
    found = found or evaluate(model, split)
    wrong = np.flatnonzero(is_wrong(found))
    wrong = wrong[np.argsort(-found.losses[wrong], kind="stable")][:count]
    truth, answers = found.truth[wrong].tolist(), found.predictions[wrong].tolist()
    probabilities: list[float | None] = [None] * len(wrong)
    if model.preparation.task == "classification" and model.loss.gives_probabilities and len(wrong):
        shares = np.asarray(model.backend.to_host(model.predict_proba(split.inputs[wrong])))
        probabilities = shares[np.arange(len(wrong)), found.predictions[wrong]].tolist()
    losses = found.losses[wrong].tolist()
    return [Mistake(*each) for each in zip(wrong.tolist(), truth, answers, probabilities, losses, strict=True)]


def is_wrong(found: Evaluation) -> np.ndarray:
    """(n,) bool, which examples are not answered as they should be; of several labels or values in any of them."""
    different = found.predictions != found.truth
    return different if different.ndim == 1 else different.any(axis=1)


def words(model: Any, answer: Any) -> str:
    """An answer in words: the name of its class, those of its labels, or its values."""
    names = legible_names(class_names(model), LONGEST)
    if model.preparation.task == "classification":
        return names[answer]
    if model.preparation.task == "multi-label":
        return " and ".join(name for name, given in zip(names, answer, strict=True) if given) or "nothing"
    return ", ".join(f"{value:.4g}" for value in (answer if isinstance(answer, list) else [answer]))


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
        wrong = int(is_wrong(subject.evaluation).sum())
        asked = f"{len(subject.split):,} {subject.split_name} examples".replace("  ", " ")
        some = f", {len(found)} shown" if len(found) < wrong else ""
        if model.preparation.task == "regression":
            title = f"the {len(found)} of {asked} with the highest loss"
        else:
            title = f"{wrong:,} of {asked} are answered wrong{some}" if wrong else f"all {asked} are answered right"
        self.title = self._title or title
        return [self._tile(one, words(model, one.truth), words(model, one.answer)) for one in found]

    def _tile(self, one: Mistake, truth: str, answer: str) -> Tile:
        sure = () if one.probability is None else (f"{percent(one.probability)} sure",)
        both = f"{truth}, read as {answer}"
        long = len(truth) + len(answer) > 6  # names that need two lines
        return Tile(
            picture(self.subject.split.inputs[one.index], self.subject.model.image_shape),
            f"{truth}→{answer}",
            told=((f"{truth},", f"read as {answer}") if long else (both,)) + sure,
            what=both,
        )

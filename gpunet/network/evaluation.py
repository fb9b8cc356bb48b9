"""Evaluation: loss, accuracy and confusion matrix of a model on a split, in chunks that bound the memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gpunet.checks import needs
from gpunet.data.arrays import as_flags, as_labels, as_values
from gpunet.data.split import Split
from gpunet.data.stored import selected
from gpunet.errors import DataError
from gpunet.kernels.losses import LOSSES, Loss, loss_step
from gpunet.keywords import checked
from gpunet.network.metrics import (
    CLASSIFICATION,
    MULTI_LABEL,
    Answers,
    Measurement,
    Metric,
    chosen,
    counts,
    mean,
    metric_of,
)
from gpunet.network.metrics import true_classes as true_classes
from gpunet.network.mlp import CHUNK
from gpunet.network.predictor import Predictor
from gpunet.notebook import Table

#: Logits that are held at a time; bounds the memory of an evaluation with very many classes.
LOGITS = 1 << 20


class Examples(Protocol):
    """What can be evaluated: a `Split`, or whatever has inputs and targets under its names."""

    @property
    def images(self) -> Any:
        """The inputs, (n, features)."""

    @property
    def labels(self) -> Any:
        """The targets, (n,) or (n, outputs)."""


#: Up to this many classes an evaluation has a confusion matrix, which takes 8 bytes for each pair of them: 32 MB.
CONFUSION_CLASSES = 2000


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What `evaluate` found.

    A metric is an attribute too: `evaluation.accuracy` is `evaluation.metrics["accuracy"]`.

    Attributes:
        loss: the mean loss per example, without penalties.
        metrics: each metric by its key.
        predictions: what was answered, as `MLP.predict` has it: of classes (n,) int64.
        truth: what was right, in the same form.
        losses: (n,) floats, the loss of each example.
        classes: how many classes or labels there are; 0 of a regression.
    """

    loss: float
    metrics: dict[str, float]
    predictions: np.ndarray
    truth: np.ndarray
    losses: np.ndarray
    classes: int = 0

    def __repr__(self) -> str:
        scores = ", ".join(f"{key}={value:.4g}" for key, value in self.metrics.items())
        return f"Evaluation({scores}, loss={self.loss:.4g}, {len(self.losses):,} examples)"

    def _repr_html_(self) -> str:
        columns = ["class", "precision", "recall", "f1", "support"]
        rows = [[str(index), *found.values()] for index, found in enumerate(self.per_class())]
        return Table(repr(self), columns if rows else ["metric", "value"], rows or self.metrics.items())._repr_html_()

    @property
    def accuracy(self) -> float:
        """The fraction answered right, 0 to 1, of a classification."""
        return metric_of(self, {"": self.metrics}, "accuracy")

    def __getattr__(self, name: str) -> Any:
        return metric_of(self, {"": self.__dict__.get("metrics")}, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.metrics]

    @functools.cached_property
    def confusion(self) -> np.ndarray | None:
        """(k, k) int64, rows the true class, columns the predicted one; None of more than `CONFUSION_CLASSES` classes,
        and where an example has not one class."""
        if self.predictions.ndim > 1 or not 0 < self.classes <= CONFUSION_CLASSES:
            return None
        confusion = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(confusion, (self.truth, self.predictions), 1)
        return confusion

    def per_class(self) -> list[dict[str, float]]:
        """For each class (or label) its precision, recall, F1 score (each 0 to 1; 0 where undefined) and number of
        examples; nothing of a regression."""
        if not self.classes:
            return []
        found = counts(np.stack((self.truth, self.predictions), axis=-1), None, self.classes)
        table = []
        for hit, guesses, count in zip(*(each.tolist() for each in found), strict=True):
            precision = hit / guesses if guesses else 0.0
            recall = hit / count if count else 0.0
            both = precision + recall
            f1 = 2 * precision * recall / both if both else 0.0
            table.append({"precision": precision, "recall": recall, "f1": f1, "support": int(count)})
        return table


@checked
def evaluate(
    model: Predictor,
    split: Examples,
    loss: str | Loss | type[Loss] | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    metrics: Iterable[str | Metric | type[Metric]] = (),
    ranks: Any = None,
) -> Evaluation:
    """Evaluate a model on a split (anything with `.images` and `.labels`).

    The host reads the results once, after the last chunk.

    Args:
        model: the model; it is not changed.
        split: images (n, features) and labels (n,) or soft targets (n, outputs), of any array library.
        loss: another loss than the model's own, a name or a `Loss`.
        progress: called with the examples done and all there are, before each chunk.
        metrics: names of `METRICS` or metrics of one's own, to be measured beside those of the task.
        ranks: the processes that share the examples out, each of which finds the same (see `Trainer.ranks`); by
            default this one does it all.

    Raises:
        UsageError: a metric is unknown or not for the task; the images are of another width than the model takes.
        DataError: the split is None or empty, its labels are not as many as its images, or have no place among the
            model's outputs.
    """
    if split is None:
        raise DataError("there is no such split to evaluate; the data set has none.")
    for has in ("images", "labels"):
        needs(split, has, "a split, such as data.test or gn.Split(inputs, labels), is needed to evaluate a model")
    loss = model.loss if loss is None else LOSSES.make(loss)
    images, classes = split.images, max(model.outputs, 2)
    if len(split.labels) == 0:
        raise DataError("there are no examples to evaluate.")
    labels = targets_of(model, split)
    backend, xp = model.backend, model.backend.xp
    shared = ranks is not None and 1 < ranks.size <= len(labels)
    mine, joined = (ranks.share(len(labels)), ranks.joined) if shared else (slice(0, len(labels)), None)
    count = mine.stop - mine.start
    measured = Measurement(chosen(model.preparation.task, metrics), backend, joined)
    with backend.use(), np.errstate(over="ignore", invalid="ignore"):  # what overflows shows in the loss
        losses, predictions = xp.empty(count, model.dtype), []
        step = max(CHUNK, LOGITS // model.outputs)
        for start in range(0, count, step):
            part = slice(mine.start + start, min(mine.start + start + step, mine.stop))
            if progress is not None:
                progress(start, count)
            logits = model.forward(selected(images, part))
            targets = backend.to_device(labels[part], dtype_of_targets(labels, model.dtype))
            loss_step(logits, None, targets, loss, xp.empty_like(logits), None, losses[start : start + step], None)
            answers = Answers(logits, targets, loss, model.preparation, xp)
            measured.add(answers)
            predictions.append(answers.predicted)
        host_losses, guesses = backend.to_host(losses), backend.to_host(xp.concatenate(predictions))
    host_losses, guesses = measured.joined(host_losses), measured.joined(guesses)
    weights = getattr(split, "weights", None)
    of_loss = loss.example_weights(labels, weights, model.outputs, np)
    truth = Answers(None, labels, loss, model.preparation, np).right
    classes = {CLASSIFICATION: classes, MULTI_LABEL: model.outputs}.get(model.preparation.task, 0)
    return Evaluation(float(mean(host_losses, of_loss)), measured.read(weights), guesses, truth, host_losses, classes)


def dtype_of_targets(targets: np.ndarray, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that targets have on the device of a network of type `dtype`: class indices are int32."""
    return np.dtype(np.int32) if targets.ndim == 1 else dtype


def targets_of(model: Predictor, split: Any) -> np.ndarray:
    """The targets of a split as the model is trained on them, on the host.

    Raises:
        DataError: they are not as many as the inputs, or have no place among the model's outputs.
    """
    count = len(split.images)
    if isinstance(split, Split):
        targets = split.targets
    elif model.preparation.task == "regression":
        targets = as_values(split.labels, count)
    elif model.preparation.task == "multi-label":
        targets = as_flags(split.labels, count)
    else:
        targets = as_labels(split.labels, count)[0]
    classes = max(model.outputs, 2)
    if targets.ndim == 1 and int(targets.max()) >= classes:
        raise DataError(f"label {int(targets.max())} has no place among the model's {classes} classes.")
    if targets.ndim == 2 and targets.shape[1] != model.outputs:
        raise DataError(f"there are targets of {targets.shape[1]} columns for a model of {model.outputs} outputs.")
    return model.preparation.scale_targets(targets)

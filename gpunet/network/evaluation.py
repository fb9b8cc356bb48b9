"""Evaluation: loss, accuracy and confusion matrix of a model on a split, in chunks that bound the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.data.arrays import as_flags, as_labels, as_values
from gpunet.data.dataset import Split
from gpunet.errors import DataError
from gpunet.kernels.losses import LOSSES, loss_step
from gpunet.network.mlp import CHUNK, MLP

#: Logits that are held at a time; bounds the memory of an evaluation with very many classes.
LOGITS = 1 << 20


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        loss: the mean loss per example, without penalties.
        accuracy: the fraction answered right, 0 to 1.
        predictions: (n,) int64, the class of each example.
        confusion: (k, k) int64, rows the true class, columns the predicted one.
        losses: (n,) floats, the loss of each example.
    """

    loss: float
    accuracy: float
    predictions: np.ndarray
    confusion: np.ndarray
    losses: np.ndarray

    def per_class(self) -> list[dict[str, float]]:
        """For each class its precision, recall, F1 score (each 0 to 1; 0 where undefined) and number of examples."""
        right = np.diag(self.confusion)
        predicted, true = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        table = []
        for hit, guesses, count in zip(right.tolist(), predicted.tolist(), true.tolist(), strict=True):
            precision = hit / guesses if guesses else 0.0
            recall = hit / count if count else 0.0
            both = precision + recall
            f1 = 2 * precision * recall / both if both else 0.0
            table.append({"precision": precision, "recall": recall, "f1": f1, "support": count})
        return table


def evaluate(
    model: MLP, split: Any, loss: Any = None, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Evaluate a model on a split (anything with `.images` and `.labels`).

    The host reads the results once, after the last chunk.

    Args:
        model: the model; it is not changed.
        split: images (n, features) and labels (n,) or soft targets (n, outputs), of any array library.
        loss: another loss than the model's own, a name or a `Loss`.
        progress: called with the examples done and all there are, before each chunk.

    Raises:
        UsageError: the images are of another width than the model takes.
        DataError: the split is None or empty, its labels are not as many as its images, or have no place among the
            model's outputs.
    """
    loss = model.loss if loss is None else LOSSES.make(loss)
    if split is None:
        raise DataError("there is no such split to evaluate; the data set has none.")
    images, classes = split.images, max(model.outputs, 2)
    if len(split.labels) == 0:
        raise DataError("there are no examples to evaluate.")
    labels = _targets(model, split)
    if labels.ndim == 1 and int(labels.max()) >= classes:
        raise DataError(f"label {int(labels.max())} has no place among the model's {classes} classes.")
    if labels.ndim == 2 and labels.shape[1] != model.outputs:
        raise DataError(f"there are targets of {labels.shape[1]} columns for a model of {model.outputs} outputs.")
    backend, xp = model.backend, model.backend.xp
    wide = np.float64 if model.dtype == np.float64 else np.float32
    with backend.use(), np.errstate(over="ignore", invalid="ignore"):  # what overflows shows in the loss
        losses = xp.empty(len(labels), wide)
        predictions = xp.empty(len(labels), xp.int64)
        step = max(CHUNK, LOGITS // model.outputs)
        for start in range(0, len(labels), step):
            part = slice(start, min(start + step, len(labels)))
            if progress is not None:
                progress(start, len(labels))
            logits = model.forward(images[part])
            targets = backend.to_device(labels[part], np.int32 if labels.ndim == 1 else model.dtype)
            predictions[part] = classes_of(logits, loss.threshold)
            loss_step(logits, None, targets, loss, xp.empty_like(logits), None, losses[part], None)
        host_losses, guesses = backend.to_host(losses), backend.to_host(predictions)
    truth = true_classes(labels)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, guesses), 1)
    return Evaluation(
        float(host_losses.mean(dtype=np.float64)), float((guesses == truth).mean()), guesses, confusion, host_losses
    )


def _targets(model: MLP, split: Any) -> np.ndarray:
    """The targets of a split as the model is trained on them, checked."""
    count = len(split.images)
    if isinstance(split, Split):
        targets = split.targets
    elif model.preparation.task == "regression":
        targets = as_values(split.labels, count)
    elif model.preparation.task == "multi-label":
        targets = as_flags(split.labels, count)
    else:
        targets = as_labels(split.labels, count)[0]
    return model.preparation.scale_targets(targets)


def classes_of(logits: Any, threshold: float) -> Any:
    """The class (n,) that each row of logits (n, outputs) answers, on their device: the largest, the first of equals.

    With a single output it is 1 where the output is above the threshold.
    """
    return logits[:, 0] > threshold if logits.shape[1] == 1 else logits.argmax(axis=1)


def true_classes(labels: Any) -> Any:
    """The class (n,) of each label, on its device: itself, or the largest of its soft targets."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    if labels.shape[1] == 1:
        return (labels[:, 0] > 0.5).astype(np.int64)
    return labels.argmax(axis=1)

"""Metrics: how good answers are, in the numbers that people compare.

A metric computes something for each example on the device, written once over `xp`, and one number out of all of it
on the host. An entry of `METRICS` is all there is to a metric: evaluation, records, logs, early stopping, sweeps and
pictures take whatever entries a run has, by their names.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.keywords import suggestion
from gpunet.registry import Entry, Registry

CLASSIFICATION = "classification"
MULTI_LABEL = "multi-label"
REGRESSION = "regression"


class Answers:
    """The answers of a network on some examples, and what would have been right.

    Args:
        logits: the outputs (n, outputs) of the last layer.
        targets: class indices (n,), or targets (n, outputs).
        loss: the `Loss`, which knows what logits mean.
        preparation: the `Preparation` of the data, which knows the task and the units of targets.
        xp: the array module of both: that of the device, or NumPy once the host has read them.

    Attributes:
        task: "classification", "multi-label" or "regression".
        classes: (n,) int64, the class that the network answers.
        true_classes: (n,) int64, the class that is right; the largest of soft targets.
        probabilities: (n, outputs), see `Loss.probabilities`.
        labels: (n, outputs) bool, the labels that the network gives.
        true_labels: (n, outputs) bool, the labels that are right.
        values: (n, outputs), the numbers that the network answers, in the units of the targets.
        true_values: (n, outputs), the numbers that are right, in those units.
        predicted, right: the answers and what is right in the form of the task, as `MLP.predict` has them.
    """

    def __init__(self, logits: Any, targets: Any, loss: Any, preparation: Any, xp: Any) -> None:
        self.task = preparation.task
        self.preparation = preparation
        self.logits = logits
        self.targets = targets
        self.loss = loss
        self.xp = xp

    @functools.cached_property
    def classes(self) -> Any:
        return self.loss.classes(self.logits, self.xp)

    @functools.cached_property
    def true_classes(self) -> Any:
        return true_classes(self.targets)

    @functools.cached_property
    def probabilities(self) -> Any:
        return self.loss.probabilities(self.logits, self.xp)

    @functools.cached_property
    def labels(self) -> Any:
        return self.loss.labels(self.logits, self.xp)

    @functools.cached_property
    def true_labels(self) -> Any:
        return _columns(self.targets) > 0.5

    @functools.cached_property
    def values(self) -> Any:
        return self.preparation.in_units(self.loss.values(self.logits, self.xp), self.xp)

    @functools.cached_property
    def true_values(self) -> Any:
        return self.preparation.in_units(_columns(self.targets), self.xp, clip=False)

    @property
    def predicted(self) -> Any:
        if self.task == CLASSIFICATION:
            return self.classes
        return self.labels.astype(np.int64) if self.task == MULTI_LABEL else _squeezed(self.values)

    @property
    def right(self) -> Any:
        if self.task == CLASSIFICATION:
            return self.true_classes
        return self.true_labels.astype(np.int64) if self.task == MULTI_LABEL else _squeezed(self.true_values)


def _columns(targets: Any) -> Any:
    return targets[:, None] if targets.ndim == 1 else targets


def _squeezed(values: Any) -> Any:
    return values[:, 0] if values.shape[1] == 1 else values


def true_classes(targets: Any) -> Any:
    """The class (n,) int64 of each target, of any array library: itself, or the largest of its soft targets."""
    if targets.ndim == 1:
        return targets.astype(np.int64)
    if targets.shape[1] == 1:
        return (targets[:, 0] > 0.5).astype(np.int64)
    return targets.argmax(axis=1)


class Metric(Entry):
    """Base of the metrics.

    Attributes:
        name: the name in the table, and in words.
        key: the name in records, files and attributes: of balanced-accuracy balanced_accuracy.
        higher_is_better: the direction.
        tasks: what it is for: "classification", "multi-label", "regression".
        always_for: the tasks for which it is measured unasked.
        source: where it comes from.
        formula: what it is, for the documentation.
    """

    higher_is_better = True
    tasks: tuple[str, ...] = (CLASSIFICATION,)
    always_for: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    def examples(self, answers: Answers) -> Any:
        """What is to be known of each example, over `answers.xp`, the array module of the answers: an array (n,) or
        (n, ...), or a tuple of such arrays."""
        raise UsageError(f"the metric {self.name!r} computes nothing.")

    def total(self, examples: Any, weights: np.ndarray | None = None) -> float:
        """The metric: of what `examples` gave for all examples, on the host, and the weights (n,) of the examples.

        It is their weighted mean, unless an entry knows better.
        """
        return float(mean(examples, weights))

    def merit(self, value: float) -> float:
        """`value`, or less it; the higher the better."""
        return value if self.higher_is_better else -value


def mean(examples: np.ndarray, weights: np.ndarray | None) -> Any:
    """The mean over the examples, the first axis, weighted by `weights` (n,): sum(w x) / sum(w), in float64."""
    if weights is None:
        return examples.mean(axis=0, dtype=np.float64)
    weights = np.asarray(weights, np.float64)
    return np.tensordot(weights, examples.astype(np.float64), 1) / (weights.sum() or 1.0)


# --- one class an example ------------------------------------------------------------------------------


class Accuracy(Metric):
    """The fraction of the examples that were answered right."""

    name = "accuracy"
    always_for = (CLASSIFICATION,)
    formula = "mean(answer = class)"

    def examples(self, answers: Answers) -> Any:
        return answers.classes == answers.true_classes


class TopK(Metric):
    """The fraction of the examples whose class is among the `k` largest outputs; of equal outputs the first.

    Args:
        k: how many outputs count.
    """

    name = "top-k"
    formula = "mean(class among the k largest outputs)"

    def __init__(self, k: int = 5) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UsageError(f"metric top-k: k must be a whole number of at least 1, not {k!r}.")
        self.k = k

    @property
    def key(self) -> str:
        return f"top_{self.k}"

    def examples(self, answers: Answers) -> Any:
        logits, xp = answers.logits, answers.xp
        if logits.shape[1] == 1:  # two classes
            return answers.classes == answers.true_classes if self.k == 1 else xp.ones(len(logits), bool)
        truth = answers.true_classes[:, None]
        own = xp.take_along_axis(logits, truth, axis=1)
        before = (logits == own) & (xp.arange(logits.shape[1]) < truth)
        return ((logits > own) | before).sum(axis=1) < self.k


class _ByClass(Metric):
    """A metric that needs to know how often which class was answered for which.

    What is kept of an example is (true class, answer), or with labels (outputs, 2) in place of the one.
    """

    tasks: tuple[str, ...] = (CLASSIFICATION, MULTI_LABEL)
    #: "macro" for the mean over the classes (or labels), "micro" for all examples (and labels) in one.
    average = "macro"

    def examples(self, answers: Answers) -> Any:
        if answers.task == MULTI_LABEL:
            return answers.xp.stack((answers.true_labels, answers.labels), axis=-1)
        return answers.xp.stack((answers.true_classes, answers.classes), axis=-1)

    def total(self, examples: np.ndarray, weights: np.ndarray | None = None) -> float:
        hits, answered, true = counts(examples, weights)
        if self.average == "micro":
            return float(self.of(hits.sum(), answered.sum(), true.sum()))
        seen = (answered + true > 0) if examples.ndim == 2 else np.ones(len(hits), bool)
        return _over_classes(self.of(hits[seen], answered[seen], true[seen]))

    def of(self, hits: Any, answered: Any, true: Any) -> Any:
        """The score of each class from how often it was answered rightly, answered, and right."""
        raise NotImplementedError


def counts(
    examples: np.ndarray, weights: np.ndarray | None, classes: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much weight each class (or label) has where it is answered rightly, is answered, and is right.

    Args:
        examples: (n, 2) of true class and answer, or (n, labels, 2) of true label and answer.
        weights: (n,), or None for 1 each.
        classes: how many classes there are, at least; others than those that occur count 0.
    """
    w = np.ones(len(examples)) if weights is None else np.asarray(weights, np.float64)
    true, answer = examples[..., 0], examples[..., 1]
    if examples.ndim == 3:
        return w @ (true * answer), w @ answer, w @ true
    right = true == answer
    bincount = functools.partial(np.bincount, minlength=max(int(examples.max()) + 1, classes))
    return bincount(true[right], w[right]), bincount(answer, w), bincount(true, w)


def _over_classes(scores: np.ndarray) -> float:
    """The mean over the classes; 0 where no example weighs anything, so that there are none."""
    return float(scores.mean()) if len(scores) else 0.0


def _ratio(above: Any, below: Any) -> Any:
    """above / below, and 0 where that is 0 / 0."""
    below = np.asarray(below, np.float64)
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)


class BalancedAccuracy(_ByClass):
    """The mean over the classes that occur of the fraction of their examples that were answered right."""

    name = "balanced-accuracy"
    tasks = (CLASSIFICATION,)
    formula = "mean over classes of recall"
    source = "Brodersen et al. 2010"

    def total(self, examples: np.ndarray, weights: np.ndarray | None = None) -> float:
        hits, _, true = counts(examples, weights)
        return _over_classes(hits[true > 0] / true[true > 0])


class PrecisionMacro(_ByClass):
    """The mean over the classes of the fraction of the answers of a class that were right; 0 for one never answered."""

    name = "precision-macro"
    formula = "mean over classes of hits / answers"

    def of(self, hits: Any, answered: Any, true: Any) -> Any:
        return _ratio(hits, answered)


class RecallMacro(_ByClass):
    """The mean over the classes of the fraction of the examples of a class that were found; 0 for one without any."""

    name = "recall-macro"
    formula = "mean over classes of hits / examples"

    def of(self, hits: Any, answered: Any, true: Any) -> Any:
        return _ratio(hits, true)


class F1Macro(_ByClass):
    """The mean over the classes of the harmonic mean of precision and recall."""

    name = "f1-macro"
    formula = "mean over classes of 2 hits / (answers + examples)"

    def of(self, hits: Any, answered: Any, true: Any) -> Any:
        return _ratio(2 * hits, answered + true)


class PrecisionMicro(PrecisionMacro):
    """The fraction of all answers that were right; with one class an example the accuracy."""

    name = "precision-micro"
    average = "micro"
    formula = "hits / answers, over all classes"


class RecallMicro(RecallMacro):
    """The fraction of all that is right that was found; with one class an example the accuracy."""

    name = "recall-micro"
    average = "micro"
    formula = "hits / examples, over all classes"


class F1Micro(F1Macro):
    """The harmonic mean of precision and recall over all classes; with one class an example the accuracy."""

    name = "f1-micro"
    average = "micro"
    formula = "2 hits / (answers + examples), over all classes"


class RocAuc(Metric):
    """The area under the receiver operating characteristic: how likely an example of a class has a higher score for it
    than one that is not of it, equal scores counting a half. The mean over the classes (each against the others)
    or labels of which there are both kinds of example.
    """

    name = "roc-auc"
    tasks = (CLASSIFICATION, MULTI_LABEL)
    formula = "P(score of one of the class > score of another)"
    source = "Hanley & McNeil 1982"

    def examples(self, answers: Answers) -> tuple[Any, Any]:
        if answers.task == MULTI_LABEL:
            return answers.logits, answers.true_labels
        # A softmax compares the outputs of an example, so that its probabilities are the scores and not its logits.
        scores = answers.probabilities if answers.loss.gives_probabilities else answers.logits
        if scores.shape[1] <= 2:  # the second class against the first
            return scores[:, -1:], answers.true_classes[:, None] == 1
        return scores, answers.true_classes[:, None] == answers.xp.arange(scores.shape[1])

    def total(self, examples: tuple[np.ndarray, np.ndarray], weights: np.ndarray | None = None) -> float:
        scores, true = examples
        w = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
        some, each = true[w > 0].any(axis=0), true[w > 0].all(axis=0)
        areas = [_area(scores[:, k], true[:, k], w) for k in np.flatnonzero(some & ~each)]
        return float(np.mean(areas)) if areas else math.nan


def _area(scores: np.ndarray, true: np.ndarray, weights: np.ndarray) -> float:
    """The weight of the pairs of a true and a false example in which the true one has the higher score."""
    if not np.isfinite(scores).all():
        return math.nan
    order = np.argsort(scores, kind="stable")
    scores, mine, others = scores[order], (weights * true)[order], (weights * ~true)[order]
    first = np.flatnonzero(np.concatenate(([True], scores[1:] != scores[:-1])))  # of each group of equal scores
    mine, others = np.add.reduceat(mine, first), np.add.reduceat(others, first)
    below = np.cumsum(others) - others
    return float((mine * (below + others / 2)).sum() / (mine.sum() * others.sum()))


# --- several labels an example -------------------------------------------------------------------------


class LabelAccuracy(Metric):
    """The fraction of all labels of all examples that are as they should be."""

    name = "label-accuracy"
    tasks = always_for = (MULTI_LABEL,)
    formula = "mean(answer = label) over examples and labels"

    def examples(self, answers: Answers) -> Any:
        return (answers.labels == answers.true_labels).mean(axis=1, dtype=np.float64)


class SubsetAccuracy(Metric):
    """The fraction of the examples whose labels are all as they should be."""

    name = "subset-accuracy"
    tasks = always_for = (MULTI_LABEL,)
    formula = "mean(all answers = labels)"

    def examples(self, answers: Answers) -> Any:
        return (answers.labels == answers.true_labels).all(axis=1)


# --- numbers -------------------------------------------------------------------------------------------


class R2(Metric):
    """The fraction of the variance of the targets that the answers explain, the mean over the outputs.

    1 is perfect, 0 what the mean of the targets would get; a target that never changes counts 1 or 0.
    """

    name = "r2"
    tasks = always_for = (REGRESSION,)
    formula = "1 - sum((t - y)^2) / sum((t - mean(t))^2)"
    source = "Wright 1921"

    def examples(self, answers: Answers) -> tuple[Any, Any]:
        return answers.true_values.astype(np.float64), answers.values.astype(np.float64)

    def total(self, examples: tuple[np.ndarray, np.ndarray], weights: np.ndarray | None = None) -> float:
        true, values = examples
        left = mean(np.square(true - values), weights)
        whole = mean(np.square(true - mean(true, weights)), weights)
        score = 1 - np.divide(left, whole, out=np.where(left > 0, 1.0, 0.0), where=whole > 0)
        return float(score.mean())


class RootMeanSquaredError(Metric):
    """The square root of the mean squared error, in the units of the targets; the mean over the outputs."""

    name = "rmse"
    higher_is_better = False
    tasks = always_for = (REGRESSION,)
    formula = "sqrt(mean((t - y)^2))"

    def examples(self, answers: Answers) -> Any:
        return (answers.values.astype(np.float64) - answers.true_values) ** 2

    def total(self, examples: np.ndarray, weights: np.ndarray | None = None) -> float:
        return float(np.sqrt(mean(examples, weights)).mean())


class MeanAbsoluteError(Metric):
    """The mean absolute error, in the units of the targets; the mean over the outputs."""

    name = "mae"
    higher_is_better = False
    tasks = always_for = (REGRESSION,)
    formula = "mean(|t - y|)"

    def examples(self, answers: Answers) -> Any:
        return abs(answers.values.astype(np.float64) - answers.true_values).mean(axis=1)


METRICS: Registry[type[Metric], Metric] = Registry(
    "metric",
    Metric,
    synonyms={"top-k": "top-5 top5 topk", "roc-auc": "auc", "rmse": "mse", "r2": "r-squared"},
    group="gpunet.metrics",
)
for _entry in (
    Accuracy, TopK, BalancedAccuracy, PrecisionMacro, RecallMacro, F1Macro, PrecisionMicro, RecallMicro, F1Micro,
    RocAuc, LabelAccuracy, SubsetAccuracy, R2, RootMeanSquaredError, MeanAbsoluteError,
):  # fmt: skip
    METRICS.register(_entry)


def chosen(task: str, further: Iterable[Any] = ()) -> list[Metric]:
    """The metrics that are always measured for a task, the one to rank by first, and `further` ones of one's own.

    Args:
        task: "classification", "multi-label" or "regression".
        further: names, classes of metrics or metrics.

    Raises:
        UsageError: a metric is unknown, or is not for the task.
    """
    found = {metric.key: metric for entry in METRICS.values() if task in entry.always_for for metric in [entry()]}
    for given in [further] if isinstance(further, (str, Metric)) else further:
        metric = METRICS.make(given)
        if task not in metric.tasks:
            fitting = ", ".join(name for name, entry in METRICS.items() if task in entry.tasks)
            raise UsageError(
                f"the metric {metric.name} is for {' and '.join(metric.tasks)}; for {task} take {fitting}."
            )
        found[metric.key] = metric
    return list(found.values())


class Measurement:
    """What some metrics find on one chunk of examples after the other; the host reads it once, at the end.

    Args:
        metrics: the metrics.
        backend: the device of the answers, which the host may have read already.
        joined: what makes one array of what several processes have, on each of them.
    """

    def __init__(self, metrics: Sequence[Metric], backend: Any, joined: Callable[[Any], Any] | None = None) -> None:
        self.metrics = metrics
        self.backend = backend
        self.joined = joined or (lambda array: array)
        self._chunks: list[list[tuple[Any, ...]]] = []

    def add(self, answers: Answers) -> None:
        """Take note of a chunk."""
        found = [metric.examples(answers) for metric in self.metrics]
        self._chunks.append([each if isinstance(each, tuple) else (each,) for each in found])

    def read(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """Each metric by its key; `weights` (n,) are those of the examples."""
        result = {}
        for metric, chunks in zip(self.metrics, zip(*self._chunks, strict=True), strict=True):
            columns = [self.joined(self._on_host(parts)) for parts in zip(*chunks, strict=True)]
            result[metric.key] = metric.total(columns[0] if len(columns) == 1 else tuple(columns), weights)
        return result

    def _on_host(self, parts: Sequence[Any]) -> np.ndarray:
        if len(parts) == 1:
            return self.backend.to_host(parts[0])
        with self.backend.use():
            return self.backend.to_host(self.backend.xp.concatenate(parts))


def metric_of(owner: Any, metrics: Mapping[str, Mapping[str, float] | None], name: str) -> Any:
    """The metric that an attribute of `owner` means, for its `__getattr__`.

    Args:
        owner: what has the attribute.
        metrics: metrics by what stands before their names: "validation_"; None where they were not measured, which
            gives None if they were elsewhere.
        name: the attribute.

    Raises:
        AttributeError: there is no such metric.
    """
    known = {key for found in metrics.values() for key in found or ()}
    if not name.startswith("_"):
        for before in sorted(metrics, key=len, reverse=True):
            if name.startswith(before) and (key := name.removeprefix(before)) in known:
                return (metrics[before] or {}).get(key)
    hint = suggestion(name, [before + key for before, found in metrics.items() for key in ("loss", *(found or ()))])
    there = f"; {hint}it has the metrics {', '.join(sorted(known))}" if known else ""
    raise AttributeError(f"{type(owner).__name__} has no {name!r}{there}.")

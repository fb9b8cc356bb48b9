"""Metrics: against scikit-learn's, against values by hand, on both devices, and one of one's own everywhere."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data.preparation import Preparation
from gpunet.network.metrics import METRICS, Answers, Measurement, Metric, chosen

TASKS = ("classification", "multi-label", "regression")


def measured(
    names: list[str], logits: Any, targets: Any, loss: str, task: str, weights: Any = None, backend: Any = None
) -> dict[str, float]:
    """Metrics of answers that come in two chunks."""
    backend = backend or gn.get_backend("cpu")
    found = Measurement([METRICS.make(name) for name in names], backend)
    for part in (slice(0, 7), slice(7, None)):
        with backend.use():
            x, y = backend.to_device(np.asarray(logits)[part]), backend.to_device(np.asarray(targets)[part])
            found.add(Answers(x, y, gn.LOSSES.make(loss), Preparation(task=task), backend.xp))
    return found.read(weights)


def examples(classes: int, seed: int = 0, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits with ties, labels that they are often right about, and weights."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count).astype(np.int32)
    logits = np.round(rng.standard_normal((count, classes)) * 2) / 2
    logits[np.arange(count), labels] += 1
    return logits.astype(np.float32), labels, rng.uniform(0.1, 3, count)


SCORES = [f"{score}-{average}" for score in ("precision", "recall", "f1") for average in ("macro", "micro")]
BY_CLASS = ["accuracy", "balanced-accuracy", *SCORES]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_classes_as_scikit_learn_counts_them(backend: gn.Backend, classes: int, weighted: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    logits, labels, weights = examples(classes)
    w = weights if weighted else None
    found = measured([*BY_CLASS, "roc-auc"], logits, labels, "softmax-cross-entropy", "classification", w, backend)
    guesses = logits.argmax(axis=1)
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    options: dict[str, Any] = {"sample_weight": w}
    expected = {
        "accuracy": sk.accuracy_score(labels, guesses, **options),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, guesses, **options),
    }
    for average in ("macro", "micro"):
        for name in ("precision", "recall", "f1"):
            score = getattr(sk, f"{name}_score")
            expected[f"{name}_{average}"] = score(labels, guesses, average=average, zero_division=0, **options)
    # Equal logits make equal probabilities, up to the last bits, which would break the ties.
    if classes == 2:
        expected["roc_auc"] = sk.roc_auc_score(labels, np.round(likely[:, 1], 6), **options)
    else:
        one_hot = labels[:, None] == np.arange(classes)
        expected["roc_auc"] = sk.roc_auc_score(one_hot, np.round(likely, 6), average="macro", **options)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-3 if key == "roc_auc" else 1e-12), key


@pytest.mark.parametrize("weighted", [False, True])
def test_labels_as_scikit_learn_counts_them(backend: gn.Backend, weighted: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, (50, 4)).astype(np.float32)
    logits = (rng.standard_normal((50, 4)) + labels).astype(np.float32)
    w = rng.uniform(0.1, 2, 50) if weighted else None
    names = ["label-accuracy", "subset-accuracy", "roc-auc", *SCORES]
    found = measured(names, logits, labels, "binary-cross-entropy", "multi-label", w, backend)
    guesses = logits > 0
    options: dict[str, Any] = {"sample_weight": w}
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(labels, guesses, **options))
    assert found["label_accuracy"] == pytest.approx(np.average((guesses == labels).mean(axis=1), weights=w))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, logits, **options))
    for average in ("macro", "micro"):
        for name in ("precision", "recall", "f1"):
            score = getattr(sk, f"{name}_score")(labels, guesses, average=average, **options)
            assert found[f"{name}_{average}"] == pytest.approx(score), (name, average)


@pytest.mark.parametrize("weighted", [False, True])
def test_numbers_as_scikit_learn_measures_them(backend: gn.Backend, weighted: bool) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    targets = rng.standard_normal((40, 3)).astype(np.float32)
    values = (targets + rng.standard_normal((40, 3))).astype(np.float32)
    w = rng.uniform(0.1, 2, 40) if weighted else None
    found = measured(["r2", "rmse", "mae"], values, targets, "mse", "regression", w, backend)
    assert found["r2"] == pytest.approx(sk.r2_score(targets, values, sample_weight=w), rel=1e-6)
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(targets, values, sample_weight=w), rel=1e-6)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(targets, values, sample_weight=w), rel=1e-6)


def test_the_largest_outputs(backend: gn.Backend) -> None:
    logits = np.array([[3, 1, 2, 0], [0, 0, 0, 0], [1, 2, 3, 4]], np.float32)
    labels = np.array([2, 1, 0], np.int32)
    for k, right in [(1, 0), (2, 2), (3, 2), (4, 3)]:  # of the equal outputs of the second row the first count
        found = measured([f"top-k:k={k}"], logits, labels, "softmax-cross-entropy", "classification", None, backend)
        assert found == {f"top_{k}": pytest.approx(right / 3)}


def test_a_single_output_has_two_classes() -> None:
    logits, labels = np.array([[-1.0], [2], [0.5], [-3]]), np.array([0, 1, 0, 1], np.int32)
    found = measured(["accuracy", "roc-auc", "top-k:k=2"], logits, labels, "binary-cross-entropy", "classification")
    assert found == {"accuracy": 0.5, "roc_auc": 0.5, "top_2": 1.0}


def test_what_cannot_be_ranked_or_explained() -> None:
    one_class = measured(["roc-auc"], np.eye(3)[:2], np.array([0, 0]), "softmax-cross-entropy", "classification")
    assert math.isnan(one_class["roc_auc"])
    same = np.ones((4, 1))
    assert measured(["r2"], same, same, "mse", "regression") == {"r2": 1.0}
    assert measured(["r2"], same + 1, same, "mse", "regression") == {"r2": 0.0}


def test_examples_that_weigh_nothing_count_for_nothing() -> None:
    logits, labels = np.eye(3)[[0, 1, 1, 2]], np.array([0, 0, 1, 2], np.int32)
    names = ["balanced-accuracy", "precision-macro", "f1-macro", "f1-micro"]
    told = "softmax-cross-entropy", "classification"
    assert set(measured(names, logits, labels, *told, np.zeros(4)).values()) == {0.0}
    for weights in (np.zeros(4), np.array([1.0, 1, 0, 0])):  # of nothing, and of one class alone
        assert math.isnan(measured(["roc-auc"], logits, labels, *told, weights)["roc_auc"])
    two = measured(["roc-auc"], logits, labels, *told, np.array([1.0, 0, 1, 0]))
    assert two == measured(["roc-auc"], logits[[0, 2]], labels[[0, 2]], *told)


def test_every_task_has_metrics_of_its_own_and_takes_no_others() -> None:
    assert [[metric.key for metric in chosen(task)] for task in TASKS] == [
        ["accuracy"], ["label_accuracy", "subset_accuracy"], ["r2", "rmse", "mae"],
    ]  # fmt: skip
    with pytest.raises(gn.UsageError, match="the metric r2 is for regression; for classification take accuracy, top-k"):
        chosen("classification", ["r2"])
    with pytest.raises(gn.UsageError, match="unknown metric 'acuracy'; did you mean accuracy"):
        chosen("classification", ["acuracy"])


class Confidence(Metric):
    """A metric of one's own: the mean probability of the right class."""

    name = "mean-confidence"

    def examples(self, answers: Answers) -> Any:
        return answers.xp.take_along_axis(answers.probabilities, answers.true_classes[:, None], axis=1)[:, 0]


def test_a_metric_of_ones_own_is_everywhere(backend: gn.Backend, tmp_path: Path) -> None:
    logits, labels, _ = examples(3)
    data = gn.Dataset.from_arrays(logits, labels, validation=20)
    model = gn.MLP([3, 8, 3], backend=backend)
    log = gn.CsvLog(tmp_path / "log.csv")
    result = gn.train(
        model, data, iterations=20, batch_size=10, metrics=[Confidence(), "roc-auc"], metric="mean-confidence",
        early_stopping=50, callbacks=[log],
    )  # fmt: skip
    assert list(result.history[-1].metrics) == ["accuracy", "mean_confidence", "roc_auc"]
    best = max((record for record in result.history), key=lambda record: record.validation_mean_confidence)
    assert result.best_iteration == best.iteration
    assert result.validation_mean_confidence == pytest.approx(best.validation_mean_confidence)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert float(rows[-1]["validation_mean_confidence"]) == result.history[-1].validation_mean_confidence
    evaluation = gn.evaluate(model, data.validation, metrics=[Confidence])
    assert evaluation.mean_confidence == pytest.approx(result.validation_mean_confidence)
    likely = backend.to_host(model.predict_proba(data.validation.inputs))
    assert evaluation.mean_confidence == pytest.approx(likely[np.arange(20), data.validation.targets].mean())
    assert {"mean_confidence", "accuracy"} <= set(dir(evaluation))
    assert result.record.as_dict()["validation_mean_confidence"] == result.validation_mean_confidence
    with pytest.raises(AttributeError, match="it has the metrics accuracy, mean_confidence"):
        _ = evaluation.r2


def test_what_stopping_is_judged_by() -> None:
    logits, labels, _ = examples(3, seed=2)
    data = gn.Dataset.from_arrays(logits, labels, validation=30)
    stops = {}
    for metric in (None, "loss", "accuracy"):
        model = gn.MLP([3, 4, 3], seed=1)
        options: Any = {"optimizer": gn.SGD(1.0), "iterations": 60, "batch_size": 10, "validate_every": 1}
        result = gn.train(model, data, early_stopping=100, metric=metric, **options)
        key = "validation_accuracy" if metric == "accuracy" else "validation_loss"
        sign = -1 if metric == "accuracy" else 1
        best = min(result.history, key=lambda record: sign * getattr(record, key))
        assert result.best_iteration == best.iteration
        stops[metric] = result.best_iteration
    assert stops[None] == stops["loss"] != stops["accuracy"]
    with pytest.raises(gn.UsageError, match="metric acuracy: unknown metric; did you mean accuracy"):
        gn.train(model, data, metric="acuracy")


def test_of_very_many_classes_there_is_no_confusion_matrix() -> None:
    data = gn.Dataset.from_arrays(np.ones((4, 2), np.float32), np.array([0, 1, 2, 2999]), classes=3000)
    evaluation = gn.evaluate(gn.MLP([2, 3000]), data.train)
    assert evaluation.confusion is None
    assert len(evaluation.per_class()) == 3000
    assert evaluation.per_class()[2999]["support"] == 1

"""Evaluation: loss, accuracy, confusion matrix and the measures per class."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import gpunet as gn
from gpunet.network.mlp import CHUNK


def telling(outputs: int, backend: gn.Backend | str = "cpu", **options: object) -> gn.MLP:
    """A network that hands on its inputs as logits."""
    model = gn.MLP([outputs, outputs], bias=0.0, backend=backend, **options)
    model.set_parameter(0, np.eye(outputs))
    return model


def split(guesses: np.ndarray, labels: np.ndarray, classes: int) -> gn.Split:
    return gn.Split((np.eye(classes) * 5)[guesses].astype(np.float32), labels, classes=classes)


@pytest.mark.parametrize("size", [1, 10, CHUNK, 2 * CHUNK + 1])
def test_counts_agree_with_counting(backend: gn.Backend, size: int, rng: np.random.Generator) -> None:
    guesses, labels = rng.integers(0, 4, (2, size))
    found = gn.evaluate(telling(4, backend), split(guesses, labels, 4))
    np.testing.assert_array_equal(found.predictions, guesses)
    assert found.accuracy == pytest.approx((guesses == labels).mean(), abs=1e-12)
    wanted = np.zeros((4, 4), int)
    for truth, guess in zip(labels, guesses, strict=True):
        wanted[truth, guess] += 1
    np.testing.assert_array_equal(found.confusion, wanted)
    assert found.confusion.dtype == np.int64
    p = np.exp(5) / (np.exp(5) + 3)
    each = np.where(guesses == labels, -np.log(p), -np.log((1 - p) / 3))
    assert found.loss == pytest.approx(each.mean(), rel=1e-5)


def test_measures_per_class() -> None:
    #                  truth 0      truth 1   truth 2
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    guesses = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    table = gn.evaluate(telling(4), split(guesses, labels, 4)).per_class()
    assert [row["support"] for row in table] == [4, 3, 1, 0]
    assert [row["precision"] for row in table] == [0.75, 0.5, 0, 0]
    assert [row["recall"] for row in table] == [0.75, pytest.approx(2 / 3), 0, 0]
    assert [row["f1"] for row in table] == [0.75, pytest.approx(4 / 7), 0, 0]


@pytest.mark.parametrize(
    ("loss", "threshold"),
    [("binary-cross-entropy", 0.0), ("hinge", 0.0), ("squared-hinge", 0.0), ("perceptron", 0.0), ("mse", 0.5),
     ("mae", 0.5), ("huber", 0.5)],
)  # fmt: skip
def test_an_output_means_class_1_or_its_label_above_the_threshold_of_its_loss(loss: str, threshold: float) -> None:
    outputs = threshold + np.array([[-1e-3], [0.0], [1e-3]], np.float32)  # at the threshold itself it is class 0
    data = gn.Split(outputs, np.array([0, 0, 1]), classes=2)
    model = gn.MLP([1, 1], initializer=gn.Fill(1.0), bias=0.0, loss=loss)
    found = gn.evaluate(model, data)
    assert found.predictions.tolist() == [0, 0, 1]
    assert found.confusion.tolist() == [[2, 0], [0, 1]]
    assert found.accuracy == 1
    assert model.predict(outputs).tolist() == [0, 0, 1]
    both = gn.Split(outputs, np.array([[0, 0], [0, 0], [1, 1]]), task="multi-label")
    model = gn.MLP([1, 2], initializer=gn.Fill(1.0), bias=0.0, loss=loss)
    model.preparation = both.preparation
    assert gn.evaluate(model, both).predictions.tolist() == [[0, 0], [0, 0], [1, 1]]
    assert model.predict(outputs).tolist() == [[0, 0], [0, 0], [1, 1]]


def test_a_single_output_has_two_classes(backend: gn.Backend) -> None:
    model = gn.MLP([1, 1], initializer=gn.Fill(1.0), bias=0.0, loss="binary-cross-entropy", backend=backend)
    images = np.array([[-2.0], [-1.0], [1.0], [3.0]], np.float32)
    found = gn.evaluate(model, gn.Split(images, np.array([0, 1, 1, 1]), classes=2))
    assert found.predictions.tolist() == [0, 0, 1, 1]
    assert found.confusion.tolist() == [[1, 0], [1, 2]]
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx(np.log1p(np.exp([-2.0, 1.0, -1.0, -3.0])).mean(), rel=1e-6)


def test_soft_targets_count_as_their_largest(backend: gn.Backend) -> None:
    targets = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32)
    found = gn.evaluate(telling(3, backend), gn.Split((np.eye(3) * 5)[[0, 1]].astype(np.float32), targets))
    assert found.accuracy == 0.5
    assert found.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_another_loss_can_be_asked_for() -> None:
    data = split(np.array([0, 1]), np.array([0, 0]), 3)
    squares = gn.evaluate(telling(3), data, "mse")
    assert squares.loss == pytest.approx((16 / 3 + (25 + 1 - 0) / 3) / 2, rel=1e-6)


def test_the_model_is_left_alone(mnist_5k: gn.Dataset) -> None:
    model = gn.MLP([784, 20, 10], dropout=0.5)
    before = model.flat.copy()
    first, second = gn.evaluate(model, mnist_5k.test), gn.evaluate(model, mnist_5k.test)
    np.testing.assert_array_equal(model.flat, before)
    assert first.loss == second.loss


def test_what_cannot_be_evaluated_is_told() -> None:
    model = telling(3)
    with pytest.raises(gn.UsageError, match="takes 3 features per example, and the data has 4"):
        gn.evaluate(model, gn.Split(np.zeros((2, 4), np.float32), np.array([0, 1])))
    with pytest.raises(gn.DataError, match="label 3 has no place among the model's 3 classes"):
        gn.evaluate(model, gn.Split(np.zeros((2, 3), np.float32), np.array([0, 3])))
    with pytest.raises(gn.DataError, match=r"targets of 4 columns .* 3 outputs"):
        gn.evaluate(model, gn.Split(np.zeros((2, 3), np.float32), np.full((2, 4), 0.25, np.float32)))
    with pytest.raises(gn.DataError, match="no such split"):
        gn.evaluate(model, gn.Dataset.from_arrays(np.zeros((3, 3), np.float32), np.arange(3)).test)
    with pytest.raises(gn.UsageError, match="unknown loss 'entropy'"):
        gn.evaluate(model, split(np.array([0]), np.array([0]), 3), "entropy")
    with pytest.raises(gn.DataError, match="no examples"):
        gn.evaluate(model, gn.Split(np.zeros((2, 3), np.float32), np.array([0, 1])).take(slice(0, 0)))


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([0, -1, 1], "must be 0 or more"),
        ([0, 1], "2 labels for 3 images"),
        ([0, 1, 5], "no place among the model's 2 classes"),
        ([0, 0.5, 1], "whole class indices"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list, told: str) -> None:
    with pytest.raises(gn.DataError, match=told):
        gn.evaluate(telling(2), SimpleNamespace(images=np.zeros((3, 2), np.float32), labels=np.array(labels)))


def test_labels_may_come_from_anywhere(backend: gn.Backend) -> None:
    images = np.eye(3, dtype=np.float32)
    wanted = gn.evaluate(telling(3), gn.Split(images, [0, 1, 1])).loss
    for labels in ([0, 1, 1], backend.to_device(np.array([0, 1, 1]))):
        found = gn.evaluate(telling(3, backend), SimpleNamespace(images=backend.to_device(images), labels=labels))
        assert found.loss == pytest.approx(wanted, abs=1e-6)
        assert found.accuracy == pytest.approx(2 / 3)

"""Sample weights and class weights: one rule, in training and in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn

COUNTS = np.array([2, 1, 0, 3, 1, 4, 1, 2, 1, 1])


def examples(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((10, 5)), np.arange(10) % 3


def trained(backend: gn.Backend, data: gn.Dataset, **options: Any) -> gn.TrainingResult:
    model = gn.MLP([5, 6, 3], activation="tanh", dtype="float64", backend=backend)
    return gn.train(model, data, **{"batch_size": "all", "iterations": 20, "log_every": 5, **options})


def flat(result: gn.TrainingResult) -> np.ndarray:
    return result.model.backend.to_host(result.model.flat)


@pytest.mark.parametrize("loss", ["softmax-cross-entropy", "mse"])
def test_a_weight_is_as_good_as_so_many_copies(backend: gn.Backend, rng: np.random.Generator, loss: str) -> None:
    x, y = examples(rng)
    weighted = trained(backend, gn.Dataset.from_arrays(x, y, weights=COUNTS), loss=loss)
    repeated = trained(backend, gn.Dataset.from_arrays(np.repeat(x, COUNTS, 0), np.repeat(y, COUNTS)), loss=loss)
    np.testing.assert_allclose(flat(weighted), flat(repeated), rtol=1e-9, atol=1e-12)
    for one, other in zip(weighted.history, repeated.history, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-9)
        assert one.accuracy == pytest.approx(other.accuracy, rel=1e-12)
    assert weighted.train_loss == pytest.approx(repeated.train_loss, rel=1e-9)
    assert weighted.train_accuracy == pytest.approx(repeated.train_accuracy, rel=1e-12)


def test_every_split_is_judged_by_its_own_weights(backend: gn.Backend, rng: np.random.Generator) -> None:
    x, y = examples(rng)
    repeated = np.repeat(x, COUNTS, 0), np.repeat(y, COUNTS)
    weighted = gn.Dataset.from_arrays(x, y, x, y, (x, y, COUNTS), test_weights=COUNTS)
    copied = gn.Dataset.from_arrays(x, y, *repeated, repeated)
    one, other = trained(backend, weighted).record.as_dict(), trained(backend, copied).record.as_dict()
    for name in ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy", "train_loss"):
        assert one[name] == pytest.approx(other[name], rel=1e-9)
    assert one["test_loss"] != pytest.approx(one["train_loss"], rel=1e-3)


def test_weights_of_a_test_split_that_is_not_there_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(gn.UsageError, match="test_weights are of test images; give these too"):
        gn.Dataset.from_arrays(*examples(rng), test_weights=COUNTS)
    with pytest.raises(gn.UsageError, match=r"validation is \(images, labels\), "):
        gn.Dataset.from_arrays(*examples(rng), validation=(1, 2, 3, 4))


@pytest.mark.parametrize("batch_size", [4, "all"])
def test_weights_count_by_their_ratio(backend: gn.Backend, rng: np.random.Generator, batch_size: Any) -> None:
    x, y = examples(rng)
    found = [
        flat(trained(backend, gn.Dataset.from_arrays(x, y, weights=w), batch_size=batch_size))
        for w in (COUNTS + 1, 4 * (COUNTS + 1))
    ]
    np.testing.assert_array_equal(*found)
    plain = [
        flat(trained(backend, gn.Dataset.from_arrays(x, y, weights=w), batch_size=batch_size))
        for w in (None, np.full(10, 3.0))
    ]
    np.testing.assert_allclose(*plain, rtol=1e-9, atol=1e-12)
    assert not np.allclose(found[0], plain[0])


def test_a_class_weight_is_a_factor_of_the_example_s_weight(backend: gn.Backend, rng: np.random.Generator) -> None:
    x, y = examples(rng)
    of_classes = np.array([0.5, 1.0, 4.0])
    both = gn.SoftmaxCrossEntropy(class_weights=of_classes)
    found = [
        trained(backend, gn.Dataset.from_arrays(x, y, weights=w), loss=loss, batch_size=4)
        for w, loss in ((COUNTS * of_classes[y], None), (COUNTS, both))
    ]
    np.testing.assert_array_equal(flat(found[0]), flat(found[1]))
    assert found[0].train_loss == found[1].train_loss
    assert [r.loss for r in found[0].history] == [r.loss for r in found[1].history]


def test_a_batch_that_weighs_nothing_teaches_nothing(backend: gn.Backend, rng: np.random.Generator) -> None:
    x, y = examples(rng)
    weights = np.zeros(10)
    weights[3] = 1
    result = trained(backend, gn.Dataset.from_arrays(x, y, weights=weights), batch_size=1, log_every=1)
    losses = [record.loss for record in result.history]
    assert np.isfinite(flat(result)).all()
    assert sum(loss != 0 for loss in losses) == 2  # twenty steps are two epochs


def test_single_precision_on_both_devices(cuda: gn.Backend, rng: np.random.Generator) -> None:
    x, y = examples(rng)
    data = gn.Dataset.from_arrays(x.astype(np.float32), y, weights=COUNTS)
    found = []
    for backend, graph in ((gn.get_backend("cpu"), "off"), (cuda, "on"), (cuda, "off")):
        model = gn.MLP([5, 6, 3], backend=backend)
        found.append(flat(gn.train(model, data, iterations=12, batch_size=4, graph=graph)))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-5)


def test_there_are_as_many_class_weights_as_classes(rng: np.random.Generator) -> None:
    x, y = examples(rng)
    with pytest.raises(gn.UsageError, match="2 class weights for 3 classes"):
        trained(gn.get_backend("cpu"), gn.Dataset.from_arrays(x, y), loss=gn.SoftmaxCrossEntropy(0.0, [1, 2]))


@pytest.mark.parametrize("weights", [None, COUNTS, np.eye(10)[3]], ids=["none", "weights", "of one alone"])
def test_a_batch_has_the_same_loss_on_the_device(backend: gn.Backend, rng: np.random.Generator, weights: Any) -> None:
    found = []

    def compare(record: Any, trainer: gn.Trainer) -> None:
        if record.event == "step":
            found.append((record.loss, float(trainer.step.batch_loss())))

    watching = gn.Callback()
    watching.on_record = compare
    trained(backend, gn.Dataset.from_arrays(*examples(rng), weights=weights), batch_size=4, callbacks=[watching])
    assert len(found) == 4
    assert [one for one, _ in found] == pytest.approx([other for _, other in found], rel=1e-12)

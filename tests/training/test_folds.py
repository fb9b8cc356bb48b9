"""Folds and cross-validation: every example is held out once, and a fold is a training by hand."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn


def data(size: int = 103, classes: int = 3) -> gn.Dataset:
    """Classes of different sizes that can be told apart; the first feature numbers the examples."""
    rng = np.random.default_rng(5)
    labels = np.sort(rng.integers(0, classes, size) * rng.integers(0, 2, size))
    x = rng.standard_normal((size, 5)).astype(np.float32) + labels[:, None]
    x[:, 0] = np.arange(size) / size
    return gn.Dataset.from_arrays(x, labels, x[:20], labels[:20])


def numbers(split: gn.Split | None) -> list[int]:
    assert split is not None
    return np.rint(split.inputs[:, 0] * 103).astype(int).tolist()


@settings(max_examples=20)
@given(count=st.integers(2, 103), seed=st.integers(0, 5))
def test_each_example_is_held_out_once_and_classes_are_spread(count: int, seed: int) -> None:
    whole = data()
    folds = whole.folds(count, seed)
    held = [number for fold in folds for number in numbers(fold.validation)]
    assert sorted(held) == list(range(103))
    for fold in folds:
        assert sorted(numbers(fold.train) + numbers(fold.validation)) == list(range(103))
        assert fold.test is whole.test
    counts = np.stack([np.bincount(fold.validation.targets, minlength=3) for fold in folds])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1
    assert [fold.checksum for fold in whole.folds(count, seed)] == [fold.checksum for fold in folds]


def test_another_seed_draws_other_folds() -> None:
    first, second = data().folds(5, 0)[0], data().folds(5, 1)[0]
    assert numbers(first.validation) != numbers(second.validation)


def test_the_validation_split_goes_back_first() -> None:
    held = data().hold_out(30)
    assert sorted(n for fold in held.folds(4) for n in numbers(fold.validation)) == list(range(103))


@settings(max_examples=20)
@given(count=st.integers(2, 12), seed=st.integers(0, 5), held=st.integers(1, 60))
def test_a_group_is_held_out_as_a_whole(count: int, seed: int, held: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.array([f"person {number}" for number in rng.integers(0, 12, 103)])
    groups[:12] = [f"person {number}" for number in range(12)]
    x = np.arange(103, dtype=np.float32)[:, None] / 103
    whole = gn.Dataset.from_arrays(x, rng.integers(0, 3, 103), groups=groups)
    sizes = np.unique(groups, return_counts=True)[1]

    def of(split: gn.Split | None) -> set[str]:
        assert split is not None
        return set(groups[np.rint(split.inputs[:, 0] * 103).astype(int)])

    folds = whole.folds(count, seed)
    parts = [of(fold.validation) for fold in folds]
    assert sorted(person for part in parts for person in part) == sorted(set(groups))
    for fold, part in zip(folds, parts, strict=True):
        assert not of(fold.train) & part
    assert [of(whole.fold(number + 1, count, seed).validation) for number in range(count)] == parts
    told = [len(fold.validation) for fold in folds]  # type: ignore[arg-type]
    assert max(told) - min(told) <= sizes.max()
    apart = whole.hold_out(held, seed)
    assert not of(apart.train) & of(apart.validation)
    assert held <= len(apart.validation) < held + sizes.max()  # type: ignore[arg-type]
    again = apart.fold(1, count, seed)  # the validation examples have gone back with their groups
    assert not of(again.train) & of(again.validation)


def test_groups_that_cannot_be_are_refused() -> None:
    x, labels = np.zeros((6, 1), np.float32), [0, 1, 0, 1, 0, 1]
    few = gn.Dataset.from_arrays(x, labels, groups=[1, 1, 1, 2, 2, 2])
    with pytest.raises(gn.UsageError, match="there are 2 groups, too few for 3 folds"):
        few.folds(3)
    with pytest.raises(gn.UsageError, match="all of the groups"):
        few.hold_out(4)
    with pytest.raises(gn.DataError, match="groups have the shape"):
        gn.Dataset.from_arrays(x, labels, groups=[1, 2])


@pytest.mark.parametrize("count", [1, 104, 2.0, True])
def test_folds_that_cannot_be_are_refused(count: int) -> None:
    with pytest.raises(gn.UsageError, match="folds are a whole number from 2 to 103"):
        data().folds(count)


def make(fold: gn.Dataset) -> gn.Trainer:
    return gn.Trainer(gn.MLP([5, 6, 3]), fold, batch_size=20, epochs=5, early_stopping=3)


def test_five_folds_are_five_trainings_by_hand(backend: gn.Backend) -> None:
    def on(fold: gn.Dataset) -> gn.Trainer:
        return gn.Trainer(gn.MLP([5, 6, 3], backend=backend), fold, batch_size=20, epochs=5, early_stopping=3)

    whole = data()
    found = gn.cross_validate(on, whole, folds=5)
    scores = []
    for fold, result in zip(whole.folds(5), found.results, strict=True):
        model = gn.MLP([5, 6, 3], backend=backend)
        alone = gn.train(model, fold, batch_size=20, epochs=5, early_stopping=3)
        assert backend.to_host(model.flat).tobytes() == backend.to_host(result.model.flat).tobytes()
        assert alone.validation_loss == result.validation_loss
        scores.append(gn.evaluate(model, fold.validation).accuracy)
    assert found.scores["accuracy"] == scores
    assert found.mean["accuracy"] == statistics.fmean(scores)
    assert found.deviation["accuracy"] == statistics.stdev(scores)
    assert f"accuracy={found.mean['accuracy']:.4g}" in repr(found)
    assert len(found.ensemble.models) == 5


def test_a_fold_that_diverges_is_told() -> None:
    def wild(fold: gn.Dataset) -> gn.Trainer:
        return gn.Trainer(gn.MLP([5, 3], loss="mse"), fold, optimizer=gn.SGD(1e30), batch_size=20, iterations=50)

    with pytest.raises(gn.TrainingDiverged):
        gn.cross_validate(wild, data())


def test_a_trainer_of_other_data_is_refused() -> None:
    with pytest.raises(gn.UsageError, match="the data set that it is called with"):
        gn.cross_validate(lambda fold: make(data().hold_out(10)), data())

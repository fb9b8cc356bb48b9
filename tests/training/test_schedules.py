"""The schedules: the rates written out, warm-up in front of each, plateaus, and training with them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import gpunet as gn
from gpunet.training.schedules import as_schedule

TOTAL = 1000

#: (schedule, step -> rate written out for the step t of TOTAL).
WRITTEN_OUT = {
    "constant": (gn.Constant(0.4), lambda t: 0.4),
    "step": (gn.Step(0.4, every=100, factor=0.1), lambda t: 0.4 * 0.1 ** (t // 100)),
    "exponential": (gn.Exponential(0.4, every=100, factor=0.1), lambda t: 0.4 * 10 ** (-t / 100)),
    "inverse-time": (gn.InverseTime(0.4, every=100, decay=2), lambda t: 0.4 / (1 + 2 * t / 100)),
    "polynomial": (gn.Polynomial(0.4, final=0.1, power=2), lambda t: 0.1 + 0.3 * (1 - t / TOTAL) ** 2),
    "cosine": (gn.Cosine(0.4, final=0.1), lambda t: 0.1 + 0.15 * (1 + math.cos(math.pi * t / TOTAL))),
    "reduce-on-plateau": (gn.ReduceOnPlateau(0.4), lambda t: 0.4),
}


def rates(schedule: gn.Schedule, total: int = TOTAL) -> np.ndarray:
    return schedule.rates(np.arange(total), total)


def test_every_entry_is_written_out_here() -> None:
    assert set(WRITTEN_OUT) == set(gn.SCHEDULES)
    assert all(name == entry.name and entry.formula for name, entry in gn.SCHEDULES.items())


@pytest.mark.parametrize("name", list(WRITTEN_OUT))
def test_rates_are_those_of_the_formula(name: str) -> None:
    schedule, formula = WRITTEN_OUT[name]
    got = rates(schedule)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, [formula(t) for t in range(TOTAL)], rtol=1e-12)


@pytest.mark.parametrize("name", sorted(gn.SCHEDULES))
def test_any_steps_give_their_own_rates(name: str) -> None:
    schedule = gn.SCHEDULES[name](0.3, warmup=7)
    some = np.array([0, 6, 7, 500, 999])
    np.testing.assert_array_equal(schedule.rates(some, TOTAL), rates(schedule)[some])


@pytest.mark.parametrize("name", sorted(gn.SCHEDULES))
def test_warmup_goes_in_front_of_any(name: str) -> None:
    plain, warmed = gn.SCHEDULES[name](0.5), gn.SCHEDULES[name](0.5, warmup=50)
    got = rates(warmed)
    np.testing.assert_allclose(got[:50], 0.5 * np.arange(1, 51) / 50, rtol=1e-12)
    # What follows is the schedule itself over the steps that are left.
    np.testing.assert_allclose(got[50:], rates(plain, TOTAL - 50), rtol=1e-12)


def test_a_warmup_longer_than_the_run_is_only_a_warmup() -> None:
    np.testing.assert_allclose(rates(gn.Cosine(1.0, warmup=200), 100), np.arange(1, 101) / 200)


@pytest.mark.parametrize("name", sorted(gn.SCHEDULES))
def test_rates_are_never_negative_nor_above_the_first(name: str) -> None:
    for total in (1, 2, 17):
        got = rates(gn.SCHEDULES[name](0.3), total)
        assert (got >= 0).all()
        assert (got <= 0.3).all()


def test_a_plateau_reduces_the_rate() -> None:
    schedule = gn.ReduceOnPlateau(1.0, factor=0.1, patience=2, final=0.02)
    losses = [5.0, 4.0, 4.0, 4.5, 3.9, 3.95, 3.8, 3.9, math.nan, 4.0, 4.0, 3.0, 3.1, math.inf]
    changed = [schedule.observe(loss) for loss in losses]
    #         5      4      4      4.5   3.9    3.95   3.8    3.9    nan   4      4     3      3.1    inf
    wanted = [False, False, False, True, False, False, False, False, True, False, True, False, False, True]
    assert changed == wanted
    assert rates(schedule)[0] == 0.02
    assert rates(gn.ReduceOnPlateau(0.1, final=0.5))[0] == 0.1  # it is never raised


def test_losses_that_are_no_numbers_from_the_start_do_no_harm() -> None:
    schedule = gn.ReduceOnPlateau(1.0, patience=2)
    assert [schedule.observe(loss) for loss in (math.nan, math.nan, 1.0, 0.5)] == [False, True, False, False]


def test_what_a_schedule_remembers_survives_json() -> None:
    schedule = gn.ReduceOnPlateau(1.0, patience=2)
    for loss in (1.0, 2.0, 3.0, 4.0):
        schedule.observe(loss)
    again = gn.ReduceOnPlateau(1.0, patience=2)
    again.restore(json.loads(json.dumps(schedule.state())))
    assert again.state() == schedule.state()
    assert [again.observe(9.0), rates(again)[0]] == [schedule.observe(9.0), rates(schedule)[0]]
    assert gn.Cosine(0.1).state() == {}
    with pytest.raises(KeyError):
        again.restore({})


def test_settings_make_the_schedule_again() -> None:
    for name, entry in gn.SCHEDULES.items():
        schedule = entry(0.2, warmup=3)
        again = entry(**json.loads(json.dumps(schedule.settings())))
        np.testing.assert_array_equal(rates(again), rates(schedule), err_msg=name)


def test_hyperparameters_are_checked() -> None:
    for make, sentence in [
        (lambda: gn.Step(0.1, every=0), "schedule step: every must be a whole number of steps, at least 1, not 0"),
        (lambda: gn.Step(0.1, every=2.5), "whole number"),
        (lambda: gn.Cosine(0.1, warmup=-1), "warmup must be a whole number of steps, at least 0, not -1"),
        (lambda: gn.Exponential(0.1, factor=0), "factor must be a number above 0"),
        (lambda: gn.Polynomial(-0.1), "learning rate must be a number above 0, not -0.1"),
        (lambda: gn.Polynomial(0.1, final=-1), "final must be a number of at least 0"),
        (lambda: gn.ReduceOnPlateau(0.1, factor=1), "factor must be a number above 0 and below 1"),
        (lambda: gn.ReduceOnPlateau(0.1, patience=0), "patience must be a whole number of validations"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence):
            make()


def test_a_number_is_a_constant_schedule() -> None:
    assert rates(as_schedule(0.25), 2).tolist() == [0.25, 0.25]


def blobs(validation: float | None = None) -> gn.Dataset:
    rng = np.random.default_rng(5)
    labels = np.arange(200) % 2
    points = rng.normal(0, 0.7, (200, 2)) + np.where(labels, 1.0, -1.0)[:, None]
    return gn.Dataset.from_arrays(points.astype(np.float32), labels, validation=validation)


def test_the_steps_of_training_take_their_rates(backend: gn.Backend) -> None:
    """With an optimizer whose steps are all of one length, the way that a weight goes is the sum of the rates."""
    schedule = gn.Polynomial(0.5, warmup=5)
    model = gn.MLP([2, 2], initializer="zeros", backend=backend, dtype="float64")
    records = list(
        gn.training_steps(model, blobs(), optimizer=gn.Lion(schedule), iterations=20, batch_size=200, log_every=1)
    )[:-1]
    np.testing.assert_allclose([record.learning_rate for record in records], rates(schedule, 20), rtol=1e-12)
    way = np.abs(model.backend.to_host(model.parameters[0])).max()
    assert way == pytest.approx(rates(schedule, 20).sum(), rel=1e-9)


def test_training_reduces_the_rate_on_a_plateau(backend: gn.Backend) -> None:
    # Nothing is learned at such a rate, so that each validation but the first is one without a lower loss.
    schedule = gn.ReduceOnPlateau(1e-30, factor=0.5, patience=2)
    options = {"iterations": 60, "batch_size": 20, "log_every": 10, "validate_every": 10}
    for _ in range(2):  # what one run has seen is none of the next one's business
        model = gn.MLP([2, 2], backend=backend)
        result = gn.train(model, blobs(validation=0.2), optimizer=gn.SGD(schedule), **options)
        told = [record.learning_rate / 1e-30 for record in result.history]
        assert told == pytest.approx([1, 1, 1, 0.5, 0.5, 0.25])


def test_a_plateau_changes_the_very_next_step() -> None:
    reduced = gn.MLP([2, 2], initializer="zeros", dtype="float64")
    trainer = gn.Trainer(
        reduced, blobs(validation=0.2), optimizer=gn.Lion(gn.ReduceOnPlateau(1.0, factor=0.25, patience=1)),
        iterations=3, batch_size=160, log_every=1, validate_every=1,
    )  # fmt: skip
    seen = iter([1.0, 2.0, 3.0])
    trainer.schedule.observe = lambda loss, observe=trainer.schedule.observe: observe(next(seen))
    ways = []
    for record in trainer.steps():
        if record.event == "step":
            ways.append(float(reduced.parameters[1][0]))
    # The second validation is the first without a lower loss.
    np.testing.assert_allclose(np.abs(np.diff([0.1, *ways])), [1, 1, 0.25])


def test_a_plateau_needs_validation_examples() -> None:
    with pytest.raises(gn.UsageError, match="reduce-on-plateau needs a validation split"):
        gn.Trainer(gn.MLP([2, 2]), blobs(), optimizer=gn.SGD(gn.ReduceOnPlateau(0.1)))

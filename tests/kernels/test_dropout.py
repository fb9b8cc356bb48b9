"""Dropout: rate, scale, masks that depend on (seed, layer, step) and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels.dropout import dropout
from gpunet.kernels.random import Stream, purpose


def masked(
    device: gn.Backend, rate: float = 0.5, step: int = 0, seed: int = 0, layer: int = 0, dtype: str = "float32",
    shape: tuple[int, int] = (64, 33),
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(mask, output) for an input of twos."""
    with device.use():
        y = device.to_device(np.full(shape, 2.0, dtype))
        mask, out = device.xp.empty_like(y), device.xp.empty_like(y)
        control = device.to_device(np.array([0, step, -1, 0], np.int64))
        dropout(y, Stream(seed, purpose("dropout", layer)), rate, control, mask, out)
        return device.to_host(mask), device.to_host(out)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_scale(backend: gn.Backend, rate: float) -> None:
    mask, out = masked(backend, rate, shape=(200, 500))
    kept = mask > 0
    # 100,000 draws: five standard deviations.
    assert kept.mean() == pytest.approx(1 - rate, abs=5 * np.sqrt(rate * (1 - rate) / kept.size))
    np.testing.assert_array_equal(mask[kept], np.float32(1 / (1 - rate)))
    np.testing.assert_array_equal(out, 2 * mask)


def test_neither_rows_nor_columns_nor_neighbours_hang_together(backend: gn.Backend) -> None:
    kept = (masked(backend, shape=(400, 400))[0] > 0).astype(float) - 0.5
    assert np.abs(kept.mean(axis=0)).max() < 0.15
    assert np.abs(kept.mean(axis=1)).max() < 0.15
    for shifted in (kept[1:] * kept[:-1], kept[:, 1:] * kept[:, :-1]):
        assert abs(shifted.mean()) < 0.25 * 5 / 400


def test_the_mask_depends_on_seed_layer_and_step(backend: gn.Backend) -> None:
    first = masked(backend)[0]
    np.testing.assert_array_equal(masked(backend)[0], first)
    for change in ({"step": 1}, {"seed": 1}, {"layer": 1}):
        other = masked(backend, **change)[0]
        assert (other == first).mean() == pytest.approx(0.5, abs=0.06)


def test_a_step_needs_no_history(backend: gn.Backend) -> None:
    stream = Stream(3, purpose("dropout"))
    walked = [stream.draw(step, 100).copy() for step in range(5)]
    np.testing.assert_array_equal(Stream(3, purpose("dropout")).draw(4, 100), walked[4])
    # The same element of a larger batch draws the same number.
    np.testing.assert_array_equal(stream.draw(4, 1000)[:100], walked[4])


def test_large_seeds_and_steps_are_all_right(backend: gn.Backend) -> None:
    mask = masked(backend, seed=2**64 - 1, step=2**40)[0]
    assert 0.4 < (mask > 0).mean() < 0.6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_are_the_same_for_every_dtype(backend: gn.Backend, dtype: str) -> None:
    mask = masked(backend, 0.3, dtype=dtype)[0]
    assert mask.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(mask > 0, masked(gn.get_backend("cpu"), 0.3)[0] > 0)


def test_inference_drops_nothing(backend: gn.Backend, rng: np.random.Generator) -> None:
    x = rng.standard_normal((20, 6)).astype(np.float32)
    logits = []
    for rate in (0.0, 0.9):
        model = gn.MLP([6, 40, 3], dropout=rate, seed=1, backend=backend)
        logits.append(model.backend.to_host(model.forward(x)))
    np.testing.assert_array_equal(*logits)


def test_the_mean_over_masks_is_what_inference_gives(backend: gn.Backend) -> None:
    """With a linear network the expectation over masks is exact."""
    x = np.ones((1, 4), np.float32)
    data = gn.Dataset.from_arrays(np.repeat(x, 4000, axis=0), np.arange(4000) % 2)
    model = gn.MLP([4, 50, 1], activation="identity", dropout=0.5, loss="mse", backend=backend, initializer="normal")
    expected = float(model.backend.to_host(model.forward(x))[0, 0])
    trainer = gn.Trainer(model, data, batch_size="all", optimizer=gn.SGD(1e-30), iterations=1)
    next(iter(trainer.steps()))
    outputs = model.backend.to_host(trainer.step.workspaces[-1].output)[:, 0]
    assert outputs.std() > 0.01
    assert outputs.mean() == pytest.approx(expected, abs=5 * outputs.std() / np.sqrt(4000))


def test_every_layer_has_its_rate(backend: gn.Backend) -> None:
    data = gn.Dataset.from_arrays(np.ones((500, 4), np.float32), np.arange(500) % 2)
    model = gn.MLP([4, 40, 30, 2], dropout=[0.2, 0.7], backend=backend, activation="sigmoid")
    trainer = gn.Trainer(model, data, batch_size=500, iterations=1)
    next(iter(trainer.steps()))
    # What is dropped is 0, and a sigmoid never is.
    dropped = [float((model.backend.to_host(space.kept) == 0).mean()) for space in trainer.step.workspaces]
    assert dropped == [pytest.approx(0.2, abs=0.02), pytest.approx(0.7, abs=0.02), 0]


def test_training_with_dropout_repeats_bit_for_bit(backend: gn.Backend, rng: np.random.Generator) -> None:
    data = gn.Dataset.from_arrays(rng.standard_normal((90, 5)).astype(np.float32), np.arange(90) % 3)
    ends = []
    for _ in range(2):
        model = gn.MLP([5, 20, 3], dropout=0.5, seed=8, backend=backend)
        gn.train(model, data, iterations=25, batch_size=20)
        ends.append(model.backend.to_host(model.flat).copy())
    np.testing.assert_array_equal(*ends)


def test_rates_are_checked() -> None:
    for rate in (1.0, -0.1, "half", float("nan"), [1]):
        with pytest.raises(gn.UsageError, match="a dropout rate must be at least 0 and below 1"):
            gn.MLP([4, 3, 2], dropout=rate)
    with pytest.raises(gn.UsageError, match="2 dropout rates for 1 layers"):
        gn.MLP([4, 3, 2], dropout=[0.1, 0.2])

"""The initializers: distribution, shape, gain, and the same numbers for the same seed on every device."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpunet as gn
from gpunet.network.initializers import INITIALIZERS

NAMES = sorted(gn.INITIALIZERS)
IN, OUT = 300, 200
#: Standard deviation of the entries, for IN and OUT.
DEVIATION = {
    "truncated-normal": 0.1 * 0.8796,  # of a normal cut off at two deviations
    "normal": 0.1,
    "uniform": 0.1 / math.sqrt(3),
    "glorot-normal": math.sqrt(2 / (IN + OUT)),
    "glorot-uniform": math.sqrt(2 / (IN + OUT)),
    "he-normal": math.sqrt(2 / IN),
    "he-uniform": math.sqrt(2 / IN),
    "lecun-normal": math.sqrt(1 / IN),
    "lecun-uniform": math.sqrt(1 / IN),
    "orthogonal": math.sqrt(1 / IN),
    "zeros": 0.0,
    "constant": 0.0,
}
LIMITED = {
    "truncated-normal": 0.2,
    "uniform": 0.1,
    "glorot-uniform": math.sqrt(6 / (IN + OUT)),
    "he-uniform": math.sqrt(6 / IN),
    "lecun-uniform": math.sqrt(3 / IN),
}


def draw(name: str, fan_in: int = IN, fan_out: int = OUT, seed: int = 0, **options: float) -> np.ndarray:
    return INITIALIZERS.make(name, **options).draw(np.random.default_rng(seed), fan_in, fan_out)


def test_every_entry_is_described_here() -> None:
    assert set(DEVIATION) == set(gn.INITIALIZERS)
    assert all(name == entry.name and entry.formula for name, entry in gn.INITIALIZERS.items())


@pytest.mark.parametrize("name", NAMES)
def test_shape_mean_and_deviation(name: str) -> None:
    drawn = draw(name)
    assert drawn.shape == (IN, OUT)
    assert drawn.dtype == np.float64
    # 60,000 numbers: the mean is off by 1/245 of a deviation, the deviation by 1/346 of itself.
    assert drawn.mean() == pytest.approx(0.1 if name == "constant" else 0.0, abs=5 / 245 * DEVIATION[name] + 1e-9)
    assert drawn.std() == pytest.approx(DEVIATION[name], rel=5 / 346, abs=1e-9)


@pytest.mark.parametrize("name", list(LIMITED))
def test_limited_ones_stay_within_their_limit_and_come_near_it(name: str) -> None:
    largest = np.abs(draw(name)).max()
    assert 0.99 * LIMITED[name] < largest <= LIMITED[name]


@pytest.mark.parametrize("name", ["normal", "glorot-normal", "he-normal", "lecun-normal"])
def test_normal_ones_are_normal(name: str) -> None:
    scaled = draw(name) / DEVIATION[name]
    for within, share in [(1, 0.6827), (2, 0.9545), (3, 0.9973)]:
        assert (np.abs(scaled) < within).mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("shape", [(50, 50), (80, 20), (20, 80), (1, 7), (7, 1)])
def test_orthogonal_ones_are_orthogonal(shape: tuple[int, int]) -> None:
    w = draw("orthogonal", *shape, gain=2.0)
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(gram, 4 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_ones_have_no_preferred_sign() -> None:
    # Without fixing the signs, LAPACK's Q has negative entries on its diagonal more often than not.
    corners = [draw("orthogonal", 3, 3, seed)[0, 0] for seed in range(400)]
    assert abs(np.mean(corners)) < 5 * 0.58 / 20


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_on_every_device(backend: gn.Backend, name: str) -> None:
    weights = []
    for device, seed in [("cpu", 5), (backend, 5), (backend, 6)]:
        model = gn.MLP([6, 4, 3], initializer=name, seed=seed, backend=device)
        weights.append(model.backend.to_host(model.flat))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.array_equal(weights[1], weights[2]) == (name in ("zeros", "constant"))


def test_layers_draw_numbers_of_their_own() -> None:
    model = gn.MLP([5, 5, 5], initializer="normal")
    assert not np.array_equal(model.parameters[0], model.parameters[2])


def test_one_for_each_layer() -> None:
    model = gn.MLP([4, 3, 2], initializer=["zeros", gn.Fill(0.5)], bias=-1.0)
    assert not model.parameters[0].any()
    assert (model.parameters[2] == 0.5).all()
    assert (model.parameters[1] == -1).all()
    assert (model.parameters[3] == -1).all()


def test_names_and_hyperparameters_are_checked() -> None:
    for make, sentence in [
        (lambda: INITIALIZERS.make("xavier"), "unknown initializer 'xavier'; did you mean glorot-normal or glorot-"),
        (lambda: gn.TruncatedNormal(0), "stddev must be a number above 0, not 0"),
        (lambda: gn.Uniform(-1), "limit must be a number above 0"),
        (lambda: gn.Fill(float("nan")), "value must be a number, not nan"),
        (lambda: INITIALIZERS.make("zeros", stddev=1), "initializer zeros has no stddev; it takes none"),
        (lambda: gn.MLP([4, 3, 2], initializer=["zeros"]), "1 initializers for 2 layers"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence):
            make()

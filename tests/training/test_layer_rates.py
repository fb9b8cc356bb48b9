"""Layers and parameters with a learning rate of their own: what moves, by how much, and what stays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import gpunet as gn

RNG = np.random.default_rng(0)
DATA = gn.Dataset.from_arrays(RNG.standard_normal((60, 5)).astype(np.float32), RNG.integers(0, 3, 60))
NAMES = ["W1", "b1", "W2", "b2", "W3", "b3"]


def trained(backend: gn.Backend, optimizer: Any, steps: int = 1, **options: Any) -> dict[str, np.ndarray]:
    """The parameters of a network after some steps, by name."""
    model = gn.MLP([5, 7, 6, 3], "tanh", seed=1, backend=backend)
    gn.train(model, DATA, optimizer=optimizer, batch_size=20, iterations=steps, **options)
    return {name: backend.to_host(array) for name, array in zip(NAMES, model.parameters, strict=True)}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    return [name for name in NAMES if np.array_equal(one[name], other[name])]


@pytest.mark.parametrize("name", gn.OPTIMIZERS)
def test_a_factor_is_one_on_the_learning_rate(backend: gn.Backend, name: str) -> None:
    usual, half = (trained(backend, gn.OPTIMIZERS.make(name, learning_rate=rate)) for rate in (0.25, 0.125))
    mixed = trained(backend, gn.OPTIMIZERS.make(name, learning_rate=0.25), layer_rates={1: 0.5, "b3": 0.5})
    assert same(mixed, half) == ["W1", "b1", "b3"]
    assert same(mixed, usual) == ["W2", "b2", "W3"]


@pytest.mark.parametrize("rates", [(1, 1, 1), "2=1"])
def test_factors_of_one_change_no_bit(backend: gn.Backend, rates: Any) -> None:
    options = {"l2": 0.01, "clip_norm": 0.1, "max_norm": 0.5}
    usual = trained(backend, "adam", 5, **options)
    assert same(trained(backend, "adam", 5, layer_rates=rates, **options), usual) == NAMES


@pytest.mark.parametrize(
    ("rates", "frozen"),
    [
        ((0, 0, 1), ["W1", "b1", "W2", "b2"]),
        ((1, 0, 0.5), ["W2", "b2"]),
        ({"W1": 0, "W2": 0, "W3": 0}, ["W1", "W2", "W3"]),
        ("1=0,b3=0", ["W1", "b1", "b3"]),
    ],
)
def test_what_is_frozen_stays(backend: gn.Backend, rates: Any, frozen: list[str]) -> None:
    before = {name: backend.to_host(array) for name, array in
              zip(NAMES, gn.MLP([5, 7, 6, 3], "tanh", seed=1).parameters, strict=True)}  # fmt: skip
    options = {"l2": 0.1, "l1": 0.1, "clip_norm": 0.5, "max_norm": 0.05}
    after = trained(backend, gn.AdamW(0.1, weight_decay=0.5), 6, layer_rates=rates, **options)
    assert same(before, after) == frozen


def test_the_gradient_of_what_is_frozen_counts_for_nothing(backend: gn.Backend) -> None:
    options = {"layer_rates": [0, 1, 0], "l2": 0.1, "clip_norm": 1e-3}
    before = trained(backend, gn.SGD(1e-30), layer_rates=[0, 1, 0])
    after = trained(backend, gn.SGD(1.0), **options)
    moved = np.concatenate([(after[name] - before[name]).ravel() for name in NAMES])
    assert np.linalg.norm(moved.astype(np.float64)) == pytest.approx(1e-3, rel=1e-3)


def test_a_head_is_trained_as_a_network_of_its_own(backend: gn.Backend) -> None:
    model = gn.MLP([5, 7, 3], "tanh", seed=1, backend=backend)
    weights, bias = map(backend.to_host, model.parameters[:2])
    features = np.tanh(DATA.train.inputs @ weights + bias)
    head = gn.MLP([7, 3], backend=backend)
    for index in range(2):
        head.set_parameter(index, model.parameters[2 + index])
    for network, data in ((model, DATA), (head, gn.Dataset.from_arrays(features, DATA.train.targets))):
        rates = [0, 1] if network is model else None
        gn.train(network, data, iterations=9, batch_size=20, seed=3, layer_rates=rates)
    for ours, theirs in zip(model.parameters[2:], head.parameters, strict=True):
        np.testing.assert_allclose(backend.to_host(ours), backend.to_host(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ([1, 0], "there are 2 factors, and the network has 3 layers; give one for each layer."),
        ({"W4": 0}, "there is no W4; the network has 3 layers."),
        ([0, 0, 0], "with 0 for every layer nothing would be learned"),
        ({"c1": 0}, "layer_rates c1: this is no layer and no parameter; write it like 0,0,1"),
        ("1=0,2", "layer_rates 2 ''|this is no number"),
        ([1, -1, 0], "layer_rates -1: a finite number of at least 0 is needed"),
    ],
)
def test_rates_that_do_not_fit_are_refused(rates: Any, sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=sentence):
        trained(gn.get_backend("cpu"), "sgd", layer_rates=rates)


def test_a_checkpoint_knows_the_rates() -> None:
    def trainer(rates: Any) -> gn.Trainer:
        return gn.Trainer(gn.MLP([5, 4, 3]), DATA, iterations=4, batch_size=10, layer_rates=rates)

    arrays, facts = trainer([0, 1]).state()
    trainer((0, 1)).restore(arrays, json.loads(json.dumps(facts)))
    state = trainer({1: 0}).state()
    trainer("1=0.0").restore(*state)
    for other in (None, [0, 1], {"W1": 0}):
        with pytest.raises(gn.CheckpointError, match=r"another setting of layer rates: 1=0\.0 there"):
            trainer(other).restore(*state)

"""Gradients against finite differences: every loss, every activation, and whole networks of random shapes.

All of it in float64. The gradient of a network is read off one step of SGD with the learning rate 1, which moves
the parameters by exactly the gradient, and its loss off the record of that step: so what is checked is what
training does, with penalties, dropout and all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels.losses import LOSSES, loss_step

H = 1e-6


def batch(features: int, outputs: int, size: int = 4, seed: int = 0, weights: Any = None) -> gn.Dataset:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((size, features))
    # The last label is the largest, so that the data have as many classes as the network has outputs.
    labels = np.append(rng.integers(0, max(outputs, 2), size - 1), max(outputs, 2) - 1)
    return gn.Dataset.from_arrays(images, labels, task="classification", weights=weights)


class Network:
    """A network whose loss and gradient at any parameters are those of one step of training."""

    def __init__(
        self, sizes: list[int], backend: Any, options: dict[str, Any], weights: Any = None, **training: Any
    ) -> None:
        self.sizes, self.backend, self.options, self.training = sizes, backend, options, training
        self.data = batch(sizes[0], sizes[-1], weights=weights)
        self.start = self.backend.to_host(self.model().flat).copy()

    def model(self) -> gn.MLP:
        options = {"initializer": "normal", "seed": 1, "dtype": "float64", **self.options}
        options["initializer"] = gn.Normal(0.7)
        return gn.MLP(self.sizes, backend=self.backend, **options)

    def step(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """(loss, gradient) at these parameters."""
        model = self.model()
        with self.backend.use():
            model.flat[...] = self.backend.to_device(parameters)
        training = {"optimizer": gn.SGD(1.0), "batch_size": "all", "iterations": 1, "log_every": 1, **self.training}
        record = next(iter(gn.training_steps(model, self.data, **training)))
        return record.loss, parameters - self.backend.to_host(model.flat)

    def check(self, places: int = 12, tolerance: float = 2e-6) -> None:
        """The gradient in some directions against the central difference of the loss."""
        _, gradient = self.step(self.start)
        used = np.flatnonzero(self.mask())
        rng = np.random.default_rng(3)
        for place in rng.permutation(used)[:places]:
            shift = np.zeros_like(self.start)
            shift[place] = H
            difference = (self.step(self.start + shift)[0] - self.step(self.start - shift)[0]) / (2 * H)
            assert gradient[place] == pytest.approx(difference, rel=tolerance, abs=tolerance), f"parameter {place}"
        assert not gradient[self.mask() == 0].any()

    def mask(self) -> np.ndarray:
        """1 for the elements of the flat buffer that are parameters, 0 for the padding in between."""
        model = self.model()
        with self.backend.use():
            model.flat[...] = 0
            for parameter in model.parameters:
                parameter[...] = 1
        return self.backend.to_host(model.flat)


@pytest.mark.host
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
@pytest.mark.parametrize("name", sorted(gn.LOSSES))
def test_the_slope_of_every_loss(name: str, soft: bool, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((3, 4)) * 2
    targets = rng.dirichlet(np.ones(4), 3) if soft else rng.integers(0, 4, 3).astype(np.int32)
    loss = LOSSES.make(name)

    def value(z: np.ndarray) -> tuple[float, np.ndarray]:
        losses, delta = np.empty(3), np.empty((3, 4))
        loss_step(z.copy(), None, targets, loss, delta, None, losses, None)
        return losses.mean(), delta

    _, delta = value(logits)
    for place in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[place] = H
        difference = (value(logits + shift)[0] - value(logits - shift)[0]) / (2 * H)
        assert delta[place] == pytest.approx(difference, abs=1e-8)


@pytest.mark.host
@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_a_network_with_every_activation(name: str) -> None:
    Network([3, 5, 4, 3], gn.get_backend("cpu"), {"activation": name}).check()


@pytest.mark.host
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("name", sorted(gn.LOSSES))
def test_a_network_with_every_loss(name: str, outputs: int) -> None:
    if name == "softmax-cross-entropy" and outputs == 1:
        pytest.skip("softmax needs two outputs")
    for weights in (None, [0.5, 2.0, 0.0, 1.0]):
        Network([3, 4, outputs], gn.get_backend("cpu"), {"activation": "tanh", "loss": name}, weights).check()


@pytest.mark.parametrize(
    ("options", "training"),
    [
        ({"activation": ["silu", "relu"]}, {"l2": 0.3}),
        ({"activation": ["relu", "gelu"], "dropout": 0.4}, {"l1": 0.2}),
        ({"activation": "sigmoid", "loss": gn.SoftmaxCrossEntropy(0.1, [1, 2, 0.5])}, {"l2": 0.1, "l1": 0.1}),
    ],
    ids=["silu-relu", "dropout", "weighted"],
)
def test_networks_on_every_device(backend: gn.Backend, options: dict[str, Any], training: dict[str, Any]) -> None:
    Network([5, 6, 4, 3], backend, options, **training).check(places=8)


def test_a_weighted_network_on_every_device(backend: gn.Backend) -> None:
    Network([5, 6, 3], backend, {"activation": "tanh"}, weights=[0.5, 2.0, 0.0, 1.0]).check(places=8)


@pytest.mark.parametrize("fused", [0, 1e30], ids=["library", "fused"])
@pytest.mark.parametrize("graph", ["on", "off"])
def test_both_ways_to_run_the_steps_on_a_gpu(
    cuda: gn.Backend, graph: str, fused: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", fused)
    Network([5, 6, 3], cuda, {"activation": "elu"}, graph=graph).check(places=8)


@pytest.mark.host
# Drawn by NumPy, so that they are the same for ever: another one now and then would meet a kink of a relu within H.
@pytest.mark.parametrize("seed", range(40))
def test_random_architectures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, loss = rng.integers(1, 7, rng.integers(2, 6)).tolist(), str(rng.choice(sorted(gn.LOSSES)))
    if loss == "softmax-cross-entropy" and sizes[-1] == 1:
        sizes[-1] = 2
    names = rng.choice(sorted(gn.ACTIVATIONS), len(sizes) - 2).tolist()
    options = {"activation": names, "loss": loss, "dropout": float(rng.choice([0.0, 0.5]))}
    Network(sizes, gn.get_backend("cpu"), options, l2=float(rng.choice([0.0, 0.1]))).check(places=6, tolerance=1e-5)

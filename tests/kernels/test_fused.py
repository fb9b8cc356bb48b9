"""The fused kernels: a step of a small network in three launches, against the same step on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.kernels import fused

CPU = gn.get_backend("cpu")
shapes = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the products are."""
    monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", 1e30)


def data(features: int, outputs: int, examples: int, kind: str = "uint8", soft: bool = False) -> gn.Dataset:
    rng = np.random.default_rng(features)
    inputs: Any = rng.integers(0, 256, (examples, features)).astype(np.uint8)
    if kind != "uint8":
        inputs = rng.standard_normal((examples, features)).astype(kind)
    if soft:
        return gn.Dataset.from_arrays(inputs, rng.dirichlet(np.ones(outputs), examples).astype(np.float32))
    return gn.Dataset.from_arrays(inputs, rng.integers(0, max(outputs, 2), examples), classes=max(outputs, 2))


def both_ways(cuda: gn.Backend, sizes: list[int], batch: int, whole: gn.Dataset | None = None, **options: Any) -> None:
    """A step on both devices: batch, activations, deltas, losses and parameters."""
    of_model = {key: options.pop(key) for key in ("activation", "dropout", "dtype", "loss") if key in options}
    whole = data(sizes[0], sizes[-1], batch + batch // 3 + 1) if whole is None else whole
    found = []
    for device in (CPU, cuda):
        model = gn.MLP(sizes, backend=device, seed=3, **of_model)
        one = gn.Trainer(model, whole, batch_size=batch, iterations=2, **{"optimizer": gn.SGD(0.5), **options})
        with one._running():
            one._run_to(2)  # its batch holds the end of an epoch and the beginning of the next
        step = one.step
        kept, deltas = ([getattr(space, name) for space in step.workspaces] for name in ("kept", "delta"))
        arrays = [*kept, *deltas, step.targets, step.losses, model.flat, *step.optimizer_state]
        found.append([device.to_host(array) for array in arrays])
    assert step.network is not None
    close = 1e-10 if model.dtype == np.float64 else 1e-4
    for wanted, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, wanted, close, close * float(np.abs(wanted).max(initial=1e-3)))
    if "dropout" in of_model:
        for wanted, got in zip(found[0][: len(sizes) - 2], found[1], strict=False):
            assert np.array_equal(got == 0, wanted == 0)  # the same neurons


@shapes
@given(
    hidden=st.lists(st.integers(1, 60), max_size=3), inputs=st.integers(1, 150), outputs=st.integers(2, 40),
    batch=st.integers(1, 140),
)  # fmt: skip
def test_any_shape(cuda: gn.Backend, hidden: list[int], inputs: int, outputs: int, batch: int) -> None:
    both_ways(cuda, [inputs, *hidden, outputs], batch)


@pytest.mark.parametrize(
    ("sizes", "batch"), [([784, 50, 30, 10], 100), ([20, 9, 5], 300), ([5, 8, 600], 10), ([3, 700, 100, 4], 2)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_shapes(cuda: gn.Backend, sizes: list[int], batch: int, dtype: str) -> None:
    both_ways(cuda, sizes, batch, dtype=dtype)


@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_every_activation(cuda: gn.Backend, name: str) -> None:
    both_ways(cuda, [12, 9, 7, 3], 20, activation=[name, "tanh"])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", sorted(gn.LOSSES))
def test_every_loss(cuda: gn.Backend, name: str, soft: bool) -> None:
    both_ways(cuda, [12, 9, 3], 20, data(12, 3, 31, soft=soft), loss=name)
    if not soft and name != "softmax-cross-entropy":
        both_ways(cuda, [12, 9, 1], 20, loss=name)


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_every_optimizer(cuda: gn.Backend, name: str) -> None:
    optimizer = gn.OPTIMIZERS[name](0.01, weight_decay=0.1)
    both_ways(cuda, [12, 9, 3], 20, optimizer=optimizer, activation="sigmoid", l2=0.1, l1=0.01)


def test_dropout_weights_and_clipping(cuda: gn.Backend) -> None:
    rng = np.random.default_rng(1)
    pixels, labels = rng.integers(0, 256, (50, 12)).astype(np.uint8), rng.integers(0, 3, 50)
    weighted = gn.Dataset.from_arrays(pixels, labels, weights=rng.random(50))
    loss = gn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 3])
    both_ways(cuda, [12, 9, 8, 3], 20, weighted, loss=loss, dropout=[0.5, 0.2], activation="sigmoid")
    both_ways(cuda, [12, 9, 3], 20, weighted, clip_norm=0.01, max_norm=0.3, dropout=0.5, activation="gelu", l2=0.1)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_images_of_numbers(cuda: gn.Backend, kind: str) -> None:
    both_ways(cuda, [12, 9, 3], 20, data(12, 3, 31, "float32"), dtype=kind)
    both_ways(cuda, [13, 9, 3], 20, data(13, 3, 31, "float32"), dtype=kind)


def test_tables_are_encoded_on_the_way(cuda: gn.Backend) -> None:
    wine = gn.load_dataset("wine")
    both_ways(cuda, [wine.features, 9, 3], 40, wine)


def test_what_does_not_fit_is_left_to_the_library() -> None:
    assert fused.fits([784, 50, 30, 10], 4)
    assert fused.fits([10**6, 10], 8)
    assert not fused.fits([784, 6000, 100, 10], 4)  # a row has no room
    assert not fused.fits([784, 512, 512, 10], 4)  # every block would read a megabyte

"""Products on tensor cores: TF32 and bfloat16 are computed where they are asked for, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import command_line
import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels.dense import Below, dense_backward, dense_forward
from gpunet.kernels.tensor_cores import PRECISIONS, TensorCores, to_bfloat16
from gpunet.training.graph import launch_mode

CPU = gn.get_backend("cpu")
REDUCED = [name for name in PRECISIONS if name != "float32"]
IDENTITY = gn.ACTIVATIONS["identity"]


def rounded(array: np.ndarray, precision: str) -> np.ndarray:
    """A float32 array as tensor cores see it: TF32 with ten bits of mantissa, to the nearest or cut off, which is the
    hardware's choice; bfloat16 by ml_dtypes."""
    if precision == "float32":
        return array
    if precision == "bfloat16":
        ml_dtypes = pytest.importorskip("ml_dtypes")
        return array.astype(ml_dtypes.bfloat16).astype(np.float32)
    half = 0x1000 if precision == "tf32" else 0
    return ((array.view(np.uint32) + half) & 0xFFFFE000).view(np.float32)


def product_in(precision: str) -> Callable[..., Any]:
    """The product of the CPU with its factors rounded."""

    def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Any:
        def run() -> None:
            left, right = (rounded(np.ascontiguousarray(factor), precision) for factor in (a, b))
            np.matmul(left, right, out=out)

        return run

    return product


def test_rounding_to_bfloat16_is_that_of_ml_dtypes(cuda: gn.Backend) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 20_000, dtype=np.uint64).astype(np.uint32)
    bits[:2000] = (bits[:2000] & 0xFFFF0000) | 0x8000  # halfway between two
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1e-45, 1.0, 1 + 2**-8], np.float32)
    values = np.concatenate([special, bits.view(np.float32)])
    with cuda.use():
        found = cuda.empty(values.shape, np.uint16)
        to_bfloat16(cuda.to_device(values), found)()
    with np.errstate(all="ignore"):
        wanted = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(cuda.to_host(found).view(ml_dtypes.bfloat16).astype(np.float32), wanted)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_layer_multiplies_in_the_precision_that_is_asked_for(cuda: gn.Backend, precision: str) -> None:
    batch, fan_in, fan_out = 24, 64, 32
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        # Numbers of which TF32 to the nearest and TF32 cut off are the same.
        return (rng.standard_normal(shape).astype(np.float32).view(np.uint32) & 0xFFFFEFFF).view(np.float32)

    x, weights, delta = draw(batch, fan_in), draw(fan_in, fan_out), draw(batch, fan_out)
    with cuda.use():
        on_device = [cuda.to_device(array) for array in (x, weights, delta)]
        out, grad = cuda.empty(delta.shape, np.float32), cuda.empty(weights.shape, np.float32)
        below = Below(cuda.empty(x.shape, np.float32), IDENTITY, on_device[0], None, cuda.empty(fan_in, np.float32))
        cores = TensorCores.of(precision, cuda, batch, fan_in, fan_out)
        dense_forward(on_device[0], on_device[1], None, IDENTITY, None, out, None, cores)
        dense_backward(on_device[2], on_device[0], on_device[1], grad, below, cores)
    found = [cuda.to_host(array) for array in (out, grad, below.delta)]
    for name in PRECISIONS:
        a, w, d = (rounded(array, name) for array in (x, weights, delta))
        for got, wanted in zip(found, (a @ w, a.T @ d, d @ w.T), strict=True):
            error = np.abs(got - wanted).max()
            assert (error < 2e-5) == (name == precision), (name, error)


def data() -> gn.Dataset:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 8, 400)
    inputs = (rng.standard_normal((8, 64))[labels] + rng.standard_normal((400, 64))).astype(np.float32)
    return gn.Dataset.from_arrays(inputs, labels, classes=8)


def trained(backend: gn.Backend, **options: Any) -> np.ndarray:
    """The parameters after a few steps."""
    model = gn.MLP([64, 48, 32, 8], backend=backend, activation=["relu", "gelu"], dropout=0.1)
    gn.train(model, data(), batch_size=40, iterations=6, optimizer=gn.SGD(0.05), **options)
    return np.array(backend.to_host(model.flat))


@pytest.mark.parametrize("graph", ["on", "off"])
@pytest.mark.parametrize("precision", REDUCED)
def test_training_is_that_of_the_cpu_with_rounded_factors(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch, precision: str, graph: str
) -> None:
    found = trained(cuda, precision=precision, graph=graph)
    assert np.array_equal(found, trained(cuda, precision=precision, graph=graph))
    exact = np.linalg.norm(found - trained(CPU))
    away = []
    for way in (precision, "tf32, cut off") if precision == "tf32" else (precision,):
        monkeypatch.setattr("gpunet.kernels.dense.product", product_in(way))
        away.append(np.linalg.norm(found - trained(CPU)))
    assert min(away) < exact / 5


@pytest.mark.parametrize("precision", REDUCED)
def test_the_header_and_the_checkpoint_say_it(cuda: gn.Backend, precision: str) -> None:
    def trainer(**options: Any) -> gn.Trainer:
        return gn.Trainer(gn.MLP([64, 8], backend=cuda), data(), batch_size=40, iterations=5, **options)

    one = trainer(precision=precision)
    assert not one.mode.fused
    assert f"cuBLAS for the products in {PRECISIONS[precision]}" in one.how
    assert "fused products are float32 alone" in one.how
    trainer(precision=precision).restore(*one.state())
    with pytest.raises(gn.CheckpointError, match=f"another setting of precision: '?{precision}"):
        trainer().restore(*one.state())


def test_evaluation_stays_in_float32(cuda: gn.Backend) -> None:
    model = gn.MLP([64, 32, 8], backend=cuda)
    gn.train(model, data(), precision="bfloat16", iterations=3, batch_size=40)
    on_cpu = gn.MLP([64, 32, 8])
    on_cpu.flat[...] = cuda.to_host(model.flat)
    assert gn.evaluate(model, data().train).loss == pytest.approx(gn.evaluate(on_cpu, data().train).loss, abs=1e-5)


def device(major: int, minor: int) -> Any:
    return SimpleNamespace(name="cuda", device="cuda:0", compute_capability=(major, minor))


@pytest.mark.parametrize("precision", REDUCED)
def test_what_would_not_be_computed_is_refused(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(gn.UsageError, match=f"precision {precision} needs a CUDA device"):
        gn.train(gn.MLP([64, 8]), data(), precision=precision)
    sizes = [64, 8]
    with pytest.raises(gn.UsageError, match="network of float32, not of float64"):
        launch_mode("auto", device(9, 0), sizes, 10, precision, np.dtype("float64"))
    with pytest.raises(gn.UsageError, match=r"compute capability 8.0 or newer, and cuda:0 has 7.5"):
        launch_mode("auto", device(7, 5), sizes, 10, precision)
    assert launch_mode("auto", device(8, 0), sizes, 10, precision).precision == precision
    assert launch_mode("auto", device(7, 5), sizes, 10).fused
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with pytest.raises(gn.UsageError, match="NVIDIA_TF32_OVERRIDE"):
        launch_mode("auto", device(9, 0), sizes, 10, "tf32")


def test_the_command_line_refuses_it_in_a_sentence() -> None:
    refused = command_line.gpunet("train", "--device", "cpu", "--precision", "tf32", code=2)
    assert "needs a CUDA device" in refused.stderr
    unknown = command_line.gpunet("train", "--precision", "bf16", code=2)
    assert "bfloat16" in unknown.stderr

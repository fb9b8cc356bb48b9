"""Operations on CUDA against their NumPy form: what tests of several files do."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings

import gpunet as gn
from gpunet.kernels.activation import activation_forward
from gpunet.kernels.dense import Below, dense_backward, dense_forward

#: Tests over random shapes: a few examples each, since a simulated device takes its time for every thread.
shapes = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Relative and absolute differences that rounding explains.
CLOSE = {"float16": (4e-3, 4e-3), "float32": (2e-5, 2e-5), "float64": (1e-12, 1e-12)}


def close(cuda: gn.Backend, got: object, wanted: np.ndarray) -> None:
    relative, absolute = CLOSE[wanted.dtype.name]
    host = cuda.to_host(got)
    assert host.dtype == wanted.dtype
    np.testing.assert_allclose(host, wanted, relative, absolute * max(1.0, float(np.abs(wanted).max(initial=0))))


def on(device: gn.Backend, *arrays: np.ndarray | None) -> list:
    """Copies on a device, so that operations that work in place leave the originals alone."""
    return [None if a is None else device.to_device(a.copy()) for a in arrays]


def counters(step: int = 0) -> np.ndarray:
    return np.array([step, step, -1, 0], np.int64)


def layer_both_ways(
    cuda: gn.Backend, batch: int, inputs: int, outputs: int, dtype: str, activation: str = "relu",
    masked: bool = False, bias: bool = True,
) -> None:  # fmt: skip
    """A layer forward and backward on both devices."""
    rng = np.random.default_rng(batch * 7 + inputs * 3 + outputs)
    entry = gn.ACTIVATIONS[activation]

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    x, delta = draw(batch, inputs), draw(batch, outputs)
    weights = (draw(inputs, outputs) / np.sqrt(inputs)).astype(dtype)
    b = draw(outputs) if bias else None
    saved = activation_forward(draw(batch, inputs), entry, np.empty_like(x)) if entry.saves == "output" else x
    mask = (rng.random((batch, inputs)) < 0.5).astype(dtype) * 2 if masked else None
    found = []
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            d_x, d_delta, d_weights, d_b, d_saved, d_mask = on(device, x, delta, weights, b, saved, mask)
            out, pre = device.empty((batch, outputs), dtype), None
            if entry.saves == "input" and bias:
                pre = device.empty((batch, outputs), dtype)
            dense_forward(d_x, d_weights, d_b, entry, pre, out, None)
            grad = device.empty(weights.shape, dtype)
            below = Below(device.empty(x.shape, dtype), entry, d_saved, d_mask, device.empty(inputs, dtype))
            dense_backward(d_delta, d_x, d_weights, grad, below)
            alone = device.empty(weights.shape, dtype)
            dense_backward(d_delta, d_x, d_weights, alone, None)
        found.append((out, pre, grad, alone, below.delta, below.grad_bias))
    for wanted, got in zip(*found, strict=True):
        if wanted is not None:
            close(cuda, got, wanted)

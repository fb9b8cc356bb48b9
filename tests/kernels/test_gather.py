"""The batch gather on CUDA against its NumPy form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import counters, on, shapes

import gpunet as gn
from gpunet.kernels import control as at
from gpunet.kernels.gather import gather


@shapes
@given(
    examples=st.integers(1, 50), features=st.integers(1, 150), share=st.floats(0.01, 1), step=st.integers(0, 200),
    kind=st.sampled_from(["uint8", "float32"]), soft=st.booleans(),
)  # fmt: skip
def test_gather(cuda: gn.Backend, examples: int, features: int, share: float, step: int, kind: str, soft: bool) -> None:
    rng = np.random.default_rng(examples)
    batch = max(1, int(share * examples))
    images = (255 * rng.random((examples, features))).astype(kind)
    labels = rng.random((examples, 3), np.float32) if soft else rng.integers(0, 9, examples).astype(np.int32)
    order = np.concatenate([rng.permutation(examples) for _ in range(2)]).astype(np.int32)
    found = []
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            arrays = on(device, images, labels, order, np.array([step, 0, -1, 0]))
            x = device.empty((batch, features), np.float32)
            targets = device.empty((batch, *labels.shape[1:]), labels.dtype)
            gather(*arrays, 1 / 255, x, targets, device.empty((batch, features), kind))
            assert int(arrays[3][at.STEP]) == step
        found.append((x, targets))
    for wanted, got in zip(*found, strict=True):
        assert np.array_equal(cuda.to_host(got), wanted)


@pytest.mark.parametrize(("kind", "dtype"), [("uint8", "float32"), ("uint8", "float64"), ("float32", "float32")])
@pytest.mark.parametrize(
    ("batch", "features", "offset"),
    [(1030, 8, 0), (1030, 7, 0), (1025, 516, 0), (1024, 1028, 0), (3, 5000, 0), (3, 2050, 0), (50, 8, 1), (1, 1, 0)],
)
def test_gather_of_rows_of_any_length(
    cuda: gn.Backend, batch: int, features: int, offset: int, kind: str, dtype: str
) -> None:
    rng, examples = np.random.default_rng(features), min(batch, 60)
    images = rng.integers(0, 256, examples * features + offset).astype(kind)
    labels, weights = rng.integers(0, 9, examples).astype(np.int32), rng.integers(1, 5, examples).astype(dtype)
    order = rng.permutation(np.arange(2 * max(batch, examples)) % examples).astype(np.int32)
    found = []
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            flat, *others, d_weights = on(device, images, labels, order, counters(3), weights)
            x = device.zeros(batch * features + offset, dtype)[offset:].reshape(batch, features)
            taken = device.empty(batch, np.int32), device.empty((batch, features), kind)
            sums = device.empty(batch, dtype), device.empty(1, dtype)
            of_rows = flat[offset:].reshape(examples, features)
            gather(of_rows, *others, 1 / 255, x, *taken, d_weights, *sums)
        found.append((x, taken[0], *sums))
    for wanted, got in zip(*found, strict=True):
        assert np.array_equal(cuda.to_host(got), wanted)

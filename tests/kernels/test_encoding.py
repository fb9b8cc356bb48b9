"""The encoding of a table's columns: each kind of feature as its formula says, the same on both devices."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn
from gpunet.data.fitting import Category, Number, fit_number
from gpunet.data.preparation import Preparation
from gpunet.kernels.encoding import encode

COLUMNS = (
    Number("plain", fill=2.0, shift=1.0, scale=4.0),
    Number("bent", fill=0.5, shift=0.5, scale=2.0, method="robust", flag=True),
    Number("bins", method="standard", edges=(0.0, 1.0, 3.0, 4.0)),
    Category("kind", ("a", "b", "c"), fill=1, flag=True),
)
NAN = np.nan
ROWS = [[3.0, 6.5, 2.0, 2], [NAN, NAN, -1.0, NAN], [1.0, -6.5, 5.0, -1], [2.0, 0.5, 0.5, 0]]


def encoded(device: gn.Backend, dtype: str = "float64", rows=ROWS) -> np.ndarray:
    plan = Preparation(columns=COLUMNS).encoding()
    assert plan is not None
    with device.use():
        x = device.empty((len(rows), plan.features), np.dtype(dtype))
        encode(device.to_device(np.array(rows, dtype)), plan.on(device.to_device, dtype), x)
        return np.asarray(device.to_host(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_feature_is_what_its_formula_says(backend: gn.Backend, dtype: str) -> None:
    x = encoded(backend, dtype)
    bent = 3 / np.sqrt(2)  # of z = 3
    expected = [
        # plain, bins itself, its three bins, bent, a, b, c, bent missing, kind missing
        [0.5, 2.0, 1.0, 0.5, 0.0, bent, 0, 0, 1, 0, 0],
        [0.25, -1.0, -1.0, 0.0, 0.0, 0, 0, 1, 0, 1, 1],
        [0.0, 5.0, 1.0, 1.0, 2.0, -3.5 / np.sqrt(1 + 3.5**2 / 9), 0, 0, 0, 0, 0],
        [0.25, 0.5, 0.5, 0.0, 0.0, 0, 1, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(x, expected, rtol=1e-6 if dtype == "float32" else 1e-14, atol=1e-7)


def test_a_piecewise_linear_encoding_keeps_the_order_and_the_value() -> None:
    values = np.random.default_rng(0).normal(0, 1, 500)
    column = fit_number("x", values, "standard", bins=16)
    assert len(column.edges) == 17
    plan = Preparation(columns=(column,)).encoding()
    assert plan is not None
    x = np.empty((500, plan.features))
    encode(values[:, None].copy(), plan.on(np.asarray, np.float64), x)
    # The sum over the bins, each times its width, is the distance from the first edge.
    np.testing.assert_allclose(x[:, 1:] @ np.diff(column.edges), values - column.edges[0], atol=1e-6)
    assert (np.diff(x[np.argsort(values)], axis=0) >= 0).all()


def test_numbers_far_from_zero_keep_their_digits() -> None:
    values = 1.7e9 + np.arange(100.0)
    column = fit_number("time", values, "standard")
    rows = (values - column.origin).astype(np.float32)[:, None]
    plan = Preparation(columns=(column,)).encoding()
    assert plan is not None
    x = np.empty((100, 1), np.float32)
    encode(rows, plan.on(np.asarray, np.float32), x)
    np.testing.assert_allclose(x[:, 0], (values - values.mean()) / values.std(), rtol=1e-5, atol=1e-6)

"""Fixtures of the tests of training: data, and the two ways of products on CUDA."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn


@pytest.fixture(scope="module")
def small() -> gn.Dataset:
    """600 examples of 30 features in 4 classes that can be told apart."""
    rng = np.random.default_rng(1)
    centres = rng.random((4, 30))
    labels = rng.integers(0, 4, 600)
    images = np.clip(centres[labels] + 0.3 * rng.standard_normal((600, 30)), 0, 1)
    pixels = (255 * images).astype(np.uint8)
    return gn.Dataset.from_arrays(pixels[:500], labels[:500], pixels[500:], labels[500:])


@pytest.fixture(params=["fused", "library"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small networks with either kind of matrix products."""
    monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", 1e30 if request.param == "fused" else 0)
    return request.param

"""Data that the tests of sweeps have in common."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn


@pytest.fixture(scope="module")
def data() -> gn.Dataset:
    """Two blobs that a small network tells apart."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    images = rng.normal(size=(300, 4)).astype(np.float32) + labels[:, None] * 1.5
    return gn.Dataset.from_arrays(images[:200], labels[:200], images[200:], labels[200:], name="blobs")

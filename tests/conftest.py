"""Fixtures: every device that is there, small data, and the full MNIST where GPUNET_DATA points to it."""

from __future__ import annotations

import contextlib
import os
import signal

# One BLAS thread, here and in the command lines that tests start: their networks are small, and several threads wait
# for each other on a machine that is busy.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

# A shell without job control has its background commands ignore Ctrl-C, and what they start inherits that; the tests
# that send it to a command line need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import numpy as np
import pytest
from command_line import UNSET
from cuda_device import cuda_reason

import gpunet as gn

for name in UNSET:
    os.environ.pop(name, None)

# The same examples in every run; HYPOTHESIS=random looks for new ones.
hypothesis.settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # of the machine, not of the test
)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS", "same"))

# Matplotlib builds its list of fonts when it is first imported, and says so if that takes long. Here it is not yet
# imported by several processes at once.
if "PYTEST_XDIST_WORKER" not in os.environ:
    with contextlib.suppress(ImportError):
        import matplotlib.font_manager  # noqa: F401


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.host), "cuda"])
def backend(request: pytest.FixtureRequest) -> gn.Backend:
    """Each device in turn; skipped with the reason where it is not there."""
    if request.param == "cuda" and cuda_reason():
        pytest.skip(cuda_reason())
    return gn.get_backend(request.param)


@pytest.fixture
def cuda() -> gn.Backend:
    """A CUDA device, for tests that are about nothing else."""
    if cuda_reason():
        pytest.skip(cuda_reason())
    return gn.get_backend("cuda")


@pytest.fixture
def pooled(cuda: gn.Backend) -> bool:
    """Whether CuPy keeps freed memory for later; where it does not, each array is an allocation."""
    array = cuda.empty(1, np.float32)
    return array.nbytes <= cuda.xp.get_default_memory_pool().used_bytes()


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20170516)


@pytest.fixture(scope="session")
def mnist_5k() -> gn.Dataset:
    """The bundled sample."""
    return gn.load_dataset("mnist-5k")


@pytest.fixture(scope="session")
def mnist() -> gn.Dataset:
    """The full MNIST from the folder in GPUNET_DATA."""
    folder = os.environ.get("GPUNET_DATA")
    if not folder:
        pytest.skip("GPUNET_DATA does not point to the full MNIST")
    return gn.load_dataset("mnist", data_dir=folder)

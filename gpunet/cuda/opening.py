"""CuPy, imported late and by a text, and the CUDA devices that it finds."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

from gpunet.cuda.faults import NO_CUPY, Fault, explain, two_wheels
from gpunet.cuda.queues import queue_of
from gpunet.errors import DeviceError
from gpunet.wording import first_line


def import_cupy() -> Any:
    """CuPy.

    Raises:
        DeviceError: it is not installed or cannot be imported; with the cause and the remedy.
    """
    try:
        with warnings.catch_warnings():
            # CuPy warns of several wheels; that is told as a fault, once and with its remedy.
            warnings.simplefilter("ignore")
            # importlib keeps type checkers and import scanners from tying gpunet to an optional package.
            return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            raise DeviceError(str(NO_CUPY)) from None
        fault = Fault(f"CuPy cannot be imported ({first_line(error)})", "reinstall it")
        raise DeviceError(str(two_wheels() or fault)) from error
    except Exception as error:  # a wheel whose libraries are missing raises whatever it likes (cupy#1790)
        fault = Fault(
            f"CuPy is installed but cannot be imported ({first_line(error)})",
            "install the one wheel that fits the driver, cupy-cuda12x or cupy-cuda13x, with its [ctk] extra",
        )
        raise DeviceError(str(two_wheels() or fault)) from error


def import_nccl() -> Any:
    """CuPy's bindings of NCCL.

    Raises:
        DeviceError: NCCL is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is not there is said below
        nccl = importlib.import_module("cupy.cuda.nccl")
    if not nccl.available:
        raise DeviceError(
            "NCCL cannot be loaded; install it with pip install nvidia-nccl-cu13 (CUDA 12: nvidia-nccl-cu12), or "
            'take distributed "mpi".'
        )
    return nccl


def device_count(cupy: Any) -> int:
    """How many CUDA devices there are, at least one.

    Raises:
        DeviceError: there is none, or the driver is missing or does not fit; with the remedy.
    """
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(str(explain(error, cupy))) from error
    if count == 0:
        raise DeviceError(str(explain(RuntimeError("cudaErrorNoDevice"), cupy)))
    return count


def open_cuda(ordinal: int = 0) -> Any:
    """CuPy with the CUDA device `ordinal` checked: it exists, and a kernel compiles and runs on it.

    Raises:
        DeviceError: with the cause and the remedy: no CuPy, two wheels, no driver or one that is older
            than the wheel needs, no such device, headers missing for the compiler, no memory.
    """
    refuse_fork()
    cupy = import_cupy()
    count = device_count(cupy)
    if ordinal >= count:
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"there is no device cuda:{ordinal}; this machine has {there}.")
    try:
        _cuda.opened = True
        queue = queue_of(ordinal)  # not beside another thread that captures a graph
        with queue.lock, cupy.cuda.Device(ordinal), queue.stream(cupy):
            probe = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x + 1.0f", "gpunet_probe")
            result = float(probe(cupy.ones(1, cupy.float32))[0])
    except Exception as error:
        raise DeviceError(str(explain(error, cupy))) from error
    if result != 2.0:
        raise DeviceError(f"device cuda:{ordinal} computed 1 + 1 = {result:g}; it cannot be trusted.")
    return cupy


class _Cuda:
    """Whether this process has used CUDA, and whether it was forked from one that had."""

    opened = False
    inherited = False


_cuda = _Cuda()


def _after_fork() -> None:
    _cuda.inherited = _cuda.inherited or _cuda.opened


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def refuse_fork() -> None:
    """Refuse CUDA in a process that was forked from one that had used it.

    Raises:
        DeviceError: it was.
    """
    if _cuda.inherited:
        raise DeviceError(
            "this process was forked from one that had used CUDA, which CUDA does not allow; start workers afresh "
            '(joblib\'s "loky", or multiprocessing with "spawn"), or use CUDA in them alone.'
        )

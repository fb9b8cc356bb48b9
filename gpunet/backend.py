"""The device: NumPy on the CPU or CuPy on a CUDA GPU, behind one small object.

This is the only module that imports CuPy for its own sake, and it does so only when a CUDA device is
asked for. Everything else works on `backend.xp`, the array module, and asks `kernels` for what has to
exist twice.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.errors import DeviceError, UsageError


class Backend:
    """A device and the array module that works on it.

    Attributes:
        name: "cpu" or "cuda".
        device: "cpu", "cuda:0", "cuda:1" …
        xp: the array module, `numpy` or `cupy`.
        reason: why this device was taken, in a few words.
    """

    def __init__(self, name: str, xp: Any, ordinal: int = 0, reason: str = "") -> None:
        self.name = name
        self.xp = xp
        self.ordinal = ordinal
        self.device = "cpu" if name == "cpu" else f"cuda:{ordinal}"
        self.reason = reason
        self._stream: Any = None

    def __repr__(self) -> str:
        return f"<Backend {self.device}: {self.reason}>"

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Make this device, and its own stream, the current ones inside a `with` block.

        On CUDA the work goes to a stream of the backend's own, since the default stream cannot be
        captured into a graph.
        """
        if self.name == "cpu":
            yield
            return
        with self.xp.cuda.Device(self.ordinal):
            if self._stream is None:
                self._stream = self.xp.cuda.Stream(non_blocking=False)
            with self._stream:
                yield

    def to_device(self, array: Any, dtype: Any = None) -> Any:
        """An array on this device (copied only if it is not there already).

        Args:
            array: NumPy or CuPy array, or anything with `__array__`, `__cuda_array_interface__` or DLPack.
            dtype: the dtype to give it; by default its own.
        """
        with self.use():
            if self.name == "cuda" and hasattr(array, "__cuda_array_interface__"):
                return self.xp.asarray(array, dtype=dtype)
            return self.xp.asarray(as_numpy(array), dtype=dtype)

    def to_host(self, array: Any) -> np.ndarray:
        """The array in host memory, as NumPy; waits for the device to have computed it."""
        if self.name == "cuda" and isinstance(array, self.xp.ndarray):
            with self.use():
                return self.xp.asnumpy(array)
        return as_numpy(array)

    def empty(self, shape: Any, dtype: Any, order: Any = "C") -> Any:
        """An uninitialised array on this device."""
        with self.use():
            return self.xp.empty(shape, dtype, order)

    def zeros(self, shape: Any, dtype: Any) -> Any:
        """A zeroed array on this device."""
        with self.use():
            return self.xp.zeros(shape, dtype)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was asked to do."""
        if self.name == "cuda" and self._stream is not None:
            self._stream.synchronize()

    def owns(self, array: Any) -> bool:
        """Whether an array lives on this device."""
        if self.name == "cpu":
            return isinstance(array, np.ndarray)
        return isinstance(array, self.xp.ndarray) and array.device.id == self.ordinal


def as_numpy(array: Any) -> np.ndarray:
    """Any array in host memory: NumPy, CuPy, `__array__`, DLPack (torch, jax), sequences."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "__cuda_array_interface__") and hasattr(array, "get"):
        return array.get()
    if hasattr(array, "__cuda_array_interface__"):
        return _cupy().asarray(array).get()
    if not hasattr(array, "__array__") and hasattr(array, "__dlpack__"):
        return np.from_dlpack(array)
    return np.asarray(array)


def _cupy() -> Any:
    """CuPy, or a sentence about why it cannot be had."""
    try:
        # importlib keeps type checkers and import scanners from tying gpunet to an optional package.
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise DeviceError(f"CuPy cannot be imported ({_first_line(error)}); reinstall it.") from error
        raise DeviceError(
            "no CUDA device can be used because CuPy is not installed; install it with "
            'pip install "gpunet[cuda13]" (driver for CUDA 13) or "gpunet[cuda12]", or train with --device cpu.'
        ) from None
    except Exception as error:  # a wheel whose libraries are missing raises whatever it likes (cupy#1790)
        raise DeviceError(
            f"CuPy is installed but cannot be imported ({_first_line(error)}); install the one wheel that fits "
            "the driver, cupy-cuda12x or cupy-cuda13x."
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def open_cuda(ordinal: int = 0) -> Any:
    """CuPy with the CUDA device `ordinal` checked: it exists, and a kernel compiles and runs on it.

    Raises:
        DeviceError: with the cause and the remedy: no CuPy, two wheels, no driver or one that is older
            than the wheel needs, no such device, headers missing for the compiler, no memory.
    """
    cupy = _cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(_explain(error)) from error
    if count == 0:
        raise DeviceError(_explain(RuntimeError("cudaErrorNoDevice")))
    if ordinal >= count:
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"there is no device cuda:{ordinal}; this machine has {there}.")
    try:
        with cupy.cuda.Device(ordinal):
            probe = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x + 1.0f", "gpunet_probe")
            result = float(probe(cupy.ones(1, cupy.float32))[0])
    except Exception as error:
        raise DeviceError(_explain(error)) from error
    if result != 2.0:
        raise DeviceError(f"device cuda:{ordinal} computed 1 + 1 = {result:g}; it cannot be trusted.")
    return cupy


def _explain(error: BaseException) -> str:
    """One sentence for an error of CUDA or CuPy: the cause and the remedy."""
    text = f"{type(error).__name__}: {error}"
    told = _first_line(error)
    known = [
        ("cudaErrorNoDevice|no CUDA-capable device", "no CUDA device was found", "check nvidia-smi and "
         "CUDA_VISIBLE_DEVICES, or train with --device cpu"),
        ("cudaErrorInsufficientDriver|driver version is insufficient", "the NVIDIA driver is missing or older than "
         "the CuPy wheel needs", "update the driver, or install the wheel for it (cupy-cuda12x for CUDA 12)"),
        ("cannot open source file|NVRTC_ERROR_COMPILATION|CompileException|failed to find CUDA headers",
         "the CUDA headers that kernels are compiled with are missing",
         'install them with pip install "gpunet[cuda13]" (or "gpunet[cuda12]"), whose CuPy wheel brings them'),
        ("libnvrtc|libcudart|libcublas|libcuda\\.so", "a CUDA library cannot be loaded",
         "install the driver and the CuPy wheel with its [ctk] extra"),
        ("OutOfMemory|cudaErrorMemoryAllocation|out of memory", "the CUDA device has no free memory",
         "close what else uses it (nvidia-smi lists it) or train with --device cpu"),
        ("cudaErrorNoKernelImageForDevice|no kernel image", "the device is too old or too new for this CuPy wheel",
         "install another CuPy version"),
    ]  # fmt: skip
    for pattern, cause, remedy in known:
        if re.search(pattern, text):
            return f"{cause} ({told}); {remedy}."
    return f"the CUDA device cannot be used ({told}); run gpunet devices for a diagnosis."


def get_backend(device: str | Backend = "auto") -> Backend:
    """The backend of a device.

    Args:
        device: "cpu", "cuda" (the first CUDA device), "cuda:N", or "auto": CUDA if CuPy is installed and
            a test kernel runs there, else the CPU; `Backend.reason` says which and why.

    Raises:
        UsageError: the name is none of these.
        DeviceError: a CUDA device was asked for and cannot be had.
    """
    if isinstance(device, Backend):
        return device
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise UsageError(f"unknown device {device!r}; use auto, cpu, cuda or cuda:N.")
    if device == "cpu":
        return Backend("cpu", np, reason="asked for")
    ordinal = int(match.group(1) or 0)
    if device != "auto":
        return Backend("cuda", open_cuda(ordinal), ordinal, reason="asked for")
    try:
        return Backend("cuda", open_cuda(0), 0, reason="auto: a test kernel ran on it")
    except DeviceError as error:
        return Backend("cpu", np, reason=f"auto: {str(error).split(';')[0].rstrip('.')}")

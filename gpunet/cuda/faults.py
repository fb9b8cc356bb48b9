"""What is wrong with CUDA or CuPy on this machine, and what helps: the sentences for errors and wheels."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gpunet.wording import first_line


class Fault(NamedTuple):
    """What is wrong with a device, and what helps."""

    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.cause}; {self.remedy}."


NO_CUPY = Fault(
    "no CUDA device can be used because CuPy is not installed",
    'install it with pip install "gpunet[cuda13]" (driver for CUDA 13) or "gpunet[cuda12]", or use the CPU',
)
_NEW_WHEEL = 'install the newest wheel for the driver with pip install -U "gpunet[cuda13]" (or "gpunet[cuda12]")'
#: What the errors of CUDA and CuPy mean: (pattern in "Type: text", cause, remedy).
_KNOWN = [
    ("cudaErrorNoDevice|no CUDA-capable device", "no CUDA device was found",
     "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the CPU"),
    ("cannot open source file|cannot open include|could not open source|failed to find CUDA headers|"
     "cuda_fp16.h|CUDA_PATH", "the CUDA headers that kernels are compiled with are missing",
     'install them with pip install "gpunet[cuda13]" (or "gpunet[cuda12]"), whose CuPy wheel brings them as [ctk]'),
    ("libnvrtc|libcudart|libcublas|libcuda\\.so|NVRTC_ERROR_BUILTIN", "a CUDA library cannot be loaded",
     'install CuPy\'s wheel with its [ctk] extra: pip install "gpunet[cuda13]" (or "gpunet[cuda12]")'),
    ("OutOfMemory|cudaErrorMemoryAllocation|STATUS_ALLOC_FAILED|out of memory", "the CUDA device has no free memory",
     "close what else uses it (nvidia-smi lists it) or use the CPU"),
    ("cudaErrorNoKernelImageForDevice|CUDA_ERROR_NO_BINARY_FOR_GPU|no kernel image|"
     "invalid value for --gpu-architecture", "the device is too new or too old for this CuPy wheel",
     f"{_NEW_WHEEL}; devices below compute capability 7.5 need cupy-cuda12x"),
    ("CUDA_ERROR_UNSUPPORTED_PTX_VERSION|cudaErrorUnsupportedPtxVersion|CompatNotSupported",
     "the CuPy wheel is newer than the driver", "update the driver, or install the wheel for it"),
]  # fmt: skip


def explain(error: BaseException, cupy: Any) -> Fault:
    """What an error of CUDA or CuPy means, and what helps."""
    text = f"{type(error).__name__}: {error}"
    told = first_line(error)
    if re.search("cudaErrorInsufficientDriver|driver version is insufficient|cudaErrorSystemDriver", text):
        driver, runtime = versions(cupy)
        if not driver:
            return Fault("no NVIDIA driver was found", "install the driver of the GPU, or use the CPU")
        wheel = next(iter(cupy_wheels()), "CuPy")
        fits = f"cupy-cuda{driver // 1000}x"
        return Fault(
            f"the wheel {wheel} is newer than the driver, which is for CUDA {cuda_version(driver)}"
            + (f" and not {cuda_version(runtime)}" if runtime else ""),
            f"update the driver, or pip uninstall {wheel} and install {fits}[ctk]",
        )
    two = two_wheels()
    for pattern, cause, remedy in _KNOWN:
        if re.search(pattern, text):
            # Two wheels whose files are mixed fail in many ways, but they do not take devices or memory away.
            return two if two and not re.search("NoDevice|emory", pattern) else Fault(f"{cause} ({told})", remedy)
    return two or Fault(f"the CUDA device cannot be used ({told})", "run gpunet devices for a diagnosis")


def two_wheels() -> Fault | None:
    """The fault of several CuPy distributions that overwrite each other's files, or None."""
    wheels = sorted(cupy_wheels())
    if len(wheels) < 2:
        return None
    return Fault(
        f"several CuPy packages are installed and overwrite each other ({', '.join(wheels)})",
        f"uninstall them all with pip uninstall {' '.join(wheels)}, then install the one that fits the driver",
    )


def cupy_wheels() -> dict[str, str]:
    """The installed distributions that bring a package `cupy`: name to version."""
    import importlib.metadata  # takes as long as all of this module, and is seldom needed

    found = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if re.fullmatch(r"cupy|cupy-cuda\d+x?|cupy-rocm-[\d-]+", name):
            found[name] = distribution.version
    return found


def versions(cupy: Any) -> tuple[int, int]:
    """The CUDA versions of the driver and of the runtime that CuPy was built for, as 12090 for 12.9; 0 for none."""
    found = []
    for ask in (cupy.cuda.runtime.driverGetVersion, cupy.cuda.runtime.runtimeGetVersion):
        try:
            found.append(int(ask()))
        except Exception:  # no driver at all: the call itself fails
            found.append(0)
    return found[0], found[1]


def cuda_version(number: int) -> str:
    """A CUDA version number in words: 12090 is 12.9."""
    return f"{number // 1000}.{number % 1000 // 10}"

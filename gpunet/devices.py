"""Which devices there are and whether they work: what `gpunet devices` shows, as data."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunet.backend import get_backend
from gpunet.cuda.faults import Fault, cuda_version, cupy_wheels, explain, two_wheels, versions
from gpunet.cuda.opening import device_count, import_cupy
from gpunet.errors import DeviceError, GpunetError
from gpunet.kernels import threads


@dataclass(frozen=True)
class DeviceReport:
    """What was found out about one device.

    Attributes:
        device: "cpu", "cuda:0" …, or "cuda" where there is no CUDA device at all.
        works: whether test work on it gave the right results.
        facts: name, memory in bytes, versions …, as JSON can hold them.
        fault: why it does not work and what helps; None if it works.
        notes: what else is amiss.
    """

    device: str
    works: bool
    facts: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All of it in one dict."""
        notes = {"notes": self.notes} if self.notes else {}
        fault = {"fault": self.fault} if self.fault else {}
        return {"device": self.device, "works": self.works, **self.facts, **fault, **notes}


def list_devices() -> list[DeviceReport]:
    """The CPU and each CUDA device, with test work done on each; never raises for a device that is not there."""
    return [report_cpu(), *report_cuda()]


def report_cpu() -> DeviceReport:
    """The CPU: processor, cores, NumPy and the BLAS library that NumPy's matrix products run on."""
    facts: dict[str, Any] = {"name": _processor(), "cores": os.cpu_count() or 1, "numpy": np.__version__}
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    works = bool((x @ x.T)[1, 1] == 50)
    facts.update(_blas())
    return DeviceReport("cpu", works, facts, None if works else "NumPy computes wrong products; reinstall it.")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def _blas() -> dict[str, Any]:
    """The BLAS that NumPy has loaded, its version and its number of threads."""
    for library in threads.describe():
        return {
            "blas": library.get("internal_api"),
            "blas_version": library.get("version"),
            "blas_threads": library.get("num_threads"),
        }
    return {}


def report_cuda() -> list[DeviceReport]:
    """Every CUDA device, or a single report "cuda" with the reason why there is none."""
    two = two_wheels()
    notes = [] if two is None else [str(two)]
    wheels = cupy_wheels()
    facts: dict[str, Any] = {"wheels": [f"{name} {version}" for name, version in wheels.items()]} if wheels else {}
    try:
        cupy = import_cupy()
        facts["cupy"] = cupy.__version__
        driver, runtime = versions(cupy)
        facts["driver_cuda"] = cuda_version(driver) if driver else None
        facts["wheel_cuda"] = cuda_version(runtime) if runtime else None
        count = device_count(cupy)
    except DeviceError as error:
        told = str(error)
        return [DeviceReport("cuda", False, facts, told, [note for note in notes if note != told])]
    if older := older_wheel(wheels, driver):
        notes.append(str(older))
    return [_report_one(cupy, ordinal, facts, notes) for ordinal in range(count)]


def older_wheel(wheels: dict[str, str], driver: int) -> Fault | None:
    """The note that the driver would take a newer wheel than the installed one, or None.

    Args:
        wheels: from `cupy_wheels`.
        driver: the CUDA version of the driver, as 13000 for 13.0.
    """
    built = [int(found.group(1)) for name in wheels if (found := re.fullmatch(r"cupy-cuda(\d\d)x", name))]
    if len(built) != 1 or not driver or built[0] >= driver // 1000:
        return None
    newer = f"cupy-cuda{driver // 1000}x"
    return Fault(
        f"the wheel cupy-cuda{built[0]}x is older than the driver, which is for CUDA {cuda_version(driver)}",
        f"that works, but a device newer than the wheel needs {newer}[ctk]",
    )


def _report_one(cupy: Any, ordinal: int, shared: dict[str, Any], notes: list[str]) -> DeviceReport:
    device, facts = f"cuda:{ordinal}", dict(shared)
    try:
        properties = cupy.cuda.runtime.getDeviceProperties(ordinal)
        name = properties["name"]
        facts = {
            "name": name.decode() if isinstance(name, bytes) else name,
            "compute_capability": f"{properties['major']}.{properties['minor']}",
            "multiprocessors": int(properties["multiProcessorCount"]),
            "memory": int(properties["totalGlobalMem"]),
            **facts,
        }
        with cupy.cuda.Device(ordinal):
            facts["memory_free"] = int(cupy.cuda.runtime.memGetInfo()[0])
        check_cuda(ordinal)
    except GpunetError as error:
        return DeviceReport(device, False, facts, str(error), notes)
    except Exception as error:
        return DeviceReport(device, False, facts, str(explain(error, cupy)), notes)
    return DeviceReport(device, True, facts, None, notes)


def check_cuda(ordinal: int) -> None:
    """Do on a CUDA device what training does: compile a kernel, multiply with cuBLAS, replay a CUDA graph.

    Raises:
        DeviceError: one of them fails or gives a wrong result.
    """
    from gpunet.kernels.column_sum import column_sum

    backend = get_backend(f"cuda:{ordinal}")
    try:
        with backend.use():
            x = backend.to_device(np.arange(6, dtype=np.float32).reshape(2, 3))
            product, sums = backend.empty((2, 2), np.float32), backend.zeros(2, np.float32)
            backend.xp.dot(x, x.T, out=product)
            column_sum(product, sums)
            graph = backend.capture(lambda: column_sum(product, sums))
            sums.fill(0)
            graph.launch()
            found = backend.to_host(sums).tolist()
    except GpunetError:
        raise
    except Exception as error:
        raise DeviceError(str(explain(error, backend.xp))) from error
    if found != [19.0, 64.0]:
        raise DeviceError(f"device cuda:{ordinal} computed {found} and not [19.0, 64.0]; it cannot be trusted.")

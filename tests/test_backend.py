"""Devices: choosing one, moving arrays, and the sentence for everything that can be amiss."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import as_numpy
from gpunet.cuda import faults
from gpunet.cuda.faults import explain
from gpunet.cuda.queues import queue_of
from gpunet.devices import older_wheel
from gpunet.wording import readable


def fake_cupy(
    error: Exception | None = None, count: int = 1, driver: int = 13000, runtime: int = 13000
) -> types.ModuleType:
    """A stand-in for CuPy whose first question to the driver fails."""

    def ask() -> int:
        if error is not None:
            raise error
        return count

    module = types.ModuleType("cupy")
    runtime_module = types.SimpleNamespace(
        getDeviceCount=ask, driverGetVersion=lambda: driver, runtimeGetVersion=lambda: runtime
    )
    module.cuda = types.SimpleNamespace(runtime=runtime_module)
    return module


def told(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType | None, device: str = "cuda") -> str:
    """What `get_backend` says of a stand-in for CuPy."""
    monkeypatch.setitem(sys.modules, "cupy", module)
    with pytest.raises(gn.DeviceError) as caught:
        gn.get_backend(device)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# --- choosing --------------------------------------------------------------------------------------------


def test_cpu() -> None:
    backend = gn.get_backend("cpu")
    assert (backend.name, backend.device, backend.xp) == ("cpu", "cpu", np)
    assert gn.get_backend(backend) is backend
    backend.synchronize()


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", None, 0])
def test_unknown_devices(name: object) -> None:
    with pytest.raises(gn.UsageError, match="use auto, cpu, cuda or cuda:N"):
        gn.get_backend(name)


def test_auto_takes_cuda_where_it_works(cuda: gn.Backend) -> None:
    backend = gn.get_backend("auto")
    assert backend.device == "cuda:0"
    assert "test kernel ran" in backend.reason


def test_auto_falls_back_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    backend = gn.get_backend("auto")
    assert backend.device == "cpu"
    assert "CuPy is not installed" in backend.reason


def test_no_such_ordinal(cuda: gn.Backend) -> None:
    count = cuda.xp.cuda.runtime.getDeviceCount()
    with pytest.raises(gn.DeviceError, match=f"no device cuda:{count + 6}; this machine has cuda:0"):
        gn.get_backend(f"cuda:{count + 6}")


def test_importing_gpunet_leaves_cupy_alone() -> None:
    code = "import sys, gpunet; gpunet.get_backend('cpu'); assert 'cupy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


# --- faults ----------------------------------------------------------------------------------------------


def test_cupy_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(monkeypatch, None)
    assert "CuPy is not installed" in message
    assert 'pip install "gpunet[cuda13]"' in message


def test_cupy_cannot_be_imported(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    message = run_elsewhere(tmp_path, "import gpunet; gpunet.get_backend('cuda')")
    assert "CuPy is installed but cannot be imported (libcudart.so.12" in message
    assert "with its [ctk] extra" in message


def run_elsewhere(folder: pathlib.Path, code: str) -> str:
    """The DeviceError of a program that finds `folder` first on its path."""
    lines = [
        f"import sys; sys.path.insert(0, {str(folder)!r})",
        "try:",
        f"    {code}",
        "except Exception as error: print(type(error).__name__, error)",
    ]
    program = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("DeviceError "), done.stdout + done.stderr
    return done.stdout


def install(folder: pathlib.Path, *names: str) -> None:
    """Metadata of distributions, as pip leaves it."""
    for name in names:
        place = folder / f"{name.replace('-', '_')}-14.0.0.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.0.0\n")


def test_two_wheels(tmp_path: pathlib.Path) -> None:
    install(tmp_path, "cupy-cuda12x", "cupy-cuda13x")
    (tmp_path / "cupy.py").write_text("raise ImportError('half of one and half of the other')")
    message = run_elsewhere(tmp_path, "import gpunet; gpunet.get_backend('cuda')")
    assert "several CuPy packages are installed" in message
    assert "pip uninstall cupy-cuda12x cupy-cuda13x" in message


def test_one_wheel_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "cupy_wheels", lambda: {"cupy-cuda13x": "14.0.0"})
    assert faults.two_wheels() is None
    monkeypatch.setattr(faults, "cupy_wheels", dict)
    assert faults.two_wheels() is None


def test_names_of_wheels(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "cupy", "CuPy_cuda11x", "cupy-rocm-7-0", "cupyx", "cupy-xarray")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert sorted(faults.cupy_wheels()) == ["cupy", "cupy-cuda11x", "cupy-rocm-7-0"]


@pytest.fixture
def one_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "cupy_wheels", lambda: {"cupy-cuda13x": "14.0.0"})


INSUFFICIENT = RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")


@pytest.mark.usefixtures("one_wheel")
def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(monkeypatch, fake_cupy(INSUFFICIENT, driver=0))
    assert "no NVIDIA driver was found" in message


@pytest.mark.usefixtures("one_wheel")
def test_wheel_newer_than_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(monkeypatch, fake_cupy(INSUFFICIENT, driver=12040, runtime=13020))
    assert "the wheel cupy-cuda13x is newer than the driver, which is for CUDA 12.4 and not 13.2" in message
    assert "install cupy-cuda12x[ctk]" in message


def test_wheel_older_than_the_driver() -> None:
    note = str(older_wheel({"cupy-cuda12x": "14.0.0"}, 13010))
    assert "older than the driver, which is for CUDA 13.1" in note
    assert "cupy-cuda13x[ctk]" in note
    assert older_wheel({"cupy-cuda13x": "14.0.0"}, 13010) is None
    assert older_wheel({"cupy-cuda13x": "14.0.0"}, 12090) is None
    assert older_wheel({}, 12090) is None


@pytest.mark.usefixtures("one_wheel")
@pytest.mark.parametrize("count", [0, None])
def test_no_device(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    error = None if count == 0 else RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    message = told(monkeypatch, fake_cupy(error, count=0))
    assert "no CUDA device was found" in message
    assert "CUDA_VISIBLE_DEVICES" in message


class CompileException(Exception):
    """As CuPy's."""


class OutOfMemoryError(Exception):
    """As CuPy's."""


@pytest.mark.usefixtures("one_wheel")
@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (CompileException('kern.cu(1): error: cannot open source file "cuda_fp16.h"'), "headers", "[ctk]"),
        (RuntimeError("failed to find CUDA headers; install cuda-toolkit"), "headers", "gpunet[cuda13]"),
        (RuntimeError("DynamicLibNotFoundError: libnvrtc.so.13"), "library cannot be loaded", "[ctk]"),
        (OutOfMemoryError("Out of memory allocating 512 bytes"), "no free memory", "nvidia-smi"),
        (RuntimeError("nvrtc: error: invalid value for --gpu-architecture (-arch)"), "too new or too old", "wheel"),
        (RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available"), "too new or too old", "7.5"),
        (RuntimeError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"), "newer than the driver", "update the driver"),
        (RuntimeError("something else\nand more"), "cannot be used (something else)", "gpunet devices"),
    ],
)
def test_every_known_fault_has_its_remedy(error: Exception, cause: str, remedy: str) -> None:
    fault = explain(error, fake_cupy())
    assert cause in fault.cause
    assert remedy in fault.remedy


def test_two_wheels_explain_a_strange_failure_but_not_a_missing_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "cupy_wheels", lambda: {"cupy-cuda12x": "13.6.0", "cupy-cuda13x": "14.0.0"})
    assert "several CuPy packages" in explain(RuntimeError("libnvrtc.so.12"), fake_cupy()).cause
    assert "several CuPy packages" in explain(RuntimeError("undefined symbol"), fake_cupy()).cause
    assert "no CUDA device" in explain(RuntimeError("cudaErrorNoDevice"), fake_cupy()).cause


def test_a_device_that_computes_wrongly(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.xp, "ElementwiseKernel", lambda *a: lambda x: [3.0])
    with pytest.raises(gn.DeviceError, match="cannot be trusted"):
        gn.get_backend("cuda")


def test_headers_missing_for_real(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise CompileException('error: could not open source file "cuda_fp16.h"')

    monkeypatch.setattr(cuda.xp, "ElementwiseKernel", fail)
    with pytest.raises(gn.DeviceError, match="headers that kernels are compiled with are missing"):
        gn.get_backend("cuda")


# --- arrays ----------------------------------------------------------------------------------------------


def test_arrays_go_there_and_back(backend: gn.Backend) -> None:
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = backend.to_device(host)
    assert backend.owns(there)
    assert np.array_equal(backend.to_host(there), host)
    assert backend.to_device(host, np.float64).dtype == np.float64
    assert backend.empty((2, 3), np.int32).shape == (2, 3)
    assert not backend.to_host(backend.zeros(3, np.float32)).any()
    backend.synchronize()


def test_owns(cuda: gn.Backend) -> None:
    assert not cuda.owns(np.zeros(3))
    assert not gn.get_backend("cpu").owns(cuda.zeros(3, np.float32))


def test_what_is_read_together(backend: gn.Backend) -> None:
    xp, rng = backend.xp, np.random.default_rng(1)
    made = {"a": ((3,), np.int64), "b": ((), np.float64), "c": ((7, 5), np.float32, "F"), "d": ((0,), np.float32)}
    readout = backend.readout(made)
    for _ in range(2):
        wanted = {name: (100 * rng.random(shape)).astype(dtype) for name, (shape, dtype, *_) in made.items()}
        with backend.use():
            for name, array in readout.arrays.items():
                assert type(array) is xp.ndarray
                array[...] = xp.asarray(wanted[name])
            found = readout.read()
        assert list(found) == list(made)
        for name, array in found.items():
            assert array.dtype == wanted[name].dtype
            np.testing.assert_array_equal(array, wanted[name])


def test_any_array_comes_to_the_host(backend: gn.Backend) -> None:
    assert as_numpy([1, 2]).tolist() == [1, 2]
    with backend.use():
        assert as_numpy(backend.to_device(np.ones(2))).tolist() == [1, 1]

    class Other:
        def __dlpack__(self, **options: object) -> object:
            return np.arange(3).__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    assert as_numpy(Other()).tolist() == [0, 1, 2]


def test_arrays_of_torch(backend: gn.Backend) -> None:
    torch = pytest.importorskip("torch")
    assert backend.to_host(backend.to_device(torch.arange(3))).tolist() == [0, 1, 2]


def test_large_arrays_are_uploaded_without_page_locked_memory(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("gpunet.backend.LARGE_UPLOAD", 1000)
    for array, dtype in ((rng.random((40, 30)), np.float32), (np.arange(2400).reshape(40, 60)[:, ::2], None)):
        there = cuda.to_device(array, dtype)
        assert there.dtype == (dtype or array.dtype)
        np.testing.assert_array_equal(cuda.to_host(there), array.astype(dtype or array.dtype))


def test_two_threads_that_ask_at_once_share_a_queue() -> None:
    with ThreadPoolExecutor(8) as pool:
        queues = list(pool.map(lambda _: queue_of(77), range(64)))
    assert len(set(map(id, queues))) == 1


def test_two_devices(cuda: gn.Backend) -> None:
    if cuda.xp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one CUDA device")
    other = gn.get_backend("cuda:1")
    there = other.zeros(3, np.float32)
    assert other.owns(there)
    assert not cuda.owns(there)
    with pytest.raises(gn.DeviceError, match="cuda:1"):
        cuda.to_device(there)
    # As a tensor of torch, whose device has another form.
    tensor = types.SimpleNamespace(__cuda_array_interface__=there.__cuda_array_interface__, device="cuda:1")
    with pytest.raises(gn.DeviceError, match="lives on cuda:1 and is wanted on cuda:0"):
        cuda.to_device(tensor)
    with pytest.raises(gn.DeviceError, match="different devices"):
        gn.softmax_cross_entropy(cuda.zeros((3, 2), np.float32), other.zeros(3, np.int32))


def test_two_devices_that_are_simulated(cuda: gn.Backend) -> None:
    pytest.importorskip("cusim", reason="a simulated CUDA device can be had twice")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "test_two_devices and not simulated",
    ]
    done = subprocess.run(
        command, env={**os.environ, "CUSIM_DEVICES": "2"}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_out_of_memory(cuda: gn.Backend) -> None:
    def refuse(size: int) -> None:
        raise cuda.xp.cuda.memory.OutOfMemoryError(size, 0, 0)

    with cuda.xp.cuda.using_allocator(refuse), pytest.raises(gn.DeviceError) as caught:
        cuda.empty(1 << 20, np.float32)
    assert "has no room for 4.0 MiB more" in str(caught.value)
    assert "lower the batch size" in str(caught.value)
    free, total = cuda.memory()
    assert 0 < free <= total
    assert caught.value.free <= total


def test_bytes_in_words() -> None:
    assert [readable(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30, 2 << 40)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 GiB",
        "2,048.0 GiB",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_fork_of_a_process_that_has_used_cuda_is_told() -> None:
    program = (
        "import os, sys, types, gpunet as gn\n"
        # A stand-in for CuPy that counts one device and then fails.
        "runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)\n"
        "sys.modules['cupy'] = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))\n"
        "def ask():\n"
        "    try:\n"
        "        gn.get_backend('cuda')\n"
        "    except gn.DeviceError as error:\n"
        "        print(error, flush=True)\n"
        "ask()\n"
        "child = os.fork()\n"
        "ask()\n"
        "if child == 0:\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    told = done.stdout.splitlines()
    assert len(told) == 3
    (child,) = [each for each in told if "forked" in each]
    assert "forked from one that had used CUDA" in child
    assert "loky" in child

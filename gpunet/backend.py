"""The device: NumPy on the CPU or CuPy on a CUDA GPU, behind one small object.

This is the only module that imports CuPy for its own sake, and it does so only when a CUDA device is
asked for. Everything else works on `backend.xp`, the array module, and asks `kernels` for what has to
exist twice.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.errors import DeviceError, OutOfMemory, UsageError
from gpunet.keywords import checked, suggestion

#: Other names of the devices, as in a table's synonyms.
SYNONYMS = {"cuda": "gpu nvidia cupy", "cuda:1": "gpu:1", "cpu": "host numpy"}


#: Arrays of at least so many bytes go to a device without page-locked memory.
LARGE_UPLOAD = 1 << 26


@checked
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
        self._queue = queue_of(ordinal)

    def __reduce__(self) -> tuple[Any, ...]:
        return get_backend, (self.device,)  # what goes to another process finds its device there

    def __deepcopy__(self, memo: Any) -> Backend:
        return self

    def __repr__(self) -> str:
        return f"<Backend {self.device}: {self.reason}>"

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Make this device, and gpunet's stream on it, the current ones inside a `with` block.

        On CUDA the work goes to a stream of gpunet's own, one for each device, since the default stream cannot be
        captured into a graph. It waits for what was asked of the caller's stream before, and that one waits for what
        was asked for in the block. One thread at a time is inside, so that no thread's work gets into a graph that
        another one captures.

        Raises:
            OutOfMemory: work in the block asked for more memory than the CUDA device has free.
        """
        if self.name == "cpu":
            yield
            return
        _refuse_fork()
        with self._queue.lock, self.xp.cuda.Device(self.ordinal):
            stream = self._queue.stream(self.xp)
            outer = self.xp.cuda.get_current_stream()
            # The default stream and ours wait for each other without being told.
            ordered = outer.ptr in (0, stream.ptr)
            if not ordered:
                stream.wait_event(outer.record())
            with stream:
                try:
                    yield
                except self.xp.cuda.memory.OutOfMemoryError as error:
                    raise self._out_of_memory(error) from error
                finally:
                    if not ordered:
                        outer.wait_event(stream.record())

    def _out_of_memory(self, error: BaseException) -> OutOfMemory:
        free, total = self.memory()
        asked = re.search(r"allocating ([\d,]+) bytes", str(error))
        wanted = f" for {readable(int(asked.group(1).replace(',', '')))} more" if asked else ""
        return OutOfMemory(
            f"device {self.device} has no room{wanted}: {readable(free)} of {readable(total)} are free; lower the "
            "batch size or the hidden sizes, close what else uses the device, or use the CPU.",
            free,
        )

    def memory(self) -> tuple[int, int]:
        """Free and total memory of a CUDA device in bytes; what CuPy's pool keeps unused counts as free."""
        with self.xp.cuda.Device(self.ordinal):
            free, total = self.xp.cuda.runtime.memGetInfo()
            return free + self.xp.get_default_memory_pool().free_bytes(), total

    @property
    def compute_capability(self) -> tuple[int, int]:
        """That of a CUDA device, as (8, 0)."""
        found = self.xp.cuda.Device(self.ordinal).compute_capability
        return int(found[:-1]), int(found[-1])

    @property
    def nccl(self) -> Any:
        """CuPy's bindings of NCCL.

        Raises:
            DeviceError: this is no CUDA device, or NCCL is not installed.
        """
        if self.name == "cpu":
            raise DeviceError('NCCL adds up between GPUs, and the device is the CPU; take distributed "mpi".')
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is not there is said below
            nccl = importlib.import_module("cupy.cuda.nccl")
        if not nccl.available:
            raise DeviceError(
                "NCCL cannot be loaded; install it with pip install nvidia-nccl-cu13 (CUDA 12: nvidia-nccl-cu12), or "
                'take distributed "mpi".'
            )
        return nccl

    @property
    def multiprocessors(self) -> int:
        """How many multiprocessors a CUDA device has."""
        return int(self.xp.cuda.Device(self.ordinal).attributes["MultiProcessorCount"])

    def capture(self, work: Callable[[], None]) -> Any:
        """A CUDA graph of what `work` asks of the device, with a method `launch`; nothing is computed yet.

        To be called inside `use`; the graph is launched on the stream that is current then. Every kernel must have
        been launched before, so that it is compiled, and every array must outlive the graph. Where the host has a part
        in the work (`changed_by_host`) it is several graphs, and `launch` has the host do its part between them.

        Raises:
            DeviceError: the work cannot be captured: it waits for the device, copies from or to the host,
                allocates device memory, or calls a library that CuPy does not capture.
        """
        # On a stream that does not wait for the default stream: what another thread gives to that one meanwhile (as
        # torch does) would end the capture of any other.
        stream = self.xp.cuda.Stream(non_blocking=True)
        with self._queue.capturing, stream:
            parts = self._queue.parts = []
            try:
                stream.begin_capture()
                # An array made now would be freed after the capture, and the graph would go on writing to it.
                with self.xp.cuda.using_allocator(_refuse_allocation):
                    work()
                last = stream.end_capture()
                return _Parts([*parts, last.launch]) if parts else last
            except BaseException as error:
                # A capture that failed must still be ended, after Ctrl-C too, or the thread goes on capturing.
                with contextlib.suppress(Exception):
                    stream.end_capture()
                if not isinstance(error, Exception):
                    raise
                raise DeviceError(f"the step cannot be captured as a CUDA graph ({first_line(error)}).") from error

    def beside(self, works: Sequence[Callable[[], None]]) -> None:
        """Ask for several pieces of work that do not depend on each other, inside of `capture`: each becomes a branch
        of the graph, on a stream of its own."""
        main, events = self.xp.cuda.get_current_stream(), []
        events.append(main.record())
        for work, stream in zip(works, self._queue.branches(self.xp, len(works)), strict=True):
            stream.wait_event(events[0])
            with stream:
                work()
            events.append(stream.record())
        for event in events[1:]:
            main.wait_event(event)

    def changed_by_host(self, array: Any, change: Callable[[np.ndarray], Any]) -> Callable[[], None]:
        """A change that the host makes to an array of this device, ready to be run in the order of the device's work.

        Args:
            array: contiguous, changed.
            change: is handed the array, or on CUDA a copy of it in the host's memory, and changes it there.
        """
        return functools.partial(change, array) if self.name == "cpu" else _HostChange(self, array, change)

    def _between(self, work: Callable[[], None]) -> None:
        """Have the host do something after what the device was asked for so far; in `capture` between two graphs."""
        stream = self.xp.cuda.get_current_stream()
        if stream.is_capturing():
            self._queue.parts += [stream.end_capture().launch, functools.partial(self._between, work)]
            stream.begin_capture()
        else:
            stream.synchronize()
            work()

    def _page_locked(self, array: Any) -> np.ndarray:
        """Memory of the host for the values of a CUDA array, which the device can read and write by itself."""
        memory = self.xp.cuda.alloc_pinned_memory(array.nbytes)
        return np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)

    def to_device(self, array: Any, dtype: Any = None) -> Any:
        """An array on this device (copied only if it is not there already).

        Args:
            array: NumPy or CuPy array, or anything with `__array__`, `__cuda_array_interface__` or DLPack.
            dtype: the dtype to give it; by default its own.

        Raises:
            DeviceError: the array lives on another CUDA device.
        """
        array = _detached(array)
        with self.use():
            if self.name == "cuda" and hasattr(array, "__cuda_array_interface__"):
                place = self._place(array)
                if place != self.ordinal:
                    raise DeviceError(
                        f"the array lives on cuda:{place} and is wanted on {self.device}; move it through the host "
                        "with backend.to_host, or work on its own device."
                    )
                return self.xp.asarray(array, dtype=dtype)
            host = as_numpy(array)
            if self.name == "cpu" or host.nbytes < LARGE_UPLOAD:
                return self.xp.asarray(host, dtype=dtype)
            # CuPy copies through page-locked memory, rounded up to a power of two, and keeps that for later; an upload
            # that happens once goes straight.
            uploaded = self.xp.empty(host.shape, host.dtype if dtype is None else dtype)
            uploaded.set(np.ascontiguousarray(host, uploaded.dtype))
            return uploaded

    def _place(self, array: Any) -> int:
        """The CUDA device that an array of any library lives on."""
        pointer = array.__cuda_array_interface__["data"][0]
        return int(self.xp.cuda.runtime.pointerGetAttributes(pointer).device) if pointer else self.ordinal

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

    def staging(self, parts: int, arrays: Sequence[tuple[tuple[int, ...], Any]]) -> Staging:
        """Arrays on this device that the host fills a part at a time, while the device works on other parts.

        Args:
            parts: how many.
            arrays: for each the shape of a part, and the dtype.
        """
        with self.use():
            return (Staging if self.name == "cpu" else _CudaStaging)(self, parts, arrays)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was asked to do."""
        if self.name == "cuda":
            with self.use():
                self.xp.cuda.get_current_stream().synchronize()

    def mark(self) -> Mark:
        """A mark behind all that the device was asked to do so far, which tells without waiting whether it is done.

        May be asked for from another thread than the one that asks the device for work.
        """
        if self.name == "cpu":
            return Mark()
        queue = self._queue
        with queue.capturing, self.xp.cuda.Device(self.ordinal):
            event = self.xp.cuda.Event(disable_timing=True)
            event.record(queue.stream(self.xp))
        return Mark(event, queue.capturing)

    def owns(self, array: Any) -> bool:
        """Whether an array lives on this device."""
        if self.name == "cpu":
            return isinstance(array, np.ndarray)
        return isinstance(array, self.xp.ndarray) and array.device.id == self.ordinal


class _Parts:
    """Work of a device in several parts, with work of the host between them."""

    def __init__(self, parts: Sequence[Callable[[], None]]) -> None:
        self._parts = parts

    def launch(self) -> None:
        for part in self._parts:
            part()


class _HostChange:
    """`Backend.changed_by_host` on CUDA: through page-locked memory; the copies can be part of a graph."""

    def __init__(self, backend: Backend, array: Any, change: Callable[[np.ndarray], Any]) -> None:
        self._backend, self._array, self._host = backend, array, backend._page_locked(array)
        self._work = functools.partial(change, self._host)

    def __call__(self) -> None:
        device, host, size = self._array.data.ptr, self._host.ctypes.data, self._array.nbytes
        cuda = self._backend.xp.cuda
        stream, runtime = cuda.get_current_stream().ptr, cuda.runtime  # CuPy's own copies refuse to be captured
        runtime.memcpyAsync(host, device, size, runtime.memcpyDeviceToHost, stream)
        self._backend._between(self._work)
        runtime.memcpyAsync(device, host, size, runtime.memcpyHostToDevice, stream)

    def __del__(self) -> None:
        # CuPy would give the memory to others while a copy still reads it. Without the queue's lock: any thread may
        # come here, when it collects garbage, and one that the lock's owner waits for would wait for the lock.
        with contextlib.suppress(Exception):
            self._backend._queue.stream(self._backend.xp).synchronize()


class Mark:
    """A place in the work of a device. On the CPU, where all is done at once, it is always reached."""

    def __init__(self, event: Any = None, capturing: Any = None) -> None:
        self._event, self._capturing = event, capturing

    @property
    def done(self) -> bool:
        """Whether the device has come this far; asks and does not wait."""
        if self._event is None:
            return True
        # CUDA lets no thread ask for anything that could wait while another one captures a graph.
        if not self._capturing.acquire(blocking=False):
            return False
        try:
            return bool(self._event.done)
        finally:
            self._capturing.release()


class Staging:
    """Arrays on a device that the host fills a part at a time; on the CPU in their place.

    A part is filled, sent and received in this order, and may be filled anew once the work on it was asked for and
    `wait` has returned. All but `host` is to be called inside of `Backend.use`.

    Attributes:
        arrays: on the device, all parts behind each other.
    """

    def __init__(self, backend: Backend, parts: int, arrays: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        self._rows = [shape[0] for shape, _ in arrays]
        self.arrays = [backend.xp.empty((parts * shape[0], *shape[1:]), dtype) for shape, dtype in arrays]
        self._host: list[np.ndarray] = self.arrays

    def host(self, part: int) -> list[np.ndarray]:
        """What the host fills for a part of each array."""
        return self._part(self._host, part)

    def _part(self, arrays: Sequence[Any], part: int) -> list[Any]:
        return [array[part * rows : (part + 1) * rows] for array, rows in zip(arrays, self._rows, strict=True)]

    def wait(self, part: int) -> None:
        """Wait until a part may be filled anew."""

    def send(self, part: int) -> None:
        """Have the device take over a part that was filled, behind the work that it was asked for so far."""

    def receive(self, part: int) -> None:
        """Have the device's coming work wait for a part that was sent."""


class _CudaStaging(Staging):
    """The same on CUDA: a part is filled in page-locked memory and copied by a stream of its own."""

    def __init__(self, backend: Backend, parts: int, arrays: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        super().__init__(backend, parts, arrays)
        self._cuda = backend.xp.cuda
        self._host = [backend._page_locked(array) for array in self.arrays]
        self._stream = self._cuda.Stream(non_blocking=True)
        self._copied: dict[int, Any] = {}

    def wait(self, part: int) -> None:
        if part in self._copied:
            self._copied[part].synchronize()

    def send(self, part: int) -> None:
        self._stream.wait_event(self._cuda.get_current_stream().record())
        for target, source in zip(self._part(self.arrays, part), self.host(part), strict=True):
            target.data.copy_from_host_async(source.ctypes.data, source.nbytes, self._stream)
        self._copied[part] = self._stream.record()

    def receive(self, part: int) -> None:
        self._cuda.get_current_stream().wait_event(self._copied[part])

    def __del__(self) -> None:
        # CuPy would give the memory to others while a copy still writes to it.
        with contextlib.suppress(Exception):
            self._stream.synchronize()


class Queue:
    """The stream that the work for one CUDA device goes to, the lock of whoever puts work there, the one that is held
    while a graph is captured, and what comes before that graph."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.capturing = threading.Lock()
        self.parts: list[Callable[[], None]] = []
        self._stream: Any = None
        self._branches: list[Any] = []

    def branches(self, cupy: Any, count: int) -> list[Any]:
        """Streams for the branches of a graph that is captured; to be asked for with the device as the current one."""
        while len(self._branches) < count:
            self._branches.append(cupy.cuda.Stream(non_blocking=True))
        return self._branches[:count]

    def stream(self, cupy: Any) -> Any:
        """The stream; to be asked for with the device as the current one."""
        if self._stream is None:
            self._stream = cupy.cuda.Stream(non_blocking=False)
        return self._stream


class _Cuda:
    """Whether this process has used CUDA, and whether it was forked from one that had."""

    opened = False
    inherited = False


_cuda = _Cuda()


def _after_fork() -> None:
    _cuda.inherited = _cuda.inherited or _cuda.opened


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _refuse_fork() -> None:
    if _cuda.inherited:
        raise DeviceError(
            "this process was forked from one that had used CUDA, which CUDA does not allow; start workers afresh "
            '(joblib\'s "loky", or multiprocessing with "spawn"), or use CUDA in them alone.'
        )


_queues: dict[int, Queue] = {}


def queue_of(ordinal: int) -> Queue:
    """The queue of a CUDA device, the same for whoever asks."""
    # Also where two threads ask at once: `setdefault` is one step of the interpreter.
    return _queues.setdefault(ordinal, Queue())


def _refuse_allocation(size: int) -> Any:
    raise RuntimeError(f"it allocates {size:,} bytes of device memory")


def readable(size: float) -> str:
    """A number of bytes in words, in powers of 1024: 512 bytes, 3.8 MiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def as_numpy(array: Any) -> np.ndarray:
    """Any array in host memory: NumPy, CuPy, `__array__`, DLPack (torch, jax), sequences."""
    if isinstance(array, np.ndarray):
        return array
    array = _detached(array)
    if hasattr(array, "__cuda_array_interface__"):
        array = array if hasattr(array, "get") else import_cupy().asarray(array)
        with queue_of(array.device.id).lock:
            return array.get()
    if not hasattr(array, "__array__") and hasattr(array, "__dlpack__"):
        return np.from_dlpack(array)
    return np.asarray(array)


def _detached(array: Any) -> Any:
    """The values of a tensor of torch that wants a gradient, which it hands to nobody; anything else as it is."""
    return array.detach() if hasattr(array, "requires_grad") else array


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


def cupy_wheels() -> dict[str, str]:
    """The installed distributions that bring a package `cupy`: name to version."""
    import importlib.metadata  # takes as long as all of this module, and is seldom needed

    found = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if re.fullmatch(r"cupy|cupy-cuda\d+x?|cupy-rocm-[\d-]+", name):
            found[name] = distribution.version
    return found


def two_wheels() -> Fault | None:
    """The fault of several CuPy distributions that overwrite each other's files, or None."""
    wheels = sorted(cupy_wheels())
    if len(wheels) < 2:
        return None
    return Fault(
        f"several CuPy packages are installed and overwrite each other ({', '.join(wheels)})",
        f"uninstall them all with pip uninstall {' '.join(wheels)}, then install the one that fits the driver",
    )


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


def first_line(error: BaseException) -> str:
    """What an error says, as a sentence can hold it: its first line, or its type where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".")


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


def open_cuda(ordinal: int = 0) -> Any:
    """CuPy with the CUDA device `ordinal` checked: it exists, and a kernel compiles and runs on it.

    Raises:
        DeviceError: with the cause and the remedy: no CuPy, two wheels, no driver or one that is older
            than the wheel needs, no such device, headers missing for the compiler, no memory.
    """
    _refuse_fork()
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


@checked
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
        hint = suggestion(device, ("auto", "cpu", "cuda"), SYNONYMS) if isinstance(device, str) else ""
        raise UsageError(f"unknown device {device!r}; {hint}use auto, cpu, cuda or cuda:N.")
    if device == "cpu":
        return Backend("cpu", np, reason="asked for")
    ordinal = int(match.group(1) or 0)
    if device != "auto":
        return Backend("cuda", open_cuda(ordinal), ordinal, reason="asked for")
    try:
        return Backend("cuda", open_cuda(0), 0, reason="auto: a test kernel ran on it")
    except DeviceError as error:
        return Backend("cpu", np, reason=f"auto: {str(error).split(';')[0].rstrip('.')}")

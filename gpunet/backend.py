"""The device: NumPy on the CPU or CuPy on a CUDA GPU, behind one small object.

Everything else works on `backend.xp`, the array module, and asks `kernels` for what has to exist twice. What CUDA
needs stands in `cuda`, which imports CuPy only when such a device is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.cuda import graphs
from gpunet.cuda.opening import import_cupy, import_nccl, open_cuda, refuse_fork
from gpunet.cuda.queues import Mark, queue_of
from gpunet.cuda.readout import CudaReadout, Readout
from gpunet.cuda.staging import CudaStaging, Staging
from gpunet.errors import DeviceError, OutOfMemory, UsageError
from gpunet.keywords import checked, suggestion
from gpunet.wording import readable

#: Other names of the devices, as in a table's synonyms.
SYNONYMS = {"cuda": "gpu nvidia cupy", "cuda:1": "gpu:1", "cpu": "host numpy"}

#: Elements that a CUDA device is given at a time, where the number of rows is free: 32 MB in float32.
AT_ONCE = 1 << 23
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
        refuse_fork()
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
        return import_nccl()

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
        return graphs.capture(self.xp, self._queue, work)

    def beside(self, works: Sequence[Callable[[], None]]) -> None:
        """Ask for several pieces of work that do not depend on each other, inside of `capture`: each becomes a branch
        of the graph, on a stream of its own."""
        graphs.beside(self.xp, self._queue, works)

    def changed_by_host(self, array: Any, change: Callable[[np.ndarray], Any]) -> Callable[[], None]:
        """A change that the host makes to an array of this device, ready to be run in the order of the device's work.

        Args:
            array: contiguous, changed.
            change: is handed the array, or on CUDA a copy of it in the host's memory, and changes it there.
        """
        if self.name == "cpu":
            return functools.partial(change, array)
        return graphs.HostChange(self.xp, self._queue, array, change)

    def rows_at_once(self, rows: int, width: int) -> int:
        """How many rows of `width` numbers to compute on at a time: `rows`, which suit the caches of a CPU, or on CUDA,
        where each kernel has to be asked for, more of them."""
        return rows if self.name == "cpu" else max(rows, AT_ONCE // width)

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
            return (Staging if self.name == "cpu" else CudaStaging)(self.xp, parts, arrays)

    def readout(self, arrays: Mapping[str, tuple[Any, ...]]) -> Readout:
        """Uninitialised arrays on this device that the host reads all at once: with one copy, waiting once.

        Args:
            arrays: for each its shape and dtype, and its order on the CPU if that is not "C".
        """
        with self.use():
            return Readout(self.xp, arrays) if self.name == "cpu" else CudaReadout(self.xp, self._queue, arrays)

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

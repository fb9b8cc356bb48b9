"""Matrix products by cuBLAS, launched one by one or captured in a CUDA graph.

CuPy's own wrappers tell cuBLAS the stream before each product, and refuse to while that stream is captured; the library
itself has nothing against it. So products go to it directly, on a handle of our own for each device, with a workspace
of our own: cuBLAS then allocates nothing, and the same products on one stream give the same bits. Work that runs beside
other work, as the branches of a graph do, has a handle and a workspace for itself (`beside`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import DeviceError
from gpunet.kernels.build import InTurn, Ready

#: Bytes of workspace; what NVIDIA recommends for compute capability 9.0, and more than it does for others.
WORKSPACE = 32 << 20
#: By precision the types of the factors and of the result, the type to compute in, and that of the two scalars of a
#: product, as cublas_api.h and library_types.h number them: CUDA_R_32F with CUBLAS_COMPUTE_32F, CUDA_R_64F with
#: CUBLAS_COMPUTE_64F, CUDA_R_32F with CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_16BF with CUBLAS_COMPUTE_32F.
TYPES: dict[str, tuple[int, int, int, Any]] = {
    "float32": (0, 0, 68, ctypes.c_float),
    "float64": (1, 1, 70, ctypes.c_double),
    "tf32": (0, 0, 77, ctypes.c_float),
    "bfloat16": (14, 0, 68, ctypes.c_float),
}
TRANSPOSED, AS_IT_IS, DEFAULT_ALGORITHM = 1, 0, -1
#: By precision the function for many products at once, and the handle's mode that makes it compute in that precision,
#: CUBLAS_DEFAULT_MATH or CUBLAS_TF32_TENSOR_OP_MATH. In bfloat16 there is none: products are asked for one by one.
DEFAULT_MODE, TF32_MODE = 0, 3
BATCHED = {
    "float32": ("cublasSgemmBatched", DEFAULT_MODE),
    "float64": ("cublasDgemmBatched", DEFAULT_MODE),
    "tf32": ("cublasSgemmBatched", TF32_MODE),
}


@functools.cache
def _library() -> Any:
    """cuBLAS, the one that CuPy has loaded."""
    import cupy

    cupy.cuda.device.get_cublas_handle()  # makes CuPy load it, from where it has found it
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    name = f"cublas64_{major}.dll" if os.name == "nt" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise DeviceError(f"cuBLAS cannot be loaded ({error}); reinstall CuPy's wheel with its [ctk] extra.") from None


class Handle:
    """A handle of cuBLAS on the current device with its workspace, and the stream that it was told last."""

    def __init__(self) -> None:
        import cupy

        self.library = _library()
        self.handle = ctypes.c_void_p()
        self.check(self.library.cublasCreate_v2(ctypes.byref(self.handle)))
        self.workspace = cupy.empty(WORKSPACE, np.uint8)
        self.stream: int | None = None

    def check(self, status: int) -> None:
        if status:
            raise DeviceError(f"cuBLAS reports error {status}; check the driver and CuPy's wheel.")

    def follow(self, stream: int) -> None:
        """Put the coming products on a stream; a new stream makes cuBLAS forget its workspace."""
        self.check(self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)))
        address, size = ctypes.c_void_p(self.workspace.data.ptr), ctypes.c_size_t(WORKSPACE)
        self.check(self.library.cublasSetWorkspace_v2(self.handle, address, size))
        self.stream = stream


@functools.cache
def _handle(ordinal: int, number: int = 0) -> Handle:
    return Handle()


class _Own(threading.local):
    """The handle of the work that a thread is asking for; None for the device's usual one."""

    handle: Handle | None = None


_own = _Own()


def beside(number: int, work: Ready) -> Ready:
    """Work with its products on another handle, so that it can run on the device beside work with another number.

    The handle is made here, because it allocates, which a capture does not allow.

    Args:
        number: 0 for the handle of all other products on the current device, which do not run at that time.
        work: what asks for products.
    """
    import cupy

    handle = _handle(cupy.cuda.Device().id, number)

    def run() -> None:
        before, _own.handle = _own.handle, handle
        try:
            work()
        finally:
            _own.handle = before

    return run


def _factor(matrix: Any) -> tuple[int, Any, Any]:
    """(operation, address, leading dimension) of a factor, for a library that takes columns for rows."""
    if matrix.flags.c_contiguous:
        return AS_IT_IS, matrix, max(matrix.shape[1], 1)
    return TRANSPOSED, matrix.T, max(matrix.shape[0], 1)


def product(a: Any, b: Any, out: Any, precision: str | None = None) -> Product:
    """out = a b of CuPy matrices of float32 or float64, ready to be run.

    Args:
        a, b: (m, k) and (k, n), in C or Fortran order; for bfloat16 its bits as uint16.
        out: (m, n), in C order, written; for tf32 and bfloat16 float32, in which is added up.
        precision: "tf32" or "bfloat16"; that of `out` by default.

    Raises:
        DeviceError: cuBLAS cannot be loaded or used.
    """
    return Product(a, b, out, precision or out.dtype.name)


class Product:
    """A product of matrices, ready to be run on the stream that is then the current one.

    Attributes:
        matrices: as the library wants them: it reads rows as columns, and computes out^T = b^T a^T.
        alike: equal for products that differ in their matrices' places and numbers alone.
        name: what it is, with its sizes m, k and n.
    """

    def __init__(self, a: Any, b: Any, out: Any, precision: str) -> None:
        import cupy

        (m, k), n = a.shape, b.shape[1]
        self.name = f"product {m} x {k} x {n}"
        left, b_matrix, b_line = _factor(b)
        right, a_matrix, a_line = _factor(a)
        self.matrices = b_matrix, a_matrix, out
        self.alike: tuple[Any, ...] = (precision, left, right, n, m, k, b_line, a_line, out.device.id)
        self._usual, self._current_stream = _handle(out.device.id), cupy.cuda.get_current_stream
        of_factors, of_out, to_compute, scalar = TYPES[precision]
        one, zero = scalar(1), scalar(0)
        first, second, result = (ctypes.c_void_p(matrix.data.ptr) for matrix in self.matrices)
        self._arguments = (
            left, right, n, m, k, ctypes.byref(one), first, of_factors, b_line, second, of_factors, a_line,
            ctypes.byref(zero), result, of_out, n, to_compute, DEFAULT_ALGORITHM,
        )  # fmt: skip

    def __call__(self) -> None:
        handle = self.handle()
        if status := handle.library.cublasGemmEx(handle.handle, *self._arguments):
            handle.check(status)

    def handle(self) -> Handle:
        """The handle to compute on, which follows the current stream."""
        handle, stream = _own.handle or self._usual, self._current_stream().ptr
        if stream != handle.stream:
            handle.follow(stream)
        return handle

    def together(self, others: Sequence[Product]) -> Ready:
        """This product and others that are alike, in one call where the library can do that.

        For many products it may add up in another order than for one. So both ways are tried here, on what is in the
        matrices, and the products are asked for one by one unless all have the same bits.
        """
        products = (self, *others)
        if self.alike[0] not in BATCHED:
            return InTurn(products)
        batched = _batched(products)
        return batched if _same_bits(batched, products) else InTurn(products)


def _batched(products: Sequence[Product]) -> Ready:
    """Products that are alike in one call.

    Tensor cores want matrices that begin at multiples of 16 bytes, which the library cannot see here; those of a
    network do.
    """
    import cupy

    precision, left, right, n, m, k, b_line, a_line, _ = products[0].alike
    scalar, (name, mode) = TYPES[precision][-1], BATCHED[precision]
    addresses = np.array([[matrix.data.ptr for matrix in each.matrices] for each in products], np.uint64)
    one, zero, table = scalar(1), scalar(0), cupy.asarray(np.ascontiguousarray(addresses.T))
    firsts, seconds, results = (ctypes.c_void_p(row.data.ptr) for row in table)

    def run() -> None:
        handle = products[0].handle()
        handle.check(handle.library.cublasSetMathMode(handle.handle, mode))
        status = getattr(handle.library, name)(
            handle.handle, left, right, n, m, k, ctypes.byref(one), firsts, b_line, seconds, a_line,
            ctypes.byref(zero), results, n, table.shape[1],  # which also keeps the table
        )  # fmt: skip
        handle.check(handle.library.cublasSetMathMode(handle.handle, DEFAULT_MODE))
        handle.check(status)

    return run


def _same_bits(batched: Ready, products: Sequence[Product]) -> bool:
    """Whether products give the same bits at once as one by one, of what is in their factors now."""
    batched()
    for each in products:
        result = each.matrices[-1].view(np.uint8)
        kept = result.copy()
        each()
        if not (kept == result).all():
            return False
    return True

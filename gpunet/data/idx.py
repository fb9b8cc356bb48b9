"""The idx format, in which MNIST and its relatives are published: read and written, plain or gzip.

An idx file is a header (two zero bytes, the element type, the number of dimensions, then each dimension as a
big-endian 32-bit number) and the elements behind it in C order, big-endian (http://yann.lecun.com/exdb/mnist/).
Whatever a file claims is checked before memory is set aside for it.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from gpunet.data.stored import MappedArray
from gpunet.errors import DataError, UsageError

ELEMENT_TYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MAX_DIMENSIONS = 32  # what NumPy 1 holds; no file in use has more than four
MAX_BYTES = 8 << 30  # the largest array that is read unless the caller allows more
_DEFLATE_RATIO = 1032  # deflate cannot shrink data further than this, so a header that claims more lies
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Read one idx file, plain or gzip (told by its first bytes, not by its name).

    Args:
        path: the file.
        max_bytes: the largest array that is read.

    Returns:
        A C-contiguous array in native byte order with the file's shape and element type.

    Raises:
        DataError: the file cannot be read or is no sound idx file: wrong magic, unknown element type, no dimensions,
            truncated, bytes left over, damaged gzip, or a claimed size over `max_bytes`.
    """
    path = Path(path)
    with _reading(path) as (stream, stored, packed):
        dtype, shape = _read_header(path, stream)
        header, payload = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
        if payload > max_bytes:
            raise DataError(
                f"{path} claims {_times(shape)} elements, {payload:,} bytes, more than the {max_bytes:,} that are "
                "read at once; check that it is a sound idx file."
            )
        if not packed and stored != header + payload:
            raise _wrong_size(path, shape, payload, stored - header)
        if packed and payload > stored * _DEFLATE_RATIO:
            raise DataError(
                f"{path} claims {_times(shape)} elements, more than its {stored:,} bytes of gzip can hold; it is "
                "truncated or damaged, fetch it again."
            )
        try:
            array = np.empty(shape, dtype)
        except (MemoryError, ValueError) as error:
            raise DataError(f"{path} needs {payload:,} bytes of memory, which cannot be had.") from error
        got = _fill(stream, array)
        if got < payload:
            raise _wrong_size(path, shape, payload, got)
        # One byte more than the header says: tells of left-over bytes and lets gzip check its checksum.
        if stream.read(1):
            raise _wrong_size(path, shape, payload, None)
    if array.dtype.isnative:
        return array.view(dtype.newbyteorder("="))
    return array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def map_idx(path: str | os.PathLike[str]) -> MappedArray | None:
    """The array of an idx file, which stays there, in the file's byte order; None of one that is packed.

    Raises:
        DataError: as of `read_idx`.
    """
    path = Path(path)
    with _reading(path) as (stream, stored, packed):
        dtype, shape = _read_header(path, stream)
        header, payload = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
        if packed:
            return None
        if stored != header + payload:
            raise _wrong_size(path, shape, payload, stored - header)
    return MappedArray(path, dtype, shape, header)


def read_idx_header(path: str | os.PathLike[str]) -> tuple[np.dtype, tuple[int, ...]]:
    """The element type (native byte order) and the shape that an idx file claims; reads nothing else.

    Raises:
        DataError: as of `read_idx`, for a bad header.
    """
    path = Path(path)
    with _reading(path) as (stream, _, _):
        dtype, shape = _read_header(path, stream)
    return dtype.newbyteorder("="), shape


def write_idx(path: str | os.PathLike[str], array: Any) -> Path:
    """Write an array as idx; gzip when the name ends in .gz (same array, same bytes: no time stamp in it).

    The file appears whole or not at all: it is written beside its place, synced and renamed.

    Args:
        path: where to; a file that is there is replaced.
        array: of 1 to 32 dimensions and one of the element types that idx has.

    Returns:
        The path.

    Raises:
        UsageError: idx does not have the element type, or the array has no dimensions.
        DataError: the file cannot be written.
    """
    path = Path(path)
    array = np.asarray(array)
    native = array.dtype.newbyteorder("=")
    code = next((code for code, dtype in ELEMENT_TYPES.items() if dtype.newbyteorder("=") == native), 0)
    if not code:
        raise UsageError(
            f"idx has no element type for {array.dtype}; convert the array to uint8, int8, int16, int32, float32 or "
            "float64."
        )
    if not 1 <= array.ndim <= MAX_DIMENSIONS or any(size >= 1 << 32 for size in array.shape):
        raise UsageError(f"idx holds 1 to {MAX_DIMENSIONS} dimensions below 2^32, not an array of shape {array.shape}.")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    swapped = np.ascontiguousarray(array, ELEMENT_TYPES[code]).reshape(-1).view(np.uint8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            if path.suffix == ".gz":
                import gzip

                with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as packed:
                    packed.write(header)
                    packed.write(swapped.data)
            else:
                file.write(header)
                file.write(swapped.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextmanager
def _reading(path: Path) -> Iterator[tuple[IO[bytes], int, bool]]:
    """The open file (unpacked as it is read), its size on disk and whether it is gzip."""
    if path.is_dir():
        raise DataError(f"{path} is a folder, not an idx file.")
    if not path.is_file():
        # A pipe or a device would block or never end.
        raise DataError(f"{path} is no regular file." if path.exists() else f"There is no file {path}.")
    try:
        with open(path, "rb") as raw:
            stored = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not packed:
                yield raw, stored, False
                return
            import gzip
            import zlib

            try:
                with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                    yield unpacked, stored, True  # type: ignore[misc]
            except EOFError as error:
                raise DataError(f"{path} is truncated: its gzip stream ends too early; fetch it again.") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"{path} is damaged: {_lower(error)}; fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_header(path: Path, stream: IO[bytes]) -> tuple[np.dtype, tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4:
        raise DataError(f"{path} is truncated: {len(magic)} bytes are too few for an idx header.")
    zero, code, dimensions = magic[:2], magic[2], magic[3]
    if zero != b"\0\0":
        raise DataError(f"{path} is no idx file: it begins with the bytes {magic.hex(' ')}, not with 00 00.")
    if code not in ELEMENT_TYPES:
        known = ", ".join(f"{c:02x}" for c in ELEMENT_TYPES)
        raise DataError(f"{path} is no sound idx file: its element type {code:02x} is none of {known}.")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise DataError(f"{path} is no sound idx file: it claims {dimensions} dimensions, not 1 to {MAX_DIMENSIONS}.")
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path} is truncated: it ends within its idx header.")
    return ELEMENT_TYPES[code], struct.unpack(f">{dimensions}I", sizes)


def _fill(stream: IO[bytes], array: np.ndarray) -> int:
    """Read into the array's own memory, a chunk at a time, so that nothing is held twice."""
    view = memoryview(array.reshape(-1).view(np.uint8).data)
    got = 0
    while got < len(view):
        chunk = stream.readinto(view[got : got + _CHUNK])  # type: ignore[attr-defined]
        if not chunk:
            break
        got += chunk
    return got


def _wrong_size(path: Path, shape: tuple[int, ...], payload: int, got: int | None) -> DataError:
    claim = f"its header claims {_times(shape)} elements, {payload:,} bytes"
    if got is not None and got < payload:
        return DataError(f"{path} is truncated: {claim}, but {max(got, 0):,} follow; fetch it again.")
    return DataError(f"{path} has bytes left over: {claim}, but more follow; it is damaged or mislabelled.")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:] if text else "bad gzip stream"

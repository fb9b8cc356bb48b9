"""NumPy's own files: the array of a .npy file, the arrays of an .npz archive. Pickled objects are never loaded.

NumPy's reader and those of the archive's compressions raise whatever the damage in a file leads them to, so any error
that comes out of them is told as one of the file.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.stored import MappedArray
from gpunet.errors import DataError

MAX_BYTES = 8 << 30  # what the arrays of one file may take


def read_npy(path: str | os.PathLike[str], mapped: bool = False) -> np.ndarray:
    """The array of a .npy file.

    Args:
        path: the file.
        mapped: whether it is mapped into memory instead of read, so that only what is looked at is read.

    Raises:
        DataError: the file cannot be read, is damaged, or holds pickled objects or several arrays.
    """
    with _reading(path, ".npy"):
        array: Any = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path} is an archive of arrays and no single one; give a .npy file.")
    return array


def map_npy(path: str | os.PathLike[str]) -> MappedArray:
    """The array of a .npy file, which stays there.

    Raises:
        DataError: as of `read_npy`; or its columns and not its rows lie behind each other.
    """
    with _reading(path, ".npy"), open(path, "rb") as file:
        shape, fortran, dtype = _read_header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise DataError(f"{path} holds pickled objects, which are never loaded.")
    if fortran and len(shape) > 1:
        raise DataError(
            f"{path} holds its array column by column (Fortran order), so its rows cannot be read one by one; write it "
            "with numpy.save(file, numpy.ascontiguousarray(array))."
        )
    return MappedArray(Path(path), dtype, shape, offset)


def npz_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the arrays in an .npz archive; each one's claimed size was compared with what there is.

    Raises:
        DataError: the file cannot be read, is damaged, claims more than it holds or than 8 GiB, or holds pickled
            objects.
    """
    import zipfile

    names, total = [], 0
    with contextlib.ExitStack() as stack:
        with _reading(path, ".npz"):
            archive = stack.enter_context(zipfile.ZipFile(path))
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with _reading(path, ".npz"):
                shape, dtype = _header(archive, member)
            size = math.prod(shape) * dtype.itemsize
            if dtype.hasobject:
                raise DataError(f"{path} holds pickled objects in {member.filename}, which are never loaded.")
            if size > member.file_size:
                raise DataError(f"{path} is damaged: {member.filename} claims more data than it has.")
            total += size
            names.append(member.filename.removesuffix(".npy"))
    if total > MAX_BYTES:
        raise DataError(f"{path} claims {total:,} bytes, more than the {MAX_BYTES:,} that are read at once.")
    return names


def read_npz(path: str | os.PathLike[str], names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of these names, in their order; `npz_names` says which there are.

    Raises:
        DataError: the file cannot be read, is damaged, or holds no array of a name.
    """
    with _reading(path, ".npz"), np.load(path, allow_pickle=False) as content:
        return [content[name] for name in names]


def _header(archive: Any, member: Any) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type that an array of an archive claims to have."""
    with archive.open(member) as file:
        shape, _, dtype = _read_header(file)
    return shape, dtype


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape of an array, whether it is in Fortran order, and its type; the file stands at its first element."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Any error of the readers inside, which are called alone here, is a sentence; their warnings are not shown."""
    import zipfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        if "allow_pickle" in str(error):
            raise DataError(f"{path} is damaged or holds pickled objects, which are never loaded.") from error
        told = isinstance(error, (ValueError, NotImplementedError, zipfile.BadZipFile)) and str(error).strip()
        reason = f": {told.splitlines()[0].rstrip('.')}" if told else ""
        raise DataError(f"{path} is damaged or no {kind} file{reason}.") from error

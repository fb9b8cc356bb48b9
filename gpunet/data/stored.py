"""Examples that stay in their files: arrays mapped into memory, of which only the rows are read that are asked for.

`StoredRows` stands where an array of inputs does. What is looked at once, such as the rows of an evaluation, does not
stay in the memory of the process; the system keeps of the files what there is room for.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.download import Progress
from gpunet.errors import DataError

#: Arrays in files of at least so many bytes are mapped; smaller ones are read.
LARGE = 1 << 28
#: Of each file so many blocks of so many bytes go into its fingerprint.
SAMPLES, SAMPLE = 64, 1 << 16
#: Bytes that are read at a time where all rows are looked at.
PIECE = 1 << 24
#: The share of the memory up to which the system is trusted to keep files in it.
ROOM = 0.75


class MappedArray:
    """An array (n, ...) in a file, of which nothing is read until it is looked at.

    Args:
        path: the file.
        dtype: of the elements, in any byte order.
        shape: of the array, in C order.
        offset: of its first byte in the file.
        file: the file, where it is open already.

    Attributes:
        path, dtype, shape: as above.
        rows: the array as (n, columns).
        sources: the files that it stands for.

    Raises:
        DataError: the file cannot be mapped, is shorter than that, or the array has no rows.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, file: Any = None) -> None:
        self.path, self.dtype, self.shape, self._offset = path, np.dtype(dtype), shape, offset
        self.sources = [path]
        if not shape:
            raise DataError(f"{path} holds a single number and no rows.")
        count = math.prod(shape)
        try:
            self._file = open(path, "rb") if file is None else file  # noqa: SIM115 - open as long as the array is
            stored = os.fstat(self._file.fileno()).st_size
            if count == 0 or stored < offset + count * self.dtype.itemsize:
                raise DataError(f"{path} is empty or truncated; fetch it again.")
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be mapped into memory: {error}.") from None
        self.rows = np.frombuffer(self._map, self.dtype, count, offset).reshape(shape[0], -1)

    def __reduce__(self) -> Any:
        return MappedArray, (self.path, self.dtype, self.shape, self._offset)

    def __len__(self) -> int:
        return self.shape[0]

    def expect(self, first: int, last: int) -> None:
        """Have the system read the rows from `first` to `last` beside other work, where it can be told to."""
        if hasattr(os, "posix_fadvise"):
            start, length = self._bytes(first, last)
            os.posix_fadvise(self._file.fileno(), start, length, os.POSIX_FADV_WILLNEED)

    def release(self, first: int, last: int) -> None:
        """Have these rows no longer in the memory of this process; the system may keep them in its own."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, *self._bytes(first, last))

    def _bytes(self, first: int, last: int) -> tuple[int, int]:
        """Where the pages of some rows begin in the file, and their length."""
        width = self.rows.shape[1] * self.dtype.itemsize
        start = (self._offset + first * width) // mmap.PAGESIZE * mmap.PAGESIZE
        return start, self._offset + last * width - start

    def column(self, at: int) -> np.ndarray:
        """A column (n,) of all rows."""
        values = self.rows[:, at].copy()
        self.release(0, len(self))
        return values


def fingerprint(path: Path) -> str:
    """A file's size and time, and the sha256 of blocks of it."""
    facts = os.stat(path)
    digest = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    with open(path, "rb") as file:
        for start in np.linspace(0, max(facts.st_size - SAMPLE, 0), SAMPLES, dtype=np.int64).tolist():
            file.seek(start)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()


class StoredRows:
    """Inputs (n, columns) in files, uint8 or float32: what is asked of it is read, and given as an array.

    Args:
        arrays: of equal types and shapes but for their lengths; their rows follow each other.
        index: the numbers of the rows of the files that these are, in their order; all by default.
        progress: called as progress(file name, bytes done, bytes total) while all rows are looked at.

    Attributes:
        shape, dtype, size, nbytes, ndim: as of an array.
        item_shape: the shape of an example in the files.

    Raises:
        DataError: the arrays are of different types or shapes, or no numbers.
    """

    ndim = 2

    def __init__(
        self, arrays: Sequence[MappedArray], index: np.ndarray | range | None = None, progress: Progress | None = None
    ) -> None:
        first = arrays[0]
        for other in arrays:
            if (other.dtype, other.shape[1:]) != (first.dtype, first.shape[1:]):
                raise DataError(
                    f"{other.path} holds {other.dtype} of shape {other.shape[1:]} and {first.path} {first.dtype} of "
                    f"shape {first.shape[1:]}; they do not fit."
                )
        if first.dtype.kind not in "buif" or len(first.shape) < 2:
            raise DataError(f"{first.path} must hold numbers in rows, not {first.dtype} of shape {first.shape}.")
        self._arrays, self.progress = list(arrays), progress
        self._starts = np.cumsum([0, *map(len, arrays)])
        self._index = range(int(self._starts[-1])) if index is None else index
        self._ascending = isinstance(index, range) or index is None or bool((np.diff(index) > 0).all())
        self.item_shape = first.shape[1:]
        self.dtype = np.dtype(np.uint8 if first.dtype == np.uint8 else np.float32)
        self.shape = (len(self._index), first.rows.shape[1])
        self.size = self.shape[0] * self.shape[1]
        self.nbytes = self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"StoredRows({self.shape[0]:,} rows of {self.shape[1]} {self.dtype} in {len(self._arrays)} files)"

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows by their number, by a slice, by numbers or by truth values, or a column as in [:, 3]: a new array."""
        if isinstance(key, tuple):
            rows, at = key
            column = np.concatenate([array.column(at) for array in self._arrays]).astype(self.dtype, copy=False)
            return column[np.asarray(self._index)[rows]]
        if isinstance(key, slice):
            numbers = range(len(self))[key]
            if isinstance(self._index, range) and numbers.step == 1:
                return self._stretch(self._index.start + numbers.start, self._index.start + numbers.stop)
            found = self.take(np.array(numbers, np.intp))
            if numbers:
                first, last = sorted((numbers[0], numbers[-1]))
                self.release(first, last + 1)
            return found
        if isinstance(key, (int, np.integer)):
            return self.take(np.array([range(len(self))[int(key)]]))[0]
        rows = np.asarray(key)
        return self.take(np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + len(self), rows))

    def take(self, rows: np.ndarray, axis: int = 0, out: np.ndarray | None = None, mode: str = "raise") -> np.ndarray:
        """The rows of these numbers, as an array's `take` gives them along its first axis."""
        if out is None:
            out = np.empty((len(rows), self.shape[1]), self.dtype)
        rows = rows + self._index.start if isinstance(self._index, range) else self._index[rows]
        if len(self._arrays) == 1:
            _take(self._arrays[0], rows, out)
            return out
        which = np.searchsorted(self._starts, rows, "right") - 1
        for number in np.unique(which).tolist():
            places = np.flatnonzero(which == number)
            some = np.empty((len(places), self.shape[1]), self.dtype)
            _take(self._arrays[number], rows[places] - self._starts[number], some)
            out[places] = some
        return out

    def _stretch(self, first: int, last: int) -> np.ndarray:
        """Rows that lie behind each other; they are not kept mapped."""
        out = np.empty((max(last - first, 0), self.shape[1]), self.dtype)
        with np.errstate(over="ignore"):
            for array, start, end, to in self._within(first, last):
                out[to : to + end - start] = array.rows[start:end]
                array.release(start, end)
        return out

    def _within(self, first: int, last: int) -> list[tuple[MappedArray, int, int, int]]:
        """The arrays that hold the rows of the files from `first` to `last`: where in them, and behind how many."""
        found = []
        for array, start in zip(self._arrays, self._starts.tolist(), strict=False):
            here, end = max(first - start, 0), min(last - start, len(array))
            if here < end:
                found.append((array, here, end, start + here - first))
        return found

    def expect(self, first: int, last: int) -> None:
        """Have the system read these rows, which lie behind each other, beside other work."""
        for array, start, end in self._behind_each_other(first, last):
            array.expect(start, end)

    def release(self, first: int, last: int) -> None:
        """Have these rows, which lie behind each other, no longer in the memory of this process."""
        for array, start, end in self._behind_each_other(first, last):
            array.release(start, end)

    def _behind_each_other(self, first: int, last: int) -> list[tuple[MappedArray, int, int]]:
        if not self._ascending:
            return []
        first, last = int(self._index[first]), int(self._index[last - 1]) + 1
        return [found[:3] for found in self._within(first, last)]

    def select(self, rows: slice | np.ndarray) -> StoredRows:
        """These rows, still in their files."""
        index: Any = self._index
        if isinstance(index, range) and not (isinstance(rows, slice) and rows.step in (None, 1)):
            index = np.arange(index.start, index.stop, dtype=np.int32 if index.stop < 1 << 31 else np.int64)
        return StoredRows(self._arrays, index[rows], self.progress)

    def joined(self, other: StoredRows) -> StoredRows:
        """The rows of both, still in their files."""
        arrays = [*self._arrays, *(array for array in other._arrays if array not in self._arrays)]
        starts = dict(zip(map(id, arrays), np.cumsum([0, *map(len, arrays)]).tolist(), strict=False))
        index = []
        for each in (self, other):
            rows = np.asarray(each._index)
            which = np.searchsorted(each._starts, rows, "right") - 1
            moved = np.array([starts[id(array)] for array in each._arrays]) - each._starts[:-1]
            index.append(rows + moved[which])
        return StoredRows(arrays, np.concatenate(index), self.progress)

    def check(self, what: str) -> None:
        """Look at all numbers once, for a sentence where one is not finite.

        Raises:
            DataError: there is one.
        """
        if self.dtype == np.uint8 or self._arrays[0].dtype.kind != "f":
            return
        length, name = max(PIECE // (self.shape[1] * 4), 1), f"reading {self._arrays[0].path.name}"
        for first in range(0, len(self), length):
            some = self[first : first + length]
            wrong = ~np.isfinite(some).all(axis=1)
            if wrong.any():
                raise DataError(
                    f"{what} hold a number in row {first + int(np.argmax(wrong))} that is not finite, or too large "
                    "for float32; repair it or leave the row out."
                )
            if self.progress is not None:
                self.progress(name, min(first + length, len(self)) * self.shape[1] * 4, self.nbytes)

    def fingerprint(self) -> str:
        """What tells these rows from others without reading all of them: size, time and blocks of each file."""
        digest = hashlib.sha256(f"{self.dtype} {self.shape}".encode())
        for path in itertools.chain.from_iterable(array.sources for array in self._arrays):
            digest.update(fingerprint(path).encode())
        if isinstance(self._index, range):
            digest.update(str(self._index).encode())
        else:
            digest.update(np.ascontiguousarray(self._index, "<i8").data)
        return digest.hexdigest()


def _take(array: MappedArray, rows: np.ndarray, out: np.ndarray) -> None:
    if array.rows.dtype == out.dtype:
        array.rows.take(rows, 0, out, "clip")  # into its place without a bounds check
    else:
        with np.errstate(over="ignore"):
            out[...] = array.rows.take(rows, 0)


def selected(inputs: Any, rows: slice | np.ndarray) -> Any:
    """Some rows of inputs: of an array a view or a copy, of those in files `StoredRows`, which are there still."""
    return inputs.select(rows) if isinstance(inputs, StoredRows) else inputs[rows]


def memory() -> int:
    """Bytes of memory that this process may use: those of the machine, or fewer where a limit is set."""
    found = [1 << 62]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container, of either version of control groups
        try:
            text = Path("/sys/fs/cgroup", name).read_text()
        except OSError:
            continue
        found += [int(text)] if text.strip().isdecimal() else []
    try:
        import resource
    except ImportError:  # on Windows
        return min(found)
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min([*found, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])


def thrashes(inputs: Any) -> bool:
    """Whether rows of inputs cannot be read one by one in any order, because their files do not stay in memory."""
    return isinstance(inputs, StoredRows) and inputs.nbytes > ROOM * memory()

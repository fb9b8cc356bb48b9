"""Parquet files larger than memory, as a table: columns are read one at a time, and rows once, a part at a time.

What is fitted on a table looks at one column after the other, which Parquet holds apart. When it is known, the rows are
prepared in one pass over the files and kept, in the form in which a network reads them, in a file without a name in the
cache folder, where any row can be read by itself; the system removes it when nobody uses it any more.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.columns import Column, Table, from_arrow, import_arrow
from gpunet.data.download import Progress, cache_dir
from gpunet.data.preparation import Preparation
from gpunet.data.reader import PARQUET, suffix_of, unreadable
from gpunet.data.stored import MappedArray, StoredRows
from gpunet.errors import DataError
from gpunet.wording import readable

#: Tables of so many bytes, at 8 a cell, are not read whole.
LARGE = 1 << 31
#: Rows that are prepared at a time.
PART = 1 << 16
#: Columns that are kept in memory: the target, and the one that is looked at.
KEPT = 2


def is_large(paths: Sequence[Path]) -> bool:
    """Whether files are Parquet, and too large to be read whole."""
    if any(suffix_of(path) not in PARQUET for path in paths):
        return False
    facts = [_open(path).metadata for path in paths]
    return sum(each.num_rows * each.num_columns * 8 for each in facts) >= LARGE


def _open(path: Path) -> Any:
    import_arrow("reading a table")
    import pyarrow.parquet as parquet

    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


class ParquetFiles:
    """Parquet files of the same columns, whose rows follow each other.

    Args:
        paths: the files.
        progress: called as progress(what is done, bytes done, bytes total) while the columns are looked at and the rows
            prepared.

    Attributes:
        paths, progress: as above.
        kinds: the kind of each column (see `Column`), by its name.
        rows: how many rows there are.

    Raises:
        DataError: a file cannot be read, or has other columns than the first.
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, paths: Sequence[Path], progress: Progress | None = None) -> None:
        self.paths, self.progress = list(paths), progress
        files = [_open(path) for path in paths]
        schema = files[0].schema_arrow
        for path, file in zip(paths, files, strict=True):
            if file.schema_arrow.names != schema.names or file.schema_arrow.types != schema.types:
                raise DataError(f"{path} has other columns than {paths[0]}; they do not fit.")
        self.kinds = {each.name: each.kind for each in from_arrow(schema.empty_table(), str(paths[0]))}
        self.rows = sum(file.metadata.num_rows for file in files)
        self._columns: dict[str, Column] = {}
        self._seen: set[str] = set()
        self._prepared: tuple[Preparation, MappedArray] | None = None

    def column(self, name: str) -> Column:
        """A column, whole."""
        found = self._columns.pop(name, None)
        if found is None:
            import pyarrow as pa

            pieces = [self._guarded(path, lambda file: file.read(columns=[name])) for path in self.paths]
            found = from_arrow(pa.concat_tables(pieces), str(self.paths[0]))[0]
            if self.progress is not None and name not in self._seen:
                self._seen.add(name)
                done, size = (count * self.rows * 8 for count in (len(self._seen), len(self.kinds)))
                self.progress(f"reading the columns of {self.paths[0].name}", done, size)
        self._columns = {**dict(list(self._columns.items())[1 - KEPT :]), name: found}
        return found

    def _guarded(self, path: Path, work: Any) -> Any:
        try:
            return work(_open(path))
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from None

    def parts(self, names: Sequence[str]) -> Iterator[Table]:
        """These columns, some rows at a time."""
        for path in self.paths:
            batches = self._guarded(path, lambda file: file.iter_batches(PART, columns=list(names)))
            first = 0
            while (batch := self._guarded(path, lambda _, batches=batches: next(batches, None))) is not None:
                table = Table(f"{path} (rows from {first:,})", from_arrow(batch, str(path)))
                first += len(table)
                yield table

    def prepared(self, preparation: Preparation) -> MappedArray:
        """All rows as a network reads them; prepared once.

        Raises:
            DataError: there is no room for them, or a value in them is not what it should be.
        """
        if self._prepared is not None and self._prepared[0] == preparation:
            return self._prepared[1]
        names = preparation.column_names or ()
        dtype = np.dtype(np.uint8 if preparation.columns is None else np.float32)
        folder, size = cache_dir(), self.rows * len(names) * dtype.itemsize
        folder.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder).free) < size:
            raise DataError(
                f"{self.paths[0]} takes {readable(size)} in {folder} while it is in use, where {readable(free)} are "
                "free; name a folder with more room in the variable GPUNET_CACHE."
            )
        file, done = tempfile.TemporaryFile(dir=folder), 0  # noqa: SIM115 - open as long as its rows are in use
        for table in self.parts(list(names)):
            rows = preparation.apply(table)
            if rows.dtype != dtype:
                raise DataError(f"{table.name} holds a pixel that is no whole number from 0 to 255.")
            file.write(np.ascontiguousarray(rows).data)
            done += rows.nbytes
            if self.progress is not None:
                self.progress(f"reading {self.paths[0].name}", done, size)
        file.flush()
        array = PreparedRows(file, (self.rows, len(names)), dtype, self, preparation)
        self._prepared = preparation, array
        return array


class PreparedRows(MappedArray):
    """The rows of Parquet files, prepared, in a file without a name."""

    def __init__(
        self, file: Any, shape: tuple[int, int], dtype: np.dtype[Any], files: ParquetFiles, preparation: Preparation
    ) -> None:
        super().__init__(files.paths[0], dtype, shape, 0, file)
        self.sources = files.paths
        self._files, self._preparation = files, preparation

    def __reduce__(self) -> Any:
        raise DataError(f"{self.path} is larger than memory and cannot be sent to another process; load it there.")

    def column(self, at: int) -> np.ndarray:
        """A column of all rows, from the files, where its numbers lie together."""
        columns = self._preparation.columns
        if columns is None:
            return super().column(at)
        name = columns[at].name
        alone = dataclasses.replace(self._preparation, columns=(columns[at],))
        return alone.apply(Table(str(self.path), [self._files.column(name)]))[:, 0]


class StoredColumn(Column):
    """A column of Parquet files, which is read when it is looked at."""

    def __init__(self, files: ParquetFiles, name: str, index: np.ndarray | None) -> None:
        self.name, self.kind = name, files.kinds[name]
        self._files, self._index = files, index

    def __len__(self) -> int:
        return self._files.rows if self._index is None else len(self._index)

    @property
    def values(self) -> np.ndarray:  # type: ignore[override]
        """As of any column."""
        values = self._files.column(self.name).values
        return values if self._index is None else values[self._index]

    @property
    def texts(self) -> list[str]:  # type: ignore[override]
        """As of any column."""
        return self._files.column(self.name).texts

    def take(self, rows: np.ndarray) -> Column:
        """The column of these rows, still in its files."""
        return StoredColumn(self._files, self.name, rows if self._index is None else self._index[rows])


class StoredTable(Table):
    """A table in Parquet files, of which nothing is read until it is looked at.

    Args:
        files: the files.
        names: of the columns; all by default.
        index: the numbers of its rows; all by default.
    """

    def __init__(
        self, files: ParquetFiles, names: Sequence[str] | None = None, index: np.ndarray | None = None
    ) -> None:
        self._files, self._index = files, index
        columns: list[Column] = [StoredColumn(files, name, index) for name in (names or files.kinds)]
        super().__init__(str(files.paths[0]), columns)

    def take(self, rows: np.ndarray) -> Table:
        """The table of these rows, still in its files."""
        return StoredTable(self._files, self.names, rows if self._index is None else self._index[rows])

    def without(self, names: Sequence[str]) -> Table:
        """The table without these columns."""
        left = [name for name in self.names if name not in names]
        return StoredTable(self._files, left, self._index) if left else Table(self.name, [])

    def place(self, row: int) -> str:
        """Where a row is, for a sentence."""
        return f"row {row if self._index is None else int(self._index[row]):,}"

    def inputs(self, preparation: Preparation) -> StoredRows:
        """Its rows as a network reads them."""
        return StoredRows([self._files.prepared(preparation)], self._index)

"""A table as NumPy columns: numbers, truth values, times and texts, each with a name and with what is missing known.

Whatever a table comes from (a file, an Arrow table, a frame of pandas or polars, a dict of arrays) is brought into this
form once; the rest of gpunet knows no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunet.errors import DataError, MissingExtra

NUMBER, BOOLEAN, TIME, TEXT = "number", "boolean", "time", "text"
_DAY = 86_400_000_000  # microseconds


@dataclass
class Column:
    """One column.

    Attributes:
        name: its name.
        kind: NUMBER, BOOLEAN (0 and 1), TIME (days since 1970) or TEXT.
        values: (n,) float64 with NaN where a value is missing; of texts int32, the number of each in `texts`, with -1
            where it is missing.
        texts: the different texts of a column of texts, in the order in which they came.
    """

    name: str
    kind: str
    values: np.ndarray
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> np.ndarray:
        """(n,) bool, where there is no value."""
        return self.values < 0 if self.kind == TEXT else np.isnan(self.values)

    def take(self, rows: np.ndarray) -> Column:
        """The column of these rows."""
        return Column(self.name, self.kind, self.values[rows], self.texts)

    def as_text(self) -> Column:
        """The same as texts: whole numbers without a point, truth values as False and True."""
        if self.kind == TEXT:
            return self
        known = ~self.missing
        different, where = np.unique(self.values[known], return_inverse=True)
        codes = np.full(len(self.values), -1, np.int32)
        codes[known] = where
        if self.kind == BOOLEAN:
            return Column(self.name, TEXT, codes, [str(bool(value)) for value in different])
        return Column(self.name, TEXT, codes, [number_text(value) for value in different.tolist()])

    def not_numbers(self) -> np.ndarray:
        """(n,) bool, where there is a text that is no number; nowhere in a column of numbers."""
        if self.kind != TEXT:
            return np.zeros(len(self.values), bool)
        wrong = np.array([_number(text) is None for text in self.texts] + [False])
        return wrong[self.values]  # -1, what is missing, is the last

    def as_numbers(self) -> np.ndarray:
        """(n,) float64, NaN where a value is missing or, as `not_numbers` says, no number."""
        if self.kind != TEXT:
            return self.values
        numbers = [np.nan if (value := _number(text)) is None else value for text in self.texts]
        return np.array([*numbers, np.nan])[self.values]


@dataclass
class Table:
    """Columns of equal length.

    Attributes:
        name: where it comes from, for sentences: a file's path.
        columns: its columns.
        line: the line of the file that a row (from 0) begins in, or None where there are no lines.
        facts: how the table was read, as labels and texts.
        header: whether the names of the columns stood in the file; otherwise they are positions.
        classes: the names of the classes that the last column's numbers stand for, where the file says them.
    """

    name: str
    columns: list[Column]
    line: Callable[[int], int] | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    header: bool = True
    classes: list[str] | None = None

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns}
        if len(lengths) > 1:
            raise DataError(f"{self.name}: the columns are of different lengths.")

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def __contains__(self, name: str) -> bool:
        return any(column.name == name for column in self.columns)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"{self.name} has no column {name}; it has {some(self.names)}.")

    def take(self, rows: np.ndarray) -> Table:
        """The table of these rows."""
        first, kept = self.line, np.arange(len(self))[rows]
        line = None if first is None else lambda row: first(int(kept[row]))
        return Table(
            self.name, [column.take(rows) for column in self.columns], line, self.facts, self.header, self.classes
        )

    def without(self, names: Sequence[str]) -> Table:
        """The table without these columns."""
        left = [column for column in self.columns if column.name not in names]
        return Table(self.name, left, self.line, self.facts, self.header, self.classes)

    def place(self, row: int) -> str:
        """Where a row is, for a sentence."""
        return f"row {row}" if self.line is None else f"line {self.line(row)}"


def some(names: Sequence[str], most: int = 12) -> str:
    """Names for a sentence, not too many of them."""
    return ", ".join(map(str, names[:most])) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def number_text(value: float) -> str:
    """A number as text, without a point where it is whole."""
    return str(int(value)) if value == np.floor(value) and abs(value) < 2**63 else repr(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def is_table(x: Any) -> bool:
    """Whether something is a table of named columns and not an array."""
    return isinstance(x, (Table, Mapping)) or hasattr(x, "__arrow_c_stream__") or hasattr(x, "__dataframe__")


def as_table(x: Any, name: str = "the table") -> Table:
    """A table of whatever holds named columns.

    Args:
        x: a `Table`, a dict of arrays by column name, a frame of pandas or polars, or an Arrow table.
        name: what it is called in sentences.

    Raises:
        DataError: it is no table, or its columns are of no kind that can be used.
        MissingExtra: it is a frame, and pyarrow is not installed.
    """
    if isinstance(x, Table):
        return x
    if isinstance(x, Mapping):
        return Table(name, [_from_array(str(key), np.asarray(values)) for key, values in x.items()])
    arrow = import_arrow("reading a frame")
    try:
        if type(x).__module__.startswith("pandas"):
            table = arrow.Table.from_pandas(x, preserve_index=False)
        else:
            table = arrow.table(x)
    except (TypeError, ValueError, arrow.ArrowInvalid, arrow.ArrowNotImplementedError) as error:
        raise DataError(f"{name} cannot be read as a table ({str(error).splitlines()[0].rstrip('.')}).") from None
    return Table(name, from_arrow(table, name))


def import_arrow(purpose: str) -> Any:
    """pyarrow.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra("pyarrow", "tables", purpose) from None
    return pyarrow


def _from_array(name: str, values: np.ndarray) -> Column:
    kind = values.dtype.kind
    if values.ndim != 1:
        raise DataError(f"the column {name} must be of shape (n,), not {values.shape}.")
    if kind == "b":
        return Column(name, BOOLEAN, values.astype(np.float64))
    if kind in "iuf":
        return Column(name, NUMBER, values.astype(np.float64))
    if kind == "M":
        days = values.astype("datetime64[us]").astype(np.float64) / _DAY
        return Column(name, TIME, np.where(np.isnat(values), np.nan, days))
    index: dict[str, int] = {}
    absent = [value is None or value != value for value in values.tolist()]
    codes = [
        -1 if gone else index.setdefault(str(value), len(index)) for value, gone in zip(values, absent, strict=True)
    ]
    return Column(name, TEXT, np.array(codes, np.int32), list(index))


def from_arrow(table: Any, name: str) -> list[Column]:
    """The columns of an Arrow table or record batch.

    Raises:
        DataError: a column is of a kind that can be no feature, such as a list.
    """
    return list(_columns(table, name))


def _columns(table: Any, name: str) -> Iterator[Column]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for title, values in zip(table.schema.names, table.columns, strict=True):
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.cast(kind.value_type)
            kind = values.type
        if pa.types.is_boolean(kind):
            yield Column(str(title), BOOLEAN, _floats(values.cast(pa.uint8())))
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            yield Column(str(title), NUMBER, _floats(values))
        elif pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
            unit = pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us")
            yield Column(str(title), TIME, _floats(values.cast(unit, safe=False).cast(pa.int64())) / _DAY)
        elif pa.types.is_null(kind):
            yield Column(str(title), NUMBER, np.full(len(values), np.nan))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or "string" in str(kind):
            encoded = pc.dictionary_encode(values.cast(pa.string()))
            encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
            if isinstance(encoded, pa.ChunkedArray):  # combine_chunks of no chunks
                yield Column(str(title), TEXT, np.zeros(0, np.int32))
                continue
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
            yield Column(str(title), TEXT, codes, encoded.dictionary.to_pylist())
        else:
            raise DataError(f"{name}: the column {title} is of type {kind}, which is neither numbers nor texts.")


def _floats(values: Any) -> np.ndarray:
    import pyarrow as pa

    numbers = values.cast(pa.float64(), safe=False)
    numbers = numbers.to_numpy(zero_copy_only=False) if isinstance(numbers, pa.Array) else numbers.to_numpy()
    return np.asarray(numbers, np.float64)

"""Files of tables, read by pyarrow: text of any delimiter, Parquet and Feather; whole, or a part at a time.

pyarrow was chosen over pandas and polars because it refuses a row that has too few cells, where both others fill it up
in silence; it reads Parquet and Feather by itself, and text in parts of bounded memory. What a text file is made of is
found out in `text.py` (its encoding) and `layout.py` (delimiter, decimal comma, header), and said in `Table.facts`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.columns import NUMBER, TEXT, Column, Table, from_arrow, import_arrow
from gpunet.data.text import PART, Text, import_arrow_csv
from gpunet.errors import DataError

#: Suffixes of text; each may be followed by .gz.
TEXTS = (".csv", ".tsv", ".tab", ".txt", ".data")
#: Suffixes of tables that say their own types, Parquet among them.
PARQUET = (".parquet", ".pq")
BINARIES = (*PARQUET, ".feather", ".arrow", ".ipc")


def is_table_file(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.is_file() and suffix_of(path) in (*TEXTS, *BINARIES)


def suffix_of(path: Path) -> str:
    """The suffix that says what a file holds, in lower case, without .gz."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def read_table(path: Path) -> Table:
    """A table in a file, whole.

    Raises:
        DataError: the file cannot be read, or is no table; the sentence names the line where it can.
        MissingExtra: pyarrow is not installed.
    """
    if suffix_of(path) in BINARIES:
        table = _whole_binary(path)
        return Table(str(path), from_arrow(table, str(path)))
    text = Text(path)
    read = text.parse(lambda: import_arrow_csv().read_csv(text.open(), *text.options(text.layout.names)))
    columns, classes = from_arrow(_as_texts(read, text.facts), str(path)), text.layout.classes
    if classes is not None:
        columns[-1] = _with_names(path, columns[-1], classes)
    table = Table(str(path), columns, text.line, text.facts, text.layout.header, classes)
    if not len(table):
        raise DataError(f"{path} has no rows under its header.")
    return table


def _with_names(path: Path, column: Column, classes: list[str]) -> Column:
    """The numbers of classes in a column as the names that they stand for."""
    codes = column.values
    if column.kind != NUMBER or not np.isin(codes, np.arange(len(classes))).all():
        raise DataError(f"{path} names {len(classes)} classes in its first line, and its last column holds others.")
    return Column(column.name, TEXT, codes.astype(np.int32), list(classes))


def read_parts(path: Path, types: Mapping[str, str]) -> Iterator[Table]:
    """A table in a file, a part at a time, so that a file of any size takes little memory.

    Args:
        path: the file.
        types: the kind of each column that is wanted, "number" (a truth value or time among them) or "text"; others are
            not read.

    Raises:
        DataError: the file cannot be read, is no table, or a column of numbers holds something else.
        MissingExtra: pyarrow is not installed.
    """
    if suffix_of(path) in BINARIES:
        yield from _binary_parts(path, types)
        return
    import pyarrow as pa

    text = Text(path)
    wanted = [name for name in text.layout.names if name in types]
    kinds = {name: pa.binary() for name in wanted if types[name] == "text"}
    first = _opened(text, wanted, kinds)
    for each in first.schema:  # truth values and times are numbers too, which the first part tells
        told = pa.types.is_boolean(each.type) or pa.types.is_temporal(each.type)
        kinds.setdefault(each.name, each.type if told else pa.float64())
    first.close()
    stream = _opened(text, wanted, kinds)
    done = 0
    while True:
        batch = text.parse(lambda: next(stream, None))
        if batch is None:
            return
        columns = from_arrow(_as_texts(pa.Table.from_batches([batch]), []), str(path))
        yield Table(str(path), columns, functools.partial(_line, text, done))
        done += batch.num_rows


def _opened(text: Text, wanted: Sequence[str], kinds: Mapping[str, Any]) -> Any:
    """pyarrow's reader of a text in parts; of what has no kind the first part tells it."""
    options = text.options(text.layout.names, wanted, kinds, PART)
    return text.parse(lambda: import_arrow_csv().open_csv(text.open(), *options))


def _as_texts(table: Any, facts: list[tuple[str, str]]) -> Any:
    """An Arrow table with its columns of bytes as texts; a cell that is not UTF-8 is taken as Windows-1252."""
    import pyarrow as pa

    for at, (name, kind) in enumerate(zip(table.schema.names, table.schema.types, strict=True)):
        if pa.types.is_binary(kind):
            try:
                texts = table.column(at).cast(pa.string())
            except pa.ArrowInvalid:
                texts = pa.array([None if cell is None else _text_of(cell) for cell in table.column(at).to_pylist()])
                facts.append(("text", f"of {name} taken as Windows-1252 where it is not UTF-8"))
            table = table.set_column(at, name, texts)
    return table


def _text_of(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("cp1252", errors="replace")


def _line(text: Text, first: int, row: int) -> int:
    return text.line(first + row)


def names_of(path: Path) -> list[str]:
    """The names of a file's columns.

    Raises:
        DataError, MissingExtra: as of `read_table`.
    """
    if suffix_of(path) not in BINARIES:
        return Text(path).layout.names
    try:
        if suffix_of(path) in PARQUET:
            import_arrow("reading a table")
            import pyarrow.parquet as parquet

            return list(parquet.read_schema(path).names)
        return list(_whole_binary(path).schema.names)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


# ---- files that say their own types


def unreadable(path: Path, error: Exception) -> DataError:
    """The sentence about a file that its reader cannot read."""
    reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{path} is damaged or no {suffix_of(path)[1:]} file: {reason.rstrip('.')}.")


def _whole_binary(path: Path) -> Any:
    import_arrow("reading a table")
    try:
        if suffix_of(path) in PARQUET:
            import pyarrow.parquet as parquet

            return parquet.read_table(path)
        import pyarrow.feather as feather

        return feather.read_table(path, memory_map=True)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def _binary_parts(path: Path, types: Mapping[str, str]) -> Iterator[Table]:
    import_arrow("reading a table")
    try:
        if suffix_of(path) in PARQUET:
            import pyarrow.parquet as parquet

            with parquet.ParquetFile(path) as file:
                wanted = [name for name in file.schema_arrow.names if name in types]
                for batch in file.iter_batches(1 << 16, columns=wanted):
                    yield Table(str(path), from_arrow(batch, str(path)))
            return
        table = _whole_binary(path)  # memory-mapped
        wanted = [name for name in table.schema.names if name in types]
        for batch in table.select(wanted).to_batches(1 << 16):
            yield Table(str(path), from_arrow(batch, str(path)))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None

"""Files of tables, read by pyarrow: text of any delimiter, Parquet and Feather; whole, or a part at a time.

pyarrow was chosen over pandas and polars because it refuses a row that has too few cells, where both others fill it up
in silence; it reads Parquet and Feather by itself, and text in parts of bounded memory. What a text file is made of
(encoding, delimiter, decimal comma, header) is found out here from its first lines, and said in `Table.facts`.
"""

from __future__ import annotations

import codecs
import csv
import functools
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from gpunet.data.columns import NUMBER, TEXT, Column, Table, from_arrow, import_arrow
from gpunet.errors import DataError

#: Suffixes of text; each may be followed by .gz.
TEXTS = (".csv", ".tsv", ".tab", ".txt", ".data")
#: Suffixes of tables that say their own types, Parquet among them.
PARQUET = (".parquet", ".pq")
BINARIES = (*PARQUET, ".feather", ".arrow", ".ipc")
#: What a cell without a value is written as.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "NULL", "null", "?", "#N/A")
#: Bytes of text that are looked at to find out how a file is written.
SAMPLE = 1 << 18
#: Bytes of text that are read at a time, of a table that is read whole and of one that is read in parts: of these
#: pyarrow holds up to 32 in advance.
BLOCK, PART = 16 << 20, 4 << 20

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)
_COMMA_NUMBER = re.compile(r"[-+]?\d+,\d+")


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
    text = _Text(path)
    read = _parse(text, lambda: _arrow_csv().read_csv(text.open(), *text.options(text.layout.names)))
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
        types: the kind of each column that is wanted, "number" or "text"; others are not read.

    Raises:
        DataError: the file cannot be read, is no table, or a column of numbers holds something else.
        MissingExtra: pyarrow is not installed.
    """
    if suffix_of(path) in BINARIES:
        yield from _binary_parts(path, types)
        return
    import pyarrow as pa

    text = _Text(path)
    names = text.layout.names
    wanted = [name for name in names if name in types]
    kinds = {name: pa.float64() if types[name] == "number" else pa.binary() for name in wanted}
    options = text.options(names, wanted, kinds, PART)
    stream = _parse(text, lambda: _arrow_csv().open_csv(text.open(), *options))
    done = 0
    while True:
        batch = _parse(text, lambda: next(stream, None))
        if batch is None:
            return
        columns = from_arrow(_as_texts(pa.Table.from_batches([batch]), []), str(path))
        yield Table(str(path), columns, functools.partial(_line, text, done))
        done += batch.num_rows


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


def _line(text: _Text, first: int, row: int) -> int:
    return text.line(first + row)


def names_of(path: Path) -> list[str]:
    """The names of a file's columns.

    Raises:
        DataError, MissingExtra: as of `read_table`.
    """
    if suffix_of(path) not in BINARIES:
        return _Text(path).layout.names
    try:
        if suffix_of(path) in PARQUET:
            import_arrow("reading a table")
            import pyarrow.parquet as parquet

            return list(parquet.read_schema(path).names)
        return list(_whole_binary(path).schema.names)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


# ---- text


@dataclass
class _Layout:
    """How a text file is written.

    Attributes:
        delimiter: between two cells.
        decimal: "." or ",".
        skip: lines before the first row.
        names: of the columns.
        header: whether these stood in the file.
        classes: names of classes in scikit-learn's header, or None.
        spaces: whether cells are parted by any number of spaces.
    """

    delimiter: str
    decimal: str
    skip: int
    names: list[str]
    header: bool
    classes: list[str] | None = None
    spaces: bool = False


@dataclass
class _Text:
    """A text file that was looked into."""

    path: Path
    encoding: str = field(init=False)
    layout: _Layout = field(init=False)
    facts: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        import_arrow("reading a table")
        with self._bytes() as stream:
            head = self._guarded(lambda: stream.read(SAMPLE))
        self.encoding = next((name for mark, name in _BOMS if head.startswith(mark)), "utf-8")
        text = head.decode(self.encoding, errors="replace")
        if self.encoding == "utf-8" and "\ufffd" in text[:-4]:
            if "\0" in text:
                raise DataError(f"{self.path} is no text.")
            self.encoding = "cp1252"
            text = head.decode("cp1252", errors="replace")
            self.facts.append(("text", "taken as Windows-1252, for it is not UTF-8"))
        if "\0" in text:
            raise DataError(f"{self.path} is no text.")
        lines = text.splitlines()
        if len(head) == SAMPLE and len(lines) > 1:
            lines.pop()  # cut off in its middle
        self.layout = _layout(self.path, lines)
        if self.layout.delimiter != "," or self.layout.spaces:
            named = {"\t": "tab", " ": "space"}.get(self.layout.delimiter, self.layout.delimiter)
            self.facts.append(("delimiter", "spaces" if self.layout.spaces else named))
        if self.layout.decimal == ",":
            self.facts.append(("numbers", "with a decimal comma"))

    def _bytes(self) -> IO[bytes]:
        """The unpacked bytes."""
        import gzip

        try:
            raw = open(self.path, "rb")  # noqa: SIM115 - closed by whoever reads it
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}.") from None
        return gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw  # type: ignore[return-value]

    def _guarded(self, work: Callable[[], Any]) -> Any:
        import gzip
        import zlib

        try:
            return work()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self.path} is truncated or damaged gzip; fetch or pack it again.") from error
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}.") from None

    def lines(self) -> Iterator[str]:
        """The text, line by line."""
        with self._bytes() as stream:
            text = io.TextIOWrapper(stream, encoding=self.encoding, errors="replace", newline="")
            yield from text

    def open(self) -> Any:
        """The bytes for pyarrow, as UTF-8 from the first row on."""
        plain = self.encoding in ("utf-8", "utf-8-sig") and not self.layout.spaces
        if plain and not self.path.name.lower().endswith(".gz") and not self._packed():
            return str(self.path)
        return _Recoded(self) if not plain else self._bytes()

    def _packed(self) -> bool:
        with open(self.path, "rb") as raw:
            return raw.read(2) == b"\x1f\x8b"

    def options(
        self,
        names: Sequence[str],
        wanted: Sequence[str] | None = None,
        types: Mapping[str, Any] | None = None,
        block: int | None = None,
    ) -> tuple[Any, Any, Any]:
        """pyarrow's read, parse and convert options."""
        arrow_csv, layout = _arrow_csv(), self.layout
        return (
            arrow_csv.ReadOptions(column_names=list(names), skip_rows=layout.skip, block_size=block or BLOCK),
            arrow_csv.ParseOptions(
                delimiter=layout.delimiter,
                newlines_in_values=True,
                invalid_row_handler=lambda row: "skip" if row.text.lstrip().startswith("#") else "error",
            ),
            arrow_csv.ConvertOptions(
                null_values=list(MISSING),
                strings_can_be_null=True,
                decimal_point=layout.decimal,
                include_columns=None if wanted is None else list(wanted),
                column_types=dict(types or {}),
            ),
        )

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins in (from 1), and its cells."""
        layout = self.layout
        before = 0
        source = (re.sub(r"[ \t]+", " ", line.strip()) if layout.spaces else line for line in self.lines())
        reader = csv.reader(source, delimiter=layout.delimiter)
        for row in reader:
            begins, before = before + 1, reader.line_num
            comment = bool(row) and row[0].lstrip().startswith("#") and len(row) != len(layout.names)
            if begins > layout.skip and row and not comment:
                yield begins, row

    def line(self, row: int) -> int:
        """The line (from 1) that a row (from 0) begins in; reads the file up to it."""
        csv.field_size_limit(1 << 30)
        for number, (begins, _) in enumerate(self.records()):
            if number == row:
                return begins
        return self.layout.skip + 1 + row


class _Recoded(io.RawIOBase):
    """A text file's lines as UTF-8 bytes, made as they are read."""

    def __init__(self, text: _Text) -> None:
        self._spaces = text.layout.spaces
        self._lines = text.lines()
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        parts, length = [self._left], len(self._left)
        while length < len(buffer) and (line := next(self._lines, None)) is not None:
            if self._spaces:
                line = re.sub(r"[ \t]+", " ", line.strip()) + "\n"
            parts.append(line.encode())
            length += len(parts[-1])
        made, count = b"".join(parts), min(len(buffer), length)
        buffer[:count], self._left = made[:count], made[count:]
        return count


def _arrow_csv() -> Any:
    import_arrow("reading a table")
    import pyarrow.csv as arrow_csv

    return arrow_csv


def _parse(text: _Text, work: Callable[[], Any]) -> Any:
    """What pyarrow does with a text, its errors as sentences that name the line."""
    import pyarrow as pa

    try:
        return text._guarded(work)
    except pa.ArrowInvalid as error:
        raise _refusal(text, str(error)) from None


def _refusal(text: _Text, reason: str) -> DataError:
    names = text.layout.names
    csv.field_size_limit(1 << 30)
    if "Expected" in reason and "columns" in reason:
        for line, row in text.records():
            if len(row) != len(names):
                return DataError(
                    f"{text.path} has {len(row)} cells in line {line} and {len(names)} columns; repair that line."
                )
    if found := re.search(r"In CSV column #(\d+).*?invalid value '(.*)'", reason, re.DOTALL):
        column, cell = int(found[1]), found[2]
        for line, row in text.records():
            if column < len(row) and row[column].strip() == cell.strip():
                return DataError(
                    f"{text.path} has {cell!r} in the column {names[column]} in line {line}, where a number is needed."
                )
    if "Could not skip" in reason or "Empty CSV" in reason:
        return DataError(f"{text.path} has no rows under its header.")
    return DataError(f"{text.path} cannot be read as a table: {reason.splitlines()[0].rstrip('.')}.")


def _layout(path: Path, lines: list[str]) -> _Layout:
    """How a text is written, by its first lines."""
    kept = [(number, line) for number, line in enumerate(lines) if line.strip()]
    commented = [pair for pair in kept if pair[1].lstrip().startswith("#")]
    rows = [pair for pair in kept if not pair[1].lstrip().startswith("#")]
    if not rows:
        raise DataError(f"{path} is empty.")
    body = [line for _, line in rows]
    delimiter, spaces = _delimiter(path, body)
    cells = _split(body, delimiter, spaces)
    width = len(cells[-1])
    decimal = "."
    if delimiter != ",":
        flat = [cell.strip() for row in cells[1:] for cell in row]
        commas = sum(bool(_COMMA_NUMBER.fullmatch(cell)) for cell in flat)
        if commas and not any(re.fullmatch(r"[-+]?\d*\.\d+", cell) for cell in flat):
            decimal = ","
    first, skip = cells[0], rows[0][0]
    below = rows[_lines_of_first(body, delimiter) - 1][0] + 1
    positions = [str(number) for number in range(width)]
    if len(first) == width and not any(cell.strip() for cell in first):  # a header of blanks names nothing
        return _Layout(delimiter, decimal, below, positions, False, None, spaces)
    # A commented line that has a cell for each column, right above the rows, is a header.
    if commented and commented[-1][0] < skip and not _is_header(first, cells[1:], decimal):
        above = _split([commented[-1][1].lstrip().removeprefix("#").strip()], delimiter, spaces)[0]
        if len(above) == width and not any(_is_number(cell, decimal) for cell in above):
            return _Layout(delimiter, decimal, commented[-1][0] + 1, _named(above), True, None, spaces)
    if classes := _sizes_and_classes(first, cells[1:], width, decimal):
        return _Layout(delimiter, decimal, below, positions, False, classes, spaces)
    if len(first) != width:
        # R writes the names of its rows without a name of their own.
        if len(first) == width - 1 and _is_header(["", *first], cells[1:], decimal):
            return _Layout(delimiter, decimal, below, _named(["", *first]), True, None, spaces)
        raise DataError(
            f"{path} has {len(first)} cells in line {skip + 1} and {width} in the last line that was looked at; "
            "repair it."
        )
    if _is_header(first, cells[1:], decimal):
        return _Layout(delimiter, decimal, below, _named(first), not _counts(first, decimal), None, spaces)
    return _Layout(delimiter, decimal, skip, positions, False, None, spaces)


def _delimiter(path: Path, lines: list[str]) -> tuple[str, bool]:
    """What cells are parted by, and whether by any number of spaces."""
    body = lines[1:200] or lines[:1]  # scikit-learn's first line is of another width
    found = {}
    for candidate in ("\t", ";", "|", ",", " "):
        widths = {len(row) for row in _split(body, candidate, candidate == " ")}
        if len(widths) == 1 and (width := widths.pop()) > 1:
            found[candidate] = width
    if ";" in found and "," in found:
        cells = [cell for row in _split(body, ";", False) for cell in row]
        if any("," in cell and not _COMMA_NUMBER.fullmatch(cell.strip()) for cell in cells):
            del found[";"]
    if not found:
        # Rows of different lengths: the reader says which line, by the delimiter of the first.
        counts = {candidate: lines[0].count(candidate) for candidate in (",", ";", "\t", "|")}
        best = max(counts, key=lambda candidate: counts[candidate])
        return (best if counts[best] else ","), False
    best = next(iter(found))
    return best, best == " "


def _split(lines: Sequence[str], delimiter: str, spaces: bool) -> list[list[str]]:
    csv.field_size_limit(1 << 30)
    if spaces:
        lines = [re.sub(r"[ \t]+", " ", line.strip()) for line in lines]
    try:
        return [row for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter) if row]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _lines_of_first(lines: Sequence[str], delimiter: str) -> int:
    """How many lines the first row takes: a quoted name may hold line ends."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    try:
        next(reader)
    except csv.Error:
        return 1
    return reader.line_num


def _is_number(cell: str, decimal: str) -> bool:
    cell = cell.strip()
    return bool(_NUMBER.fullmatch(cell.replace(",", ".") if decimal == "," else cell))


def _counts(cells: Sequence[str], decimal: str) -> bool:
    """Whether cells count 0, 1, 2 ... or 1, 2, 3 ..., as the names of columns that had none."""
    given = [cell.strip() for cell in cells]
    return len(given) > 2 and any(given == [str(number + first) for number in range(len(given))] for first in (0, 1))


def _is_header(first: Sequence[str], body: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether the first row holds the names of the columns."""
    if _counts(first, decimal):
        return bool(body)
    numbers = [_is_number(cell, decimal) for cell in first]
    if not any(numbers):
        # Text over numbers is a header; where all columns are texts, the first line is one by custom.
        return True
    for at, number in enumerate(numbers):
        column = [row[at] for row in body[:100] if at < len(row) and row[at].strip() not in MISSING]
        if not number and first[at].strip() and column and all(_is_number(cell, decimal) for cell in column):
            return True
    return False


def _sizes_and_classes(
    first: Sequence[str], body: Sequence[Sequence[str]], width: int, decimal: str
) -> list[str] | None:
    """The names of classes in scikit-learn's header: rows, columns, then a name for each class."""
    if len(first) < 3 or not all(cell.strip().isdecimal() for cell in first[:2]) or int(first[1]) != width - 1:
        return None
    if any(_is_number(cell, decimal) for cell in first[2:]) or not int(first[0]) >= min(len(body), 1):
        return None
    return [cell.strip() for cell in first[2:]]


def _named(cells: Sequence[str]) -> list[str]:
    """Names of columns, each in one line and once; one without a name is called by its position, but for the first."""
    names: list[str] = []
    for position, cell in enumerate(cells):
        given = " ".join(cell.split())
        name = given or ("" if position == 0 else f"column {position}")
        count = 2
        while name in names:
            name, count = f"{given} ({count})", count + 1
        names.append(name)
    return names


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

"""A text file of a table: its encoding and layout, its bytes and options for pyarrow, the lines of its rows."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gpunet.data.columns import import_arrow
from gpunet.data.layout import MISSING, Layout, layout_of, one_space
from gpunet.errors import DataError

#: Bytes of text that are looked at to find out how a file is written.
SAMPLE = 1 << 18
#: Bytes of text that are read at a time, of a table that is read whole and of one that is read in parts: of these
#: pyarrow holds up to 32 in advance.
BLOCK, PART = 16 << 20, 4 << 20

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass
class Text:
    """A text file that was looked into."""

    path: Path
    encoding: str = field(init=False)
    layout: Layout = field(init=False)
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
        self.layout = layout_of(self.path, lines)
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
        arrow_csv, layout = import_arrow_csv(), self.layout
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
        source = (one_space(line) if layout.spaces else line for line in self.lines())
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

    def parse(self, work: Callable[[], Any]) -> Any:
        """What pyarrow does with the text, its errors as sentences that name the line."""
        import pyarrow as pa

        try:
            return self._guarded(work)
        except pa.ArrowInvalid as error:
            raise _refusal(self, str(error)) from None


class _Recoded(io.RawIOBase):
    """A text file's lines as UTF-8 bytes, made as they are read."""

    def __init__(self, text: Text) -> None:
        self._spaces = text.layout.spaces
        self._lines = text.lines()
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        parts, length = [self._left], len(self._left)
        while length < len(buffer) and (line := next(self._lines, None)) is not None:
            if self._spaces:
                line = one_space(line) + "\n"
            parts.append(line.encode())
            length += len(parts[-1])
        made, count = b"".join(parts), min(len(buffer), length)
        buffer[:count], self._left = made[:count], made[count:]
        return count


def _refusal(text: Text, reason: str) -> DataError:
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


def import_arrow_csv() -> Any:
    """pyarrow's reader of text.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    import_arrow("reading a table")
    import pyarrow.csv as arrow_csv

    return arrow_csv

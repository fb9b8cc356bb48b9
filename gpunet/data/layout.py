"""How the text of a table is written, found out from its first lines: delimiter, decimal comma, header."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunet.errors import DataError

#: What a cell without a value is written as.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "NULL", "null", "?", "#N/A")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)
_COMMA_NUMBER = re.compile(r"[-+]?\d+,\d+")


@dataclass
class Layout:
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


def layout_of(path: Path, lines: list[str]) -> Layout:
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
        return Layout(delimiter, decimal, below, positions, False, None, spaces)
    # A commented line that has a cell for each column, right above the rows, is a header.
    if commented and commented[-1][0] < skip and not _is_header(first, cells[1:], decimal):
        above = _split([commented[-1][1].lstrip().removeprefix("#").strip()], delimiter, spaces)[0]
        if len(above) == width and not any(_is_number(cell, decimal) for cell in above):
            return Layout(delimiter, decimal, commented[-1][0] + 1, _named(above), True, None, spaces)
    if classes := _sizes_and_classes(first, cells[1:], width, decimal):
        return Layout(delimiter, decimal, below, positions, False, classes, spaces)
    if len(first) != width:
        # R writes the names of its rows without a name of their own.
        if len(first) == width - 1 and _is_header(["", *first], cells[1:], decimal):
            return Layout(delimiter, decimal, below, _named(["", *first]), True, None, spaces)
        raise DataError(
            f"{path} has {len(first)} cells in line {skip + 1} and {width} in the last line that was looked at; "
            "repair it."
        )
    if _is_header(first, cells[1:], decimal):
        return Layout(delimiter, decimal, below, _named(first), not _counts(first, decimal), None, spaces)
    return Layout(delimiter, decimal, skip, positions, False, None, spaces)


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
        lines = [one_space(line) for line in lines]
    try:
        return [row for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter) if row]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def one_space(line: str) -> str:
    """A line whose cells are parted by any number of spaces, with one between two."""
    return re.sub(r"[ \t]+", " ", line.strip())


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

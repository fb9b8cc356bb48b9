"""Tables of one's own: .csv files, plain or .gz, one example a line: its label and its features.

The label is the column named `label`, else the first; it is a class index or a class's name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.dataset import Dataset, assemble
from gpunet.errors import DataError

MAX_BYTES = 8 << 30  # characters of text that are read of one table
_MAX_LINE = 1 << 26  # characters in a line of CSV: over ten million numbers


def is_csv(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.is_file() and path.name.lower().endswith((".csv", ".csv.gz"))


def csv_files(names: list[Path], split_names: dict[str, str]) -> dict[str, Path]:
    """The tables among a folder's files by split, or {} where there is no telling which is which."""
    tables = [path for path in names if is_csv(path)]
    found: dict[str, Path] = {}
    for path in tables:
        # mnist_train.csv, train.csv, test.csv.gz: the split is a word of the name
        words = re.split(r"[-_. ]", path.name.lower())
        for word in words:
            if word in split_names:
                found.setdefault(split_names[word], path)
    if "train" in found:
        return found
    return {"train": tables[0]} if len(tables) == 1 else {}


def load_csv(name: str, tables: dict[str, Path]) -> Dataset:
    """The data set in these tables, split name -> file; raises DataError."""
    parts = {split: _read_csv(path) for split, path in tables.items()}
    class_names = None
    if not all(_is_number(label) for _, labels in parts.values() for label in labels):
        class_names = sorted(set(parts["train"][1]))
    # A table has no types: whole numbers from 0 to 255 that reach the upper half are pixels, as in
    # the published MNIST tables; anything else is taken as it stands.
    pixels = all(_are_pixels(features) for features, _ in parts.values()) and parts["train"][0].max() > 127
    pairs: dict[str, tuple[Any, Any] | None] = {}
    for split, (features, words) in parts.items():
        if class_names is None:
            labels = np.array(words, np.float64)
        else:
            index = {text: number for number, text in enumerate(class_names)}
            if unknown := sorted(set(words) - set(class_names)):
                raise DataError(f"{tables[split]} has the label {unknown[0]!r}, which {tables['train'].name} does not.")
            labels = np.array([index[word] for word in words], np.int32)
        pairs[split] = (features.astype(np.uint8) if pixels else features, labels)
    return assemble(name, pairs, class_names=class_names)


def _are_pixels(features: np.ndarray) -> bool:
    return bool(((features >= 0) & (features <= 255) & (features == np.floor(features))).all())


def _read_csv(path: Path) -> tuple[np.ndarray, list[str]]:
    """(features float32, labels as they are written) of one table."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path} is empty.")
    cells = [cell.strip().strip('"') for cell in first.rstrip("\r\n").split(",")]
    width = len(cells)
    if width < 2:
        raise DataError(f"{path} has a single column; a table needs a label and features, separated by commas.")
    words = ("label", "labels", "class")
    named = [number for number, cell in enumerate(cells) if cell.lower() in words]
    header = bool(named) or not any(_is_number(cell) for cell in cells[1:])
    column = named[0] if named else 0
    labels: list[str] = []

    def features() -> Iterator[str]:
        # One pass over the text: the label is taken out of each line, the rest goes to NumPy's own
        # parser.
        if not header:
            yield cut(first, 1)
        for number, line in enumerate(lines, 2):
            if line.strip():
                yield cut(line, number)

    def cut(line: str, number: int) -> str:
        row = line.rstrip("\r\n").split(",")
        if len(row) != width:
            raise DataError(f"{path} has {len(row)} columns in line {number} but {width} in its first.")
        label = row.pop(column).strip().strip('"')
        if not label:
            raise DataError(f"{path} has no label in line {number}.")
        labels.append(label)
        return ",".join(row)

    options: dict[str, Any] = {"comments": None, "ndmin": 2, "quotechar": '"'}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty table, which has its own sentence below
            table = np.loadtxt(features(), delimiter=",", dtype=np.float32, **options)
    except (ValueError, MemoryError) as error:
        reason = str(error).split(";")[0].split(" at row")[0].rstrip(".")
        raise DataError(
            f"{path} has something other than a number in line {len(labels) + header}: {reason}."
        ) from error
    if not labels:
        raise DataError(f"{path} has no rows under its header.")
    return table, labels


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[str]:
    """Lines of text, unpacked if gzip, never more of them than MAX_BYTES."""
    import gzip
    import io
    import zlib

    total = 0
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: Any = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None)
            while line := text.readline(_MAX_LINE):
                total += len(line)
                if total > MAX_BYTES or len(line) == _MAX_LINE:
                    raise DataError(f"{path} has a line or a whole that is too large to be a table.")
                yield line
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text: byte {error.start} is not UTF-8.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged gzip; fetch or pack it again.") from error

"""The files of a sweep's folder: JSON lines with a checksum each, added to as results come."""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

from gpunet.errors import DataError
from gpunet.files import sync


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a record as a line, and have it on the disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**record, "crc32": _checksum(record)}, allow_nan=False) + "\n")
        sync(stream)


def read(path: Path, *needed: str) -> list[dict[str, Any]]:
    """The records of a file, none where there is no file; a last line that was cut off is taken away.

    Args:
        path: the file.
        needed: fields that every record has, but for one of a trial that failed.

    Raises:
        DataError: a line is no record of a sweep, or is not as it was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    records = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line.decode(), parse_constant=_nothing)
        except (ValueError, RecursionError):
            record = None
        if not _is_right(record) or not ("error" in record or set(needed) <= record.keys()):
            raise DataError(f"{path}, line {number}: this is no record of a sweep, or it was changed; remove the line.")
        records.append(record)
    return records


def _checksum(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _is_right(record: Any) -> bool:
    """Whether a line is as it was written; those of earlier versions have no checksum, but their fields tell too."""
    if not isinstance(record, dict) or not isinstance(record.get("key"), str):
        return False
    claimed = record.pop("crc32", None)
    if claimed is not None and claimed != _checksum(record):
        return False
    return all(value is None or _fits(name, value) for name, value in record.items())


def _nothing(text: str) -> None:
    """NaN or Infinity, as earlier versions wrote for a loss that had grown beyond all numbers: no result."""


def _fits(name: str, value: Any) -> bool:
    """Whether a field can have a value."""
    if name in ("key", "device", "error"):
        return isinstance(value, str)
    if name in ("varied", "settings"):
        return isinstance(value, dict)
    if name == "pruned":
        return isinstance(value, bool)
    low, high = -sys.float_info.max, sys.float_info.max
    if name in ("seed", "iterations"):
        low, high = 0, 2**64 - 1
    elif name.endswith("accuracy"):
        low, high = 0, 1
    elif name.endswith("seconds"):
        low = 0
    whole = isinstance(value, int) and not isinstance(value, bool)
    return (whole or (isinstance(value, float) and name not in ("seed", "iterations"))) and low <= value <= high

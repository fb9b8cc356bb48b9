"""Numbers, values and errors as a sentence or a table holds them."""

from __future__ import annotations

import reprlib
from typing import Any


def figure(value: float) -> str:
    """A loss or a metric in figures that stay legible: 0.1234, 43,210.5."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.6g}"


def duration(seconds: float) -> str:
    """0:07, 12:34 or 1:02:03."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def readable(size: float) -> str:
    """A number of bytes in words, in powers of 1024: 512 bytes, 3.8 MiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def first_line(error: BaseException) -> str:
    """What an error says, as a sentence can hold it: its first line, or its type where it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".")


def sentence(error: Any) -> str:
    """All that an error says, on one line and with a full stop."""
    return " ".join(str(error).split()).rstrip(".") + "."


def one_line(value: Any, length: int = 60) -> str:
    """A value out of a file as a sentence can hold it: on one line, and never long."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(text.split())[:length]


def shown(value: Any) -> str:
    """A value of any kind as a sentence can hold it: its repr on one line, shortened where it is long."""
    return one_line(reprlib.repr(value), 200)


def typed(value: Any) -> str:
    """A setting's value as the command line takes it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ",".join(typed(member) for member in value)
    return f"{value:g}" if isinstance(value, float) else str(value)

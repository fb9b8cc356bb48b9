"""What objects look like in a console and in a notebook: tables with a text and an HTML form, and short reprs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any


class Table:
    """A table that shows itself: as text in a console, as HTML in a notebook.

    Attributes:
        title: what it is of.
        columns: the headings.
        rows: the cells, as many in each row as there are headings; numbers are set to the right.
    """

    def __init__(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self.title = title
        self.columns = tuple(columns)
        self.rows = [tuple(row) for row in rows]

    def __str__(self) -> str:
        cells = [self.columns, *(tuple(map(_text, row)) for row in self.rows)]
        columns = []
        for index, column in enumerate(zip(*cells, strict=True)):
            width, right = max(map(len, column)), any(_is_number(row[index]) for row in self.rows)
            columns.append([cell.rjust(width) if right else cell.ljust(width) for cell in column])
        return "\n".join([self.title, *("  ".join(row).rstrip() for row in zip(*columns, strict=True))])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self.rows)
        return f"<table><caption>{_escaped(self.title)}</caption><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    return f"<td{' align=right' if _is_number(value) else ''}>{_escaped(_text(value))}</td>"


def _escaped(text: str) -> str:
    from html import escape  # whose table of entities is loaded for notebooks alone

    return escape(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """A cell: four digits of a fraction, thousands with commas, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if _is_number(value) else str(value)


def changed(value: Any) -> str:
    """The repr of a dataclass with those of its fields alone that are not their defaults."""
    told = []
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if field.repr and (held is not field.default and held != field.default):
            told.append(f"{field.name}={held!r}")
    return f"{type(value).__name__}({', '.join(told)})"

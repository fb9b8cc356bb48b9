"""Plots as text, drawn by uniplot: with colours or, where there are none or too few, a character for each curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunet.pictures.picture import Canvas

#: Colours that can be told apart on dark and on light ground, by people with any colour vision: sky blue, vermilion,
#: green, purple, orange, blue.
COLOURS = ((86, 180, 233), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (0, 114, 178))
_NAMED = ("cyan", "yellow", "green", "magenta", "blue", "red")
#: What curves are drawn with that colours do not tell apart.
MARKS = "+xo*~.#=%@&$"
#: Characters for a terminal that has no others.
_PLAIN = str.maketrans("╭╮╰╯│─█⣿…", "++++|-##~")

#: A label, iterations (n,) and values (n,).
Curve = tuple[str, np.ndarray, np.ndarray]


def panel(
    title: str, drawn: Sequence[Curve], canvas: Canvas, *, height: int, log: bool = False, from_zero: bool = False
) -> list[str]:
    """One plot as lines of text, at most as wide as the canvas; no lines where there is nothing to draw.

    `height` is odd, so that one row is in the middle; the highest, the middle and the lowest row have their values
    written beside them.
    """
    import uniplot

    drawn = [(label, x, y) for label, x, y in drawn if len(y)]
    if log:
        drawn = [(label, x[y > 0], np.log10(y[y > 0])) for label, x, y in drawn if (y > 0).any()]
    if not drawn:
        return []
    values = np.concatenate([y for _, _, y in drawn])
    if from_zero:
        low, high, step = round_limits(min(0.0, float(values.min())), float(values.max()))
    elif log:
        low, high, step = float(values.min()), float(values.max()) + 1e-9, 0.0
    else:
        # As in the picture files, the first steps are left out below, so that the end can be seen.
        low, high, step = round_limits(float(np.quantile(values, 0.05)), float(values.max()))
    half = (high - low) / (height - 1) / 2  # a row stands for the values around its middle
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    marks = [f"{10**value:.3g}" if log else _mark(value, digits) for value in (high, (high + low) / 2, low)]
    room = max(6, *map(len, marks)) + 1
    colours = _palette(len(drawn), canvas)
    apart = len(drawn) > max(1, len(set(colours)))
    wide = canvas.encodes("⠿╭█")
    text = uniplot.plot_to_string(
        [y for _, _, y in drawn],
        [x for _, x, _ in drawn],
        lines=True,
        color=colours or False,
        character_set="ascii" if apart or not wide else "braille",
        force_ascii_characters=list(MARKS),
        legend_labels=[label for label, _, _ in drawn],
        title=title,
        width=max(20, canvas.width - room - 3),
        height=height,
        line_length_hard_cap=canvas.width - room,
        rounded_corners=True,
        x_gridlines=[],
        y_gridlines=[],
        y_labels=False,
        x_min=0.0,
        y_min=low - half,
        y_max=high + half,
    )
    lines = [line.rstrip() for line in text.split("\n")]
    first = next(number for number, line in enumerate(lines) if line.startswith("╭")) + 1
    for row, mark in zip((0, height // 2, height - 1), marks, strict=True):
        lines[first + row] += f" {mark}"
    return lines if wide else [_plain(line, canvas.encoding) for line in lines]


def _mark(value: float, digits: int) -> str:
    """A number for beside a plot, whose width it is not to take."""
    text = f"{value:,.{digits}f}"
    return text if len(text) <= 10 else f"{value:.3g}"


def _plain(line: str, encoding: str) -> str:
    """A line with only characters that the stream has."""
    return line.translate(_PLAIN).encode(encoding, "replace").decode(encoding)


def round_limits(low: float, high: float) -> tuple[float, float, float]:
    """The nearest round numbers that hold a range, an even number of steps apart, and the step."""
    span = max(high - low, 1e-9 * max(abs(high), 1e-3))
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= span / 4 * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if (last - first) % 2 or last == first:
        first, last = (first, last + 1) if first == 0 else (first - 1, last)
    if (last - first) % 2:
        last += 1
    return step * first, step * last, step


def _palette(count: int, canvas: Canvas) -> list[object]:
    """A colour for each curve, which come again after six, or none at all where there are no colours."""
    if canvas.colours is None:
        return []
    table: Sequence[object] = COLOURS if canvas.colours == "truecolor" else _NAMED
    return [table[index % len(table)] for index in range(count)]

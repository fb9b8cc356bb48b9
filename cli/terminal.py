"""Curves of runs as text, drawn by uniplot: as wide as the terminal, with colours or, where there are none or too few
of them, a character for each."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunet.cli import display
from gpunet.errors import UsageError
from gpunet.pictures.curves import main_curves, panel_title, series, short
from gpunet.pictures.style import legible_names

if TYPE_CHECKING:
    from gpunet.runs.history import History

#: Colours that can be told apart on dark and on light ground, by people with any colour vision: sky blue, vermilion,
#: green, purple, orange, blue.
COLOURS = ((86, 180, 233), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (0, 114, 178))
_NAMED = ("cyan", "yellow", "green", "magenta", "blue", "red")
#: What curves are drawn with that colours do not tell apart.
MARKS = "+xo*~.#=%@&$"
#: Characters for a terminal that has no others.
_PLAIN = str.maketrans("╭╮╰╯│─█⣿…", "++++|-##~")

Curve = tuple[str, np.ndarray, np.ndarray]


def curves(histories: Sequence[History], log: bool = False, smooth: int | None = None) -> list[str]:
    """Loss, accuracy and, where it changes, the learning rate, as lines of text.

    Raises:
        UsageError: there are more runs than can be told apart.
    """
    if len(histories) > len(MARKS):
        raise UsageError(
            f"{len(histories)} runs are too many to tell apart in a terminal; name at most {len(MARKS)}, or draw them "
            "into a file with --out."
        )
    panels = []
    for name in ("loss", "accuracy"):
        drawn, title = _curves(histories, name, smooth)
        panels.append(panel(title, drawn, height=11, log=log and name == "loss", from_zero=name == "loss" and not log))
    names = legible_names([history.name for history in histories], _longest_name())
    rates = [(name, *history.column("learning_rate")) for name, history in zip(names, histories, strict=True)]
    if any(len(set(values.tolist())) > 1 for _, _, values in rates):
        rates = rates if len(rates) > 1 else [("", *rates[0][1:])]
        panels.append(panel("Learning rate", rates, height=5, from_zero=True))
    lines: list[str] = []
    for each in filter(None, panels):
        lines += ["", *each] if lines else each
    return lines


def _curves(histories: Sequence[History], name: str, smooth: int | None) -> tuple[list[Curve], str]:
    """What a panel shows, and its title: of one run training and validation, of many one curve each."""
    if len(histories) == 1:
        found = {label: (x, y) for label, x, y in series(histories[0], name, smooth)}
        test = f", test {short(found['test'][1][-1])}" if "test" in found else ""
        shown = [
            (f"{label} {short(found[label][1][-1])}", *found[label])
            for label in ("training", "validation")
            if label in found
        ]
        return shown, f"{name.capitalize()}{test}"
    shown = [(label, x, y) for _, label, x, y in main_curves(histories, name, smooth, _longest_name())]
    return shown, panel_title(name, histories)


def _longest_name() -> int:
    """The characters of a run's name for which the legend has room beside the other words."""
    return int(max(8, display.console().width - 30))


def panel(title: str, drawn: Sequence[Curve], *, height: int, log: bool = False, from_zero: bool = False) -> list[str]:
    """One plot as lines of text, at most as wide as the terminal (in a pipe as COLUMNS says, else 80).

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
        low, high, step = round_limits(0.0, float(values.max()))
    elif log:
        low, high, step = float(values.min()), float(values.max()) + 1e-9, 0.0
    else:
        # As in the picture files, the first steps are left out below, so that the end can be seen.
        low, high, step = round_limits(float(np.quantile(values, 0.05)), float(values.max()))
    half = (high - low) / (height - 1) / 2  # a row stands for the values around its middle
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    marks = [f"{10**value:.3g}" if log else f"{value:,.{digits}f}" for value in (high, (high + low) / 2, low)]
    room = max(6, *map(len, marks)) + 1
    width = display.console().width
    colours = _palette(len(drawn))
    apart = len(drawn) > max(1, len(set(colours)))
    wide = display.encodes(sys.stdout, "⠿╭█")
    text = uniplot.plot_to_string(
        [y for _, _, y in drawn],
        [x for _, x, _ in drawn],
        lines=True,
        color=colours or False,
        character_set="ascii" if apart or not wide else "braille",
        force_ascii_characters=list(MARKS),
        legend_labels=[label for label, _, _ in drawn],
        title=title,
        width=max(20, width - room - 3),
        height=height,
        line_length_hard_cap=width - room,
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
    return lines if wide else [_plain(line) for line in lines]


def _plain(line: str) -> str:
    """A line with only characters that the stream has."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
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


def _palette(count: int) -> list[object]:
    """A colour for each curve, which come again after six, or none at all where there are no colours."""
    if not display.colours(sys.stdout) or os.environ.get("NO_COLOR"):
        return []
    system = display.console().color_system
    table: Sequence[object] = COLOURS if system == "truecolor" else _NAMED
    return [table[index % len(table)] for index in range(count)] if system else []

"""Pictures of runs and models as matplotlib figures: `curves`, `confusion`, `weights`, `mistakes`, and `save`.

Needs the extra `plot`; matplotlib is loaded when a picture is drawn. `save(figure, "curves.svg")` writes a figure, and
a notebook shows it as it is. Lines carry their names at their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import DataError
from gpunet.pictures.models import confusion, mistakes, weights
from gpunet.pictures.style import (
    BLACK,
    BLUE,
    COLOURS,
    DASHES,
    EDGE,
    FORMATS,
    GREY,
    VERMILION,
    check_format,
    legible_names,
    save,
    style,
)
from gpunet.runs.history import History, smoothed

__all__ = ["FORMATS", "check_format", "confusion", "curves", "mistakes", "save", "series", "style", "weights"]

#: As many runs have a look of their own; of more than that only as many as there are colours stand out.
LOOKS = len(COLOURS) * len(DASHES)
#: The inches that a name at the end of a line is high.
NAME_HEIGHT = 12 / 72


def curves(runs: Any, *, log: bool = False, smooth: int | None = None, title: str | None = None) -> Any:
    """Loss, accuracy and, where it changes, the learning rate of one or many runs over the iterations.

    Of one run: the training batches (thin), their moving mean, the validation and the test result. Of many:
    one colour a run, the validation (or, without one, the mean of the training batches) as a bold line; of more than
    can be told apart the best are coloured and named, and the others are thin and grey.

    Args:
        runs: a `TrainingResult`, a `History`, records, or a list of histories or results.
        log: a logarithmic axis for the loss.
        smooth: neighbours on either side in the moving mean; by default one for every 50 records.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there are no records.
    """
    histories = as_histories(runs)
    with style():
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.ticker import FuncFormatter, NullFormatter

        rates = [history.column("learning_rate") for history in histories]
        changing = any(len(set(values.tolist())) > 1 for _, values in rates)
        chosen = {name: main_curves(histories, name, smooth) for name in ("loss", "accuracy")}
        looks = _looks(histories, chosen)
        crowded = len(histories) > LOOKS
        if crowded:
            measure = "accuracy" if chosen["accuracy"] else "loss"
            best = f"in colour the best {len(looks)} of {len(histories)} runs by {measure}"
            title = f"{title}: {best}" if title else best
        longest = max((len(label) for main in chosen.values() for _, label, _, _ in main), default=0)
        width = max(9.6, 7.6 + 0.14 * longest) if len(histories) > 1 else 9.6
        # What is left beside the panels: titles and labels; the lower of two panels is a third as high.
        beside, share = (1.2, 0.75) if changing else (0.8, 1.0)
        height = max(4.6 if changing else 3.6, beside + len(looks) * NAME_HEIGHT / share) + (0.25 if title else 0)
        upper = (height - beside) * share
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
        rows = figure.add_gridspec(2 if changing else 1, 2, height_ratios=(3, 1) if changing else None)
        for column, name in enumerate(("loss", "accuracy")):
            axes = figure.add_subplot(rows[0, column])
            if len(histories) == 1:
                lines = _one_run(axes, histories[0], name, smooth)
            else:
                lines = _many_runs(axes, chosen[name], looks, name, smooth, thin=not crowded)
            told = panel_title(name, histories)
            axes.set_title(f"{told} (training thin)" if told.startswith("Validation") and not crowded else told)
            axes.grid(axis="y")
            if name == "loss" and log and any((line.y > 0).any() for line in lines):
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            elif name == "loss":
                axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0] if any((line.y < 0).any() for line in lines) else 0.0))
            else:
                axes.set_ylim(*_accuracy_range(lines, axes.get_ylim()))
            _iterations(axes, histories, labelled=not changing)
            _name_lines(axes, lines, upper)
        if changing:
            axes = figure.add_subplot(rows[1, :])
            names = legible_names([history.name for history in histories], 24)
            lines = [
                _run_line(name, x, y, looks.get(id(history)))
                for history, name, (x, y) in zip(histories, names, rates, strict=True)
            ]
            for line in lines:
                line.draw(axes)
            axes.set_title("Learning rate")
            axes.grid(axis="y")
            axes.set_ylim(bottom=0)
            _iterations(axes, histories)
            # The colours are named above; here only where there is room.
            _name_lines(axes, lines if 1 < len(histories) <= 4 else [], upper / 3)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=GREY)
        return figure


def as_histories(runs: Any) -> list[History]:
    """One history, a result, records, or a list of histories or results, as a list of histories."""
    if isinstance(runs, History) or hasattr(runs, "history"):
        return [History.of(runs)]
    runs = list(runs)
    if not runs:
        raise DataError("there are no runs to draw.")
    if all(isinstance(run, History) or hasattr(run, "history") for run in runs):
        return [History.of(run, f"run {number}") for number, run in enumerate(runs, 1)]
    return [History.of(runs)]


def series(history: History, name: str, smooth: int | None = None) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The curves of a run that there are for "loss" or "accuracy": (label, iterations, values).

    "batches" as logged, "training" their moving mean, "validation", and "test" as a single point at the end.
    """
    x, y = history.column(name)
    reach = (max(1, len(y) // 50) if len(y) >= 10 else 0) if smooth is None else smooth
    found = [("batches", x, y), ("training", x, smoothed(y, reach))] if len(x) else []
    x, y = history.column(f"validation_{name}")
    if len(x):
        found.append(("validation", x, y))
    test = history.final(f"test_{name}")
    if test is not None:
        found.append(("test", np.array([history.steps[-1]["iteration"]]), np.array([test])))
    return found


class _Line:
    """A curve with what is written at its end."""

    def __init__(
        self, label: str, x: np.ndarray, y: np.ndarray, colour: str, dash: str = "-", *, bold: bool, faint: bool = False
    ) -> None:
        self.label, self.x, self.y, self.colour, self.dash = label, x, y, colour, dash
        self.bold, self.faint = bold, faint

    def draw(self, axes: Any) -> None:
        few = len(self.x) == 1
        axes.plot(
            self.x, self.y, color=self.colour, linestyle=self.dash, marker="D" if few else None, markersize=6,
            linewidth=2.0 if self.bold else 1.0, alpha=0.3 if self.faint else 1.0, clip_on=not few,
            zorder=3 if self.bold else 2,
        )  # fmt: skip


def _one_run(axes: Any, history: History, name: str, smooth: int | None) -> list[_Line]:
    colours = {"batches": BLUE, "training": BLUE, "validation": VERMILION, "test": BLACK}
    lines = []
    for label, x, y in series(history, name, smooth):
        faint = label == "batches"
        shown = "" if faint else f"{label} {short(y[-1])}"
        line = _Line(shown, x, y, colours[label], bold=not faint, faint=faint)
        line.draw(axes)
        lines.append(line)
    return [line for line in lines if line.label]


def main_curves(
    histories: Sequence[History], name: str, smooth: int | None = None, most: int = 24
) -> list[tuple[History, str, np.ndarray, np.ndarray]]:
    """The curve that stands for each of many runs, as (history, label, iterations, values).

    The validation or, without one, the mean of the training batches; the label says which if the runs differ in that.
    Names longer than `most` are cut.
    """
    chosen = []
    names = legible_names([history.name for history in histories], most)
    for history, run in zip(histories, names, strict=True):
        found = {label: (x, y) for label, x, y in series(history, name, smooth)}
        kind = next((kind for kind in ("validation", "training") if kind in found), None)
        if kind is not None:
            chosen.append((history, run, kind, *found[kind]))
    mixed = len({kind for _, _, kind, _, _ in chosen}) > 1
    return [
        (history, f"{run} {f'{kind} ' if mixed else ''}{short(y[-1])}", x, y) for history, run, kind, x, y in chosen
    ]


def _many_runs(
    axes: Any, curves: Sequence[Any], looks: dict[int, tuple[str, str]], name: str, smooth: int | None, thin: bool
) -> list[_Line]:
    """Draw the main curves of many runs and, if `thin`, what the training batches were behind them."""
    lines = []
    for history, label, x, y in curves:
        line = _run_line(label, x, y, looks.get(id(history)))
        if thin and len(history.column(f"validation_{name}")[0]):
            found = {kind: (x, y) for kind, x, y in series(history, name, smooth)}
            if "training" in found:
                _Line("", *found["training"], line.colour, line.dash, bold=False, faint=True).draw(axes)
        line.draw(axes)
        lines.append(line)
    return lines


def _run_line(label: str, x: np.ndarray, y: np.ndarray, look: tuple[str, str] | None) -> _Line:
    """A run's line; one without a look of its own is thin and grey and has no name."""
    return _Line(label, x, y, *look, bold=True) if look else _Line("", x, y, EDGE, bold=False)


def _looks(histories: Sequence[History], curves: dict[str, Any]) -> dict[int, tuple[str, str]]:
    """The colour and the dash of each run, by its id; of more runs than there are looks of the best ones only."""
    if len(histories) > LOOKS:
        merit = {id(history): y[-1] for history, _, _, y in curves["accuracy"]}
        merit = merit or {id(history): -y[-1] for history, _, _, y in curves["loss"]}
        histories = sorted(histories, key=lambda run: merit.get(id(run), -np.inf), reverse=True)[: len(COLOURS)]
    return {
        id(history): (COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS)])
        for index, history in enumerate(histories)
    }


def short(value: float) -> str:
    """A loss or an accuracy in few characters."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def panel_title(name: str, histories: Sequence[History]) -> str:
    """What a panel of "loss" or "accuracy" shows."""
    validated = [len(history.column(f"validation_{name}")[0]) > 0 for history in histories]
    if len(histories) == 1 or any(validated) != all(validated):
        return name.capitalize()
    return f"Validation {name}" if all(validated) else f"{name.capitalize()} of training batches"


def _iterations(axes: Any, histories: Sequence[History], labelled: bool = True) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = max(history.steps[-1]["iteration"] for history in histories)
    axes.set_xlim(0, max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if labelled:
        lengths = {round(length, 6) for history in histories if (length := history.epoch_length)}
        notes = [f"an epoch is {lengths.pop():,.4g}"] if len(lengths) == 1 else []
        rates = {float(rate) for history in histories for rate in history.column("learning_rate")[1]}
        notes += [f"learning rate {rates.pop():g}"] if len(rates) == 1 else []
        axes.set_xlabel("iteration" + (f" ({', '.join(notes)})" if notes else ""))


def _accuracy_range(lines: Sequence[_Line], limits: tuple[float, float]) -> tuple[float, float]:
    """Limits that leave the first steps out below, so that the differences at the end can be seen."""
    values = np.concatenate([line.y for line in lines] or [np.zeros(1)])
    low, high = float(np.quantile(values, 0.1)), min(limits[1], 1.0)
    bottom = max(limits[0], low - 0.5 * (high - low) - 0.01)
    if bottom >= high:  # these are no accuracies
        return limits
    return bottom, high + 0.02 * (high - bottom)


def _name_lines(axes: Any, lines: Sequence[_Line], height: float) -> None:
    """Write each line's name in the right margin, level with its end; names that would overlap are moved apart.

    `height` is that of the panel, in inches.
    """
    lines = [line for line in lines if line.label]
    low, high = axes.get_ylim()
    scale = axes.transScale.transform

    def level(y: float) -> float:
        # On a logarithmic axis zero and less are at the bottom.
        least = low if axes.get_yscale() == "log" else y
        bottom, top, place = (scale((0, value))[1] for value in (low, high, max(y, least)))
        return float(np.clip((place - bottom) / (top - bottom), 0, 1))

    gap = NAME_HEIGHT / height
    ends = sorted((level(line.y[-1]), index) for index, line in enumerate(lines))
    places = spread([end for end, _ in ends], gap)
    dashed = any(line.dash != "-" for line in lines)  # then a piece of the line stands before its name
    for place, (_, index) in zip(places, ends, strict=True):
        line = lines[index]
        axes.annotate(
            line.label, (1.0, place), xycoords="axes fraction", xytext=(34 if dashed else 8, 0),
            textcoords="offset points", va="center", ha="left", color=line.colour, fontsize=9, annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": line.colour, "linestyle": line.dash, "linewidth": 2, "shrinkA": 2,
                "shrinkB": 6, "relpos": (0, 0.5),
            } if dashed else None,
        )  # fmt: skip


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Ascending values from 0 to 1, moved as little as needed to be `gap` apart and to stay from 0 to 1.

    Where there are too many for that they go over both ends alike.
    """
    stacks: list[tuple[float, int]] = []  # (sum of the values, how many); a stack stands around their mean

    def middle(stack: tuple[float, int]) -> float:
        total, count = stack
        half = gap * (count - 1) / 2
        return 0.5 if half > 0.5 else min(max(total / count, half), 1 - half)

    for value in values:
        stacks.append((value, 1))
        while len(stacks) > 1:
            below, above = stacks[-2:]
            if middle(above) - middle(below) >= gap * (below[1] + above[1]) / 2 - 1e-12:
                break
            stacks[-2:] = [(below[0] + above[0], below[1] + above[1])]
    return [middle(stack) + gap * (place - (stack[1] - 1) / 2) for stack in stacks for place in range(stack[1])]

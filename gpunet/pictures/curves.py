"""Curves: the loss, the metrics and, where it changes, the learning rate of runs over their iterations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.checks import needs
from gpunet.errors import DataError, UsageError
from gpunet.network.metrics import METRICS
from gpunet.pictures.panels import MARKS, Curve, panel
from gpunet.pictures.picture import Canvas, Options, Picture, Subject, metric_name, metric_text
from gpunet.pictures.style import (
    BLACK,
    BLUE,
    COLOURS,
    DASHES,
    EDGE,
    GREY,
    VERMILION,
    legible_names,
    style,
    svg,
)
from gpunet.runs.history import History, smoothed

#: As many runs have a look of their own; of more than that only as many as there are colours stand out.
LOOKS = len(COLOURS) * len(DASHES)
#: The inches that a name at the end of a line is high.
NAME_HEIGHT = 12 / 72
#: Numbers of a step record that are neither the loss nor a metric.
NO_METRICS = {"iteration", "epoch", "learning_rate", "seconds", "steps_per_second"}


class Curves(Picture):
    """Loss, metrics and, where it changes, the learning rate of one or many runs over the iterations.

    Of one run: the training batches (thin), their moving mean, the validation and the test result. Of many:
    one colour a run, the validation (or, without one, the mean of the training batches) as a bold line; of more than
    can be told apart the best are coloured and named, and the others are thin and grey.
    """

    name = "curves"
    help = "Loss, metrics and learning rate over the iterations. [default: on, if no other is asked for]"
    needs = "records"
    heading = "Curves"

    def __init__(
        self, histories: Sequence[History], *, log: bool = False, smooth: int | None = None, title: str | None = None
    ) -> None:
        self.histories, self.log, self.smooth, self.title = histories, log, smooth, title
        self.panels = panel_names(histories)
        if not self.panels:
            names = ", ".join(history.name for history in histories)
            raise DataError(f"{names}: the records hold no loss and no metric, so there is nothing to draw.")

    @classmethod
    def of(cls, subject: Subject, options: Options) -> Curves:
        """Of a subject's histories."""
        return cls(subject.histories, log=options.log_scale, smooth=options.smooth)

    # --- as a figure -----------------------------------------------------------------------------------

    def figure(self) -> Any:
        """A row of panels, two in a row; below them the learning rate, if it changes."""
        histories, panels = self.histories, self.panels
        with style():
            from matplotlib.layout_engine import ConstrainedLayoutEngine

            from gpunet.pictures.figure import Figure

            changing = bool(self._rates())
            chosen = {name: main_curves(histories, name, self.smooth) for name in panels}
            looks = _looks(histories, chosen)
            crowded = len(histories) > LOOKS
            title = self.title
            if crowded:
                best = f"in colour the best {len(looks)} of {len(histories)} runs by {judge(panels)}"
                title = f"{title}: {best}" if title else best
            longest = max((len(label) for main in chosen.values() for _, label, _, _ in main), default=0)
            across, down = min(2, len(panels)), -(-len(panels) // 2)
            width = (max(9.6, 7.6 + 0.14 * longest) if len(histories) > 1 else 9.6) * (1 if across == 2 else 0.6)
            # Beside the panels there are titles and labels; the learning rate is a third as high as a panel.
            panel_height = max(2.55 if changing else 2.8, len(looks) * NAME_HEIGHT)
            height = (0.8 + panel_height) * down + (0.4 + panel_height / 3 if changing else 0) + (0.25 if title else 0)
            figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
            ratios = [3] * down + [1] * changing
            rows = figure.add_gridspec(len(ratios), across, height_ratios=ratios)
            for number, name in enumerate(panels):
                axes = figure.add_subplot(rows[number // across, number % across])
                lowest = number // across == down - 1
                self._panel(axes, name, chosen[name], looks, panel_height, labelled=lowest and not changing)
            if changing:
                self._rate_panel(figure.add_subplot(rows[-1, :]), looks, panel_height / 3)
            if title:
                figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=GREY)
            return figure

    def _panel(
        self, axes: Any, name: str, chosen: Sequence[Any], looks: dict[int, Any], height: float, labelled: bool
    ) -> None:
        """Draw the loss or a metric."""
        crowded = len(self.histories) > LOOKS
        if len(self.histories) == 1:
            lines = _one_run(axes, self.histories[0], name, self.smooth)
        else:
            lines = _many_runs(axes, chosen, looks, name, self.smooth, thin=not crowded)
        told = panel_title(name, self.histories)
        axes.set_title(f"{told} (training thin)" if told.startswith("Validation") and not crowded else told)
        axes.grid(axis="y")
        if name == "loss" and self.log and any((line.y > 0).any() for line in lines):
            from matplotlib.ticker import NullFormatter, StrMethodFormatter

            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        elif falls(name):
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0] if any((line.y < 0).any() for line in lines) else 0.0))
        else:
            axes.set_ylim(*_rising_range(lines, axes.get_ylim()))
        if max(map(abs, axes.get_ylim())) >= 10_000 and axes.get_yscale() == "linear":
            from matplotlib.ticker import StrMethodFormatter

            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        _iterations(axes, self.histories, labelled)
        _name_lines(axes, lines, height)

    def _rates(self) -> list[Curve]:
        """The learning rate of each run, if that of any changes."""
        names = legible_names([history.name for history in self.histories], 24)
        rates = [(name, *history.column("learning_rate")) for name, history in zip(names, self.histories, strict=True)]
        return rates if any(len(set(values.tolist())) > 1 for _, _, values in rates) else []

    def _rate_panel(self, axes: Any, looks: dict[int, Any], height: float) -> None:
        lines = [
            _run_line(name, x, y, looks.get(id(history)))
            for history, (name, x, y) in zip(self.histories, self._rates(), strict=True)
        ]
        for line in lines:
            line.draw(axes)
        axes.set_title("Learning rate")
        axes.grid(axis="y")
        axes.set_ylim(bottom=0)
        _iterations(axes, self.histories)
        # The colours are named above; here only where there is room.
        _name_lines(axes, lines if 1 < len(lines) <= 4 else [], height)

    # --- as text ---------------------------------------------------------------------------------------

    def terminal(self, canvas: Canvas) -> list[str]:
        """The panels below each other.

        Raises:
            UsageError: there are more runs than can be told apart.
        """
        if len(self.histories) > len(MARKS):
            raise UsageError(
                f"{len(self.histories)} runs are too many to tell apart in a terminal; name at most {len(MARKS)}, or "
                "draw them into a file with --out."
            )
        drawn = []
        for name in self.panels:
            title, found = self._text_curves(name, most=max(8, canvas.width - 30))
            log = self.log and name == "loss"
            drawn.append(panel(title, found, canvas, height=11, log=log, from_zero=falls(name) and not log))
        rates = self._rates()
        if rates:
            rates = rates if len(rates) > 1 else [("", *rates[0][1:])]
            drawn.append(panel("Learning rate", rates, canvas, height=5, from_zero=True))
        lines: list[str] = []
        for each in filter(None, drawn):
            lines += ["", *each] if lines else each
        return lines

    def _text_curves(self, name: str, most: int) -> tuple[str, list[Curve]]:
        """The title of a panel and what it shows: of one run training and validation, of many one curve each.

        `most` is how many characters of a run's name the legend has room for.
        """
        if len(self.histories) > 1:
            shown = [(label, x, y) for _, label, x, y in main_curves(self.histories, name, self.smooth, most)]
            return panel_title(name, self.histories), shown
        found = {label: (x, y) for label, x, y in series(self.histories[0], name, self.smooth)}
        test = f", test {metric_text(found['test'][1][-1], 3)}" if "test" in found else ""
        shown = [
            (f"{label} {metric_text(found[label][1][-1], 3)}", *found[label])
            for label in ("training", "validation")
            if label in found
        ]
        return f"{panel_title(name, self.histories)}{test}", shown

    # --- in a page -------------------------------------------------------------------------------------

    def html(self) -> str:
        """Each panel as SVG of its own, so that they stand below each other where the page is narrow."""
        chosen = {name: main_curves(self.histories, name, self.smooth) for name in self.panels}
        looks = _looks(self.histories, chosen)
        parts = []
        with style():
            for name in self.panels:
                axes = _alone(2.8)
                self._panel(axes, name, chosen[name], looks, 2.8, labelled=True)
                parts.append(svg(axes.figure, f"{panel_title(name, self.histories)} over the iterations"))
            if self._rates():
                axes = _alone(2.8)
                self._rate_panel(axes, looks, 2.8)
                parts.append(svg(axes.figure, "Learning rate over the iterations"))
        return '<div class="curves">\n' + "\n".join(parts) + "\n</div>"


def _alone(height: float) -> Any:
    """The axes of a figure that has no others."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from gpunet.pictures.figure import Figure

    figure = Figure(figsize=(5.0, height + 0.6), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
    return figure.add_subplot()


def panel_names(histories: Sequence[History]) -> list[str]:
    """What there is to draw: the loss first, then every metric that the step records hold."""
    found = dict.fromkeys(
        name.removeprefix("validation_")
        for history in histories
        for step in history.steps
        for name, value in step.items()
        if name not in NO_METRICS and isinstance(value, (int, float))
    )
    names = sorted(found, key=lambda name: name != "loss")
    return [name for name in names if any(series(history, name) for history in histories)]


def falls(name: str) -> bool:
    """Whether less is better: of the loss, and of a metric as its entry says."""
    entry = next((entry for key, entry in METRICS.items() if key.replace("-", "_") == name), None)
    return name == "loss" or (entry is not None and not entry.higher_is_better)


def judge(panels: Sequence[str]) -> str:
    """What runs are compared by: the first metric, or the loss where there is none."""
    return next((name for name in panels if name != "loss"), panels[0])


def as_histories(runs: Any, labels: Sequence[str] | None = None) -> list[History]:
    """One history, a result, records, or a list or a dict of histories or results, as a list of histories.

    Args:
        labels: what to call the runs; by default a history's own name, the dict's keys, or "run 1", "run 2" ...

    Raises:
        DataError: there are no records.
        UsageError: there are not as many labels as runs.
    """
    if isinstance(runs, Mapping):
        labels, runs = labels or [str(name) for name in runs], list(runs.values())
    if isinstance(runs, History) or hasattr(runs, "history"):
        found = [History.of(runs)]
    else:
        needs(
            runs, "__iter__", "the result of a training, or a list or a dict of results, is needed to draw its curves"
        )
        runs = list(runs)
        if not runs:
            raise DataError("there are no runs to draw.")
        if all(isinstance(run, History) or hasattr(run, "history") for run in runs):
            found = [History.of(run, f"run {number}") for number, run in enumerate(runs, 1)]
        else:
            found = [History.of(runs)]
    if labels is None:
        return found
    labels = [labels] if isinstance(labels, str) else list(labels)
    if len(labels) != len(found):
        raise UsageError(f"there are {len(labels)} labels for {len(found)} runs; give one for each.")
    return [dataclasses.replace(history, name=label) for history, label in zip(found, labels, strict=True)]


def series(history: History, name: str, smooth: int | None = None) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The curves of a run that there are for "loss" or a metric: (label, iterations, values).

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
        shown = "" if faint else f"{label} {metric_text(y[-1], 3)}"
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
        (history, f"{run} {f'{kind} ' if mixed else ''}{metric_text(y[-1], 3)}", x, y)
        for history, run, kind, x, y in chosen
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
        name = judge(list(curves))
        merit = {id(history): -y[-1] if falls(name) else y[-1] for history, _, _, y in curves[name]}
        histories = sorted(histories, key=lambda run: merit.get(id(run), -np.inf), reverse=True)[: len(COLOURS)]
    return {
        id(history): (COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS)])
        for index, history in enumerate(histories)
    }


def panel_title(name: str, histories: Sequence[History]) -> str:
    """What a panel of the loss or of a metric shows."""
    told = metric_name(name)
    validated = [len(history.column(f"validation_{name}")[0]) > 0 for history in histories]
    if len(histories) == 1 or any(validated) != all(validated):
        return f"{told[0].upper()}{told[1:]}"
    return f"Validation {told}" if all(validated) else f"{told[0].upper()}{told[1:]} of training batches"


def _iterations(axes: Any, histories: Sequence[History], labelled: bool = True) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    last = max(history.steps[-1]["iteration"] for history in histories)
    axes.set_xlim(0, max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if labelled:
        lengths = {round(length, 6) for history in histories if (length := history.epoch_length)}
        notes = [f"an epoch is {lengths.pop():,.4g}"] if len(lengths) == 1 else []
        rates = {float(rate) for history in histories for rate in history.column("learning_rate")[1]}
        notes += [f"learning rate {rates.pop():g}"] if len(rates) == 1 else []
        axes.set_xlabel("iteration" + (f" ({', '.join(notes)})" if notes else ""))


def _rising_range(lines: Sequence[_Line], limits: tuple[float, float]) -> tuple[float, float]:
    """Limits that leave the first steps out below, so that the differences at the end can be seen."""
    values = np.concatenate([line.y for line in lines] or [np.zeros(1)])
    # Metrics for which more is better end at 1.
    low, high = float(np.quantile(values, 0.1)), min(limits[1], 1.0)
    bottom = max(limits[0], low - 0.5 * (high - low) - 0.01)
    if bottom >= high:  # this one does not
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

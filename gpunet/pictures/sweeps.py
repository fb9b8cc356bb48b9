"""The picture of a sweep: accuracy against the settings that varied, as a matplotlib figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.errors import DataError
from gpunet.pictures.style import COLOURS, GREY, legible, style
from gpunet.sweeps.sweep import Sweep
from gpunet.sweeps.trials import Row

#: What is drawn, and how: the accuracy of each split with its line style and its mark.
LINES = (
    ("train", "train_accuracy", ":", "."),
    ("validation", "validation_accuracy", "-", "o"),
    ("test", "test_accuracy", "--", "s"),
)


def accuracies(sweep: Sweep, *, title: str | None = None) -> Any:
    """Accuracy on train, validation and (where it was measured) test against the first setting that varied.

    Points are means over the seeds, bars their standard deviation; where nothing but the seed varied, each seed is a
    point. Numbers that span a factor of twenty get a logarithmic axis; each combination of the other settings gets a
    colour, as long as there are enough colours. Combinations whose runs all failed are counted below the axis.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there are no results.
    """
    if sweep.varying:
        name, every = sweep.varying[0], sweep.rows()
    else:
        name = "seed"
        every = [Row({name: str(trial.settings.seed)}, [trial], sweep.results, sweep.tests) for trial in sweep.trials]
    rows = [row for row in every if row.spread("validation_accuracy") is not None]
    if not rows:
        raise DataError("the sweep has no results to draw.")
    texts = list(dict.fromkeys(row.varied[name] for row in rows))
    numbers = [_number(text) for text in texts]
    numeric = name != "seed" and len(texts) > 1 and all(number is not None for number in numbers)
    places: dict[str, float] = {text: float(i) for i, text in enumerate(texts)}
    if numeric:
        places = {text: number for text, number in zip(texts, numbers, strict=True) if number is not None}
    series: dict[str, list[Row]] = {}
    for row in rows:
        others = ", ".join(f"{key} {value}" for key, value in row.varied.items() if key != name)
        series.setdefault(others, []).append(row)
    coloured = 1 < len(series) <= len(COLOURS)
    with style():
        from matplotlib.lines import Line2D

        from gpunet.pictures.figure import Figure

        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        shown = {}
        for index, members in enumerate(series.values()):
            for number, (split, field, dash, marker) in enumerate(LINES):
                # Series with a colour each tell splits by the dash; otherwise a colour is a split.
                colour = COLOURS[index if coloured else number]
                points = [(places[row.varied[name]], row.spread(field)) for row in members]
                known = sorted((x, found.mean, found.deviation) for x, found in points if found is not None)
                if not known:
                    continue
                x, mean, deviation = zip(*known, strict=True)
                look: dict[str, Any] = {"linestyle": dash if numeric else "none", "marker": marker, "markersize": 4.5}
                axes.errorbar(
                    x, mean, [value or 0.0 for value in deviation] if any(deviation) else None,
                    color=colour, linewidth=1.6, elinewidth=1, capsize=2.5, **look,
                )  # fmt: skip
                shown[number] = Line2D([], [], color=GREY if coloured else colour, label=split, **look)
        _ticks(axes, places, numeric)
        neurons = "neurons in the hidden layer" + ("" if numeric else "s")
        label = neurons if name == "hidden" else name.replace("_", " ")
        failed = sum(bool(row.errors) and row not in rows for row in every)
        what = "combinations" if sweep.varying else "runs"
        axes.set_xlabel(label + (f" ({failed} of {len(every)} {what} failed)" if failed else ""))
        axes.set_ylabel("accuracy")
        axes.grid(True)
        told = [sweep.trials[0].settings.data]
        if sweep.varying and len(sweep.seeds) > 1:
            told.append(f"mean and deviation over {len(sweep.seeds)} seeds")
        if len(series) > len(COLOURS):
            told.append(f"{len(series)} combinations of the other settings")
        axes.set_title(title or legible(", ".join(told)))
        handles = [handle for _, handle in sorted(shown.items())]
        if coloured:
            handles += [
                Line2D([], [], color=COLOURS[index], linewidth=3, label=legible(others, 40))
                for index, others in enumerate(series)
            ]
        # Beside the axes, where it covers no point.
        axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
        return figure


def _ticks(axes: Any, places: dict[str, float], numeric: bool) -> None:
    """Each value that was tried, if the labels do not run into each other; else, of numbers, round ones."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    texts, values = [legible(text, 24) for text in places], np.array(list(places.values()))
    if not numeric:
        turned = 0 if sum(map(len, texts)) <= 50 else 30 if len(texts) <= 12 else 90
        axes.set_xticks(values, texts, rotation=turned, ha="right" if turned == 30 else "center")
        axes.margins(x=0.1)
        return
    log = values.min() > 0 and values.max() / values.min() >= 20
    if log:
        axes.set_xscale("log")
    spots = np.sort(np.log(values) if log else values)
    gaps = np.diff(spots) / (spots[-1] - spots[0])
    if gaps.min() > 0.015 * (max(map(len, texts)) + 1):
        axes.set_xticks(values, texts)
        axes.minorticks_off()
    elif log:
        decades = math.log10(values.max() / values.min())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

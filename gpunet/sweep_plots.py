"""The picture of a sweep: accuracy against the settings that varied, as a matplotlib figure."""

from __future__ import annotations

from typing import Any

from gpunet.errors import DataError
from gpunet.plot_style import COLOURS, GREY, style
from gpunet.sweeps import Sweep
from gpunet.trials import Row

#: What is drawn, and how: the accuracy of each split with its line style.
LINES = (("train", "train_accuracy", ":"), ("validation", "validation_accuracy", "-"), ("test", "test_accuracy", "--"))


def accuracies(sweep: Sweep, *, title: str | None = None) -> Any:
    """Accuracy on train, validation and (where it was measured) test against the first setting that varied.

    Points are means over the seeds, bars their standard deviation. Numbers that span a factor of twenty get a
    logarithmic axis; each combination of the other settings gets a colour.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there are no results.
    """
    rows = [row for row in sweep.rows() if row.spread("validation_accuracy") is not None]
    if not rows:
        raise DataError("the sweep has no results to draw.")
    name = sweep.varying[0] if sweep.varying else "seed"
    texts = list(dict.fromkeys(row.varied.get(name, "") for row in rows))
    numbers = [_number(text) for text in texts]
    numeric = len(texts) > 1 and all(number is not None for number in numbers)
    places: dict[str, float] = {text: float(i) for i, text in enumerate(texts)}
    if numeric:
        places = {text: number for text, number in zip(texts, numbers, strict=True) if number is not None}
    series: dict[str, list[Row]] = {}
    for row in rows:
        others = ", ".join(f"{key} {value}" for key, value in row.varied.items() if key != name)
        series.setdefault(others, []).append(row)
    with style():
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        shown = set()
        for index, members in enumerate(series.values()):
            for number, (split, field, dash) in enumerate(LINES):
                # A lone series has a colour for each split, several have one each and tell splits by the dash.
                colour = COLOURS[(number if len(series) == 1 else index) % len(COLOURS)]
                points = [(places[row.varied.get(name, "")], row.spread(field)) for row in members]
                known = sorted((x, found.mean, found.deviation or 0.0) for x, found in points if found is not None)
                if not known:
                    continue
                shown.add(split)
                x, mean, deviation = zip(*known, strict=True)
                axes.errorbar(
                    x, mean, deviation, color=colour, linestyle=dash if numeric else "none",
                    marker="o" if split == "validation" else "s" if split == "test" else ".", markersize=4.5,
                    linewidth=1.6, elinewidth=1, capsize=2.5,
                )  # fmt: skip
        if numeric:
            axes.set_xticks(list(places.values()), texts)
            if min(places.values()) > 0 and max(places.values()) / min(places.values()) >= 20:
                axes.set_xscale("log")
                axes.set_xticks(list(places.values()), texts)
                axes.minorticks_off()
        else:
            axes.set_xticks(range(len(texts)), texts, rotation=30 if max(map(len, texts)) > 8 else 0)
            axes.margins(x=0.1)
        neurons = "neurons in the hidden layer" + ("" if numeric else "s")
        axes.set_xlabel(neurons if name == "hidden" else name.replace("_", " "))
        axes.set_ylabel("accuracy")
        axes.grid(True)
        axes.set_title(title or f"{sweep.trials[0].settings.data}, mean and deviation over {len(sweep.seeds)} seeds")
        handles = []
        for number, (split, _, dash) in enumerate(LINES):
            if split in shown:
                colour = COLOURS[number] if len(series) == 1 else GREY
                marker = "o" if split == "validation" else "s" if split == "test" else "."
                style_of = dash if numeric else "none"
                handles.append(
                    Line2D([], [], color=colour, linestyle=style_of, marker=marker, markersize=4.5, label=split)
                )
        if len(series) > 1:
            handles += [
                Line2D([], [], color=COLOURS[index % len(COLOURS)], linewidth=3, label=label)
                for index, label in enumerate(series)
            ]
        axes.legend(handles=handles, frameon=False, loc="best", fontsize=9)
        return figure


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

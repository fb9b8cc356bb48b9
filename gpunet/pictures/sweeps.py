"""The picture of a sweep: what its settings are chosen by, such as accuracy, against the settings that varied."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import DataError
from gpunet.pictures.picture import Canvas, Picture, metric_name
from gpunet.pictures.style import COLOURS, GREY, legible, style, svg
from gpunet.sweeps.sweep import Sweep
from gpunet.sweeps.trials import Row

#: Each split with its line style and its mark.
LINES = (("train", ":", "."), ("validation", "-", "o"), ("test", "--", "s"))
#: Panels at most, and in a row.
PANELS, ACROSS = 9, 3


class SweepPicture(Picture):
    """What a sweep chooses by (accuracy, say) on train, validation and, where it was measured, test, against the first
    setting that varied.

    Each combination of the other settings has a panel of its own; of more than nine the best nine are drawn. Points
    are means over the seeds, bars their standard deviation; where nothing but the seed varied, each seed is a point.
    Numbers that span a factor of twenty get a logarithmic axis. Combinations whose runs all failed, or were stopped
    early by a search, are counted below the axis.

    Raises:
        DataError: there are no results.
    """

    name = "sweep"
    help = "What a sweep chooses by against the settings that varied."
    needs = "sweep"
    heading = "What the settings do"

    def __init__(self, sweep: Sweep, title: str | None = None) -> None:
        self.sweep = sweep
        self.key = sweep.judged.removeprefix("validation_")
        self.measure = metric_name(self.key)
        if sweep.varying:
            self.across, every = sweep.varying[0], sweep.rows()
        else:
            self.across = "seed"
            every = [
                Row({"seed": str(trial.settings.seed)}, [trial], sweep.results, sweep.tests) for trial in sweep.trials
            ]
        self.rows = [row for row in every if row.spread(sweep.judged) is not None]
        if not self.rows:
            raise DataError("the sweep has no results to draw.")
        failed = sum(bool(row.errors) and row not in self.rows for row in every)
        stopped = sum(row.pruned for row in every)
        of = f"of {len(every)} {'combinations' if sweep.varying else 'runs'}"
        notes = [f"{failed} {of} failed"] if failed else []
        notes += [f"{stopped} {of} stopped early"] if stopped else []
        self.note = f" ({', '.join(notes)})" if notes else ""
        told = [sweep.trials[0].settings.data]
        if sweep.varying and len(sweep.seeds) > 1:
            told.append(f"mean and deviation over {len(sweep.seeds)} seeds")
        panels: dict[str, list[Row]] = {}
        for row in self.rows:
            panels.setdefault(row.named(self.across), []).append(row)
        if len(panels) > PANELS:
            told.append(f"the best {PANELS} of {len(panels)} combinations of the other settings")
            best = sorted(panels, key=lambda name: max(map(sweep.merit, panels[name])), reverse=True)[:PANELS]
            panels = {name: rows for name, rows in panels.items() if name in best}
        self.panels = panels
        self.title = title or ", ".join(told)

    # --- as a figure -----------------------------------------------------------------------------------

    def figure(self) -> Any:
        """A panel for each combination of the other settings, on the same axes, at most three in a row."""
        with style():
            from gpunet.pictures.figure import Figure

            across = 2 if len(self.panels) == 4 else min(ACROSS, len(self.panels))
            down = -(-len(self.panels) // across)
            wide, high = (7.2, 4.2) if len(self.panels) == 1 else (1.2 + 3.1 * across, 0.8 + 2.7 * down)
            figure = Figure(figsize=(wide, high), layout="constrained")
            grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
            places = self._places()
            numeric = places is not None
            spots = places or {text: float(index) for index, text in enumerate(self._texts())}
            handles: dict[int, Any] = {}
            for axes, (name, rows) in zip(grid.flat, self.panels.items(), strict=False):
                handles.update(self._draw(axes, rows, spots, numeric))
                _ticks(axes, spots, numeric, across)
                axes.grid(True)
                if name:
                    axes.set_title(legible(name, 40), color=GREY, fontweight="normal", fontsize=10)
            for axes in list(grid.flat)[len(self.panels) :]:
                axes.set_visible(False)
                above = grid[-2, list(grid[-1]).index(axes)]
                above.xaxis.set_tick_params(labelbottom=True)
            if len(self.panels) == 1:
                grid[0, 0].set_xlabel(self._label(numeric) + self.note)
                grid[0, 0].set_ylabel(self.measure)
                grid[0, 0].set_title(legible(self.title))
            else:
                figure.supxlabel(self._label(numeric) + self.note, color=GREY, fontsize=10)
                figure.supylabel(self.measure, color=GREY, fontsize=10)
                figure.suptitle(legible(self.title), x=0.01, ha="left", fontsize=11, fontweight="bold")
            # Beside the panels, where it covers no point.
            corner = grid[0, across - 1]
            shown = [handle for _, handle in sorted(handles.items())]
            corner.legend(handles=shown, frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
            return figure

    def _draw(self, axes: Any, rows: Sequence[Row], spots: dict[str, float], numeric: bool) -> dict[int, Any]:
        """The numbers of a panel; what stands in the legend for each split that there is."""
        from matplotlib.lines import Line2D

        handles = {}
        for number, (split, dash, marker) in enumerate(LINES):
            beside = 0.0 if numeric else 0.16 * (number - 1)  # names: the splits side by side
            points = [(spots[row.varied[self.across]] + beside, row.spread(f"{split}_{self.key}")) for row in rows]
            known = sorted((x, found.mean, found.deviation) for x, found in points if found is not None)
            if not known:
                continue
            x, mean, deviation = zip(*known, strict=True)
            look: dict[str, Any] = {"linestyle": dash if numeric else "none", "marker": marker, "markersize": 4.5}
            axes.errorbar(
                x, mean, [value or 0.0 for value in deviation] if any(deviation) else None,
                color=COLOURS[number], linewidth=1.6, elinewidth=1, capsize=2.5, **look,
            )  # fmt: skip
            handles[number] = Line2D([], [], color=COLOURS[number], label=split, **look)
        return handles

    def _texts(self) -> list[str]:
        """The values of the first setting."""
        return list(dict.fromkeys(row.varied[self.across] for row in self.rows))

    def _places(self) -> dict[str, float] | None:
        """Where on a numerical axis the values stand; None if they are no numbers."""
        texts = self._texts()
        numbers = {text: number for text in texts if (number := _number(text)) is not None}
        return numbers if self.across != "seed" and 1 < len(texts) == len(numbers) else None

    def _label(self, numeric: bool) -> str:
        if self.across == "hidden":
            return "neurons in the hidden layer" + ("" if numeric else "s")
        return self.across.replace("_", " ")

    # --- as text and in a page -------------------------------------------------------------------------

    def terminal(self, canvas: Canvas) -> list[str]:
        """A bar for each combination: what it is judged by on validation data, from the lowest to the highest."""
        names = [legible(_named(row), max(8, canvas.width - 30)) for row in self.rows]
        values = [self._validation(row) for row in self.rows]
        low, high = min(values), max(values)
        lead = max(map(len, names))
        block = "█" if canvas.encodes("█") else "#"
        room = max(1, canvas.width - lead - 10)
        lines = [legible(f"{self.title}: validation {self.measure}{self.note}", canvas.width), ""]
        for name, value in zip(names, values, strict=True):
            filled = 1 + round((room - 1) * (value - low) / (high - low)) if high > low else room
            lines.append(f"{name:<{lead}}  {value:.4f}  {block * filled}".rstrip())
        return lines

    def html(self) -> str:
        """The figure, and a table of what it shows."""
        splits = [split for split, _, _ in LINES if any(row.spread(f"{split}_{self.key}") for row in self.rows)]
        head = "".join(f'<th scope="col">{split}</th>' for split in splits)
        body = "\n".join(
            f'<tr><th scope="row">{html.escape(legible(_named(row)))}</th>'
            + "".join(f"<td>{row.spread(f'{split}_{self.key}') or ''}</td>" for split in splits)
            + "</tr>"
            for row in self.rows
        )
        with style():
            picture = svg(self.figure(), f"{self.measure} against the settings")
        return (
            f'<p class="muted">{html.escape(legible(self.title + self.note))}.</p>\n'
            f'<div class="wide whole" tabindex="0" role="region" aria-label="Figure of the scores">{picture}</div>\n'
            '<div class="wide" tabindex="0" role="region" '
            f'aria-label="Table of results"><table><caption>{html.escape(self.measure)}</caption>\n'
            f"<thead><tr><td></td>{head}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody></table></div>"
        )

    def _validation(self, row: Row) -> float:
        found = row.spread(self.sweep.judged)
        assert found is not None
        return found.mean


def accuracies(sweep: Sweep, *, title: str | None = None) -> Any:
    """The figure of a sweep (see `SweepPicture`).

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there are no results.
    """
    return SweepPicture(sweep, title).figure()


def _named(row: Row) -> str:
    return row.named() or "these settings"


def _ticks(axes: Any, places: dict[str, float], numeric: bool, across: int) -> None:
    """Each value that was tried, if the labels do not run into each other; else, of numbers, round ones.

    `across` is how many panels stand beside each other.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    texts, values = [legible(text, 24) for text in places], np.array(list(places.values()))
    room = 50 if across == 1 else 22  # characters
    if not numeric:
        turned = 0 if sum(map(len, texts)) <= room else 30 if len(texts) <= room // 4 else 90
        axes.set_xticks(values, texts, rotation=turned, ha="right" if turned == 30 else "center")
        axes.set_xlim(values.min() - 0.5, values.max() + 0.5)
        return
    log = values.min() > 0 and values.max() / values.min() >= 20
    if log:
        axes.set_xscale("log")
    spots = np.sort(np.log(values) if log else values)
    gaps = np.diff(spots) / (spots[-1] - spots[0])
    if gaps.min() > 0.75 / room * (max(map(len, texts)) + 1):
        axes.set_xticks(values, texts)
        axes.minorticks_off()
    elif log:
        decades = math.log10(values.max() / values.min())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 and across == 1 else (1,)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis="x", nbins=room // 6)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

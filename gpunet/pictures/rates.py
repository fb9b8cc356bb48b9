"""The picture of a learning-rate range test: the loss over the rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.pictures.panels import panel
from gpunet.pictures.picture import Canvas, Picture
from gpunet.pictures.style import BLUE, GREY, VERMILION, style, svg
from gpunet.training.rate_finder import RangeTest

#: Rows of the picture in characters.
HEIGHT = 11


class Rates(Picture):
    """The loss of each step (thin) and its moving mean over the learning rate, and the rate that is suggested."""

    name = "rates"
    help = "The loss over the learning rate of a range test."
    needs = "a range test"
    heading = "Learning rates"

    def __init__(self, test: RangeTest, title: str | None = None) -> None:
        self.test = test
        found = "no rate lowers the loss" if test.suggestion is None else f"suggested {test.suggestion:.2g}"
        self.title = title or f"Loss over the learning rate, {found}"

    def figure(self) -> Any:
        """The rate on a logarithmic axis."""
        with style():
            from matplotlib.ticker import StrMethodFormatter

            from gpunet.pictures.figure import Figure

            figure = Figure(figsize=(6.4, 3.6), layout="constrained")
            axes = figure.add_subplot()
            axes.semilogx(self.test.rates, self.test.losses, color=GREY, linewidth=0.8)
            axes.semilogx(self.test.rates, self.test.smoothed, color=BLUE)
            if self.test.suggestion is not None:
                axes.axvline(self.test.suggestion, color=VERMILION, linestyle="--")
            axes.set_ylim(*self._limits())
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.set_xlabel("learning rate")
            axes.set_ylabel("loss")
            axes.set_title(self.title)
            axes.grid(axis="y")
        return figure

    def _limits(self) -> tuple[float, float]:
        """From the lowest to what the loss began with and a little more: where it explodes is of no interest."""
        low = float(min(self.test.losses.min(), self.test.smoothed.min()))
        high = float(self.test.smoothed[: max(len(self.test.smoothed) // 2, 1)].max())
        margin = 0.1 * max(high - low, 1e-9)
        return low - margin, high + 3 * margin

    def terminal(self, canvas: Canvas) -> list[str]:
        """The mean loss over the steps, with the rates below."""
        low, high = self._limits()
        shown = np.clip(self.test.smoothed, low, high)
        # The title, the frame and what is in it; its numbers of steps make room for the rates.
        lines = panel("Loss over the learning rate", [("", np.arange(len(shown)), shown)], canvas, height=HEIGHT)[
            : HEIGHT + 3
        ]
        rates, inside = self.test.rates, len(lines[-1]) - 2
        lines.append(f" {rates[0]:<{inside - 8}.2g}{rates[-1]:>8.2g}")
        if self.test.suggestion is not None:
            place = int(np.argmin(np.abs(rates - self.test.suggestion)) * (inside - 1) / max(len(rates) - 1, 1))
            mark = f"^ {self.test.suggestion:.2g}"
            lines.append(f" {' ' * place}{mark}" if place + len(mark) <= inside else f" {' ' * place}^")
        return lines

    def html(self) -> str:
        """The figure."""
        return svg(self.figure(), self.title)

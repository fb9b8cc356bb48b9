"""Pictures of what a model does, as matplotlib figures: its confusions, its first layer's weights, its mistakes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import DataError
from gpunet.pictures.style import BLUE, GREY, ORANGE, VERMILION, legible_names, style
from gpunet.pictures.tiles import neuron_name, weight_tiles, weights_title, worst_mistakes

#: The longest name of a class that is written out.
LONGEST = 20
#: How wide a letter is, in inches for each point of its size.
LETTER = 0.6 / 72


def confusion(matrix: Any, class_names: Sequence[str] | None = None, *, title: str | None = None) -> Any:
    """The confusion matrix: rows the true class, columns the answer; mistakes stand out by colour.

    Args:
        matrix: an `Evaluation`, or (k, k) counts.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matrix = np.asarray(getattr(matrix, "confusion", matrix))
    classes = len(matrix)
    names = legible_names(class_names or [str(index) for index in range(classes)], LONGEST)
    longest = max(map(len, names))
    totals = matrix.sum(axis=1)
    wrong = matrix / np.maximum(totals, 1)[:, None]
    np.fill_diagonal(wrong, 0)
    numbered = classes <= 20
    with style():
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        side = float(np.clip(0.46 * classes + 1.6, 3.4, 9))
        size = 10 if numbered else 8
        cell = (side - 1.6) / classes
        # Every class has its name as long as there is room; names wider than their column are turned.
        step = 1 if classes <= 40 else classes // 10
        turned = 0 if longest * size * 0.7 / 72 < cell * step else 45 if numbered else 90
        beside = max(0, longest - 3) * size * LETTER
        below = beside * math.sin(math.radians(turned))
        figure = Figure(figsize=(side + 0.7 + beside, side + below), layout="constrained")
        axes = figure.add_subplot()
        warm = LinearSegmentedColormap.from_list("mistakes", ["#FFFFFF", "#FBD9BF", VERMILION, "#7A3300"])
        top = max(float(wrong.max()), 0.1)  # a share of a class: rare mistakes stay pale
        axes.imshow(wrong, cmap=warm, vmin=0, vmax=top, interpolation="nearest")
        for row in range(classes):
            axes.add_patch(Rectangle((row - 0.5, row - 0.5), 1, 1, color="#E3EEF5", linewidth=0))
        if numbered:
            for (row, column), count in np.ndenumerate(matrix):
                if count:
                    right = row == column
                    dark = not right and wrong[row, column] > 0.45 * top
                    axes.text(
                        column, row, f"{count:,}", ha="center", va="center", fontsize=9 if count < 10000 else 7,
                        color="white" if dark else BLUE if right else "#402000",
                    )  # fmt: skip
        ticks = list(range(0, classes, step))
        shown = [names[i] for i in ticks]
        axes.set_xticks(ticks, shown, rotation=turned, ha="right" if turned == 45 else "center", fontsize=size)
        axes.set_yticks(ticks, shown, fontsize=size)
        axes.tick_params(length=0)
        axes.set_xlabel("answer")
        axes.set_ylabel("true class")
        for spine in axes.spines.values():
            spine.set_visible(False)
        if numbered:
            axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
            axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
            axes.grid(True, which="minor", axis="both", color="white", linewidth=1.5)
            axes.tick_params(which="minor", length=0)
            recall = axes.secondary_yaxis("right")
            recall.set_yticks(range(classes), [f"{matrix[i, i] / totals[i]:.0%}" if totals[i] else "" for i in ticks])
            recall.tick_params(length=0)
            recall.spines["right"].set_visible(False)
            recall.set_ylabel("recall")
        share = np.trace(matrix) / max(matrix.sum(), 1)
        title = title or f"{share:.1%} of {matrix.sum():,} right"
        axes.set_title(textwrap.fill(title, int((side - 0.2) / (12 * LETTER)), replace_whitespace=False))
        return figure


def weights(model: Any, *, units: int = 64, title: str | None = None) -> Any:
    """What the neurons of the first layer look for: the weights into each as a picture of the input's shape.

    Blue weights speak against the neuron, orange ones for it; all share one scale. Of more than `units` neurons
    those with the longest weight vectors are shown.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    tiles, numbers, limit = weight_tiles(model, units)
    columns = math.ceil(math.sqrt(len(tiles) * 1.6))
    with style():
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LinearSegmentedColormap, Normalize

        colours = LinearSegmentedColormap.from_list("weights", ["#003A5D", BLUE, "#FFFFFF", ORANGE, "#7A4F00"])
        names = legible_names([neuron_name(model, number) for number in numbers], LONGEST)
        widest = max(map(len, names)) * 7 * LETTER
        figure, cells = _grid(len(tiles), columns, tiles.shape[2] / tiles.shape[1], 0.9, 0.16, widest, right=0.95)
        for axes, tile, name in zip(cells, tiles, names, strict=True):
            axes.imshow(tile, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set_title(name, fontsize=7, color=GREY, fontweight="normal", pad=2, loc="center")
        # The scale stands right of the last column, as high as the rows are but for two inches at most.
        width, height = figure.get_size_inches()
        box = cells[min(columns, len(cells)) - 1].get_position()
        tall = min(2.0, height - 0.7)
        beside = 0.15 + max(0.0, (widest - box.width * width) / 2)
        place = (box.x1 + beside / width, box.y1 - tall / height, 0.12 / width, tall / height)
        bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), colours), cax=figure.add_axes(place))
        bar.outline.set_visible(False)
        bar.set_label("weight")
        _heading(figure, title or weights_title(model, len(tiles)))
        return figure


def mistakes(model: Any, split: Any, *, count: int = 24, title: str | None = None) -> Any:
    """The examples that a model gets wrong, the most certain mistakes first, with the answer and its probability.

    Args:
        split: images and labels, such as `data.test`.

    Raises:
        MissingExtra: matplotlib is not installed.
        DataError: there is no mistake to show.
    """
    found = worst_mistakes(model, split, count)
    if not found:
        raise DataError("every example is answered right; there is no mistake to draw.")
    with style():
        long = any(len(one.truth) + len(one.answer) > 6 for one in found)  # names that need two lines
        between = "\n" if long else " "
        classes = model.class_names or []
        short = dict(zip(classes, legible_names(classes, LONGEST), strict=True))
        captions = []
        for one in found:
            truth, answer = (short.get(name, name) for name in (one.truth, one.answer))
            certain = "" if one.probability is None else f"\n{one.probability:.0%} sure"
            captions.append(f"{truth},{between}read as {answer}{certain}")
        widest = max(len(line) for caption in captions for line in caption.split("\n")) * 7.5 * LETTER
        aspect = found[0].picture.shape[1] / found[0].picture.shape[0]
        # As many columns as a page is wide for.
        columns = max(3, min(8, len(found), int(9.2 / max(1.05 * aspect, widest))))
        figure, cells = _grid(len(found), columns, aspect, 1.05, 0.46 if long else 0.34, widest)
        for axes, one, caption in zip(cells, found, captions, strict=True):
            axes.imshow(one.picture, cmap="gray_r", interpolation="nearest")
            axes.set_title(caption, fontsize=7.5, color="#303030", fontweight="normal", pad=3, loc="center")
        _heading(figure, title or "Mistakes, the most certain first")
        return figure


def _grid(
    count: int, columns: int, aspect: float, inch: float, text: float, widest: float, right: float = 0.1
) -> tuple[Any, list[Any]]:
    """A figure with `count` axes for pictures, each `inch` high with `text` inches over it for a caption.

    The places are computed here: they are regular, and a layout engine takes seconds for many axes. `widest` is the
    inches that the captions need, `right` the margin on the right, in inches.
    """
    from matplotlib.figure import Figure

    left, gap, head = 0.1, 0.08, 0.34
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    across, down = max(inch * aspect, widest) + gap, inch + text + gap
    width, height = max(4.2, left + columns * across + right), head + rows * down + 0.04
    figure = Figure(figsize=(width, height))
    cells = []
    for index in range(count):
        row, column = divmod(index, columns)
        x = left + column * across + (across - gap - inch * aspect) / 2
        y = height - head - (row + 1) * down + gap
        axes = figure.add_axes((x / width, y / height, inch * aspect / width, inch / height))
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, color="#D0D0D0", linewidth=0.6)
        cells.append(axes)
    return figure, cells


def _heading(figure: Any, text: str) -> None:
    """The title over a grid, in its upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.08 / height, text, ha="left", va="top", fontweight="bold", fontsize=11)

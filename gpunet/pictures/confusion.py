"""The confusion matrix: which classes are taken for which."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import DataError, UsageError
from gpunet.network.evaluation import CONFUSION_CLASSES, Evaluation
from gpunet.pictures.mistakes import class_names
from gpunet.pictures.picture import Canvas, Options, Picture, Subject, percent
from gpunet.pictures.sheets import LETTER, LONGEST
from gpunet.pictures.style import BLUE, VERMILION, legible, legible_names, style
from gpunet.wording import shown

#: Pairs of classes that are listed where the matrix is too wide.
PAIRS = 12
#: The most classes that a page has a table for.
TABLE = 40


class Confusion(Picture):
    """Counts of examples: rows the true class, columns the answer; mistakes stand out by colour.

    Args:
        evaluation: an `Evaluation`, or (k, k) counts.
        names: of the classes; by default their numbers.
    """

    name = "confusion"
    help = "Which classes are taken for which."
    needs = "examples"
    heading = "What is taken for what"

    def __init__(self, evaluation: Any, names: Sequence[str] | None = None, title: str | None = None) -> None:
        matrix = getattr(evaluation, "confusion", evaluation)
        if matrix is None:
            raise DataError(
                f"only answers that are classes, of {CONFUSION_CLASSES:,} at most, have a confusion matrix to draw."
            )
        self.matrix = np.asarray(matrix)
        if self.matrix.ndim != 2:
            raise UsageError(
                f"an Evaluation, as gn.evaluate gives, or a matrix of counts is needed, not {shown(matrix)}."
            )
        self.names = list(names or [str(index) for index in range(len(self.matrix))])
        right, count = int(np.trace(self.matrix)), int(self.matrix.sum())
        self.title = title or f"{right / max(count, 1):.1%} of {count:,} right"
        self.evaluation = evaluation if isinstance(evaluation, Evaluation) else None

    @classmethod
    def of(cls, subject: Subject, options: Options) -> Confusion:
        """Of a subject's model and split."""
        found = subject.evaluation
        picture = cls(found, class_names(subject.model))
        right = f"{np.trace(picture.matrix) / len(subject.split):.1%}"
        told = f"{right} of {len(subject.split):,} {subject.split_name} examples right"
        picture.title = f"{legible(subject.name, 40)}: {told}"
        return picture

    def figure(self) -> Any:
        """The counts on a square; beside it the recall of each class."""
        classes, names = len(self.matrix), legible_names(self.names, LONGEST)
        longest = max(map(len, names))
        numbered = classes <= 20
        with style():
            from gpunet.pictures.figure import Figure

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
            self._draw_counts(axes, numbered)
            ticks, shown = range(0, classes, step), names[::step]
            axes.set_xticks(ticks, shown, rotation=turned, ha="right" if turned == 45 else "center", fontsize=size)
            axes.set_yticks(ticks, shown, fontsize=size)
            axes.tick_params(length=0)
            axes.set_xlabel("answer")
            axes.set_ylabel("true class")
            for spine in axes.spines.values():
                spine.set_visible(False)
            if numbered:
                self._draw_recall(axes)
            across = int((side - 0.2) / (12 * LETTER))
            axes.set_title(textwrap.fill(legible(self.title), across, replace_whitespace=False))
            return figure

    def _draw_counts(self, axes: Any, numbered: bool) -> None:
        """The squares, coloured by the share of their row that is wrong, with the counts in them if `numbered`."""
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.patches import Rectangle

        wrong = self.matrix / np.maximum(self.matrix.sum(axis=1), 1)[:, None]
        np.fill_diagonal(wrong, 0)
        warm = LinearSegmentedColormap.from_list("mistakes", ["#FFFFFF", "#FBD9BF", VERMILION, "#7A3300"])
        top = max(float(wrong.max()), 0.1)  # a share of a class: rare mistakes stay pale
        axes.imshow(wrong, cmap=warm, vmin=0, vmax=top, interpolation="nearest")
        for row in range(len(wrong)):
            axes.add_patch(Rectangle((row - 0.5, row - 0.5), 1, 1, color="#E3EEF5", linewidth=0))
        for (row, column), count in np.ndenumerate(self.matrix):
            if numbered and count:
                right = row == column
                dark = not right and wrong[row, column] > 0.45 * top
                axes.text(
                    column, row, f"{count:,}", ha="center", va="center", fontsize=9 if count < 10000 else 7,
                    color="white" if dark else BLUE if right else "#402000",
                )  # fmt: skip

    def _draw_recall(self, axes: Any) -> None:
        """Lines between the squares, and beside them the share of each class that was recognised."""
        classes, totals = len(self.matrix), self.matrix.sum(axis=1)
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(True, which="minor", axis="both", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        recall = axes.secondary_yaxis("right")
        shares = [percent(self.matrix[i, i] / totals[i]) if totals[i] else "" for i in range(classes)]
        recall.set_yticks(range(classes), shares)
        recall.tick_params(length=0)
        recall.spines["right"].set_visible(False)
        recall.set_ylabel("recall")

    def terminal(self, canvas: Canvas) -> list[str]:
        """The title, and below it `lines`."""
        return [*textwrap.wrap(self.title, canvas.width), "", *self.lines(canvas)]

    def lines(self, canvas: Canvas) -> list[str]:
        """The matrix as lines of text; where it is wider than the canvas, the most frequent confusions."""
        confusion, names = self.matrix, self.names
        lead = max(max(map(len, names)), 4)
        cell = max(max(map(len, names)), len(str(int(confusion.max()))))
        for gap in (2, 1):
            if lead + len(names) * (cell + gap) <= canvas.width:
                spaces = " " * gap
                head = f"{'true':<{lead}}" + "".join(f"{spaces}{name:>{cell}}" for name in names)
                lines = ["confusions: rows the true class, columns the answer", head]
                for name, row in zip(names, confusion.tolist(), strict=True):
                    cells = "".join(f"{spaces}{count if count else '.':>{cell}}" for count in row)
                    lines.append(f"{name:<{lead}}{cells}")
                return lines
        pairs = self._pairs()
        if not pairs:
            return ["no confusions"]
        wide = len(str(pairs[0][0]))
        lines = [f"{count:>{wide}}  {truth} as {answer}" for count, truth, answer in pairs]
        return ["most frequent confusions", *lines]

    def _pairs(self) -> list[tuple[int, str, str]]:
        """The most frequent confusions: how often, the true class, the answer."""
        off, names = self.matrix.copy(), self.names
        np.fill_diagonal(off, 0)
        order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
        places = [divmod(int(place), len(names)) for place in order if off.flat[place]]
        return [(int(off[row, column]), names[row], names[column]) for row, column in places]

    def html(self) -> str:
        """A table of the counts with precision, recall and F1 of each class; of many classes the confusions alone."""
        title = f'<p class="muted">{_text(self.title)}. A row is a true class, a column the answer.</p>'
        return f"{title}\n{self._table() if len(self.matrix) <= TABLE else self._list()}"

    def _table(self) -> str:
        matrix = self.matrix
        totals = np.maximum(matrix.sum(axis=1), 1)
        top = max(float((matrix / totals[:, None] - np.eye(len(matrix))).max()), 0.1)
        facts = [] if self.evaluation is None else self.evaluation.per_class()
        measures = {"precision": "precision", "recall": "recall", "f1": "F1"} if facts else {}
        head = "".join(f'<th scope="col">{_text(name)}</th>' for name in [*self.names, *measures.values(), "examples"])
        rows = []
        for row, counts in enumerate(matrix.tolist()):
            cells = []
            for column, count in enumerate(counts):
                if row == column:
                    look = ' style="background: rgba(var(--right), .18)"'
                else:
                    share = count / totals[row] / top * 0.75
                    look = f' style="background: rgba(var(--wrong), {share:.3f})"' if count else ""
                cells.append(f"<td{look}>{f'{count:,}' if count else ''}</td>")
            cells += [f"<td>{facts[row][name]:.3f}</td>" for name in measures]
            name = _text(self.names[row])
            rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}<td>{sum(counts):,}</td></tr>')
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="Table of answers"><table class="confusion">'
            f"<caption>Examples by true class and answer</caption>\n<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n"
            + "\n".join(rows)
            + "\n</tbody></table></div>"
        )

    def _list(self) -> str:
        pairs = [f"<li>{count:,} {_text(truth)} as {_text(answer)}</li>" for count, truth, answer in self._pairs()]
        return f"<ul>\n{chr(10).join(pairs)}\n</ul>" if pairs else "<p>None.</p>"


def _text(value: str) -> str:
    return html.escape(legible(value))

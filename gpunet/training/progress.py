"""The progress bar of a training run, drawn in the terminal by rich, which is imported when a bar is drawn.

The bar has a thread of its own, so that it follows the clock and not the records, which may be far apart: it looks at
how far the trainer is, ten times a second at most, and the trainer knows nothing of it.
"""

from __future__ import annotations

import io
import itertools
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpunet.keywords import checked
from gpunet.terminal import can_redraw, display, encodes, is_terminal
from gpunet.training.callbacks import Callback
from gpunet.training.records import Record, StepRecord
from gpunet.wording import duration, figure

BLOCKS = "▁▂▃▄▅▆▇█"
#: Seconds between two drawings at least, and at most where drawing is slow.
SHORTEST, LONGEST = 0.1, 1.0
#: How many times longer than a drawing takes the pause after it is: one per cent of the time goes into drawing.
PAUSE = 100
#: Columns that are left free, for the ^C that a terminal echoes.
MARGIN = 3
#: What stands in a notebook where a bar was.
EMPTY = {"text/plain": "", "text/html": ""}
NOTEBOOK_ROWS = 20
#: Columns of a terminal that has room for the pace beside the bar.
ROOMY = 56


@checked
class ProgressBar(Callback):
    """A progress bar on standard error while training goes on: how far it is, how fast, how long still, and how well.

    It is drawn in a terminal or under the cell of a notebook, and taken away at the end. On a GPU it counts the steps
    that the device has finished. At most about one per cent of the time goes into it.

    Args:
        stream: where to draw; by default the notebook, or else standard error.
    """

    def __init__(self, stream: Any = None) -> None:
        self._stream = stream
        self._drawing: _Drawing | None = None

    def on_start(self, trainer: Any) -> None:
        """Show the bar, if there is a terminal or a notebook to show it in."""
        stream, show = _place(self._stream)
        if show is not None:
            self._drawing = _NotebookDrawing(trainer, show)
        elif can_redraw(stream):
            self._drawing = _Drawing(trainer, stream)
        if self._drawing is not None:
            self._drawing.begin()

    def on_record(self, record: Record, trainer: Any) -> None:
        """Note the record's figures for the next drawing."""
        if self._drawing is not None and isinstance(record, StepRecord):
            self._drawing.note(record)

    def on_end(self, trainer: Any) -> None:
        """Take the bar away."""
        if self._drawing is not None:
            drawing, self._drawing = self._drawing, None
            drawing.end()

    def write(self, text: str) -> None:
        """Write a line to standard output, above the bar if both are in the terminal."""
        if self._drawing is not None and is_terminal(sys.stdout):
            self._drawing.lines.append(text)
        else:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


class ProgressRows(Callback):
    """A row for each of several networks that are trained together, the best on top, on standard error.

    It is drawn in a terminal or under the cell of a notebook, inside a `with` block, and taken away at its end.

    Args:
        trainers: those of the networks; each has this as a callback.
        stream: where to draw; by default the notebook, or else standard error.
        numbers: of the networks, from 1 by default.
    """

    def __init__(self, trainers: Sequence[Any], stream: Any = None, numbers: Sequence[int] | None = None) -> None:
        self._trainers = trainers
        self._names = numbers or range(1, len(trainers) + 1)
        self._stream = stream
        self._records: dict[int, StepRecord] = {}  # the last one of each trainer, and the last with a validation
        self._validations: dict[int, StepRecord] = {}
        self._live: Any = None
        self._shown: Any = None  # in a notebook, where the drawing is, and when it is due again
        self._due = 0.0

    def __enter__(self) -> ProgressRows:
        stream, show = _place(self._stream)
        if show is not None:
            self._shown = show(self.table(NOTEBOOK_ROWS), display_id=True)
        elif can_redraw(stream):
            from rich.console import Console
            from rich.live import Live

            console = Console(file=stream, highlight=False, markup=False, emoji=False)
            self._live = Live(
                get_renderable=lambda: self.table(console.height - MARGIN),
                console=console,
                transient=True,
                refresh_per_second=2,
                redirect_stdout=is_terminal(sys.stdout),
            )
            self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._shown is not None:
            self._shown.update(EMPTY, raw=True)
            self._shown = None

    def on_record(self, record: Record, trainer: Any) -> None:
        """Note the record's figures for the next drawing."""
        if isinstance(record, StepRecord):
            self._records[id(trainer)] = record
            if record.validation_metrics:
                self._validations[id(trainer)] = record
            if self._shown is not None and time.perf_counter() >= self._due:
                self._shown.update(self.table(NOTEBOOK_ROWS))
                self._due = time.perf_counter() + LONGEST / 2

    def table(self, room: int) -> Any:
        """The table as it stands, with as many rows as there is room for."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, caption_justify="left")
        for title in ("network", "steps", "", "loss", "validation"):
            table.add_column(title, justify="left" if title == "network" else "right", no_wrap=True)
        order = sorted(range(len(self._trainers)), key=lambda index: -self._merit(self._trainers[index]))
        for index in order[: max(room, 1)]:
            trainer = self._trainers[index]
            record, validation = self._records.get(id(trainer)), self._validations.get(id(trainer))
            figures = ["", "", ""]
            if record is not None:
                figures = [told(record.metrics), f"{record.loss:.4f}", ""]
            if validation is not None:
                figures[2] = told(validation.validation_metrics or {})
            name = f"{self._names[index]}  {trainer.model.description}"
            table.add_row(name, f"{trainer.iteration:,}/{trainer.iterations:,}", *figures)
        if len(order) > max(room, 1):
            table.caption = f"and {len(order) - max(room, 1)} more"
        return table

    def _merit(self, trainer: Any) -> float:
        metric = trainer.metrics[0]
        if (validation := self._validations.get(id(trainer))) is not None:
            return float(metric.merit((validation.validation_metrics or {})[metric.key]))
        record = self._records.get(id(trainer))
        return -math.inf if record is None else float(metric.merit(record.metrics[metric.key]))


def _place(stream: Any) -> tuple[Any, Callable[..., Any] | None]:
    """The stream to draw on, and what draws in a notebook: None outside of one, or where a stream is given."""
    return (sys.stderr, display()) if stream is None else (stream, None)


def told(metrics: Mapping[str, float]) -> str:
    """The first of some metrics, in a few words."""
    return next((f"{name} {value:.4f}" for name, value in metrics.items()), "")


class _Drawing(threading.Thread):
    """The bar of one run while it is there."""

    def __init__(self, trainer: Any, stream: Any) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        super().__init__(name="gpunet progress bar", daemon=True)
        self._trainer = trainer
        self._total = trainer.iterations
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._fancy = encodes(stream, BLOCKS)
        drawing = self

        class Bar(Progress):
            """The line of the bar, and below it one of figures."""

            def get_renderables(self) -> Any:
                yield self.make_tasks_table(self.tasks)
                if self.tasks:
                    yield drawing.figures()

        self._bar = Bar(
            BarColumn(None),
            TextColumn("{task.fields[count]}"),
            TaskProgressColumn(),
            *([TextColumn("{task.fields[pace]}")] if self._console.width >= ROOMY else []),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            expand=True,
            auto_refresh=False,
            redirect_stdout=is_terminal(sys.stdout),
        )
        at = trainer.iteration
        self._task = self._bar.add_task("", total=self._total, completed=at, count=self._count(at), pace="", left="")
        self._marks: deque[tuple[Any, int, Any]] = deque()
        self._evaluating: tuple[str, int, int] | None = None
        self._record: StepRecord | None = None
        self._validation: float | None = None
        self._best: float | None = None
        self._judge = trainer.judge or trainer.metrics[0]
        self._losses = Losses()
        self._over = threading.Event()
        self.lines: deque[str] = deque()  # to be written above the bar

    def begin(self) -> None:
        """Draw the bar for the first time, and go on drawing."""
        self._bar.start()
        self.start()

    def end(self) -> None:
        """Write what is waiting, and take the bar away."""
        self._over.set()
        try:
            self.join()
            self._write()
        finally:
            self._take_away()

    def _take_away(self) -> None:
        self._bar.stop()

    def _draw(self) -> None:
        self._bar.refresh()

    def note(self, record: StepRecord) -> None:
        """Note the figures of a record; they are drawn later."""
        self._record = record
        self._losses.add(record.loss)
        if record.validation_metrics:
            value = record.validation_metrics[self._judge.key]
            self._validation = value
            if self._best is None or self._judge.merit(value) > self._judge.merit(self._best):
                self._best = value

    def run(self) -> None:
        """Draw until the end."""
        pause = SHORTEST
        while not self._over.wait(pause):
            began = time.thread_time()
            try:
                self._look()
                self._write()
                self._draw()
            except Exception:  # a bar that cannot be drawn is no reason to end training
                return
            pause = min(max(SHORTEST, PAUSE * (time.thread_time() - began)), LONGEST)

    def _look(self) -> None:
        """See how far the trainer is: on a GPU how far the device is, which does its work later than it is asked."""
        trainer = self._trainer
        at, evaluating = trainer.iteration, trainer.evaluating
        self._marks.append((trainer.backend.mark(), at, evaluating))
        while self._marks and self._marks[0][0].done:
            _, at, self._evaluating = self._marks.popleft()
            self._bar.update(self._task, completed=at)
            pace, left = self._bar.tasks[0].speed, self._bar.tasks[0].time_remaining
            self._bar.update(
                self._task,
                count=self._count(at),
                pace=f"{pace:{',.0f' if pace >= 10 else '.2g'}} steps/s" if pace else "",
                left="" if left is None else f"{duration(left)} left",
            )

    def _count(self, done: int) -> str:
        return f"{done:,}/{self._total:,}"

    def _write(self) -> None:
        from rich.segment import Segment, Segments

        if self.lines:
            count = len(self.lines)
            text = "".join(f"{self.lines.popleft()}\n" for _ in range(count))
            # As it is: measuring and wrapping each of very many lines would take longer than training.
            self._console.print(Segments([Segment(text)]), soft_wrap=True, end="")

    def figures(self) -> Any:
        """The line below the bar: as many figures as fit, and the course of the loss behind them."""
        from rich.text import Text

        width = self._console.width - MARGIN
        found = self._told()
        while len(found) > 1 and len("  ".join(found)) > width:
            found.pop()
        text = "  ".join(found)
        if self._fancy:
            text += "  " + sparkline(self._losses.values, min(32, width - len(text) - 2))
        return Text(text.rstrip(), no_wrap=True, overflow="crop")

    def _told(self) -> list[str]:
        if self._evaluating is not None:
            name, done, total = self._evaluating
            return [f"evaluating {name}: {done:,} of {total:,}"]
        record = self._record
        if record is None:
            return ["training"]
        found = [f"{self._judge.key} {figure(record.metrics[self._judge.key])}", f"loss {figure(record.loss)}"]
        if self._validation is not None and self._best is not None:
            found += [f"validation {figure(self._validation)}", f"best {figure(self._best)}"]
        epochs = math.ceil(self._total * record.epoch / record.iteration)
        if epochs > 1:
            found.append(f"epoch {math.ceil(record.epoch):,} of {epochs:,}")
        return found


class _NotebookDrawing(_Drawing):
    """The bar of one run under the cell of a notebook, as HTML by rich."""

    def __init__(self, trainer: Any, show: Callable[..., Any]) -> None:
        super().__init__(trainer, io.StringIO())
        self._fancy, self._show = True, show
        self._shown: Any = None

    def begin(self) -> None:
        self._shown = self._show(self._bar, display_id=True)
        self.start()

    def _draw(self) -> None:
        self._shown.update(self._bar)

    def _take_away(self) -> None:
        self._shown.update(EMPTY, raw=True)


class Losses:
    """The losses of a run for a sparkline: at most 256 numbers, means of ever more losses as the run goes on."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._each, self._sum, self._count = 1, 0.0, 0

    def add(self, loss: float) -> None:
        """Note a loss."""
        self._sum += loss
        self._count += 1
        if self._count == self._each:
            self.values.append(self._sum / self._each)
            self._sum, self._count = 0.0, 0
        if len(self.values) == 256:
            self.values = [(a + b) / 2 for a, b in zip(self.values[::2], self.values[1::2], strict=True)]
            self._each *= 2


def sparkline(values: Sequence[float], width: int) -> str:
    """A row of at most `width` block characters, from the lowest value (low) to the highest (high)."""
    if not values or width < 1:
        return ""
    if len(values) > width:
        edges = [i * len(values) // width for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(values), max(values) - min(values)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round((value - low) / span * top) if span > 0 else 0] for value in values)

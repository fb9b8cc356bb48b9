"""Everything that is drawn in the terminal; the only module that knows rich, which it loads when it draws.

On a terminal: colours, and a progress bar on standard error that is redrawn in place. In a pipe or a file:
plain lines, no colours (unless FORCE_COLOR asks for them) and never a cursor movement. NO_COLOR holds.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunet.pictures.picture import Canvas

BLOCKS = "▁▂▃▄▅▆▇█"


@functools.cache
def console() -> Any:
    """The rich console on standard output; brackets in a text are brackets, not markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


@functools.cache
def error_console() -> Any:
    """The rich console on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def colours(stream: Any) -> bool:
    """Whether styles may be written to a stream: it is a terminal, or FORCE_COLOR asks for them."""
    return _is_terminal(stream) or os.environ.get("FORCE_COLOR", "") != ""


def can_redraw(stream: Any) -> bool:
    """Whether a stream is a terminal whose cursor can be moved, so that a progress bar can stand there."""
    return _is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def room() -> int:
    """How many columns a line on standard output may have; in a pipe or a file as many as it likes."""
    return console().width if _is_terminal(sys.stdout) else 10_000


def canvas() -> Canvas:
    """What pictures are drawn on, on standard output: in a pipe 80 columns, unless COLUMNS says more or less."""
    from gpunet.pictures.picture import Canvas

    coloured = colours(sys.stdout) and not os.environ.get("NO_COLOR")
    system = console().color_system if coloured else None
    return Canvas(console().width, system, getattr(sys.stdout, "encoding", None) or "ascii")


def lines(texts: Iterable[str]) -> None:
    """Write ready lines to standard output as they are."""
    sys.stdout.write("".join(f"{text}\n" for text in texts))


def encodes(stream: Any, text: str) -> bool:
    """Whether a stream's encoding has all characters of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def print_error(sentence: str) -> None:
    """Write "Error: " and a sentence to standard error, on one line of its own."""
    sentence = " ".join(sentence.split())
    if not colours(sys.stderr):
        sys.stderr.write(f"Error: {sentence}\n")
    else:
        from rich.text import Text

        error_console().print(Text.assemble(("Error: ", "bold red"), sentence), soft_wrap=True)
    sys.stderr.flush()


def note(sentence: str) -> None:
    """Write a remark to standard error: something the user should know that is no error."""
    if colours(sys.stderr):
        error_console().print(sentence, style="dim", soft_wrap=True)
    else:
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


def line(text: str = "", style: str | None = None) -> None:
    """Write one line to standard output, in a style where there are colours; it is never broken in a pipe."""
    if colours(sys.stdout):
        console().print(text, style=style, soft_wrap=not _is_terminal(sys.stdout))
    else:
        sys.stdout.write(f"{text}\n")


def pairs(rows: Iterable[tuple[str, str]], stderr: bool = False) -> None:
    """Write labels and texts in two columns; on a terminal a long text is wrapped beside its label."""
    rows = list(rows)
    stream = sys.stderr if stderr else sys.stdout
    width = max((len(label) for label, _ in rows), default=0) + 2
    if not colours(stream):
        stream.write("".join(f"{label:<{width}}{text}\n" for label, text in rows))
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, text)
    target = error_console() if stderr else console()
    target.print(grid, no_wrap=not _is_terminal(stream), crop=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Write a table to standard output: the first column to the left, the others to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    if not colours(sys.stdout):
        widths = [max(len(row[i]) for row in [columns, *body]) for i in range(len(columns))]
        lines = [title] if title else []
        for row in [list(columns), *body]:
            cells = [
                f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}"
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        sys.stdout.write("\n".join(lines) + "\n")
        return
    console().print(drawn_table(columns, body, title))


def drawn_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Any:
    """A table as something rich can draw: the first column to the left, the others to the right.

    Where the terminal is too narrow for it, each row becomes lines of its own, a column a line: nothing is cut.
    """
    from rich.table import Table

    body = [[str(cell) for cell in row] for row in rows]
    grid = Table(title=title, box=None, padding=(0, 2, 0, 0), header_style="cyan", title_justify="left")
    if table_width(columns, body) > console().width:
        grid.show_header = False
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for i, row in enumerate(body):
            if i:
                grid.add_row("", "")
            for column, cell in zip(columns, row, strict=True):
                grid.add_row(column.strip(), cell.strip())
        return grid
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i == 0 else "right")
    for row in body:
        grid.add_row(*row)
    return grid


def table_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The columns on the screen that a table takes."""
    return sum(max(len(row[i]) for row in [columns, *rows]) + 2 for i in range(len(columns))) - 2


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


def duration(seconds: float) -> str:
    """0:07, 12:34 or 1:02:03."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def size(count: int | None) -> str:
    """Bytes in words: 9.9 MB."""
    if count is None:
        return "?"
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


class _Ready:
    """Text that rich writes as it is, without measuring and wrapping each line of it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.segment import Segment

        yield Segment(f"{self._text}\n")


class Screen:
    """Lines on standard output with, on a terminal, a few live lines below them on standard error.

    Drawing is rationed, so that it costs little however many lines come: after a redraw that took t seconds
    the next one is 200 t away (a tenth of a second at least, one at most), and the lines between are drawn with it.
    """

    def __init__(self, live: bool) -> None:
        self._waiting: list[str] = []
        self._live: Any = None
        self._due = 0.0
        self._together = _is_terminal(sys.stdout)  # lines and live part share the terminal
        if live and can_redraw(sys.stderr):
            from rich.live import Live

            self._live = Live(
                console=error_console(),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    @property
    def live(self) -> bool:
        """Whether there is a live part."""
        return self._live is not None

    def fits(self, text: str) -> bool:
        """Whether a line fits into the terminal; in a pipe every line does."""
        return not self._together or len(text) <= console().width

    def start(self) -> None:
        """Show the live part, if there is one."""
        if self.live:
            self._live.start()

    def write(self, text: str) -> None:
        """Add a line; in a pipe it is written at once."""
        if self._together:
            self._waiting.append(text)
        else:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def refresh(self, draw: Callable[[], Any] | None = None, force: bool = False) -> None:
        """Draw what is waiting, and the live part that `draw` makes, if it is time for it."""
        began = time.perf_counter()
        if began < self._due and not force:
            return
        if self._waiting:
            text = "\n".join(self._waiting)
            self._waiting.clear()
            if self.live:
                self._live.console.print(_Ready(text), soft_wrap=True)
            else:
                sys.stdout.write(f"{text}\n")
                sys.stdout.flush()
        if self.live and draw is not None:
            self._live.update(draw(), refresh=True)
        ended = time.perf_counter()
        if not force:  # what was not rationed does not count, so the first record is drawn at once
            self._due = ended + min(1.0, max(0.1, 200 * (ended - began)))

    def stop(self) -> None:
        """Draw what is waiting and take the live part away."""
        self.refresh(force=True)
        if self.live:
            self._live.stop()
            self._live = None


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


class TrainingBar:
    """The live part of a training run: a bar, and a line with what matters, as wide as the terminal."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.losses = Losses()
        self.record: Any = None

    def add(self, record: Any) -> None:
        """Note a step record."""
        self.record = record
        self.losses.add(record.loss)

    def draw(self) -> Any:
        """The bar and its line as something rich can draw."""
        from rich.console import Group
        from rich.text import Text

        width = max(10, error_console().width - 3)  # room for the ^C that a terminal echoes
        done = self.record.iteration if self.record is not None else 0
        counts = f" {done:,}/{self.total:,} {done / self.total:4.0%}"
        fancy = encodes(sys.stderr, BLOCKS + "━")
        room = max(0, width - len(counts))
        filled = round(room * done / self.total)
        full, empty = ("━", "━") if fancy and colours(sys.stderr) and not os.environ.get("NO_COLOR") else ("#", "-")
        bar = Text.assemble((full * filled, "cyan"), (empty * (room - filled), "bright_black"), counts)
        return Group(bar, Text(self._facts(width, fancy), no_wrap=True, overflow="crop"))

    def _facts(self, width: int, fancy: bool) -> str:
        record = self.record
        if record is None:
            return "starting"
        rate = record.steps_per_second or 0.0
        facts = [f"loss {record.loss:.4f}", f"accuracy {record.accuracy:.3f}", f"{rate:,.0f} steps/s"]
        if rate > 0:
            facts.append(f"{duration((self.total - record.iteration) / rate)} left")
        while len(facts) > 1 and len("  ".join(facts)) > width:
            facts.pop()
        text = "  ".join(facts)
        if fancy:
            text += "  " + sparkline(self.losses.values, min(32, width - len(text) - 2))
        return text.rstrip()


class DownloadBar:
    """A progress bar for files that are fetched, as a context manager; call it with (name, bytes done, total).

    Draws on standard error: a bar on a terminal, one line per file elsewhere, nothing when `quiet`.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *details: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Note that `done` of `total` bytes of a file have come."""
        if self.quiet:
            return
        if not can_redraw(sys.stderr):
            if name not in self._tasks:
                self._tasks[name] = None
                note(f"fetching {name} ({size(total)})")
            return
        if self._progress is None:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(None), DownloadColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=error_console(), transient=True, expand=True)
            self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

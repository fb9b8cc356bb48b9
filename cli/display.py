"""Everything that is written to the terminal; the only module of the command line that knows rich, loaded when needed.

On a terminal: colours, and what moves on standard error. In a pipe or a file: the same lines without colours (unless
FORCE_COLOR asks for them) and never a cursor movement. NO_COLOR holds.
"""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gpunet.terminal import can_redraw, is_terminal

if TYPE_CHECKING:
    from gpunet.pictures.picture import Canvas
    from gpunet.runs.recipes import Losses

#: The columns of a line that goes into a pipe or a file, where nothing is wrapped.
ENDLESS = 100_000


@functools.cache
def console(stderr: bool = False, width: int | None = None) -> Any:
    """The rich console on standard output or standard error; brackets in a text are brackets, not markup."""
    from rich.console import Console

    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def colours(stream: Any) -> bool:
    """Whether styles may be written to a stream: it is a terminal, or FORCE_COLOR asks for them."""
    return is_terminal(stream) or os.environ.get("FORCE_COLOR", "") != ""


def room() -> int:
    """How many columns a line on standard output may have; in a pipe or a file as many as it likes."""
    return int(console().width) if is_terminal(sys.stdout) else ENDLESS


def canvas() -> Canvas:
    """What pictures are drawn on, on standard output: in a pipe 80 columns, unless COLUMNS says more or less."""
    from gpunet.pictures.picture import Canvas

    coloured = colours(sys.stdout) and not os.environ.get("NO_COLOR")
    system = console().color_system if coloured else None
    return Canvas(console().width, system, getattr(sys.stdout, "encoding", None) or "ascii")


def lines(texts: Iterable[str]) -> None:
    """Write ready lines to standard output as they are."""
    sys.stdout.write("".join(f"{text}\n" for text in texts))


def write(thing: Any, stderr: bool = False, style: str | None = None) -> None:
    """Write a text or anything that rich can draw: wrapped between words in a terminal, in one line in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(thing, str) and not colours(stream):
        stream.write(f"{thing}\n")  # without waiting for rich
        return
    target = console(stderr, None if is_terminal(stream) else ENDLESS)
    if isinstance(thing, str):  # a long word such as a path stays in one piece, so that it can be copied
        wrap = functools.partial(textwrap.fill, width=target.width, break_long_words=False, break_on_hyphens=False)
        thing = "\n".join(wrap(text) if len(text) > target.width else text for text in thing.split("\n"))
    with target.capture() as drawn:
        target.print(thing, style=style, no_wrap=isinstance(thing, str), overflow="ignore", crop=False)
    stream.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()) or "\n")


def print_error(sentence: str) -> None:
    """Write "Error: " and a sentence to standard error, on one line of its own."""
    sentence = " ".join(sentence.split())
    if not colours(sys.stderr):
        sys.stderr.write(f"Error: {sentence}\n")
    else:
        from rich.text import Text

        console(stderr=True).print(Text.assemble(("Error: ", "bold red"), sentence), soft_wrap=True)
    sys.stderr.flush()


def note(sentence: str) -> None:
    """Write a remark to standard error: something the user should know that is no error."""
    write(sentence, stderr=True, style="dim")
    sys.stderr.flush()


def line(text: str = "", style: str | None = None) -> None:
    """Write a line to standard output, in a style where there are colours."""
    write(text, style=style)


def pairs(rows: Iterable[tuple[str, str]], stderr: bool = False, width: int | None = None) -> None:
    """Write labels and texts in two columns; on a terminal a long text is wrapped beside its label."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan", no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, text)
    write(grid, stderr)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Write a table to standard output: the first column to the left, the others to the right."""
    write(drawn_table(columns, rows, title, room()))


def drawn_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, width: int = ENDLESS
) -> Any:
    """A table as something rich can draw: the first column to the left, the others to the right.

    Where there is no `width` for it, each row becomes lines of its own, a column a line: nothing is cut.
    """
    from rich.table import Table

    body = [[str(cell) for cell in row] for row in rows]
    grid = Table(title=title, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan", title_justify="left")
    if table_width(columns, body) > width:
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
        grid.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in body:
        grid.add_row(*row)
    return grid


def table_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The columns on the screen that a table takes."""
    return sum(max(len(row[i]) for row in [columns, *rows]) + 2 for i in range(len(columns))) - 2


def size(count: int | None) -> str:
    """Bytes in words: 9.9 MB."""
    from rich.filesize import decimal

    return "?" if count is None else decimal(count)


class DownloadBar:
    """A progress bar for files that are fetched, as a context manager; call it with (name, bytes done, total).

    Draws on standard error: a bar on a terminal, one line per file elsewhere, nothing when `quiet`. While encodings are
    tried (see `settings_for`) a terminal shows how many trials are done; `losses` keeps what they found.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.losses: Losses = {}
        self._progress: Any = None
        self._tasks: dict[str, Any] = {}
        self._status: Any = None

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *details: object) -> None:
        self._clear()

    def _clear(self) -> None:
        """Take away what is drawn; a terminal shows one moving thing at a time."""
        if self._progress is not None:
            self._progress.stop()
            self._progress, self._tasks = None, {}
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Note that `done` of `total` bytes of a file have come."""
        if self.quiet:
            return
        if not can_redraw(sys.stderr):
            if name not in self._tasks:
                self._tasks[name] = None
                note(f"{'' if name.startswith('reading ') else 'fetching '}{name} ({size(total)})")
            return
        if self._progress is None:
            self._clear()
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(None), DownloadColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=console(stderr=True), transient=True, expand=True)
            self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)

    def trials(self, done: int, total: int, losses: Losses) -> None:
        """Note that `done` of `total` short trials of encodings are done, and in the end what they found."""
        self.losses = losses
        if self.quiet or not can_redraw(sys.stderr):
            return
        if self._status is None:
            self._clear()
            self._status = console(stderr=True).status("")
            self._status.start()
        self._status.update(f"trying encodings of the columns: {done} of {total} trials")

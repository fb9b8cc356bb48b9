"""`gpunet plot`: the curves of runs and the pictures of a model, as files, in the terminal, or as one HTML report."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from gpunet.cli import display
from gpunet.errors import DataError, UsageError
from gpunet.files import check_place

if TYPE_CHECKING:
    from gpunet.cli.opened import Opened
    from gpunet.runs.history import History

KINDS = ("curves", "confusion", "weights", "wrong")
PICTURES = "Pictures"
OUTPUT = "Output"
DATA = "Data, for --confusion, --wrong and --html"


_RUNS = typer.Argument(
    ...,
    metavar="RUN",
    help="Run folders, model files, or JSON lines of gpunet train --json; - reads them from standard input.",
    show_default=False,
)


def command(
    runs: list[str] = _RUNS,
    curves: bool = typer.Option(
        False,
        "--curves",
        help="Loss, accuracy and learning rate over the iterations. [default: on, if no other is asked for]",
        rich_help_panel=PICTURES,
    ),
    confusion: bool = typer.Option(
        False, "--confusion", help="Which classes are taken for which.", rich_help_panel=PICTURES
    ),
    weights: bool = typer.Option(
        False, "--weights", help="The weights into each neuron of the first layer.", rich_help_panel=PICTURES
    ),
    wrong: bool = typer.Option(
        False, "--wrong", help="The examples answered wrong, the most certain first.", rich_help_panel=PICTURES
    ),
    log: bool = typer.Option(False, "--log", help="Logarithmic axis for the loss.", rich_help_panel=PICTURES),
    smooth: Optional[int] = typer.Option(  # noqa: UP045
        None,
        "--smooth",
        metavar="N",
        min=0,
        help="Mean over N logged batches on either side. [default: one for each 50]",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
    count: Optional[int] = typer.Option(  # noqa: UP045
        None,
        "--count",
        "-n",
        metavar="N",
        min=1,
        help="How many neurons or mistakes. [default: 64 and 24; in the terminal 12]",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
    out: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--out",
        "-o",
        metavar="FILE|FOLDER",
        help="Picture to write, .png, .svg or .pdf; several get their kinds into the name. [default: RUN/KIND.png]",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
    terminal: bool = typer.Option(
        False,
        "--terminal",
        "-t",
        help="Draw here instead. [default: where matplotlib is not installed]",
        rich_help_panel=OUTPUT,
    ),
    html: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--html",
        metavar="FILE",
        help="One page (.html) with everything about a run; a browser opens it without a network.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
    data: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--data",
        metavar="NAME|FOLDER",
        help="Data set. [default: the run's]",
        show_default=False,
        rich_help_panel=DATA,
    ),
    data_dir: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--data-dir",
        metavar="FOLDER",
        help="Folder that holds the data set's files. [default: the run's]",
        show_default=False,
        rich_help_panel=DATA,
    ),
    split: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--split",
        metavar="train|validation|test",
        help="Which part of it. [default: test, else validation, else train]",
        show_default=False,
        rich_help_panel=DATA,
    ),
    device: str = typer.Option(
        "cpu",
        "--device",
        metavar="auto|cpu|cuda|cuda:N",
        help="Device to compute on. [default: cpu]",
        show_default=False,
        rich_help_panel=DATA,
    ),
) -> None:
    """Draw the curves and pictures of one or many runs.

    Curves of several runs come into one picture; the other pictures are of one run.

    \b
    Examples:
      gpunet plot runs/first
      gpunet plot runs/first --terminal
      gpunet plot runs/* --log --out curves.svg
      gpunet plot runs/first --confusion --weights --wrong --out pictures/
      gpunet plot runs/first --html report.html
      gpunet train --json | gpunet plot - --terminal
    """
    asked = [kind for kind, on in zip(KINDS, (curves, confusion, weights, wrong), strict=True) if on]
    if html is not None:
        if asked or out is not None or terminal:
            raise UsageError("--html is a page with all pictures in it; leave the other options of output away.")
        _single(runs, "a report")
        from gpunet.pictures import report

        report.check_format(html)
        check_place(html)
        _report(runs[0], html, data, data_dir, split, device)
        return
    asked = asked or ["curves"]
    if any(kind != "curves" for kind in asked):
        _single(runs, f"--{asked[-1]}")
    if terminal and out is not None:
        raise UsageError("--terminal draws here and --out writes a file; give one of them.")
    if out is None and not terminal and importlib.util.find_spec("matplotlib") is None:
        terminal = True
        display.note('Drawn as text; picture files need matplotlib: pip install "gpunet[plot]".')
    targets = {} if terminal else _targets(asked, runs, out)
    histories = _drawable(runs) if "curves" in asked else []
    opened = None
    if any(kind != "curves" for kind in asked):
        from gpunet.cli.opened import open_run

        opened = open_run(runs[0], data, data_dir, device, with_data="confusion" in asked or "wrong" in asked)
    if terminal:
        for index, kind in enumerate(asked):
            if index:
                display.line()
            _draw(kind, histories, opened, split, log, smooth, count or 12)
        return
    from gpunet.pictures import curves as plots
    from gpunet.pictures.style import legible

    for kind in asked:
        if kind == "curves":
            figure = plots.curves(histories, log=log, smooth=smooth)
        elif opened is None:
            continue
        elif kind == "confusion":
            part, name = opened.split(split)
            result = opened.evaluate(part)
            title = f"{legible(opened.name, 40)}: {result.accuracy:.1%} of {len(part):,} {name} examples right"
            figure = plots.confusion(result, opened.class_names, title=title)
        elif kind == "weights":
            figure = plots.weights(opened.model, units=count or 64)
        else:
            figure = plots.mistakes(opened.model, opened.split(split)[0], count=count or 24)
        if _is_folder(out):
            targets[kind].parent.mkdir(parents=True, exist_ok=True)
        plots.save(figure, targets[kind])
        display.line(str(targets[kind]))


def _single(runs: Sequence[str], what: str) -> None:
    if len(runs) > 1:
        raise UsageError(f"{what} is of one run, and {len(runs)} are given; name one.")
    if runs[0] == "-":
        raise UsageError(f"{what} needs a model, and standard input holds records only; name a run's folder.")


def _histories(runs: Sequence[str]) -> list[History]:
    from gpunet.runs.history import History, named

    if runs.count("-") > 1:
        raise UsageError("- is standard input, which can be read once; name it once.")
    return [
        History.parse(sys.stdin.read(), "standard input", "standard input")
        if given == "-"
        else History.read(path, name)
        for given, (path, name) in zip(runs, named(runs), strict=True)
    ]


def _drawable(runs: Sequence[str]) -> list[History]:
    """The histories; refuses records that have no curve, such as those of a run's timings.jsonl."""
    from gpunet.pictures.curves import series

    histories = _histories(runs)
    for run, history in zip(runs, histories, strict=True):
        if not any(series(history, name) for name in ("loss", "accuracy")):
            raise DataError(f"{run}: its records hold no loss and no accuracy, so there is nothing to draw.")
    return histories


def _targets(kinds: Sequence[str], runs: Sequence[str], out: str | None) -> dict[str, Path]:
    """The file of each picture; refuses a kind of file that cannot be written before anything is computed."""
    if out is None:
        folder = Path(runs[0]) if len(runs) == 1 else Path()
        if folder.is_dir():
            return {kind: folder / f"{kind}.png" for kind in kinds}
        return {kind: folder.with_name(f"{kind if runs[0] == '-' else f'{folder.stem}-{kind}'}.png") for kind in kinds}
    if _is_folder(out):
        return {kind: Path(out) / f"{kind}.png" for kind in kinds}
    from gpunet.pictures.style import check_format

    check_format(out)
    check_place(out)
    path = Path(out)
    if len(kinds) == 1:
        return {kinds[0]: path}
    return {kind: path.with_name(f"{path.stem}-{kind}{path.suffix}") for kind in kinds}


def _is_folder(out: str | None) -> bool:
    """Whether pictures go into a folder, which is made for them."""
    return out is not None and (out.endswith(("/", os.sep)) or os.path.isdir(out))


def _draw(
    kind: str, histories: Sequence[History], opened: Opened | None, split: str | None, log: bool, smooth: int | None,
    count: int,
) -> None:  # fmt: skip
    """Draw one picture in the terminal."""
    if kind == "curves":
        from gpunet.cli import terminal

        for text in terminal.curves(histories, log, smooth):
            sys.stdout.write(f"{text}\n")
        return
    assert opened is not None
    if kind == "confusion":
        from gpunet.cli.evaluate import confusion_lines

        part, name = opened.split(split)
        result = opened.evaluate(part)
        display.line(f"{opened.name}: {result.accuracy:.1%} of {len(part):,} {name} examples right")
        display.line()
        for text in confusion_lines(result.confusion, opened.class_names, display.console().width):
            display.line(text)
        return
    from gpunet.pictures.sheets import Tile
    from gpunet.pictures.sheets import terminal as sheet
    from gpunet.pictures.tiles import neuron_name, weight_tiles, weights_title, worst_mistakes

    if kind == "weights":
        found, numbers, limit = weight_tiles(opened.model, count)
        tiles = [
            Tile(tile / limit, neuron_name(opened.model, number), signed=True)
            for tile, number in zip(found, numbers, strict=True)
        ]
        title = weights_title(opened.model, len(tiles))
        display.line(f"{opened.name}: {title[0].lower()}{title[1:]}")
    else:
        part, name = opened.split(split)
        mistakes = worst_mistakes(opened.model, part, count)
        if not mistakes:
            display.line(f"{opened.name}: all {len(part):,} {name} examples are answered right")
            return
        arrow = "→" if display.encodes(sys.stdout, "▀→") else ">"
        tiles = [Tile(one.picture, f"{one.truth}{arrow}{one.answer}") for one in mistakes]
        display.line(f"{opened.name}: mistakes in {name}, class {arrow} answer, most certain first")
    display.line()
    width, colour = display.picture_room()
    for text in sheet(tiles, width, colour if display.encodes(sys.stdout, "▀→") else None):
        sys.stdout.write(f"{text}\n")


def _report(run: str, file: str, data: str | None, data_dir: str | None, split: str | None, device: str) -> None:
    from gpunet.cli.opened import open_run
    from gpunet.pictures import report

    opened = open_run(run, data, data_dir, device)
    history = _histories([run])[0]
    part, name = opened.split(split)
    page = report.html(history, opened.model, part, split_name=name, config=opened.config)
    report.save(page, file)
    display.line(file)

"""`gpunet plot`: the curves of runs and the pictures of a model, as files, in the terminal, or as one HTML report."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

import typer

from gpunet.cli import display
from gpunet.cli.opened import open_run
from gpunet.cli.options import DEVICES, choices, number_option, own_parameters, text_option, with_parameters
from gpunet.errors import UsageError
from gpunet.files import check_place
from gpunet.pictures.picture import Options, Subject
from gpunet.pictures.plots import PICTURES
from gpunet.runs.folder import RunFolder
from gpunet.runs.history import History, path_name
from gpunet.runs.labels import labels
from gpunet.runs.listing import Listed

SHOWN = "Pictures"
OUTPUT = "Output"
DATA = "Data, for pictures of a model's answers and --html"


def picture_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every picture; `function(asked=..., **others)` gets the names of those asked for."""
    own = own_parameters(function, "asked")

    def command(**values: Any) -> Any:
        asked = {name: values.pop(name) for name in PICTURES}
        return function(asked=[name for name, on in asked.items() if on], **values)

    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(False, f"--{name}", *kind.aliases, help=kind.help, rich_help_panel=SHOWN),
            annotation=bool,
        )
        for name, kind in PICTURES.items()
    ]
    parameters = [own[0], *flags, *own[1:]]  # the argument first
    return with_parameters(command, function, parameters)


_RUNS = typer.Argument(
    ...,
    metavar="RUN...",
    help="Run folders, model files, or JSON lines of gpunet train --json; - reads them from standard input.",
    show_default=False,
)


@picture_options
def command(
    runs: list[str] = _RUNS,
    asked: list[str] = [],  # noqa: B006
    log_scale: bool = typer.Option(False, "--log-scale", help="Logarithmic axis for the loss.", rich_help_panel=SHOWN),
    log: bool = typer.Option(False, "--log", hidden=True),  # what --log-scale was called
    smooth: Optional[int] = number_option(
        "--smooth", least=0, help="Mean over N logged batches on either side. [default: one for each 50]", panel=SHOWN
    ),
    count: Optional[int] = number_option(
        "--count",
        "-n",
        least=1,
        help="How many neurons or mistakes. [default: 64 and 24; in the terminal 12]",
        panel=SHOWN,
    ),
    out: Optional[str] = text_option(
        "--out",
        "-o",
        metavar="PATH",
        help="Picture to write, .png, .svg or .pdf; several get their kinds into the name. [default: RUN/KIND.png]",
        panel=OUTPUT,
    ),
    terminal: bool = typer.Option(
        False,
        "--terminal",
        "-t",
        help="Draw here instead. [default: where matplotlib is not installed]",
        rich_help_panel=OUTPUT,
    ),
    html: Optional[str] = text_option(
        "--html",
        metavar="FILE",
        help="One page (.html) with everything about a run, or comparing several; it needs no network.",
        panel=OUTPUT,
    ),
    data: Optional[str] = text_option("--data", metavar="NAME", help="Data set. [default: the run's]", panel=DATA),
    data_dir: Optional[str] = text_option(
        "--data-dir", metavar="DIR", help="Folder that holds the data set's files. [default: the run's]", panel=DATA
    ),
    split: Optional[str] = text_option(
        "--split",
        metavar="SPLIT",
        help="Which part of it. [default: test, else validation, else train]",
        panel=DATA,
        completion=choices("train", "validation", "test"),
    ),
    device: str = typer.Option(
        "cpu",
        "--device",
        metavar="NAME",
        autocompletion=choices(*DEVICES),
        help="Device to compute on. [default: cpu]",
        show_default=False,
        rich_help_panel=DATA,
    ),
) -> None:
    """Draw the curves and pictures of one or many runs.

    Curves of several runs come into one picture, labelled by the one or two settings that differ, or else by the
    names of the runs; the other pictures are of one run.

    \b
    Examples:
      gpunet plot runs/first
      gpunet plot runs/first --terminal
      gpunet plot runs/* --log-scale --out curves.svg
      gpunet plot runs/first --confusion --weights --mistakes --out pictures/
      gpunet plot runs/first --html report.html
      gpunet plot runs/* --html compared.html
      gpunet train --json | gpunet plot - --terminal
    """
    if html is not None:
        if asked or out is not None or terminal:
            raise UsageError("--html is a page with all pictures in it; leave the other options of output away.")
        _report(runs, html, data, data_dir, split, device)
        return
    kinds = [PICTURES[name] for name in asked or ["curves"]]
    of_one = next((kind.name for kind in reversed(kinds) if kind.needs != "records"), None)
    if of_one is not None:
        _single(runs, f"--{of_one}")
    if terminal and out is not None:
        raise UsageError("--terminal draws here and --out writes a file; give one of them.")
    if out is None and not terminal and importlib.util.find_spec("matplotlib") is None:
        terminal = True
        display.note('Drawn as text; picture files need matplotlib: pip install "gpunet[plot]".')
    targets = {} if terminal else _targets([kind.name for kind in kinds], runs, out)
    needs = {kind.needs for kind in kinds}
    subject = _subject(runs, needs, data, data_dir, split, device)
    options = Options(log_scale or log, smooth, count)
    for number, picture in enumerate([kind.of(subject, options) for kind in kinds]):
        if terminal:
            if number:
                display.line()
            display.lines(picture.terminal(display.canvas()))
            continue
        from gpunet.pictures.style import save

        figure = picture.figure()
        if _is_folder(out):
            targets[picture.name].parent.mkdir(parents=True, exist_ok=True)
        save(figure, targets[picture.name])
        display.line(str(targets[picture.name]))


def _subject(
    runs: Sequence[str], needs: set[str], data: str | None, data_dir: str | None, split: str | None, device: str
) -> Subject:
    """What there is to draw of runs, opened as far as it is needed."""
    histories = _histories(runs) if "records" in needs else []
    if needs == {"records"}:
        return Subject(path_name(Path(runs[0])), histories)
    opened = open_run(runs[0], data, data_dir, device, with_data="examples" in needs)
    if "examples" not in needs:
        return Subject(opened.name, histories, opened.model)
    part, name = opened.split(split)
    return Subject(opened.name, histories, opened.model, part, name)


def _single(runs: Sequence[str], what: str) -> None:
    if len(runs) > 1:
        raise UsageError(f"{what} is of one run, and {len(runs)} are given; name one.")
    if runs[0] == "-":
        raise UsageError(f"{what} needs a model, and standard input holds records only; name a run's folder.")


def _histories(runs: Sequence[str]) -> list[History]:
    runs = [inside for run in runs for inside in _networks(run)]
    if runs.count("-") > 1:
        raise UsageError("- is standard input, which can be read once; name it once.")
    return [
        History.parse(sys.stdin.read(), "standard input", "standard input")
        if given == "-"
        else History.read(path, name)
        for given, path, name in zip(runs, map(Path, runs), labels(runs), strict=True)
    ]


def _networks(run: str) -> list[str]:
    """The runs of the networks in a run of several, or the run itself."""
    members = RunFolder(run).members() if os.path.isdir(run) else []
    return [str(member.path) for member in members] or [run]


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


def _report(
    runs: Sequence[str], file: str, data: str | None, data_dir: str | None, split: str | None, device: str
) -> None:
    """Write the report of a run, or one that compares several."""
    from gpunet.pictures import report

    report.check_format(file)
    check_place(file)
    if len(runs) > 1:
        if (data, data_dir, split) != (None, None, None):
            raise UsageError("a page of several runs shows what they recorded; leave out --data, --data-dir, --split.")
        listed = [Listed.read(run) for run in runs]
        report.save(report.comparison(_histories(runs), listed), file)
        display.line(file)
        return
    _single(runs, "a report")
    opened = open_run(runs[0], data, data_dir, device)
    part, name = opened.split(split)
    history = _histories(runs)[0]
    if os.path.isdir(runs[0]):  # what the clock measured stands in a file of its own
        history = dataclasses.replace(history, result=RunFolder(runs[0]).result() or history.result)
    page = report.html(history, opened.model, part, split_name=name, config=opened.config)
    report.save(page, file)
    display.line(file)

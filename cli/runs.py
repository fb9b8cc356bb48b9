"""`gpunet runs`: the runs that were kept, in a table with the settings in which they differ."""

from __future__ import annotations

import sys

import typer

from gpunet.cli import display
from gpunet.runs import listing
from gpunet.runs.logs import as_json


def command(
    folders: list[str] | None = typer.Argument(  # noqa: B008
        None,
        metavar="FOLDER...",
        help="Runs, or folders with runs somewhere in them. [default: runs]",
        show_default=False,
    ),
    sort: str = typer.Option(
        "started", "--sort", metavar="NAME", help="By a setting, a metric such as accuracy, seconds, run or started."
    ),
    every: bool = typer.Option(False, "--all", "-a", help="Show all settings, and not only those that differ."),
    json: bool = typer.Option(False, "--json", help="Write a line of JSON for each run and nothing else."),
) -> None:
    """List runs and compare them: the settings in which they differ, and how well they did.

    A metric is sorted with the best run first. Of a run that has not ended the figures are those of its last records.

    \b
    Examples:
      gpunet runs
      gpunet runs runs/a runs/b
      gpunet runs experiments --sort accuracy
    """
    runs, remarks = listing.read(folders or ["runs"])
    for remark in remarks:
        display.note(f"note: {remark}")
    runs = listing.in_order(runs, sort) if runs else []
    if json:
        for run in runs:
            sys.stdout.write(f"{as_json(run.as_dict())}\n")
        return
    display.table(*listing.table(runs, every))

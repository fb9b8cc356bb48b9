"""`gpunet runs`: the runs that were kept, in a table with the settings in which they differ."""

from __future__ import annotations

import sys
from typing import Optional

import typer

from gpunet.cli import display
from gpunet.runs import labels, listing
from gpunet.runs.logs import as_json
from gpunet.terminal import duration, figure


def command(
    folders: Optional[list[str]] = typer.Argument(  # noqa: B008, UP045
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
    settings = list(dict.fromkeys(name for run in runs for name in run.settings)) if every else listing.differing(runs)
    known = dict.fromkeys(key for run in runs for key in run.figures)
    figures = [key for split in ("validation_", "test_") for key in known if key.startswith(split)] or list(known)
    rows = []
    for run in runs:
        told = [labels.text(run.settings[name]) if name in run.settings else "" for name in settings]
        found = [run.figures.get(key) for key in figures]
        done = f"{run.iterations:,}" + ("" if run.ended else " (not ended)")
        seconds = "" if run.seconds is None else duration(run.seconds)
        rows.append([run.path, *told, *("" if value is None else figure(value) for value in found), done, seconds])
    display.table(["run", *(name.replace("_", " ") for name in (*settings, *figures)), "iterations", "time"], rows)

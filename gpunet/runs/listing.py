"""The runs in folders, to be listed, sorted and compared."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunet.errors import DataError, GpunetError, UsageError
from gpunet.keywords import suggestion
from gpunet.network.metrics import METRICS
from gpunet.runs.folder import RunFolder
from gpunet.runs.history import History
from gpunet.runs.labels import ELSEWHERE, text
from gpunet.wording import duration, figure


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it.

    Attributes:
        path: its folder, as it was found.
        settings: by name, as config.json has them; empty where a script made the run without settings.
        started: when, in ISO 8601.
        iterations: steps done.
        ended: whether the run has come to its end.
        figures: metrics and losses by their names in records ("validation_accuracy"), of the result or, before the end,
            of the last record that has them.
        seconds: training time so far, or None where it is not known.
    """

    path: str
    settings: dict[str, Any]
    started: str
    iterations: int
    ended: bool
    figures: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Listed:
        """The run in a folder.

        Raises:
            CheckpointError: there is no run, or its config.json is damaged.
            DataError: its records are damaged.
        """
        folder = RunFolder(path)
        config = folder.config()
        settings = config.get("settings")
        figures: dict[str, Any] = {}
        seconds, iterations = None, 0
        result = folder.result()
        if result is not None:
            records = [result]
            iterations, seconds = int(result["iterations"]), result.get("train_seconds")
        else:
            records = []
            with contextlib.suppress(DataError):  # stopped before its first record
                records = History.read(path).steps
                iterations = records[-1]["iteration"]
        for record in records:
            figures |= {key: value for key, value in record.items() if isinstance(value, float) and _is_figure(key)}
        return cls(
            str(path), settings if isinstance(settings, dict) else {}, str(config.get("started", "")), iterations,
            result is not None, figures, seconds,
        )  # fmt: skip

    def value(self, name: str) -> Any:
        """A setting, a figure or another fact by its name; None where there is none."""
        own = {"run": self.path, "started": self.started, "iterations": self.iterations, "seconds": self.seconds}
        return own.get(name, self.figures.get(name, self.settings.get(name)))

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "event": "run", "run": self.path, "started": self.started, "ended": self.ended,
            "iterations": self.iterations, "seconds": self.seconds, **self.figures, "settings": self.settings,
        }  # fmt: skip


def _is_figure(key: str) -> bool:
    return key.rpartition("_")[2] not in ("seconds", "second", "rate") and key not in ("epoch",)


def find(paths: Iterable[str]) -> list[str]:
    """The run folders among `paths`, and those anywhere in them.

    Raises:
        DataError: there is no such folder, or there is no run in any.
    """
    found: list[str] = []
    given = list(paths)
    for path in given:
        if not Path(path).is_dir():
            raise DataError(f"{path}: there is no such folder; a run is kept with: gpunet train --out {path}/NAME")
        for folder, below, files in os.walk(path):
            below.sort()
            if "config.json" in files and "metrics.jsonl" in files:
                found.append(folder)
                below.clear()
    if not found:
        where = ", ".join(given)
        raise DataError(f"{where}: there is no run here; one is kept with: gpunet train --out {given[0]}/NAME")
    return list(dict.fromkeys(found))


def read(paths: Iterable[str]) -> tuple[list[Listed], list[str]]:
    """The runs in these folders, and a sentence for each that cannot be read."""
    runs, remarks = [], []
    for path in find(paths):
        try:
            runs.append(Listed.read(path))
        except GpunetError as error:
            remarks.append(str(error))
    return runs, remarks


def differing(runs: Sequence[Listed]) -> list[str]:
    """The settings in which the runs differ, but for those that say where and how a run is done."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in ELSEWHERE)
    return [name for name in names if len({repr(run.settings.get(name)) for run in runs}) > 1]


def table(runs: Sequence[Listed], every: bool = False) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of runs side by side: the settings that differ (or every one), what came out, and how long it
    took. The iterations that were done are not the setting of that name, which may be a column too."""
    settings = list(dict.fromkeys(name for run in runs for name in run.settings)) if every else differing(runs)
    known = dict.fromkeys(key for run in runs for key in run.figures)
    figures = [key for split in ("validation_", "test_") for key in known if key.startswith(split)] or list(known)
    rows = []
    for run in runs:
        told = [text(run.settings[name]) if name in run.settings else "" for name in settings]
        found = ["" if key not in run.figures else figure(run.figures[key]) for key in figures]
        done = f"{run.iterations:,}" + ("" if run.ended else " (not ended)")
        rows.append([run.path, *told, *found, done, "" if run.seconds is None else duration(run.seconds)])
    return ["run", *(name.replace("_", " ") for name in (*settings, *figures)), "done", "time"], rows


def in_order(runs: Sequence[Listed], by: str) -> list[Listed]:
    """The runs sorted by a setting, a figure, "run", "started", "iterations" or "seconds": the best figure first, the
    smallest value of anything else; runs without it come last.

    Raises:
        UsageError: no run has it.
    """
    name = by.strip().lstrip("-").replace("-", "_").replace(" ", "_")
    for candidate in (f"test_{name}", f"validation_{name}", name):
        if any(run.value(candidate) is not None for run in runs):
            name = candidate
            break
    else:
        known = {key for run in runs for key in (*run.figures, *run.settings)}
        names = sorted(known | {"run", "started", "iterations", "seconds"})
        hint = suggestion(by, names).rstrip() or f"there are {', '.join(names)}."
        raise UsageError(f"--sort {by}: no run has that; {hint}")
    key = name.removeprefix("train_").removeprefix("validation_").removeprefix("test_")
    up = next((entry.higher_is_better for entry in METRICS.values() if entry.name.replace("-", "_") == key), False)
    numbers = all(isinstance(run.value(name), (int, float, type(None))) for run in runs)

    def place(run: Listed) -> tuple[Any, ...]:
        value = run.value(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return (1,)
        return (0, -value if up and name in run.figures else value) if numbers else (0, str(value))

    return sorted(runs, key=place)

"""A run's records as columns: what was logged, by name, from a training result, a run folder or JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import DataError

#: The file of a run folder that holds its records.
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class History:
    """The records of one run.

    Attributes:
        name: what the run is called in a picture.
        steps: the step records as dicts, in the order of their iterations.
        result: the result record as a dict, or None if the run has not come to its end.
    """

    name: str
    steps: list[dict[str, Any]] = field(repr=False)
    result: dict[str, Any] | None = None

    @classmethod
    def of(cls, records: Any, name: str = "run", source: str = "the history") -> History:
        """The history of a `TrainingResult`, or of records as objects or dicts.

        Raises:
            DataError: something is no record, or there is no step record; `source` opens the sentence.
        """
        if isinstance(records, History):
            return records
        if hasattr(records, "history") and hasattr(records, "record"):
            records = [*records.history, records.record]
        steps: dict[int, dict[str, Any]] = {}
        result = None
        for number, record in enumerate(records, 1):
            entry = record.as_dict() if hasattr(record, "as_dict") else record
            if not isinstance(entry, dict):
                raise DataError(f"{source}: line {number} is no record of a run.")
            if entry.get("event") == "result":
                result = entry
            elif entry.get("event") == "step":
                iteration = entry.get("iteration")
                if isinstance(iteration, bool) or not isinstance(iteration, int) or not 0 <= iteration < 2**53:
                    raise DataError(f"{source}: line {number} is a step without a number of iterations.")
                steps[iteration] = entry
        if not steps:
            raise DataError(f"{source}: there is no step of a run in it.")
        return cls(name, [steps[iteration] for iteration in sorted(steps)], result)

    @classmethod
    def read(cls, path: str | os.PathLike[str], name: str | None = None) -> History:
        """The history in a run folder, or in a file of JSON lines such as `gpunet train --json` writes.

        A last line that is cut off, as in a run that is being written, is left out.

        Raises:
            DataError: there is no such run, or the file holds something else.
        """
        path = Path(path)
        file = path / METRICS if path.is_dir() else path
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            missing = f"it has no {METRICS}" if path.is_dir() else "there is no such run or model"
            raise DataError(f"{path}: {missing}; one is kept with: gpunet train --out {path}") from None
        except OSError as error:
            raise DataError(f"{file}: {error.strerror or error}.") from None
        except UnicodeDecodeError:
            raise DataError(f"{file}: this is no text, but records are JSON lines.") from None
        return cls.parse(text, name or path_name(path), str(file))

    @classmethod
    def parse(cls, text: str, name: str, source: str) -> History:
        """The history in JSON lines; `source` says in errors where they come from.

        Raises:
            DataError: a line is not JSON, or there are no records.
        """
        records = []
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                records.append(json.loads(line))
            except (ValueError, RecursionError):
                if number == len(lines):  # no newline behind it: it is still being written
                    break
                raise DataError(f"{source}: line {number} is not JSON, but records are JSON lines.") from None
        return cls.of(records, name, source)

    def column(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Iterations (n,) int64 and finite values (n,) float64 of a field, where it was logged."""
        pairs = [(step["iteration"], step[name]) for step in self.steps if _is_finite(step.get(name))]
        return np.array([i for i, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64)

    def final(self, name: str) -> float | None:
        """A number of the result record, or None."""
        value = None if self.result is None else self.result.get(name)
        return float(value) if value is not None and _is_finite(value) else None

    @property
    def epoch_length(self) -> float | None:
        """Iterations in an epoch, or None where the records do not say."""
        last = self.steps[-1]
        epoch = last.get("epoch")
        return last["iteration"] / epoch if epoch is not None and _is_finite(epoch) and epoch > 0 else None


def path_name(path: Path) -> str:
    """What to call the run of a path: the folder's name, or the file's without its suffix."""
    path = Path(os.path.abspath(path))
    return path.parent.name if path.name == METRICS else path.name if path.is_dir() else path.stem


def named(paths: Iterable[str | os.PathLike[str]]) -> list[tuple[Path, str]]:
    """Each path with a short name; where two short names are the same, all are the paths as they were given."""
    given = [Path(path) for path in paths]
    names = [path_name(path) for path in given]
    if len(set(names)) < len(names):
        names = [str(path) for path in given]
    return list(zip(given, names, strict=True))


def smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """The mean of each value and up to `reach` neighbours on either side, as many on both; (n,) float64."""
    count = len(values)
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    place = np.arange(count)
    near = np.minimum(reach, np.minimum(place, count - 1 - place))
    return (sums[place + near + 1] - sums[place - near]) / (2 * near + 1)


def _is_finite(value: Any) -> bool:
    """Whether a value is a number that can be drawn and summed; a loss beyond 1e100 says only that all is lost."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e100 < value < 1e100

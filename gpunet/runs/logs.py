"""Logs of a run in the forms that other programs read: CSV, JSON lines and TensorBoard, each a callback.

A log that is taken up again, because its run was resumed, is cut back to the step that the run goes on from, so
that no line is there twice.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.errors import CheckpointError, MissingExtra
from gpunet.files import write_atomic
from gpunet.keywords import checked
from gpunet.registry import Registry
from gpunet.training.callbacks import Callback
from gpunet.training.records import Record, ResultRecord, StepRecord

if TYPE_CHECKING:
    from gpunet.training.trainer import Trainer


def columns(keys: Sequence[str]) -> list[str]:
    """The columns of a CSV log of a run that measures these metrics."""
    validation = [f"validation_{key}" for key in keys]
    return ["iteration", "epoch", *keys, "loss", *validation, "validation_loss", "learning_rate", "seconds"]


class Lines:
    """A file that lines are added to: each goes to the system at once and whole, so that a crash cuts no line.

    Raises:
        CheckpointError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self.path, flags, 0o666)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def write(self, line: str) -> bytes:
        """Add a line, without its newline; the bytes that were added."""
        content = f"{line}\n".encode()
        try:
            rest = content
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _unwritable(self.path, error) from None
        return content

    def sync(self) -> None:
        """Have the lines on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; it may be closed already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _unwritable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path}: the file cannot be written ({error.strerror or error}); choose another place.")


def cut_lines(path: Path, last: int, iteration_of: Callable[[str], int | None]) -> None:
    """Cut a log back to the lines up to iteration `last`; `iteration_of` a line that does not count is None."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from None
    kept = []
    for line in text.splitlines(keepends=True):
        iteration = iteration_of(line) if line.endswith("\n") else None
        if iteration is None or iteration > last:
            break
        kept.append(line)
    if (short := "".join(kept)) != text:
        write_atomic(path, short.encode())


def json_iteration(line: str) -> int | None:
    """The iteration of a line of JSON; None for a result, and for what is no such line."""
    try:
        record = json.loads(line)
        return int(record["iteration"]) if record.get("event") == "step" else None
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def as_json(values: dict[str, Any]) -> str:
    """One line of JSON; a number that is not finite, which JSON does not know, becomes null."""
    return json.dumps(finite(values))


def finite(value: Any) -> Any:
    """A value as JSON can hold it: a number in it that is not finite is None."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Log(Callback):
    """Base of the logs, which are made with the path that they are written to.

    Attributes:
        name: the name in the table.
        file: what it is called in the folder of a run; None if the folder has the same anyway.
    """

    name = ""
    file: str | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


LOGS: Registry[type[Log], Log] = Registry(
    "log",
    Log,
    apart=("path",),
    synonyms={"jsonl": "json lines ndjson", "csv": "table tsv", "tensorboard": "tb"},
    group="gpunet.logs",
)


@LOGS.register
@checked
class JsonLinesLog(Log):
    """Every record as one line of JSON, as `gpunet train --json` writes them.

    Args:
        path: the file; what is there is written over, unless the run was resumed.

    Raises:
        CheckpointError: the file cannot be written.
    """

    name = "jsonl"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._lines: Lines | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Open the file and cut it back to where training goes on from."""
        cut_lines(self.path, trainer.iteration if trainer.iteration else -1, json_iteration)
        self._lines = Lines(self.path)

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Add a line."""
        if self._lines is not None:
            self._lines.write(as_json(record.as_dict()))

    def on_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()


@LOGS.register
@checked
class CsvLog(Log):
    """A table with a line for each step record: iteration, epoch, metrics (accuracy) and loss, both on the validation
    split, learning rate, and seconds of training so far.

    Args:
        path: the file; what is there is written over, unless the run was resumed.

    Raises:
        CheckpointError: the file cannot be written.
    """

    name = "csv"
    file = "metrics.csv"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._lines: Lines | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Open the file, cut it back to where training goes on from, and begin a new one with the names."""
        self._columns = columns([metric.key for metric in trainer.metrics])
        cut_lines(self.path, trainer.iteration if trainer.iteration else -1, self._iteration)
        self._lines = Lines(self.path)
        if self.path.stat().st_size == 0:
            self._lines.write(",".join(self._columns))

    @staticmethod
    def _iteration(line: str) -> int | None:
        first = line.partition(",")[0]
        if first == "iteration":
            return 0
        return int(first) if first.isdecimal() else None

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Add a line."""
        if self._lines is not None and isinstance(record, StepRecord):
            values = record.as_dict()
            text = io.StringIO()
            csv.writer(text, lineterminator="").writerow([values.get(name, "") for name in self._columns])
            self._lines.write(text.getvalue())

    def on_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()


@LOGS.register
@checked
class TensorBoardLog(Log):
    """Loss, metrics and learning rate for TensorBoard.

    Args:
        path: the folder for its event files; run `tensorboard --logdir FOLDER` to look at them.

    Raises:
        MissingExtra: the package tensorboard is not installed.
        CheckpointError: the folder cannot be written.
    """

    name = "tensorboard"
    file = "tensorboard"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._writer: Any = None
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError:
            raise MissingExtra("tensorboard", "tensorboard", "a log for TensorBoard") from None
        self._protocol, self._summary, self._make = event_pb2, summary_pb2.Summary, EventFileWriter

    def on_start(self, trainer: Trainer) -> None:
        """Begin an event file; what an earlier one has of later steps no longer counts."""
        import time

        try:
            self._writer = self._make(str(self.path), flush_secs=5)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        # TensorBoard forgets the steps of earlier event files from this one on.
        session = self._protocol.SessionLog(status=self._protocol.SessionLog.START)
        self._writer.add_event(
            self._protocol.Event(wall_time=time.time(), step=trainer.iteration + 1, session_log=session)
        )

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Add the numbers of a record."""
        import time

        named: dict[str, float | None]
        if isinstance(record, StepRecord):
            step = record.iteration
            named = {
                "train/loss": record.loss,
                **{f"train/{key}": value for key, value in record.metrics.items()},
                "validation/loss": record.validation_loss,
                **{f"validation/{key}": value for key, value in (record.validation_metrics or {}).items()},
                "learning_rate": record.learning_rate,
                "steps_per_second": record.steps_per_second,
            }
        else:
            assert isinstance(record, ResultRecord)
            step = record.iterations
            named = {"test/loss": record.test_loss}
            named |= {f"test/{key}": value for key, value in (record.test_metrics or {}).items()}
        summary = self._summary(
            value=[
                self._summary.Value(tag=tag, simple_value=value) for tag, value in named.items() if value is not None
            ]
        )
        self._writer.add_event(self._protocol.Event(wall_time=time.time(), step=step, summary=summary))

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Write out what is waiting."""
        self._writer.flush()

    def on_end(self, trainer: Trainer) -> None:
        """End the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

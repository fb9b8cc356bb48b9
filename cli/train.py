"""`gpunet train`: settings, data, model and trainer, and what the terminal is told while it trains.

Whatever wants to see a run is a `Callback` of its trainer: the progress bar, the lines and the JSON here, and what
keeps a run on disk (`cli/keep.py`).
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any, Optional

import typer

from gpunet.backend import get_backend
from gpunet.cli import display, keep
from gpunet.cli.errors import Interrupted, Terminated
from gpunet.cli.options import at_least, resolve, setting_options
from gpunet.errors import UsageError
from gpunet.runs.folder import RunFolder
from gpunet.runs.logs import as_json
from gpunet.runs.recording import Recording
from gpunet.runs.settings import build_dataset, build_model, build_trainer
from gpunet.training.callbacks import Callback
from gpunet.training.progress import ProgressBar
from gpunet.training.records import Record, ResultRecord, StepRecord
from gpunet.training.trainer import Trainer

KEEPING = "Keeping the run"


class JsonLines(Callback):
    """Every record as one line of JSON on standard output."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Write the record."""
        self._bar.write(as_json(record.as_dict()))


class Lines(Callback):
    """For people: a line per log step, above the progress bar; a validation in between shows in the next line."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._room = display.room()
        self._validation = ""
        self._unwritten: str | None = None

    def on_record(self, record: Record, trainer: Trainer) -> None:
        """Write the record, if it is one of a log step."""
        if not isinstance(record, StepRecord):
            return
        if record.validation_accuracy is not None:
            self._validation = f"{record.validation_accuracy:.4f}"
        self._unwritten = self._line(record, len(str(trainer.iterations)))
        if trainer.logs.is_due(record.iteration):
            self._write()

    def on_end(self, trainer: Trainer) -> None:
        """Write the last record, which need not be one of a log step."""
        self._write()

    def _line(self, record: StepRecord, digits: int) -> str:
        text = f"iteration {record.iteration:>{digits}}  accuracy {record.accuracy:.4f}  loss {record.loss:.6f}"
        if len(text) > self._room:
            text = f"{record.iteration:>{digits}}  acc {record.accuracy:.4f}  loss {record.loss:.4f}"
        if self._validation:
            label = "validation" if len(text) + 19 <= self._room else "val"
            text += f"  {label} {self._validation}"
        return text

    def _write(self) -> None:
        if self._unwritten is not None:
            self._bar.write(self._unwritten)
        self._unwritten, self._validation = None, ""


def header(trainer: Trainer) -> list[tuple[str, str]]:
    """What is trained, on what, where and how, as labels and texts."""
    data, model, plan = trainer.data, trainer.model, trainer.plan
    parts = [f"{len(split):,} {name}" for name, split in data.splits().items()]
    rows = [
        ("data", f"{data.name}: {', '.join(parts)}"),
        ("network", f"{model.description}, {model.parameter_count:,} parameters"),
        ("device", f"{plan['device']}: {plan['reason']}" if plan.get("reason") else plan["device"]),
    ]
    threads = plan["threads"]
    shared = f", up to {threads} threads" if threads and threads > 1 else ""
    rows.append(("steps", plan["graph"] + shared))
    if trainer.iteration:
        rows.append(("resumed", f"goes on after iteration {trainer.iteration:,} of {trainer.iterations:,}"))
    return rows


def result_table(result: ResultRecord) -> tuple[list[str], list[list[str]]]:
    """Accuracy and loss of each split side by side, and the gap between training and test (or validation)."""
    splits = ("train", "validation", "test")
    seen = [name for name in splits if getattr(result, f"{name}_accuracy") is not None]
    accuracies = [getattr(result, f"{name}_accuracy") for name in seen]
    losses = [getattr(result, f"{name}_loss") for name in seen]
    columns = ["", *seen]
    rows = [
        ["accuracy", *(f"{value:.4f}" for value in accuracies)],
        ["loss", *("" if value is None else f"{value:.4f}" for value in losses)],
    ]
    if len(seen) > 1 and seen[0] == "train":
        columns.append("gap")
        rows[0].append(f"{accuracies[0] - accuracies[-1]:+.4f}")
        rows[1].append("" if None in (losses[0], losses[-1]) else f"{losses[0] - losses[-1]:+.4f}")
    return columns, rows


def result_speed(result: ResultRecord) -> str:
    """How long it took, in one line."""
    return (
        f"{result.iterations:,} iterations in {result.train_seconds:.2f} s on {result.device}, "
        f"{result.steps_per_second:,.0f} steps per second"
    )


def show(result: ResultRecord) -> None:
    """Write the result: the accuracies side by side, how training ended, and how long it took."""
    display.line()
    display.table(*result_table(result))
    display.line()
    if result.stopped != "completed":
        best = f"; the weights are those of iteration {result.best_iteration:,}" if result.best_iteration else ""
        display.line(f"{result.stopped}{best}")
    display.line(result_speed(result))


def result_line(result: ResultRecord) -> str:
    """The result in one line."""
    named = [(name, getattr(result, f"{name}_accuracy")) for name in ("test", "validation", "train")]
    accuracies = ", ".join(f"{name} accuracy {value:.4f}" for name, value in named if value is not None)
    return f"{accuracies}; {result_speed(result)}"


def watch(trainer: Trainer, folder: RunFolder | None) -> ResultRecord:
    """Run the trainer to its end.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the step was done to its end, and the callbacks have been told.
    """
    record: Record | None = None
    try:
        with stopping(trainer) as signals:
            for each in trainer.steps():
                record = each
        if isinstance(record, ResultRecord):
            return record
        raise signals[0]
    except KeyboardInterrupt as error:
        told = [f"Stopped at iteration {trainer.iteration:,} of {trainer.iterations:,}."]
        if isinstance(record, StepRecord):
            validation = record.validation_accuracy
            told[0] = (
                told[0][:-1]
                + f": accuracy {record.accuracy:.4f}, loss {record.loss:.4f}"
                + ("." if validation is None else f", validation accuracy {validation:.4f}.")
            )
        if folder is None:
            told.append("Nothing was kept; with --out RUN the run could go on from here.")
        else:
            told.append(f"Kept in {folder.path}; go on with: gpunet train --resume {folder.path}")
        raise Interrupted("\n".join(told), error) from None


@contextlib.contextmanager
def stopping(trainer: Trainer) -> Iterator[list[BaseException]]:
    """Let the first Ctrl-C or SIGTERM end training between two steps, where it can be taken up again; the next one
    ends it at once. Yields the list of what has arrived, as exceptions."""
    arrived: list[BaseException] = []

    def stop(number: int, frame: object) -> None:
        cause = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        arrived.append(cause)
        if len(arrived) > 1:
            raise cause
        trainer.stop()

    wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@setting_options
def command(
    given: dict[str, str],
    config: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--config",
        metavar="FILE",
        help="Take settings from a TOML or JSON file, such as a run's config.json; the command line goes on top.",
        show_default=False,
    ),
    out: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--out",
        metavar="RUN",
        help="Keep the run in this folder: settings, records, checkpoints, the network at the end.",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    force: bool = typer.Option(False, "--force", help="Write over a run in the folder.", rich_help_panel=KEEPING),
    resume: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--resume",
        metavar="RUN",
        help="Go on with an interrupted run, to the very same end as without the interruption.",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    checkpoint_every: Optional[int] = typer.Option(  # noqa: UP045
        None,
        "--checkpoint-every",
        metavar="N",
        parser=at_least(1, "--checkpoint-every"),
        help="Iterations from one checkpoint to the next. [default: off]",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    checkpoint_seconds: Optional[float] = typer.Option(  # noqa: UP045
        None,
        "--checkpoint-seconds",
        metavar="N",
        parser=at_least(0.01, "--checkpoint-seconds"),
        help="Seconds from one checkpoint to the next. [default: 30, or off with --checkpoint-every]",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    keep_checkpoints: Optional[int] = typer.Option(  # noqa: UP045
        None,
        "--keep",
        metavar="N",
        parser=at_least(1, "--keep"),
        help="How many checkpoints to keep, the newest ones. [default: 1]",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    log: Optional[list[str]] = typer.Option(  # noqa: B008, UP045
        None,
        "--log",
        metavar="LOG",
        help="Log the records as csv, jsonl or tensorboard, in the run folder or at PATH; may be given several times.",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    json: bool = typer.Option(False, "--json", help="Write JSON lines to standard output and nothing else."),
    quiet: bool = typer.Option(
        False, "--quiet", "-q", help="Write only the result; with --json, draw no progress bar."
    ),
) -> None:
    """Train a network and say how well it does on examples it has not seen.

    Without options: the network 784-50-30-10 with relu, trained with SGD in 5000 iterations of 100 examples
    on mnist-5k, the digits that come with the package.

    \b
    Examples:
      gpunet train
      gpunet train --data mnist --epochs 10 --optimizer adam --lr 0.001
      gpunet train --hidden 200,100 --activation tanh --dropout 0.2
      gpunet train --hidden none --classes 3,8 --loss binary-cross-entropy
      gpunet train --schedule cosine --validation 500 --early-stopping 5
      gpunet train --batch-size all --iterations 200 --lr 0.5
      gpunet train --config settings.toml --seed 1 --json
      gpunet train --out runs/a --epochs 50
      gpunet train --resume runs/a
      gpunet train --config runs/a/config.json
    """
    kept = keep.options(
        out, resume, force, log, checkpoint_every=checkpoint_every, checkpoint_seconds=checkpoint_seconds,
        keep=keep_checkpoints,
    )  # fmt: skip
    folder = None
    if resume is not None:
        if config is not None:
            raise UsageError("--config: a resumed run keeps its settings; leave it out, or start a new run.")
        folder = RunFolder(resume)
        folder.config()
        folder.lock()
        keep.check_resumed(folder, given)
        if (ended := folder.result()) is not None:
            _finished(folder, ended, json)
            return
        with display.DownloadBar(quiet=quiet) as progress:
            trainer = folder.resume(device=given.get("device"), progress=progress)
        for remark in folder.remarks:
            display.note(f"note: {remark}")
    else:
        settings = resolve(given, config)
        backend = get_backend(settings.device)
        with display.DownloadBar(quiet=quiet) as progress:
            data = build_dataset(settings, progress)
        trainer = build_trainer(settings, build_model(settings, data, backend), data)
        if config is not None:
            keep.note_changes(config, trainer)
        if out is not None:
            folder = RunFolder.start(
                out, trainer, settings, force=force, command=["gpunet", *sys.argv[1:]], **kept
            )  # fmt: skip
        else:
            trainer.callbacks += Recording(**kept).logs(None)
    bar = ProgressBar()
    if json or not quiet:
        trainer.callbacks += [] if quiet else [bar]
        trainer.callbacks.append(JsonLines(bar) if json else Lines(bar))
    if not quiet and (not json or display.can_redraw(sys.stderr)):
        display.pairs(header(trainer), stderr=json)
        display.write("", stderr=json)
        sys.stdout.flush()
    result = watch(trainer, folder)
    if quiet and not json:
        display.line(result_line(result))
    elif not json:
        show(result)
        if folder is not None:
            display.line(f"kept in {folder.path}; evaluate it with: gpunet evaluate {folder.path}")
        elif display.is_terminal(sys.stdout):
            display.line("not kept; --out RUN would keep the network, its records and checkpoints", style="dim")


def _finished(folder: RunFolder, result: dict[str, Any], json: bool) -> None:
    """Say that a run that was to be resumed has come to its end, and how it ended."""
    if json:
        sys.stdout.write(f"{as_json(result)}\n")
        return
    named = [(name, result.get(f"{name}_accuracy")) for name in ("test", "validation", "train")]
    told = ", ".join(f"{name} accuracy {value:.4f}" for name, value in named if isinstance(value, float))
    display.line(f"{folder.path}: the run is finished{': ' if told else ''}{told}")

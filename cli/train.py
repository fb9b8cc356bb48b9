"""`gpunet train`: settings, data, model and trainer, and the observers that a run is shown to.

A run is a loop over the trainer's records. Whatever wants to see it is an `Observer`: the display and the JSON
lines here, and what keeps a run on disk. A new one is a class with the methods that it needs and a line in
`command`, where the list of observers is made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import typer

from gpunet.backend import get_backend
from gpunet.cli import display, keep
from gpunet.cli.errors import Interrupted, Terminated
from gpunet.cli.options import resolve, setting_options
from gpunet.data.dataset import Dataset
from gpunet.errors import UsageError
from gpunet.network.mlp import MLP
from gpunet.runs.folder import RunFolder
from gpunet.runs.logs import as_json
from gpunet.runs.settings import Settings, build_dataset, build_model, build_trainer
from gpunet.training.records import ResultRecord, StepRecord
from gpunet.training.trainer import Trainer

KEEPING = "Keeping the run"


@dataclasses.dataclass
class Run:
    """A run about to start: everything an observer may look at."""

    settings: Settings
    data: Dataset
    model: MLP
    trainer: Trainer


class Observer:
    """Something a run is shown to; the methods here do nothing."""

    def start(self, run: Run) -> None:
        """The run is set up, and no step has been done."""

    def record(self, record: StepRecord) -> None:
        """A log step was done."""

    def finish(self, result: ResultRecord) -> None:
        """The run came to its end."""

    def stop(self, cause: BaseException) -> str | None:
        """The run ended before its end, by Ctrl-C, SIGTERM or an error; the answer is added to the user's message."""
        return None


class JsonLines(Observer):
    """Every record as one line of JSON on standard output, and a progress bar on standard error if it is a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._screen = display.Screen(live=not quiet)
        self._bar: display.TrainingBar | None = None

    def start(self, run: Run) -> None:
        """Show what is about to run."""
        if self._screen.live:
            display.pairs(header(run), stderr=True)
        self._bar = display.TrainingBar(run.trainer.iterations)
        self._screen.start()

    def record(self, record: StepRecord) -> None:
        """Write the record and move the bar."""
        self._screen.write(as_json(record.as_dict()))
        if self._bar is not None:
            self._bar.add(record)
            self._screen.refresh(self._bar.draw)

    def finish(self, result: ResultRecord) -> None:
        """Write the result."""
        self._screen.stop()
        self._screen.write(as_json(result.as_dict()))
        self._screen.stop()

    def stop(self, cause: BaseException) -> None:
        """Take the bar away and leave the lines."""
        self._screen.stop()


class Log(Observer):
    """For people: a header, a line per log step above a progress bar, and the accuracies side by side at the end.

    A validation between two log steps shows in the next line.
    """

    def __init__(self) -> None:
        self._screen = display.Screen(live=True)
        self._bar: display.TrainingBar | None = None
        self._every = self._digits = 1
        self._validation: float | None = None
        self._unwritten: StepRecord | None = None

    def start(self, run: Run) -> None:
        """Show what is about to run."""
        display.pairs(header(run))
        display.line()
        sys.stdout.flush()
        self._every, self._digits = run.settings.log_every, len(str(run.trainer.iterations))
        self._bar = display.TrainingBar(run.trainer.iterations)
        self._screen.start()
        self._screen.refresh(self._bar.draw, force=True)

    def record(self, record: StepRecord) -> None:
        """Write the record, if it is one of a log step, and move the bar."""
        if record.validation_accuracy is not None:
            self._validation = record.validation_accuracy
        self._unwritten = record
        if record.iteration % self._every == 0:
            self._write()
        if self._bar is not None:
            self._bar.add(record)
            self._screen.refresh(self._bar.draw)

    def _write(self) -> None:
        record, self._unwritten = self._unwritten, None
        if record is None:
            return
        text = f"iteration {record.iteration:>{self._digits}}  accuracy {record.accuracy:.4f}  loss {record.loss:.6f}"
        if not self._screen.fits(text):
            text = f"{record.iteration:>{self._digits}}  acc {record.accuracy:.4f}  loss {record.loss:.4f}"
        if self._validation is not None:
            label = "validation" if self._screen.fits(f"{text}  validation 0.0000") else "val"
            text += f"  {label} {self._validation:.4f}"
            self._validation = None
        self._screen.write(text)

    def finish(self, result: ResultRecord) -> None:
        """Write the result."""
        self._write()
        self._screen.stop()
        display.line()
        display.table(*result_table(result))
        display.line()
        if result.stopped != "completed":
            best = f"; the weights are those of iteration {result.best_iteration:,}" if result.best_iteration else ""
            display.line(f"{result.stopped}{best}")
        display.line(result_speed(result))

    def stop(self, cause: BaseException) -> None:
        """Write what is waiting and take the bar away."""
        self._write()
        self._screen.stop()


class ResultLine(Observer):
    """For --quiet: one line at the end."""

    def finish(self, result: ResultRecord) -> None:
        """Write the result."""
        named = [(name, getattr(result, f"{name}_accuracy")) for name in ("train", "validation", "test")]
        accuracies = ", ".join(f"{name} accuracy {value:.4f}" for name, value in reversed(named) if value is not None)
        display.line(f"{accuracies}; {result_speed(result)}")


class Kept(Observer):
    """For a run with a folder: says where it is and how to go on."""

    def __init__(self, folder: RunFolder, quiet: bool) -> None:
        self._folder = folder
        self._quiet = quiet

    def finish(self, result: ResultRecord) -> None:
        """Say where the run is."""
        if not self._quiet:
            display.line(f"kept in {self._folder.path}; evaluate it with: gpunet evaluate {self._folder.path}")

    def stop(self, cause: BaseException) -> str | None:
        """Say how to go on, if there is something to go on from."""
        if isinstance(cause, KeyboardInterrupt):
            return f"Go on with: gpunet train --resume {self._folder.path}"
        return None


def header(run: Run) -> list[tuple[str, str]]:
    """What is trained, on what, where and how, as labels and texts."""
    data, model, plan = run.data, run.model, run.trainer.plan
    parts = [f"{len(split):,} {name}" for name, split in data.splits().items()]
    rows = [
        ("data", f"{data.name}: {', '.join(parts)}"),
        ("network", f"{model.description}, {model.parameter_count:,} parameters"),
        ("device", f"{plan['device']}: {plan['reason']}" if plan.get("reason") else plan["device"]),
    ]
    threads = plan["threads"]
    shared = f", up to {threads} threads" if threads and threads > 1 else ""
    rows.append(("steps", plan["graph"] + shared))
    if run.trainer.iteration:
        rows.append(("resumed", f"goes on after iteration {run.trainer.iteration:,} of {run.trainer.iterations:,}"))
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


def watch(run: Run, observers: Sequence[Observer]) -> ResultRecord:
    """Run the trainer to its end and show it to the observers.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the step was done to its end, and the observers have been told.
    """
    try:
        for observer in observers:
            observer.start(run)
        with _stopping(run.trainer) as signals:
            for record in run.trainer.steps():
                if isinstance(record, ResultRecord):
                    for observer in observers:
                        observer.finish(record)
                    return record
                assert isinstance(record, StepRecord)
                for observer in observers:
                    observer.record(record)
        raise signals[0]
    except BaseException as error:
        answers = [answer for observer in reversed(observers) if (answer := observer.stop(error))]
        if not isinstance(error, KeyboardInterrupt):
            raise
        where = f"stopped after iteration {run.trainer.iteration:,} of {run.trainer.iterations:,}"
        raise Interrupted(" ".join([f"{where}.", *answers]), error) from None


@contextlib.contextmanager
def _stopping(trainer: Trainer) -> Iterator[list[BaseException]]:
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
        min=1,
        help="Iterations from one checkpoint to the next. [default: off]",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    checkpoint_seconds: Optional[float] = typer.Option(  # noqa: UP045
        None,
        "--checkpoint-seconds",
        metavar="SECONDS",
        min=0.01,
        help="Seconds from one checkpoint to the next. [default: 30, or off with --checkpoint-every]",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    keep_checkpoints: Optional[int] = typer.Option(  # noqa: UP045
        None,
        "--keep",
        metavar="N",
        min=1,
        help="How many checkpoints to keep, the newest ones. [default: 1]",
        show_default=False,
        rich_help_panel=KEEPING,
    ),
    log: Optional[list[str]] = typer.Option(  # noqa: B008, UP045
        None,
        "--log",
        metavar="KIND[:PATH]",
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
      gpunet train --schedule cosine:warmup=500 --validation 500 --early-stopping 5
      gpunet train --batch-size all --iterations 200 --lr 0.5
      gpunet train --config settings.toml --seed 1 --json
      gpunet train --out runs/a --epochs 50
      gpunet train --resume runs/a
      gpunet train --config runs/a/config.json
    """
    keeping = keep.Keeping(out, resume, force, checkpoint_every, checkpoint_seconds, keep_checkpoints, tuple(log or ()))
    folder, noted = None, keep.run_config(config)
    if resume is not None:
        if config is not None:
            raise UsageError("--config: a resumed run keeps its settings; leave it out, or start a new run.")
        folder = RunFolder(resume)
        noted = folder.config()
        folder.lock()
        keeping = keeping.of_config(noted, folder.path)
        settings = keep.settings_of(folder, noted, given)
        if (ended := folder.result()) is not None:
            _finished(folder, ended, json)
            return
    else:
        settings = resolve(given, config)
    backend = get_backend(settings.device)
    with display.DownloadBar(quiet=quiet) as progress:
        data = build_dataset(settings, progress)
    model = build_model(settings, data, backend)
    trainer = build_trainer(settings, model, data)
    if noted is not None:
        keep.check_surroundings(noted, trainer, resume or str(config), resumed=folder is not None)
    if folder is not None:
        for remark in folder.take_up(trainer):
            display.note(f"note: {remark}")
    elif out is not None:
        folder = keep.new_folder(keeping, settings, trainer)
    keeping.attach(trainer, folder)
    observers: list[Observer] = [JsonLines(quiet) if json else ResultLine() if quiet else Log()]
    if folder is not None:
        observers.append(Kept(folder, quiet or json))
    watch(Run(settings, data, model, trainer), observers)


def _finished(folder: RunFolder, result: dict[str, Any], json: bool) -> None:
    """Say that a run that was to be resumed has come to its end, and how it ended."""
    if json:
        sys.stdout.write(f"{as_json(result)}\n")
        return
    named = [(name, result.get(f"{name}_accuracy")) for name in ("test", "validation", "train")]
    told = ", ".join(f"{name} accuracy {value:.4f}" for name, value in named if isinstance(value, float))
    display.line(f"{folder.path}: the run is finished{': ' if told else ''}{told}")

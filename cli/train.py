"""`gpunet train`: settings, data, model and trainer, and what the terminal is told while it trains.

Whatever wants to see a run is a `Callback` of its trainer: the progress bar, the lines and the JSON here, and what
keeps a run on disk (`cli/keep.py`).
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, Optional

import typer

from gpunet.backend import Backend, get_backend, readable
from gpunet.cli import display, keep
from gpunet.cli.errors import Interrupted, Terminated
from gpunet.cli.options import at_least, choices, resolve, setting_options
from gpunet.data.dataset import Dataset
from gpunet.errors import TrainingDiverged, UsageError
from gpunet.runs.folder import RunFolder
from gpunet.runs.initial import begin_from
from gpunet.runs.logs import LOGS, as_json
from gpunet.runs.recording import Recording
from gpunet.runs.settings import Settings, build_dataset, build_model, build_trainer, layer_sizes
from gpunet.terminal import duration, figure
from gpunet.training.callbacks import Callback
from gpunet.training.memory import training_bytes
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
        judge = (trainer.judge or trainer.metrics[0]).key
        if record.validation_metrics:
            self._validation = figure(record.validation_metrics[judge])
        self._unwritten = self._line(record, judge, len(str(trainer.iterations)))
        if trainer.logs.is_due(record.iteration):
            self._write()

    def on_end(self, trainer: Trainer) -> None:
        """Write the last record, which need not be one of a log step."""
        self._write()

    def _line(self, record: StepRecord, judge: str, digits: int) -> str:
        name, value = judge.replace("_", " "), figure(record.metrics[judge])
        text = f"iteration {record.iteration:>{digits}}  {name} {value}  loss {record.loss:.6f}"
        if len(text) > self._room:
            text = f"{record.iteration:>{digits}}  {name[:3]} {value}  loss {record.loss:.4f}"
        if self._validation:
            label = "validation" if len(text) + 19 <= self._room else "val"
            text += f"  {label} {self._validation}"
        return text

    def _write(self) -> None:
        if self._unwritten is not None:
            self._bar.write(self._unwritten)
        self._unwritten, self._validation = None, ""


def header(settings: Settings, data: Dataset, backend: Backend) -> list[tuple[str, str]]:
    """What is about to be trained, on what, how and where, as labels and texts; the network need not be there yet."""
    sizes, recipe, optimizer = layer_sizes(settings, data), settings.fitted(data, settings.seed), settings.optimizer
    names = settings.activation if isinstance(settings.activation, tuple) else [settings.activation]
    kinds = f" {', '.join(names)}" if settings.hidden else ""
    iterations, batch = int(recipe.iterations or 0), int(recipe.batch_size)
    length = f"{counted(iterations, 'iteration')} of {counted(batch, 'example')}"
    epochs = iterations * batch / len(data.train)
    changes = "" if settings.schedule == "constant" else f", schedule {settings.schedule}"
    rows = [
        ("data", f"{data.name}: {', '.join(f'{len(split):,} {name}' for name, split in data.splits().items())}"),
        *data.facts,
        (
            "network",
            f"{'-'.join(map(str, sizes))}{kinds}, {parameter_count(sizes):,} parameters, {settings.loss_of(data.task)}",
        ),
        ("training", f"{optimizer}, learning rate {settings.learning_rate:g}{changes}, seed {settings.seed}"),
        ("length", f"{length}, {counted(round(epochs, 1), 'epoch')}"),
    ]
    limits = ("dropout", "l2", "l1", "weight_decay", "label_smoothing", "max_norm", "clip_norm", "early_stopping")
    told = [f"{name.replace('_', ' ')} {shown(getattr(settings, name))}" for name in limits if getattr(settings, name)]
    rows += [("regularised", ", ".join(told))] if told else []
    rows.append(("device", f"{backend.device}: {backend.reason}" if backend.reason else backend.device))
    return rows


def counted(number: float, what: str) -> str:
    """1 iteration, 5,000 iterations, 2.5 epochs."""
    return f"{number:,g} {what}" + ("" if number == 1 else "s") if number < 1e6 else f"{number:,.0f} {what}s"


def shown(value: Any) -> str:
    """A setting's value as it is typed."""
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def parameter_count(sizes: list[int]) -> int:
    """The weights and biases of a network."""
    return sum((below + 1) * above for below, above in itertools.pairwise(sizes))


def steps_row(trainer: Trainer) -> list[tuple[str, str]]:
    """Where the batches come from and how the steps are run, which is known once all is set up, and where a resumed run
    goes on."""
    plan = trainer.plan
    threads = plan["threads"]
    rows = [("batches", plan["batches"])] if plan["batches"] else []
    rows += [("steps", plan["graph"] + (f", up to {threads} threads" if threads and threads > 1 else ""))]
    if trainer.iteration:
        rows.append(("resumed", f"goes on after iteration {trainer.iteration:,} of {trainer.iterations:,}"))
    return rows


def tried_out(trainer: Trainer) -> dict[str, float]:
    """The memory in bytes that training takes, and its seconds as a second of it says; the trainer is used up."""
    measured = (0.0, 0)
    for seconds in (0.3, 1.0):  # first what is done once, such as compiling kernels
        if trainer.stopped is None:
            measured = trainer.seconds, trainer.iteration
            timer = threading.Timer(seconds, trainer.stop)
            timer.start()
            for _ in trainer.steps():
                pass
            timer.cancel()
    pace = (trainer.seconds - measured[0]) / max(trainer.iteration - measured[1], 1)
    held = trainer.step.source.nbytes
    parts = training_bytes(trainer.model, trainer.data, trainer.optimizer, trainer.batch, held)
    return {"memory_bytes": sum(parts.values()), "train_seconds": pace * trainer.iterations, "seconds_per_step": pace}


def result_table(result: ResultRecord) -> tuple[list[str], list[list[str]]]:
    """Metrics and loss of each split side by side, and the gap between training and test (or validation)."""
    splits = [name for name in ("train", "validation", "test") if getattr(result, f"{name}_metrics") is not None]
    gap = splits[0] == "train" and len(splits) > 1
    rows = []
    for name in [*result.train_metrics, "loss"]:
        values = [getattr(result, f"{split}_{name}") for split in splits]
        row = [name.replace("_", " "), *("" if value is None else figure(value) for value in values)]
        if gap:
            known = None not in (values[0], values[-1])
            row.append(f"{'+' if values[0] >= values[-1] else ''}{figure(values[0] - values[-1])}" if known else "")
        rows.append(row)
    return ["", *splits, *(["gap"] if gap else [])], rows


def result_speed(result: ResultRecord) -> str:
    """How long it took, in one line."""
    return (
        f"{counted(result.iterations, 'iteration')} in {result.train_seconds:.2f} s on {result.device}, "
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


def result_line(result: dict[str, Any]) -> str:
    """The metrics of each split in one line, out of a result as JSON has it."""
    named = [
        (split, name.removeprefix(f"{split}_").replace("_", " "), value)
        for split in ("test", "validation", "train")
        for name, value in result.items()
        if name.startswith(f"{split}_") and name not in (f"{split}_loss", "train_seconds")
    ]
    return ", ".join(f"{split} {name} {figure(value)}" for split, name, value in named if value is not None)


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
    except TrainingDiverged as error:  # with the option as it is typed here
        raise TrainingDiverged(str(error).replace("clip_norm", "--clip-norm"), error.iteration) from None
    except KeyboardInterrupt as error:
        told = [f"Stopped at iteration {trainer.iteration:,} of {trainer.iterations:,}."]
        if isinstance(record, StepRecord):
            figures = {**record.metrics, "loss": record.loss}
            figures |= {f"validation {name}": value for name, value in (record.validation_metrics or {}).items()}
            so_far = ", ".join(f"{name.replace('_', ' ')} {figure(value)}" for name, value in figures.items())
            told[0] = f"{told[0][:-1]}: {so_far}."
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
        autocompletion=choices(*LOGS),  # noqa: B008
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be done, its memory and time, and stop."),
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
      gpunet train --init-from runs/a --lr 0.01 --epochs 20 --out runs/b
      gpunet train --config runs/a/config.json
      gpunet train --data mnist --hidden 2000,2000 --epochs 50 --dry-run
    """
    kept = keep.options(
        out, resume, force, log, checkpoint_every=checkpoint_every, checkpoint_seconds=checkpoint_seconds,
        keep=keep_checkpoints,
    )  # fmt: skip
    folder = None
    if resume is not None:
        if config is not None:
            raise UsageError("--config: a resumed run keeps its settings; leave it out, or start a new run.")
        if dry_run:
            raise UsageError("--dry-run: a run that is resumed cannot be tried out; leave one of the two out.")
        folder = RunFolder(resume)
        folder.config()
        folder.lock()
        keep.check_resumed(folder, given)
        if (ended := folder.result()) is not None:
            _finished(folder, ended, json)
            return
        settings = folder.settings().with_changes(**given)
    else:
        settings = resolve(given, config)
    backend = get_backend(settings.device)
    if folder is not None and "device" not in given:
        backend.reason = folder.config().get("device_reason", backend.reason)  # why it was taken at first
    with display.DownloadBar(quiet=quiet) as progress:
        data = build_dataset(settings, progress)
    told = not quiet and (not json or display.can_redraw(sys.stderr))
    if told:  # before the network is made, which may take long
        display.pairs(header(settings, data, backend), stderr=json, width=11)
        sys.stdout.flush()
    trainer = build_trainer(settings, build_model(settings, data, backend), data)
    if folder is not None:
        trainer = folder.resume(trainer)
        for remark in folder.remarks:
            display.note(f"note: {remark}")
    elif config is not None:
        keep.note_changes(config, trainer)
    rows = steps_row(trainer)
    if folder is None and settings.init_from is not None:
        rows.append(("begins with", begin_from(trainer, settings.init_from)))
    if told:
        display.pairs(rows, stderr=json, width=11)
        display.write("", stderr=json)
        sys.stdout.flush()
    if dry_run:
        estimate = tried_out(trainer)
        if json:
            sys.stdout.write(f"{as_json({'event': 'estimate', **estimate})}\n")
        else:
            memory, seconds = readable(estimate["memory_bytes"]), duration(estimate["train_seconds"])
            display.pairs([("memory", f"about {memory}"), ("time", f"about {seconds}, without evaluations")], width=11)
        return
    if folder is None and out is not None:
        folder = RunFolder.start(out, trainer, settings, force=force, command=["gpunet", *sys.argv[1:]], **kept)
    elif folder is None:
        trainer.callbacks += Recording(**kept).logs(None)
    bar = ProgressBar()
    if json or not quiet:
        trainer.callbacks += [] if quiet else [bar]
        trainer.callbacks.append(JsonLines(bar) if json else Lines(bar))
    result = watch(trainer, folder)
    if quiet and not json:
        display.line(f"{result_line(result.as_dict())}; {result_speed(result)}")
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
    told = result_line(result)
    display.line(f"{folder.path}: the run is finished{': ' if told else ''}{told}")

"""`gpunet train`: settings, data, model and trainer, and what the terminal is told while it trains.

Whatever wants to see a run is a `Callback` of its trainer: the progress bar, the lines and the JSON here, and what
keeps a run on disk (`cli/keep.py`).
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Optional

import typer

from gpunet.backend import get_backend
from gpunet.cli import display, keep, several
from gpunet.cli.errors import Interrupted, as_typed
from gpunet.cli.header import counted, header, show_estimate, steps_row, tried_out
from gpunet.cli.options import choices, number_option, resolve, setting_options, text_option
from gpunet.cli.ranks import alike, assisting, last_words, one_voice, taking_part
from gpunet.cli.results import result_line
from gpunet.cli.stopping import stopping
from gpunet.data.folders import Tables, read_once
from gpunet.errors import TrainingDiverged, UsageError
from gpunet.runs.folder import RunFolder
from gpunet.runs.initial import begin_from
from gpunet.runs.logs import LOGS, as_json
from gpunet.runs.recording import Recording
from gpunet.runs.settings import build_dataset, build_model, build_trainer, load_whole
from gpunet.training.callbacks import Callback
from gpunet.training.progress import ProgressBar
from gpunet.training.records import Record, ResultRecord, StepRecord
from gpunet.training.trainer import Trainer
from gpunet.wording import figure

KEEPING = "Keeping the run"
SEVERAL = "Several networks"
LOG_NAMES = ", ".join(LOGS)


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


def watch(trainer: Trainer, folder: RunFolder | None) -> ResultRecord:
    """Run the trainer to its end.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the step was done to its end, and the callbacks have been told.
    """
    record: Record | None = None
    together = False  # with all other ranks
    kept = keep.way_on(folder)
    try:
        with last_words(trainer, kept), stopping([trainer]) as signals:
            for each in trainer.steps():
                record = each
        if isinstance(record, ResultRecord):
            return record
        together = True
        raise signals[0] if signals else KeyboardInterrupt
    except TrainingDiverged as error:
        raise (alike(as_typed(error)) if error.everywhere else as_typed(error)) from None
    except KeyboardInterrupt as error:
        told = [f"Stopped at iteration {trainer.iteration:,} of {trainer.iterations:,}."]
        if isinstance(record, StepRecord):
            figures = {**record.metrics, "loss": record.loss}
            figures |= {f"validation {name}": value for name, value in (record.validation_metrics or {}).items()}
            so_far = ", ".join(f"{name.replace('_', ' ')} {figure(value)}" for name, value in figures.items())
            told[0] = f"{told[0][:-1]}: {so_far}."
        stopped = Interrupted("\n".join([*told, kept]), error)
        raise (alike(stopped) if together else stopped) from None


@setting_options
def command(
    given: dict[str, str],
    config: Optional[str] = text_option(
        "--config",
        metavar="FILE",
        help="Take settings from a TOML or JSON file, such as a run's config.json; the command line goes on top.",
    ),
    out: Optional[str] = text_option(
        "--out",
        metavar="RUN",
        help="Keep the run in this folder: settings, records, checkpoints, the network at the end.",
        panel=KEEPING,
    ),
    force: bool = typer.Option(False, "--force", help="Write over a run in the folder.", rich_help_panel=KEEPING),
    resume: Optional[str] = text_option(
        "--resume",
        metavar="RUN",
        help="Go on with an interrupted run, to the very same end as without the interruption.",
        panel=KEEPING,
    ),
    checkpoint_every: Optional[int] = number_option(
        "--checkpoint-every", least=1, help="Iterations from one checkpoint to the next. [default: off]", panel=KEEPING
    ),
    checkpoint_seconds: Optional[float] = number_option(
        "--checkpoint-seconds",
        least=0.01,
        help="Seconds from one checkpoint to the next. [default: 30, or off with --checkpoint-every]",
        panel=KEEPING,
    ),
    keep_checkpoints: Optional[int] = number_option(
        "--keep", least=1, help="How many checkpoints to keep, the newest ones. [default: 1]", panel=KEEPING
    ),
    log: Optional[list[str]] = typer.Option(  # noqa: B008
        None,
        "--log",
        metavar="LOG",
        help=f"Log the records, in the run folder or at PATH, as {LOG_NAMES}; may be given several times.",
        show_default=False,
        rich_help_panel=KEEPING,
        autocompletion=choices(*LOGS),  # noqa: B008
    ),
    ensemble: Optional[int] = number_option(
        "--ensemble",
        least=2,
        help="Train N networks that answer as one, seeds counted from --seed; with --validation each holds out another "
        "part: 0.2 another fifth.",
        panel=SEVERAL,
    ),
    folds: Optional[int] = number_option(
        "--folds",
        least=2,
        metavar="K",
        help="Cross-validate: train a network for each of K equal parts, which judges it and is held out.",
        panel=SEVERAL,
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be done, its memory and time, and stop."),
    json: bool = typer.Option(False, "--json", help="Write JSON lines to standard output and nothing else."),
    quiet: bool = typer.Option(
        False, "--quiet", "-q", help="Write only the result; with --json, draw no progress bar."
    ),
) -> None:
    """Train a network and say how well it does on examples it has not seen.

    Without options: the network 784-50-30-10 with relu, trained with SGD in 5000 iterations of 100 examples
    on mnist-5k, the digits that come with the package. Tables have defaults of their own, those of --recipe table.

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
      gpunet train --data houses.csv --target price --ensemble 5
      gpunet train --folds 5 --epochs 20
      gpunet train --init-from runs/a --lr 0.01 --epochs 20 --out runs/b
      gpunet train --config runs/a/config.json
      gpunet train --data mnist --hidden 2000,2000 --epochs 50 --dry-run
      gpunet train --device cuda:0,cuda:1 --batch-size 400
      mpirun -n 4 gpunet train --distributed mpi --data mnist --batch-size 400
    """
    kept = keep.options(
        out, resume, force, log, checkpoint_every=checkpoint_every, checkpoint_seconds=checkpoint_seconds,
        keep=keep_checkpoints,
    )  # fmt: skip
    networks = several.asked(ensemble, folds, resume, config)
    if resume is not None and config is not None:
        raise UsageError("--config: a resumed run keeps its settings; leave it out, or start a new run.")
    if resume is not None and dry_run:
        raise UsageError("--dry-run: a run that is resumed cannot be tried out; leave one of the two out.")
    progress, tables = display.DownloadBar(quiet=quiet), Tables()
    with progress, read_once(tables):
        settings = None if resume is not None else resolve(given, config, folds, progress)
    asked = given if settings is None else vars(settings)
    ranks = taking_part(asked.get("distributed"), asked.get("device", ""))
    with one_voice(ranks), contextlib.ExitStack() as setting_up:
        if ranks.size > 1 and (dry_run or networks is not None):
            option = "--dry-run" if dry_run else "--ensemble, --folds"
            raise alike(UsageError(f"{option}: this is for one process; leave it or --distributed out."))
        if ranks.rank:
            tables.clear()
            if (trainer := assisting(ranks, settings)) is not None:
                watch(trainer, None)
            return
        setting_up.enter_context(ranks.together())
        folder = None
        if settings is None:
            folder = RunFolder(str(resume))
            folder.config()
            folder.lock()
            keep.check_resumed(folder, given)
            if (ended := folder.result()) is not None:
                ranks.first(None)
                _finished(folder, ended, json)
                return
            settings = ranks.first(folder.settings().with_changes(**{"distributed": None, **given}))
        backend = get_backend(ranks.device(settings.device))
        if folder is not None and "device" not in given:
            backend.reason = folder.config().get("device_reason", backend.reason)  # why it was taken at first
        with progress, read_once(tables):
            data = (build_dataset if networks is None else load_whole)(settings, progress)
        tables.clear()
        if networks is not None:
            several.train(
                networks, settings, data, backend, folder, out, force, kept, losses=progress.losses, dry_run=dry_run,
                json=json, quiet=quiet,
            )  # fmt: skip
            return
        told = not quiet and (not json or display.can_redraw(sys.stderr))
        if told:  # before the network is made, which may take long
            display.pairs(header(settings, data, backend, progress.losses), stderr=json, width=11)
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
            show_estimate(tried_out(trainer), json)
            return
        if folder is None and out is not None:
            command = ["gpunet", *sys.argv[1:]]
            folder = RunFolder.start(out, trainer, settings, force=force, command=command, **kept)
        elif folder is None:
            trainer.callbacks += Recording(**kept).logs(None)
        setting_up.close()  # from here on the ranks do their steps together
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

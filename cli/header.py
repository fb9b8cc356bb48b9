"""What `gpunet train` says before it trains: what on what, how and where, and with --dry-run its memory and time."""

from __future__ import annotations

import itertools
import sys
import threading

from gpunet.backend import Backend
from gpunet.cli import display
from gpunet.data.dataset import Dataset
from gpunet.network.evaluation import CONFUSION_CLASSES
from gpunet.runs.logs import as_json
from gpunet.runs.recipes import Losses
from gpunet.runs.settings import RECIPES, Settings, layer_sizes
from gpunet.training.memory import training_bytes
from gpunet.training.trainer import Trainer
from gpunet.wording import duration, readable, typed


def header(settings: Settings, data: Dataset, backend: Backend, losses: Losses | None = None) -> list[tuple[str, str]]:
    """What is about to be trained, on what, how and where, as labels and texts; the network need not be there yet.

    Args:
        settings, data, backend: of the run.
        losses: what trials of encodings found: mean validation losses.
    """
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
        *([("recipe", RECIPES[settings.recipe])] if settings.recipe in RECIPES else []),
        *([("encoding", encoding(settings, losses))] if losses else []),
    ]
    limits = ("dropout", "l2", "l1", "weight_decay", "label_smoothing", "max_norm", "clip_norm", "early_stopping")
    told = [f"{name.replace('_', ' ')} {typed(getattr(settings, name))}" for name in limits if getattr(settings, name)]
    rows += [("regularised", ", ".join(told))] if told else []
    if data.task == "classification" and data.classes > CONFUSION_CLASSES:
        rows.append(("confusions", f"not counted: of more than {CONFUSION_CLASSES:,} classes there are too many pairs"))
    rows.append(("device", f"{backend.device}: {backend.reason}" if backend.reason else backend.device))
    return rows


def encoding(settings: Settings, losses: Losses) -> str:
    """The encoding that was taken, and by how much the validation loss of its trials was lower."""
    names = {(scale, bins): f"{scale} scale, {bins or 'no'} bins" for scale, bins in losses}
    taken = settings.scale, settings.bins
    others = ", ".join(f"{loss:.4g} with {names[each]}" for each, loss in losses.items() if each != taken)
    return f"{names[taken]}, by validation (mean loss of the trials {losses[taken]:.4g}, against {others})"


def counted(number: float, what: str) -> str:
    """1 iteration, 5,000 iterations, 2.5 epochs."""
    return f"{number:,g} {what}" + ("" if number == 1 else "s") if number < 1e6 else f"{number:,.0f} {what}s"


def parameter_count(sizes: list[int]) -> int:
    """The weights and biases of a network."""
    return sum((below + 1) * above for below, above in itertools.pairwise(sizes))


def steps_row(trainer: Trainer) -> list[tuple[str, str]]:
    """Where the batches come from, in what order, and how the steps are run, which is known once all is set up, and
    where a resumed run goes on."""
    plan = trainer.plan
    threads = plan["threads"]
    rows = [(name, plan[name]) for name in ("batches", "order") if plan[name]]
    rows += [("steps", plan["graph"] + (f", up to {threads} threads" if threads and threads > 1 else ""))]
    if trainer.ranks.size > 1:
        rows.append(("ranks", f"{trainer.ranks.description}, {counted(trainer.share, 'row')} of a batch each"))
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
    parts = training_bytes(trainer.model, trainer.data, trainer.optimizer, trainer.batch, trainer.mode, held)
    return {"memory_bytes": sum(parts.values()), "train_seconds": pace * trainer.iterations, "seconds_per_step": pace}


def show_estimate(estimate: dict[str, float], json: bool) -> None:
    """Write what `tried_out` found."""
    if json:
        sys.stdout.write(f"{as_json({'event': 'estimate', **estimate})}\n")
        return
    memory, seconds = readable(estimate["memory_bytes"]), duration(estimate["train_seconds"])
    display.pairs([("memory", f"about {memory}"), ("time", f"about {seconds}, without evaluations")], width=11)

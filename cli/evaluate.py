"""`gpunet evaluate`: how good a network is, class by class, and where it errs."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from typing import Any, Optional

import numpy as np
import typer

from gpunet.cli import display
from gpunet.cli.opened import Opened, open_run
from gpunet.cli.options import DEVICES, choices, number_option, text_option
from gpunet.errors import UsageError
from gpunet.network.evaluation import CONFUSION_CLASSES, Evaluation
from gpunet.network.prediction import class_names
from gpunet.pictures.confusion import Confusion
from gpunet.pictures.mistakes import Mistake, worst_mistakes
from gpunet.pictures.style import check_format, save

#: The widest a confusion matrix is in a pipe, where no terminal says how much room there is.
WIDTH = 120


def command(
    run: str = typer.Argument(..., metavar="RUN", help="Run folder or model file.", show_default=False),
    data: Optional[str] = text_option("--data", metavar="NAME", help="Data set. [default: the run's own]"),
    data_dir: Optional[str] = text_option("--data-dir", metavar="DIR", help="Folder that holds the data set's files."),
    split: Optional[str] = text_option(
        "--split",
        metavar="NAME",
        help="train, validation or test. [default: test]",
        completion=choices("train", "validation", "test"),
    ),
    mistakes: int = number_option("--mistakes", least=0, default=10, help="How many of the worst mistakes to list."),
    picture: Optional[str] = text_option(
        "--picture", metavar="FILE", help="Draw the confusion matrix into a file (.png, .svg)."
    ),
    device: str = typer.Option(
        "cpu", "--device", metavar="NAME", help="Device to compute on.", autocompletion=choices(*DEVICES)
    ),
    json: bool = typer.Option(False, "--json", help="Write one line of JSON and nothing else."),
) -> None:
    """Measure a trained network: loss, accuracy, precision and recall of each class, confusions, worst mistakes.

    \b
    Examples:
      gpunet evaluate runs/a
      gpunet evaluate runs/a --data mnist --split test
      gpunet evaluate model.safetensors --data mnist-5k --mistakes 20
      gpunet evaluate runs/a --picture confusion.png
    """
    if picture is not None:
        check_format(picture)
    opened = open_run(run, data, data_dir, device)
    part, name = opened.split(split)
    found = opened.evaluate(part)
    if picture is not None and found.confusion is None:
        raise UsageError(f"--picture {picture}: there is no confusion matrix of these answers to draw.")
    confusion = None if found.confusion is None else Confusion(found, opened.class_names)
    worst = worst_mistakes(opened.model, part, found, mistakes)
    assert opened.data is not None
    if json:
        names = class_names(opened.model)
        classes = [{"class": title, **row} for title, row in zip(names, found.per_class(), strict=False)]
        record = {
            "event": "evaluation", "data": opened.data.name, "split": name, "examples": len(part),
            "loss": _finite(found.loss), **{key: _finite(value) for key, value in found.metrics.items()},
            "classes": classes, "confusion": None if found.confusion is None else found.confusion.tolist(),
            "mistakes": [_as_json(each, names) for each in worst],
        }  # fmt: skip
        sys.stdout.write(f"{json_module.dumps(record, allow_nan=False)}\n")
    else:
        _write(opened, f"{opened.data.name}, {name}: {len(part):,} examples", found, confusion, worst)
    if picture is not None:
        save(Confusion(found, opened.class_names).figure(), picture)
        if not json:
            display.line(f"confusion matrix in {picture}")


def _as_json(mistake: Mistake, names: list[str]) -> dict[str, Any]:
    return {
        "index": mistake.index,
        "true": _told(mistake.truth, names),
        "predicted": _told(mistake.answer, names),
        "probability": None if mistake.probability is None else _finite(mistake.probability),
        "loss": _finite(mistake.loss),
    }


def _told(answer: Any, names: list[str]) -> Any:
    """An answer as JSON can hold it: the class's name, a value, or 0 and 1 (or a value) for each name."""
    if isinstance(answer, list):
        return dict(zip(names, answer, strict=True))
    return names[answer] if isinstance(answer, int) else answer


def _finite(value: Any) -> float | None:
    """A number as JSON can hold it."""
    return float(value) if np.isfinite(value) else None


def _write(opened: Opened, where: str, found: Evaluation, confusion: Confusion | None, worst: list[Mistake]) -> None:
    rows = [("network", f"{opened.model.description}, {opened.name}"), ("data", where)]
    if opened.data is not None:
        rows += opened.data.facts
    for key, value in found.metrics.items():
        right = int((found.predictions == found.truth).sum()) if key == "accuracy" else 0
        told = f", {right:,} right and {len(found.truth) - right:,} wrong" if key == "accuracy" else ""
        rows.append((key.replace("_", " "), f"{value:.4f}{told}"))
    rows.append(("loss", f"{found.loss:.4f}"))
    display.pairs(rows)
    names = class_names(opened.model)
    if opened.model.preparation.task == "regression":
        _write_worst(worst, names)
        return
    display.line()
    table = [
        [name, *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), f"{row['support']:,}"]
        for name, row in zip(names, found.per_class(), strict=True)
    ]
    display.table(["class", "precision", "recall", "F1", "examples"], table)
    if opened.model.preparation.task == "multi-label":
        _write_worst(worst, names)
        return
    display.line()
    canvas = display.canvas()
    # A pipe says no width; a matrix of some classes is wider than 80 columns.
    wide = canvas if sys.stdout.isatty() else dataclasses.replace(canvas, width=WIDTH)
    if confusion is None:
        display.line(f"of more than {CONFUSION_CLASSES:,} classes no confusion matrix is shown")
    else:
        display.lines(confusion.lines(wide))
    _write_worst(worst, names)


def _write_worst(worst: list[Mistake], names: list[str]) -> None:
    if not worst:
        return
    listed = [
        [
            str(each.index), *(_shown(answer, names) for answer in (each.truth, each.answer)),
            "" if each.probability is None else f"{each.probability:.4f}", f"{each.loss:.3f}",
        ]
        for each in worst
    ]  # fmt: skip
    display.line()
    display.line("worst mistakes, the highest loss first")
    display.table(["index", "true", "predicted", "probability", "loss"], listed)


def _shown(answer: Any, names: list[str]) -> str:
    told = _told(answer, names)
    if not isinstance(told, dict):
        return f"{told:.6g}" if isinstance(told, float) else str(told)
    if all(isinstance(value, int) for value in told.values()):
        return ", ".join(name for name, value in told.items() if value) or "(none)"
    return ", ".join(f"{name} {value:.6g}" for name, value in told.items())

"""`gpunet evaluate`: how good a network is, class by class, and where it errs."""

from __future__ import annotations

import json as json_module
import sys
from typing import Any, Optional

import numpy as np
import typer

from gpunet.cli import display
from gpunet.cli.opened import Opened, open_run
from gpunet.data.dataset import Split
from gpunet.network.evaluation import Evaluation, true_classes

#: The widest a confusion matrix is in a pipe, where no terminal says how much room there is.
WIDTH = 120
#: Pairs of classes that are listed where the matrix is too wide.
PAIRS = 12


def command(
    run: str = typer.Argument(..., metavar="RUN|MODEL", help="Run folder or model file.", show_default=False),
    data: Optional[str] = typer.Option(  # noqa: UP045
        None, "--data", metavar="NAME|FOLDER", help="Data set. [default: the run's own]", show_default=False
    ),
    data_dir: Optional[str] = typer.Option(  # noqa: UP045
        None, "--data-dir", metavar="FOLDER", help="Folder that holds the data set's files.", show_default=False
    ),
    split: Optional[str] = typer.Option(  # noqa: UP045
        None, "--split", metavar="NAME", help="train, validation or test. [default: test]", show_default=False
    ),
    mistakes: int = typer.Option(10, "--mistakes", min=0, metavar="N", help="How many of the worst mistakes to list."),
    picture: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--picture",
        metavar="FILE",
        help="Draw the confusion matrix into a file (.png, .svg).",
        show_default=False,
    ),
    device: str = typer.Option("cpu", "--device", metavar="cpu|cuda|cuda:N|auto", help="Device to compute on."),
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
        from gpunet.pictures import curves as plots

        plots.check_format(picture)
    opened = open_run(run, data, data_dir, device)
    part, name = opened.split(split)
    found = opened.evaluate(part)
    worst = worst_mistakes(opened, part, found, mistakes)
    assert opened.data is not None
    if json:
        classes = [{"class": title, **row} for title, row in zip(opened.class_names, found.per_class(), strict=True)]
        record = {
            "event": "evaluation", "data": opened.data.name, "split": name, "examples": len(part),
            "loss": _finite(found.loss), "accuracy": found.accuracy,
            "classes": classes, "confusion": found.confusion.tolist(), "mistakes": worst,
        }  # fmt: skip
        sys.stdout.write(f"{json_module.dumps(record, allow_nan=False)}\n")
    else:
        _write(opened, f"{opened.data.name}, {name}: {len(part):,} examples", found, worst)
    if picture is not None:
        plots.save(plots.confusion(found, opened.class_names), picture)
        if not json:
            display.line(f"confusion matrix in {picture}")


def worst_mistakes(opened: Opened, part: Split, found: Evaluation, count: int) -> list[dict[str, Any]]:
    """The mistakes with the highest loss: index in the split, true and predicted class, probability of the latter."""
    truth = true_classes(part.labels)
    wrong = np.flatnonzero(found.predictions != truth)
    wrong = wrong[np.argsort(-found.losses[wrong], kind="stable")][:count]
    shares = None
    if opened.model.loss.output in ("softmax", "sigmoid") and len(wrong):
        shares = np.asarray(opened.model.backend.to_host(opened.model.predict_proba(part.images[wrong])))
    names = opened.class_names
    return [
        {
            "index": int(index),
            "true": names[truth[index]],
            "predicted": names[found.predictions[index]],
            "probability": None if shares is None else _finite(shares[place, found.predictions[index]]),
            "loss": _finite(found.losses[index]),
        }
        for place, index in enumerate(wrong)
    ]


def _finite(value: Any) -> float | None:
    """A number as JSON can hold it."""
    return float(value) if np.isfinite(value) else None


def _write(opened: Opened, where: str, found: Evaluation, worst: list[dict[str, Any]]) -> None:
    right = int(np.trace(found.confusion))
    display.pairs(
        [
            ("network", f"{opened.model.description}, {opened.name}"),
            ("data", where),
            ("accuracy", f"{found.accuracy:.4f}, {right:,} right and {int(found.confusion.sum()) - right:,} wrong"),
            ("loss", f"{found.loss:.4f}"),
        ]
    )
    names = opened.class_names
    display.line()
    rows = [
        [name, *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), f"{row['support']:,}"]
        for name, row in zip(names, found.per_class(), strict=True)
    ]
    display.table(["class", "precision", "recall", "F1", "examples"], rows)
    display.line()
    for text in confusion_lines(found.confusion, names, display.console().width if sys.stdout.isatty() else WIDTH):
        display.line(text)
    if worst:
        display.line()
        listed = [
            [
                str(each["index"]), each["true"], each["predicted"],
                "" if each["probability"] is None else f"{each['probability']:.4f}",
                "" if each["loss"] is None else f"{each['loss']:.3f}",
            ]
            for each in worst
        ]  # fmt: skip
        display.line("worst mistakes, the highest loss first")
        display.table(["index", "true", "predicted", "probability", "loss"], listed)


def confusion_lines(confusion: np.ndarray, names: list[str], width: int) -> list[str]:
    """The confusion matrix as lines of text; where it is wider than `width`, the most frequent confusions."""
    lead = max(max(map(len, names)), 4)
    cell = max(max(map(len, names)), len(str(int(confusion.max()))))
    for gap in (2, 1):
        if lead + len(names) * (cell + gap) <= width:
            spaces = " " * gap
            head = f"{'true':<{lead}}" + "".join(f"{spaces}{name:>{cell}}" for name in names)
            lines = ["confusions: rows the true class, columns the answer", head]
            for name, row in zip(names, confusion.tolist(), strict=True):
                cells = "".join(f"{spaces}{count if count else '.':>{cell}}" for count in row)
                lines.append(f"{name:<{lead}}{cells}")
            return lines
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = [(int(place) // len(names), int(place) % len(names)) for place in order if off.flat[place]]
    if not pairs:
        return ["no confusions"]
    wide = max(len(str(int(off.max()))), 1)
    return [
        "most frequent confusions",
        *(f"{off[pair]:>{wide}}  {names[pair[0]]} as {names[pair[1]]}" for pair in pairs),
    ]

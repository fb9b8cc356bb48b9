"""`gpunet predict`: what a network answers for pictures, tables and arrays."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from pathlib import Path
from typing import Any, Optional

import numpy as np
import typer

from gpunet.cli import display
from gpunet.cli.opened import open_run
from gpunet.cli.options import DEVICES, choices, number_option, text_option
from gpunet.files import check_place
from gpunet.network.prediction import Answers, Part, Writer, answer, class_names, parts_of


def command(
    run: str = typer.Argument(..., metavar="RUN", help="Run folder or model file.", show_default=False),
    files: list[str] = typer.Argument(  # noqa: B008
        ...,
        metavar="FILE...",
        help="Pictures (PNG, JPEG ...) or folders of them, tables (.csv, .parquet ...), idx or .npy files.",
        show_default=False,
    ),
    out: Optional[str] = text_option(
        "--out", metavar="FILE", help="Write the predictions into a table: .csv, .parquet, .jsonl or .npy."
    ),
    top: int = number_option(
        "--top", least=1, default=3, metavar="K", help="How many classes to name, the likeliest first."
    ),
    center: bool = typer.Option(
        False, "--center", help="Find the ink of pictures, turn it light on dark and centre it, as in MNIST."
    ),
    device: str = typer.Option(
        "cpu", "--device", metavar="NAME", help="Device to compute on.", autocompletion=choices(*DEVICES)
    ),
    json: bool = typer.Option(False, "--json", help="Write a line of JSON for each example and nothing else."),
) -> None:
    """Say what a network answers for files of one's own, with probabilities.

    Everything is prepared as it was in training: columns of a table are found by their names, scaled and encoded;
    pictures are brought to the same size. For a network trained on MNIST or pictures like it they are made into
    what its digits are: light on dark, in a box of 20 by 20 pixels, centred by their centre of mass. Arrays are
    taken as they are, one example a row.

    \b
    Examples:
      gpunet predict runs/a three.png seven.jpg
      gpunet predict runs/a new.csv --out predictions.csv
      gpunet predict model.safetensors t10k-images-idx3-ubyte.gz --top 1
      gpunet predict runs/a digits.npy --json
    """
    if out is not None:
        check_place(out)
    model = open_run(run, device=device, with_data=False).model
    show = Shown(class_names(model), model.preparation.task, top, json)
    said: set[str] = set()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(Writer(out, model)) if out is not None else None
        count = 0
        for file in files:
            for part in parts_of(Path(file), model, center):
                answers = answer(model, part)
                for remark in [each for each in part.remarks if each not in said]:
                    said.add(remark)
                    display.note(f"note: {remark}; it counts as none of the known ones.")
                count += len(part.inputs)
                if writer is None or json:
                    show.part(part, answers)
                if writer is not None:
                    writer.write(part, answers)
                    if sys.stderr.isatty():
                        sys.stderr.write(f"\r{count:,} predictions")
    if out is not None and not json:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + " " * 40 + "\r")
        display.line(f"{count:,} predictions in {out}")


class Shown:
    """Answers on standard output, a line for each example."""

    def __init__(self, names: list[str], task: str, top: int, json: bool) -> None:
        self.names, self.task, self.top, self.json = names, task, top, json

    def part(self, part: Part, answers: Answers) -> None:
        """Write the answers for some examples."""
        single = part.first == 0 and len(part.inputs) == 1
        for row in range(len(part.inputs)):
            file = part.file if part.names is None else part.names[row]
            index = part.first + row if part.names is None else 0
            shares = None if answers.probabilities is None else answers.probabilities[row]
            where = file if single or part.names is not None else f"{file}[{index}]"
            if self.json:
                record = {"event": "prediction", "file": file, "index": index, **self.facts(answers, row, shares)}
                sys.stdout.write(f"{json_module.dumps(record, allow_nan=False)}\n")
            else:
                display.line(f"{where}  {self.text(answers, row, shares)}")

    def facts(self, answers: Answers, row: int, shares: np.ndarray | None) -> dict[str, Any]:
        """An answer as JSON holds it."""
        given = answers.predictions[row]
        if self.task == "regression":
            if given.ndim == 0:
                return {"value": float(given)}
            return {"values": dict(zip(self.names, map(float, given), strict=True))}
        if self.task == "multi-label":
            told: dict[str, Any] = {"labels": [name for name, one in zip(self.names, given, strict=True) if one]}
            if shares is not None:
                told["probabilities"] = dict(zip(self.names, map(float, shares), strict=True))
            return told
        told = {"class": self.names[int(given)]}
        if shares is not None:
            told["probability"] = float(shares[int(given)])
            told["top"] = [
                {"class": self.names[each], "probability": float(shares[each])} for each in self.best(shares)
            ]
        return told

    def text(self, answers: Answers, row: int, shares: np.ndarray | None) -> str:
        """An answer in words."""
        given = answers.predictions[row]
        if self.task == "regression":
            values = np.atleast_1d(given)
            if len(values) == 1:
                return f"{values[0]:.6g}"
            return "  ".join(f"{name} {value:.6g}" for name, value in zip(self.names, values, strict=True))
        if self.task == "multi-label":
            return ", ".join(name for name, one in zip(self.names, given, strict=True) if one) or "(no label)"
        if shares is None:
            return self.names[int(given)]
        told = "  ".join(f"{self.names[index]} {shares[index]:.4f}" for index in self.best(shares))
        return f"{self.names[int(given)]}  ({told})"

    def best(self, shares: np.ndarray) -> list[int]:
        """The likeliest classes, the first the likeliest."""
        return np.argsort(-shares, kind="stable")[: self.top].tolist()

"""A trained network as one HTML page that computes by itself: draw a digit, or fill in the fields of a table.

The page holds the weights and the arithmetic, in plain JavaScript (the files beside this one), and asks for nothing
from outside; a browser opens it from disk. What its answers are held against is `gpunet predict`.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib.resources
import json
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.data.fitting import Category, Number, Pictures
from gpunet.data.photos import SAMPLE
from gpunet.errors import UsageError
from gpunet.kernels.encoding import EQUAL, LINEAR, MISSING, SMOOTH
from gpunet.keywords import checked
from gpunet.network.ensemble import single
from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.network.prediction import pictures_of
from gpunet.pictures.mistakes import class_names, is_wrong, words
from gpunet.pictures.picture import metric_name, metric_text
from gpunet.pictures.style import PAGE_COLOURS, check_suffix, legible
from gpunet.version import __version__

#: What the name of a page ends in.
FORMATS = (".html", ".htm")
#: Examples in the page, and how many of them may be wrong answers.
EXAMPLES, WRONG = 48, 24
_KINDS = {LINEAR: "linear", SMOOTH: "smooth", EQUAL: "equal", MISSING: "missing"}


@checked
def export_page(
    model: Any, path: str | os.PathLike[str], data: Any = None, *, split: str | None = None, name: str | None = None
) -> None:
    """Write a model as a page that computes by itself; never half of it.

    Of a model of pictures one draws, opens files or tries examples, and sees every layer; of one of a table one fills
    in fields, and sees the answer over the range of each.

    Args:
        model: the trained `MLP`.
        path: the file, .html or .htm.
        data: the `Dataset` that it was trained on; from it come the examples to try, the ranges of the fields and the
            result that the page tells. Without it there are none of these.
        split: which part of the data the examples are from, by default "test" or, without one, "validation" or "train".
        name: the heading; by default what the data is called.

    Raises:
        UsageError: the name ends in something else, an activation has no form in a page, or there is no such split.
    """
    from gpunet.files import write_atomic

    check_format(path)
    write_atomic(path, page(model, data, split=split, name=name).encode())


def check_format(path: str | os.PathLike[str]) -> str:
    """The suffix of a page's name, in lower case.

    Raises:
        UsageError: it is none of `FORMATS`.
    """
    return check_suffix(path, FORMATS, "a page")


def page(model: Any, data: Any = None, *, split: str | None = None, name: str | None = None) -> str:
    """The text of the page (see `export_page`)."""
    known = activations()
    for activation in single(model).activations:
        if activation.name not in known:
            raise UsageError(
                f"the activation {activation.name!r} has no form in a page; those that have one are {', '.join(known)}."
            )
    pictures = _pictures(model)
    found = None
    if data is not None:
        splits = data.splits()
        split = split or next(each for each in ("test", "validation", "train") if each in splits)
        if split not in splits:
            raise UsageError(f"{data.name} has no split {split!r}; it has {', '.join(splits)}.")
        found = evaluate(model, splits[split])
    told = _examples(model, data.splits()[split], found) if found is not None else None
    network = _facts(model) | {
        "examples": told,
        "columns": _columns(model, data) if pictures is None else None,
        "pictures": None if pictures is None else dataclasses.asdict(pictures) | {"paper": _paper(pictures, data)},
    }
    scripts = ["activations", "network", "preparation", "page", "pictures"]
    if pictures is None:
        scripts = ["activations", "network", "page", "table"]
    title = name or (data.name if data is not None else model.description)
    chooser = f'<select id="try" aria-label="An example of the {split} split"><option value="">'
    chooser += f"Take an example of the {split} split</option></select>"
    parts = {
        "title": _text(title),
        "style": PAGE_COLOURS + _file("page.css"),
        "lead": _text(_lead(model)),
        "ask": _file("fields.html" if pictures is None else "drawing.html"),
        "more": _file("table.html" if pictures is None else "pictures.html"),
        "chooser": chooser if told else "",
        "examples": "" if pictures is None else _text(_tried(found, split)),
        "about": "\n".join(f"<p>{_text(sentence)}</p>" for sentence in _about(model, data, split, found)),
        "version": __version__,
        "network": json.dumps(network, allow_nan=False).replace("<", "\\u003c"),
        "scripts": "\n".join(f"<script>\n{_file(f'{script}.js')}</script>" for script in scripts),
    }
    text = _file("page.html")
    for hole in ("ask", "more"):  # these have holes of their own
        text = text.replace("{{ " + hole + " }}", parts[hole])
    return re.sub(r"{{ (\w+) }}", lambda hole: parts[hole[1]], text)


def activations() -> list[str]:
    """The activations that a page can compute, from the table in activations.js."""
    table = _file("activations.js").partition("const ACTIVATIONS")[2]
    return re.findall(r'^  "([^"]+)":', table, re.MULTILINE)


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _text(value: str) -> str:
    return html.escape(legible(value))


def _pictures(model: Any) -> Pictures | None:
    """What pictures are made into for a network of pictures that can be drawn; else None."""
    return pictures_of(model) if (model.image_shape or ())[2:] in ((), (1,), (3,)) else None


# --- what the page holds -----------------------------------------------------------------------------


def _facts(model: Any) -> dict[str, Any]:
    """The network: its weights, how rows become inputs, and outputs answers."""
    preparation = model.preparation
    parameters = [np.asarray(model.backend.to_host(array), model.dtype).ravel() for array in model.parameters]
    targets = preparation.targets
    names = model.class_names or []
    if not names and preparation.task != "regression":
        names = class_names(model)
    return {
        "sizes": list(model.sizes),
        "activations": [activation.name for activation in model.activations],
        "task": preparation.task,
        "output": model.loss.output,
        "threshold": float(model.loss.threshold),
        "dtype": model.dtype.name,
        "parameters": _base64(np.concatenate(parameters)),
        "inputScale": float(model.input_scale),
        "imageShape": None if model.image_shape is None else list(model.image_shape),
        "classNames": [legible(name) for name in names],
        "targetNames": [] if targets is None else [legible(name) for name in targets.names],
        "targets": None
        if targets is None
        else {name: list(getattr(targets, name)) for name in ("shift", "scale", "low", "high")},
        "encoding": _encoding(model),
    }


def _encoding(model: Any) -> dict[str, list[Any]] | None:
    """The features of a table's columns (see `gpunet.kernels.encoding`), numbers as the network computes with them."""
    encoding = model.preparation.encoding()
    if encoding is None:
        return None
    told: dict[str, list[Any]] = {
        "source": encoding.source.tolist(),
        "kind": [_KINDS[kind] for kind in encoding.kind.tolist()],
    }
    for name in ("fill", "shift", "factor", "low", "high"):
        numbers = getattr(encoding, name).astype(model.dtype).tolist()
        told[name] = [number if np.isfinite(number) else None for number in numbers]  # None: no limit
    return told


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _paper(pictures: Pictures, data: Any) -> int:
    """The grey, 0 to 255, that one draws on: that around the training pictures, or white where it may be either."""
    if data is None or pictures.centred or pictures.inverted or data.train.inputs.dtype != np.uint8:
        return 255
    some = data.train.inputs[:SAMPLE].reshape(-1, pictures.rows, pictures.columns, 3 if pictures.colour else 1)
    edges = (some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1])
    return int(np.median(np.concatenate([edge.ravel() for edge in edges])))


def _columns(model: Any, data: Any) -> list[dict[str, Any]]:
    """The fields of a table: their names, ranges and choices, and where they start."""
    preparation = model.preparation
    inputs = None if data is None else data.train.inputs
    columns = preparation.columns
    if columns is None:
        names = preparation.names or [f"feature {number}" for number in range(1, model.sizes[0] + 1)]
        columns = tuple(Number(name) for name in names)
    return [
        _category(column, None if inputs is None else inputs[:, place])
        if isinstance(column, Category)
        else _number(column, None if inputs is None else inputs[:, place])
        for place, column in enumerate(columns)
    ]


def _category(column: Category, codes: np.ndarray | None) -> dict[str, Any]:
    missing = column.flag or (codes is not None and bool(np.isnan(codes).any()))
    values = [legible(value) for value in column.values]
    start = max(column.fill, 0) if values else None
    return {"kind": "category", "name": legible(column.name), "values": values, "missing": missing, "start": start}


def _number(column: Number, values: np.ndarray | None) -> dict[str, Any]:
    missing = column.flag
    low, high = (column.fill - 3 * column.scale, column.fill + 3 * column.scale)
    start, whole = column.fill, False
    if values is not None:
        wide = values.astype(np.float64)
        known = wide[np.isfinite(wide)]
        missing = missing or len(known) < len(wide)
        if len(known):
            low, high, start = float(known.min()), float(known.max()), float(np.median(known))
            whole = bool((known == np.round(known)).all())
    if not low < high:
        low, high = low - 1, low + 1
    origin = column.origin
    # Where a field starts has as many digits as its slider has places.
    start = round(start + origin, 0 if whole else max(0, 2 - math.floor(math.log10(high - low)))) - origin
    return {
        "kind": "number", "name": legible(column.name), "low": low + origin, "high": high + origin,
        "start": start + origin, "whole": whole, "missing": missing, "origin": origin,
    }  # fmt: skip


def _examples(model: Any, part: Any, found: Evaluation) -> dict[str, Any]:
    """Examples to try: the worst answers first, then some that are right."""
    wrong = np.flatnonzero(is_wrong(found))
    worst = wrong[np.argsort(-found.losses[wrong], kind="stable")][:WRONG]
    right = np.flatnonzero(~is_wrong(found))
    if model.preparation.task == "regression":
        right = np.setdiff1d(np.arange(len(part)), worst)
    spread = np.unique(np.linspace(0, len(right) - 1, min(EXAMPLES - len(worst), len(right))).astype(int))
    rows = np.concatenate((worst, right[spread])) if len(right) else worst
    inputs = part.inputs[rows]
    kind = "uint8" if inputs.dtype == np.uint8 else "float32"
    marked = set(wrong.tolist())
    truth, answers = found.truth.tolist(), found.predictions.tolist()
    return {
        "kind": kind,
        "columns": inputs.shape[1],
        "inputs": _base64(inputs.astype(kind)),
        "told": [
            {"truth": words(model, truth[row]), "answer": words(model, answers[row]), "wrong": row in marked}
            for row in rows.tolist()
        ],
    }


# --- what the page says ------------------------------------------------------------------------------


def _lead(model: Any) -> str:
    task = {
        "classification": "says which class an example is of",
        "multi-label": "says which labels an example has",
        "regression": "says what value an example has",
    }[model.preparation.task]
    return f"A trained neural network, {model.description}, that {task}."


def _tried(found: Evaluation | None, split: str | None) -> str:
    if found is None:
        return "The page was made without examples."
    wrong = int(is_wrong(found).sum())
    if not wrong:
        return f"All {len(found.losses):,} {split} examples are answered right; these are some of them."
    some = f"{WRONG} of the {wrong:,}" if wrong > WRONG else f"the {wrong}"
    return (
        f"Of {len(found.losses):,} {split} examples first {some} that are answered wrong, the worst first; then others."
    )


def _about(model: Any, data: Any, split: str | None, found: Evaluation | None) -> list[str]:
    """Sentences on what it was trained on, how good it is, and what it is not good for."""
    sentences = [f"It has {model.parameter_count:,} parameters in layers of {'-'.join(map(str, model.sizes))}."]
    if data is not None and found is not None:
        measured = ", ".join(f"{metric_name(key)} {metric_text(value)}" for key, value in found.metrics.items())
        sentences.append(f"It was trained on the {len(data.train):,} training examples of {data.name}.")
        sentences.append(f"On the {len(found.losses):,} {split} examples of {data.name}: {measured}.")
    if _pictures(model) is not None:
        if model.preparation.task == "classification":
            named = _listed(class_names(model))
            sentences.append(f"It knows nothing but {named}: whatever it is shown, it answers one of these.")
        sentences.append(
            "What it answers to pictures that are unlike those it was trained on means nothing, however sure it seems."
        )
    else:
        sentences.append(
            "It is no good for examples unlike those it was trained on, such as values beyond the ranges of the "
            "fields; and what it has found goes together in its data, which does not make one the cause of the other."
        )
    return sentences


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most:,} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)

"""`gpunet predict`: what a network sees in pictures and arrays."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Any

import numpy as np
import typer

from gpunet.cli import display
from gpunet.cli.opened import open_run
from gpunet.cli.options import at_least
from gpunet.data.idx import read_idx
from gpunet.data.npy import read_npy
from gpunet.errors import DataError
from gpunet.network.mlp import MLP

#: Suffixes of files that are pictures and not arrays.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def command(
    run: str = typer.Argument(..., metavar="RUN", help="Run folder or model file.", show_default=False),
    files: list[str] = typer.Argument(  # noqa: B008
        ..., metavar="FILE...", help="Pictures (PNG, JPEG ...), idx files (also .gz) or .npy files.", show_default=False
    ),
    top: int = typer.Option(
        3, "--top", parser=at_least(1, "--top"), metavar="K", help="How many classes to name, the likeliest first."
    ),
    device: str = typer.Option("cpu", "--device", metavar="NAME", help="Device to compute on."),
    json: bool = typer.Option(False, "--json", help="Write a line of JSON for each example and nothing else."),
) -> None:
    """Say what a network sees in files of one's own, with probabilities.

    Pictures are made into what MNIST's digits are: light on dark whichever way they were, cut out, scaled to a
    box of 20 by 20 pixels and centred by their centre of mass. Arrays are taken as they are, one example a row.

    \b
    Examples:
      gpunet predict runs/a three.png seven.jpg
      gpunet predict model.safetensors t10k-images-idx3-ubyte.gz --top 1
      gpunet predict runs/a digits.npy --json
    """
    model = open_run(run, device=device, with_data=False).model
    names = model.class_names or [str(index) for index in range(max(model.outputs, 2))]
    for file in files:
        examples = _examples(file, model)
        single = len(examples) == 1
        for index, (answer, shares) in enumerate(_answers(file, model, examples)):
            best = [] if shares is None else np.argsort(-shares, kind="stable")[:top].tolist()
            if json:
                _write_json(file, index, names, answer, shares, best)
            else:
                _write(file if single else f"{file}[{index}]", names, answer, shares, best)


def _examples(file: str, model: MLP) -> np.ndarray:
    """The examples (n, features) in a file.

    Raises:
        DataError: the file cannot be read, or its examples are not as wide as the network's.
    """
    path = Path(file)
    if path.is_dir():
        raise DataError(f"{file}: this is a folder; name pictures (PNG, JPEG ...), idx files (also .gz) or .npy files.")
    if path.suffix.lower() in PICTURES:
        from gpunet.data.photos import load_picture

        if model.image_shape is None:
            raise DataError(f"{file}: the network was not trained on images of a known shape; give a .npy file.")
        picture = load_picture(path, model.image_shape)[None]
        # A network that was trained on features and not on pixels takes numbers from 0 to 1.
        return picture if model.input_scale != 1 else picture.astype(np.float32) / 255
    array = read_npy(path) if path.suffix.lower() == ".npy" else read_idx(path)
    features = model.sizes[0]
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(f"{file}: this is no array of numbers with an example in each row.")
    if array.ndim == 1 or (array.shape == model.image_shape and array.size == features):
        array = array.reshape(1, -1)
    array = array.reshape(len(array), int(np.prod(array.shape[1:])))
    if len(array) == 0:
        raise DataError(f"{file}: there is no example in it.")
    if array.shape[1] != features:
        raise DataError(
            f"{file}: the examples have {array.shape[1]} features, and the network takes {features}"
            f"{_shaped(model)}; give what it was trained on."
        )
    if array.dtype.kind == "f" and not (np.abs(array) <= np.finfo(model.dtype).max).all():
        raise DataError(f"{file}: there are numbers in it that are not finite, or too large for {model.dtype}.")
    return array


def _shaped(model: MLP) -> str:
    return "" if model.image_shape is None else f" ({' x '.join(map(str, model.image_shape))})"


def _answers(file: str, model: MLP, examples: np.ndarray) -> list[tuple[int, np.ndarray | None]]:
    """For each example the class and, if the network gives them, the probabilities of all classes.

    Raises:
        DataError: what the network computes is not finite.
    """
    likely = model.loss.gives_probabilities
    with np.errstate(all="ignore"):  # what overflows shows in the numbers
        answers = model.backend.to_host(model.predict(examples)).tolist()
        numbers = np.asarray(model.backend.to_host((model.predict_proba if likely else model.forward)(examples)))
    if not np.isfinite(numbers).all():
        raise DataError(f"{file}: the network's answer is not finite; there are too large numbers in the file.")
    return list(zip(answers, numbers if likely else [None] * len(answers), strict=True))


def _write(what: str, names: list[str], answer: int, shares: np.ndarray | None, best: list[int]) -> None:
    if shares is None:
        display.line(f"{what}  {names[answer]}")
        return
    told = "  ".join(f"{names[index]} {shares[index]:.4f}" for index in best)
    display.line(f"{what}  {names[answer]}  ({told})")


def _write_json(
    file: str, index: int, names: list[str], answer: int, shares: np.ndarray | None, best: list[int]
) -> None:
    record: dict[str, Any] = {"event": "prediction", "file": file, "index": index, "class": names[answer]}
    if shares is not None:
        record["probability"] = float(shares[answer])
        record["top"] = [{"class": names[each], "probability": float(shares[each])} for each in best]
    sys.stdout.write(f"{json_module.dumps(record, allow_nan=False)}\n")

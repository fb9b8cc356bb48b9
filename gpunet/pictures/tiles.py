"""What a model sees as small pictures: the weights of its first layer, and the examples that it gets wrong.

NumPy arrays only; what draws them is elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.network.evaluation import true_classes


def weight_tiles(model: Any, units: int = 64) -> tuple[np.ndarray, list[int], float]:
    """First-layer weights as pictures (n, rows, columns), the numbers of their neurons, and the scale's end.

    An input without a shape is laid out as a square as well as it goes. Of several colours the mean is taken.
    """
    matrix = np.asarray(model.backend.to_host(model.parameters[0]), np.float32)
    features = len(matrix)
    chosen = np.sort(np.argsort(-np.linalg.norm(matrix, axis=0), kind="stable")[:units])
    rows, columns, channels = picture_shape(model.image_shape, features)
    tiles = np.zeros((len(chosen), rows * columns * channels), np.float32)
    tiles[:, :features] = matrix.T[chosen]
    tiles = tiles.reshape(len(chosen), rows, columns, channels).mean(axis=3)
    limit = float(np.quantile(np.abs(tiles), 0.995)) or 1.0
    return tiles, chosen.tolist(), limit


def neuron_name(model: Any, number: int) -> str:
    """What to call a neuron (0-based) of the first layer: its class, if that is the last layer too, else 1, 2 …"""
    classes = model.class_names
    return classes[number] if len(model.sizes) == 2 and classes and len(classes) == model.outputs else str(number + 1)


def weights_title(model: Any, shown: int) -> str:
    """What a picture of so many neurons' weights shows."""
    count = model.sizes[1]
    what = ("neuron" if len(model.sizes) > 2 else "output") + ("s" if count != 1 else "")
    where = " of the first layer" if len(model.sizes) > 2 else ""
    return f"Weights into {f'{shown} of ' if shown < count else ''}{count:,} {what}{where}"


def picture_shape(shape: Sequence[int] | None, features: int) -> tuple[int, int, int]:
    """(rows, columns, colours) to show `features` numbers in; a near-square where there is no such shape."""
    if shape is not None and len(shape) in (2, 3) and math.prod(shape) == features:
        return int(shape[0]), int(shape[1]), int(shape[2]) if len(shape) == 3 else 1
    rows = max(1, math.isqrt(features))
    return rows, math.ceil(features / rows), 1


@dataclass(frozen=True)
class Mistake:
    """An example that a model got wrong.

    Attributes:
        index: its place in the split.
        truth, answer: the names of its class and of the class that the model took it for.
        probability: what the model gave its answer, 0 to 1; None if the model gives no probabilities.
        picture: (rows, columns) or (rows, columns, 3) float32, 0 (black) to 1.
    """

    index: int
    truth: str
    answer: str
    probability: float | None
    picture: np.ndarray


def worst_mistakes(model: Any, split: Any, count: int = 24) -> list[Mistake]:
    """The mistakes of a model on a split, the most certain first (in the order of the split if it knows no
    probabilities), at most `count`."""
    images, labels = split.images, split.labels
    truth = true_classes(labels)
    if model.loss.output not in ("softmax", "sigmoid"):
        answers, certain = model.backend.to_host(model.predict(images)), None
    else:
        probabilities = np.asarray(model.backend.to_host(model.predict_proba(images)))
        answers = probabilities.argmax(axis=1)
        certain = probabilities[np.arange(len(answers)), answers]
    wrong = np.flatnonzero(answers != truth)
    if certain is not None:
        wrong = wrong[np.argsort(-certain[wrong], kind="stable")]
    names = model.class_names or [str(index) for index in range(max(model.outputs, 2))]
    return [
        Mistake(
            int(index),
            names[truth[index]],
            names[answers[index]],
            None if certain is None else float(certain[index]),
            picture(images[index], model.image_shape),
        )
        for index in wrong[:count]
    ]


def picture(example: Any, shape: Sequence[int] | None) -> np.ndarray:
    """One example (features,) as (rows, columns) or (rows, columns, 3) float32 from 0 to 1."""
    values = np.asarray(example)
    top = 255.0 if values.dtype.kind in "iub" else 1.0
    values = values.astype(np.float32).ravel() / top
    rows, columns, channels = picture_shape(shape, values.size)
    full = np.zeros(rows * columns * channels, np.float32)
    full[: values.size] = values
    if values.size and (values.min() < 0 or values.max() > 1):  # features that are no pixels
        span = float(np.ptp(values)) or 1.0
        full[: values.size] = (values - values.min()) / span
    shaped = full.reshape(rows, columns, channels)
    return shaped if channels == 3 else shaped.mean(axis=2)

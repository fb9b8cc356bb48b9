"""Small tables with everything that a column can be."""

from __future__ import annotations

import numpy as np

import gpunet as gn
from gpunet.data.fitting import Category, fit_number
from gpunet.data.preparation import Preparation


def table(task: str, count: int = 400) -> gn.Dataset:
    """Numbers of all scales, categories, missing values; a classification of three kinds, or a regression."""
    rng = np.random.default_rng(7)
    numbers = {
        "age": (rng.integers(17, 90, count).astype(np.float64), "standard"),
        "income <b>": (np.exp(rng.normal(9, 1, count)), "robust"),
        "height": (rng.normal(170, 9, count), "standard"),
        "year": (rng.integers(2000, 2017, count).astype(np.float64), "minmax"),
        "share": (rng.random(count), "none"),
        "far away": (1e6 + rng.normal(0, 1, count), "standard"),
    }
    columns, fields = [], []
    for place, (name, (values, method)) in enumerate(numbers.items()):
        if place < 2:
            values[rng.random(count) < 0.1] = np.nan
        fitted = fit_number(name, values, method, flag=place == 0, bins=6 if place == 2 else 0)
        columns.append(values - fitted.origin)
        fields.append(fitted)
    codes = rng.integers(0, 4, count).astype(np.float64)
    codes[::9] = np.nan
    columns.append(codes)
    fields.append(Category("town", ("Aachen", "Bonn & Köln", "Düren", "Eupen"), fill=1, flag=True))
    inputs = np.stack(columns, axis=1).astype(np.float32)
    score = np.nan_to_num(inputs[:, 0]) / 40 + np.nan_to_num(inputs[:, 6]) + (inputs[:, 2] - 170) / 9
    if task == "regression":
        targets = (1000 + 250 * score[:, None] * [1, -1]).astype(np.float32)
    else:
        targets = np.digitize(score, np.quantile(score, (0.4, 0.7))).astype(np.int32)
    preparation = Preparation(task=task, columns=tuple(fields))
    cut = count * 3 // 4
    classes = 0 if task == "regression" else 3
    train, test = (
        gn.Split.trusted(inputs[rows], targets[rows], classes, preparation) for rows in (slice(cut), slice(cut, None))
    )
    names = None if task == "regression" else ["low", "middle", "high"]
    return gn.Dataset("a table", train, test=test, class_names=names, preparation=preparation)

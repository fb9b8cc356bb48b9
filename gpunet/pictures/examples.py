"""Examples of a data set, as many of each class as there are to be had."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.errors import DataError, UsageError
from gpunet.network.evaluation import true_classes
from gpunet.pictures.pixels import picture, picture_shape
from gpunet.pictures.sheets import LONGEST, Sheet, Tile
from gpunet.pictures.style import legible_names


def names_of(data: Any) -> list[str]:
    """A name for each class of a data set."""
    return data.class_names or [str(index) for index in range(max(data.classes, 2))]


def rows_of(data: Any, split: str, of_class: str | None = None) -> np.ndarray:
    """The places (n,) int64 of the examples of a split, or of one class in it.

    Raises:
        UsageError: there is no such split or class.
        DataError: the class has no example.
    """
    splits, names = data.splits(), names_of(data)
    if split not in splits:
        raise UsageError(f"{data.name} has no split {split!r}; it has {', '.join(splits)}.")
    part = splits[split]
    if of_class is None:
        return np.arange(len(part))
    if of_class not in names:
        raise UsageError(f"class {of_class}: {data.name} has no such class; its classes are {', '.join(names)}.")
    rows = np.flatnonzero(true_classes(part.targets) == names.index(of_class))
    if not len(rows):
        raise DataError(f"the {split} examples of {data.name} have none of class {of_class}.")
    return rows


class Examples(Sheet):
    """Examples of a split drawn at random, in the order of their classes.

    Args:
        data: a `Dataset`.
        split: "train", "validation" or "test".
        of_class: the name of the only class to show; by default all.
        seed: another one shows other examples.

    Raises:
        UsageError: there is no such split or class.
        DataError: the class has no example, or the examples are no pictures.
    """

    counts = (100, 20, 100)
    inch = 0.75

    def __init__(
        self, data: Any, *, split: str = "train", of_class: str | None = None, count: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(count)
        picture_shape(data.image_shape, f"the examples of {data.name}")
        self.rows = rows_of(data, split, of_class)
        part = data.splits()[split]
        self.names = names_of(data)
        self.inputs, self.classes = part.inputs, true_classes(part.targets)
        self.shape, self.seed, self.where = data.image_shape, seed, f"{data.name}, {split}"

    def tiles(self, count: int) -> list[Tile]:
        """As many of each class as there are to be had, `count` in all."""
        order = np.random.default_rng(self.seed).permutation(len(self.rows))
        classes = self.classes[self.rows]
        # The first of each class, then the second of each, and so on: a fair share for all.
        turn = np.empty(len(order), np.int64)
        counted: dict[int, int] = {}
        for place, row in enumerate(order.tolist()):
            label = int(classes[row])
            turn[place] = counted.get(label, 0)
            counted[label] = counted.get(label, 0) + 1
        chosen = order[np.argsort(turn, kind="stable")][:count]
        chosen = self.rows[chosen[np.argsort(classes[chosen], kind="stable")]]
        self.title = f"{self.where}: {len(chosen)} of {len(self.rows):,} examples"
        names = legible_names(self.names, LONGEST)
        return [
            Tile(picture(self.inputs[row], self.shape), names[self.classes[row]], what=f"a {names[self.classes[row]]}")
            for row in chosen.tolist()
        ]

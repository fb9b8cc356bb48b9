"""A Split: examples for one purpose, with inputs as rows and their targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.checks import one_of
from gpunet.data.arrays import as_flags, as_images, as_labels, as_values, as_weights
from gpunet.data.preparation import TASKS, Preparation
from gpunet.data.stored import StoredRows, selected
from gpunet.errors import UsageError
from gpunet.kernels.encoding import encode
from gpunet.keywords import checked


@checked
class Split:
    """Examples for one purpose (training, validation or test).

    Args:
        images: the inputs, whatever `as_images` takes.
        labels: the targets: class indices, one-hot rows or shares of classes; of several labels rows of 0 and 1; of a
            regression numbers.
        classes: the number of classes, where the labels do not show all of them.
        name: what the split is called in sentences.
        task: "classification", "multi-label" or "regression".
        weights: a weight for each example, or None.

    Attributes:
        inputs: (n, columns), C-contiguous; uint8 as it came, else float32. Of a table with categories and missing
            values these are their numbers and NaN (see `Preparation`); of data that stays in its files they are a
            `StoredRows`. `images` is the same array.
        targets: (n,) int32 class indices, (n, k) float32 shares of classes or 0 and 1 for each label, or (n, k)
            numbers of a regression in their units. `labels` is the same array.
        weights: (n,) float32 sample weights, or None.
        groups: (n,) int64, numbers of what examples belong to; those of one group are held out together. Or None.
        task: "classification", "multi-label" or "regression".
        classes: the number of classes or labels, 0 of a regression.
        preparation: how inputs and targets become what the network computes with.
        image_shape: the shape of one image, or None.

    Raises:
        DataError: the arrays are not what they should be.
        UsageError: there is no such task.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        *,
        classes: int | None = None,
        name: str = "",
        task: str = "classification",
        weights: Any = None,
    ) -> None:
        name = f"{name} " if name else ""
        self.inputs, self.image_shape = as_images(images, f"{name}images")
        self.task, count = one_of("task", task, TASKS), len(self.inputs)
        if task == "regression":
            self.targets, self.classes = as_values(labels, count, f"{name}targets"), 0
        elif task == "multi-label":
            self.targets = as_flags(labels, count, f"{name}labels")
            self.classes = self.targets.shape[1]
        else:
            self.targets, self.classes = as_labels(labels, count, classes, f"{name}labels")
        self.weights = as_weights(weights, count, f"{name}weights")
        self.groups: np.ndarray | None = None
        self.preparation = Preparation(task=task, input_scale=1 / 255 if self.inputs.dtype == np.uint8 else 1.0)
        self.shuffle(0)

    @classmethod
    def trusted(
        cls,
        inputs: Any,
        targets: np.ndarray,
        classes: int,
        preparation: Preparation,
        weights: np.ndarray | None = None,
        image_shape: tuple[int, ...] | None = None,
        groups: np.ndarray | None = None,
    ) -> Split:
        """A split of arrays that were checked before; no copies."""
        split = cls.__new__(cls)
        split.inputs, split.targets, split.weights, split.groups = inputs, targets, weights, groups
        split.classes, split.task, split.preparation = classes, preparation.task, preparation
        split.image_shape = image_shape
        split.shuffle(0)
        return split

    @property
    def images(self) -> Any:
        """The inputs, the same array."""
        return self.inputs

    @property
    def labels(self) -> np.ndarray:
        """The targets, the same array."""
        return self.targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        kind = f"{self.inputs.shape[1]} {self.inputs.dtype}"
        return f"Split({len(self):,} examples of {kind}, {told_targets(self)})"

    @property
    def scale(self) -> float:
        """What inputs are multiplied with on their way into the network: 1/255 for uint8, else 1.0."""
        return self.preparation.input_scale if self.inputs.dtype == np.uint8 else 1.0

    def take(self, rows: slice | np.ndarray) -> Split:
        """The split of these rows: views for a slice, copies for an array of indices; what is in files stays there."""
        weights, groups = (None if each is None else each[rows] for each in (self.weights, self.groups))
        inputs, targets = selected(self.inputs, rows), self.targets[rows]
        return Split.trusted(inputs, targets, self.classes, self.preparation, weights, self.image_shape, groups)

    def shuffle(self, seed: int) -> None:
        """Start `next_batch` anew, with the order that belongs to this seed."""
        self._seed, self._epoch = seed, 0
        self._order: np.ndarray | None = None
        self._cursor = 0

    def next_batch(self, n: int, one_hot: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The next n examples of an endless stream, shuffled by epochs as TensorFlow's reader of MNIST did.

        Each epoch is a permutation without replacement; a batch that reaches an epoch's end takes the rest of it and
        goes on with the beginning of the next.

        Args:
            n: how many.
            one_hot: whether class indices become rows of 0 and 1.

        Returns:
            Network input (n, features) float32, and what the network is to compute: class indices as (n, classes)
            float32 one-hot or (n,) int32, a regression's targets standardised, all others as they are.

        Raises:
            UsageError: n is not from 1 to the number of examples.
        """
        if not isinstance(n, (int, np.integer)) or not 1 <= n <= len(self):
            raise UsageError(f"A batch of {n} cannot be taken from {len(self):,} examples; choose 1 to {len(self)}.")
        if self._order is None:
            self._order = self._next_order()
        rows = self._order[self._cursor : self._cursor + n]
        self._cursor += n
        if self._cursor > len(self):
            self._order = self._next_order()
            self._cursor -= len(self)
            rows = np.concatenate([rows, self._order[: self._cursor]])
        if (encoding := self.preparation.encoding()) is None:
            inputs = np.multiply(self.inputs[rows], np.float32(self.scale), dtype=np.float32)
        else:
            inputs = np.empty((n, encoding.features), np.float32)
            encode(self.inputs[rows], encoding.on(np.asarray, np.float32), inputs)
        targets = self.targets[rows]
        if one_hot and targets.ndim == 1:
            encoded = np.zeros((n, self.classes), np.float32)
            encoded[np.arange(n), targets] = 1
            return inputs, encoded
        return inputs, self.preparation.scale_targets(targets)

    def _next_order(self) -> np.ndarray:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self))
        self._epoch += 1
        return order

    def class_counts(self) -> np.ndarray:
        """(classes,) examples of each class or label; shares count as their likeliest class; of a regression none."""
        if self.task == "regression":
            return np.zeros(0, np.int64)
        if self.task == "multi-label":
            return (self.targets > 0.5).sum(axis=0)
        targets = self.targets
        if targets.ndim == 2:
            targets = targets.argmax(axis=1) if targets.shape[1] > 1 else (targets[:, 0] > 0.5).astype(np.int32)
        return np.bincount(targets, minlength=self.classes)


def told_targets(split: Split) -> str:
    """What the targets of a split are, in two words."""
    if split.task == "regression":
        count = split.targets.shape[1]
        return f"{count} target{'s' if count != 1 else ''}"
    return f"{split.classes} {'labels' if split.task == 'multi-label' else 'classes'}"


def joined(first: Split, second: Split) -> Split:
    """The examples of both; where only one has weights, the other's are 1, and without groups each is its own."""
    groups = None
    if first.groups is not None or second.groups is not None:
        own = -1 - np.arange(max(len(first), len(second)))
        both = (own[: len(split)] if split.groups is None else split.groups for split in (first, second))
        groups = np.concatenate(list(both))
    weights = None
    if first.weights is not None or second.weights is not None:
        ones = (np.ones(len(s), np.float32) if s.weights is None else s.weights for s in (first, second))
        weights = np.concatenate(list(ones))
    if isinstance(first.inputs, StoredRows) and isinstance(second.inputs, StoredRows):
        inputs: Any = first.inputs.joined(second.inputs)
    else:
        inputs = np.concatenate([first.inputs, second.inputs])
    return Split.trusted(
        inputs,
        np.concatenate([first.targets, second.targets]),
        second.classes,
        second.preparation,
        weights,
        second.image_shape,
        groups,
    )

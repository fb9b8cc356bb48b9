"""Data as training wants it: a Dataset of up to three Splits, each with images as rows and labels.

`Dataset.from_arrays` wraps arrays; `load.py` brings one in by name or from a file or folder. Everything is checked here
once and trusted from here on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.data.arrays import as_images, as_labels
from gpunet.errors import DataError, UsageError


class Split:
    """Examples for one purpose (training, validation or test).

    .images  (n, features), C-contiguous; uint8 as it came, else float32
    .labels  (n,) int32 class indices, or (n, k) float32 soft targets
    .classes the number of classes
    .scale   what images are multiplied with to be network input: 1/255 for uint8, else 1.0

    Takes whatever `as_images` and `as_labels` take; raises DataError for what they refuse.
    """

    def __init__(self, images: Any, labels: Any, *, classes: int | None = None, name: str = "") -> None:
        name = f"{name} " if name else ""
        self.images, self.image_shape = as_images(images, f"{name}images")
        self.labels, self.classes = as_labels(labels, len(self.images), classes, f"{name}labels")
        self.shuffle(0)

    @classmethod
    def _trusted(cls, images: np.ndarray, labels: np.ndarray, classes: int, shape: Any) -> Split:
        """A split of arrays that were checked before; no copies."""
        split = cls.__new__(cls)
        split.images, split.labels = images, labels
        split.classes, split.image_shape = classes, shape
        split.shuffle(0)
        return split

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        kind = f"{self.images.shape[1]} {self.images.dtype}"
        return f"Split({len(self):,} images of {kind}, {self.classes} classes)"

    @property
    def scale(self) -> float:
        """What images are multiplied with to be network input."""
        return 1 / 255 if self.images.dtype == np.uint8 else 1.0

    def take(self, rows: slice | np.ndarray) -> Split:
        """The split of these rows: views for a slice, copies for an array of indices."""
        return Split._trusted(self.images[rows], self.labels[rows], self.classes, self.image_shape)

    def shuffle(self, seed: int) -> None:
        """Start `next_batch` anew, with the order that belongs to this seed."""
        self._seed, self._epoch = seed, 0
        self._order: np.ndarray | None = None
        self._cursor = 0

    def next_batch(self, n: int, one_hot: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The next n examples of an endless stream, shuffled by epochs as TensorFlow's reader of MNIST did.

        Each epoch is a permutation without replacement; a batch that reaches an epoch's end takes
        the rest of it and goes on with the beginning of the next. Returns (images, labels): images
        (n, features) float32 scaled by `scale`; labels (n, classes) float32 one-hot, or with
        one_hot=False (n,) int32; soft targets come as they are. Raises UsageError unless 1 <= n <=
        len(split).
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
        images = np.multiply(self.images[rows], np.float32(self.scale), dtype=np.float32)
        labels = self.labels[rows]
        if one_hot and labels.ndim == 1:
            encoded = np.zeros((n, self.classes), np.float32)
            encoded[np.arange(n), labels] = 1
            return images, encoded
        return images, labels

    def _next_order(self) -> np.ndarray:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self))
        self._epoch += 1
        return order

    def class_counts(self) -> np.ndarray:
        """(classes,) examples of each class; soft targets count as their likeliest class."""
        labels = self.labels
        if labels.ndim == 2:
            labels = labels.argmax(axis=1) if labels.shape[1] > 1 else (labels[:, 0] > 0.5).astype(np.int32)
        return np.bincount(labels, minlength=self.classes)


class Dataset:
    """A named train split with what is known of validation and test (each a Split or None).

    .name .train .validation .test
    .classes (int) .features (int)
    .class_names (list of str or None) .image_shape ((28, 28) or None)
    .scale    what images are multiplied with to be network input: 1/255 for uint8, else 1.0
    .checksum sha256 of the content, hexadecimal

    Raises DataError when the splits do not fit each other.
    """

    def __init__(
        self,
        name: str,
        train: Split,
        validation: Split | None = None,
        test: Split | None = None,
        *,
        class_names: Sequence[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.name, self.train, self.validation, self.test = name, train, validation, test
        self.classes, self.features = train.classes, train.images.shape[1]
        self.image_shape = image_shape or train.image_shape
        self.class_names = None if class_names is None else [str(c) for c in class_names]
        self._checksum: str | None = None
        if self.image_shape is not None and int(np.prod(self.image_shape)) != self.features:
            raise DataError(f"Images of shape {self.image_shape} do not have {self.features} features.")
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise DataError(f"There are {len(self.class_names)} class names for {self.classes} classes.")
        for title, split in (("validation", validation), ("test", test)):
            if split is None:
                continue
            if split.images.shape[1] != self.features:
                raise DataError(
                    f"The {title} images have {split.images.shape[1]} features, the train images {self.features}."
                )
            if split.images.dtype != train.images.dtype:
                raise DataError(
                    f"The {title} images are {split.images.dtype}, the train images {train.images.dtype}; give both "
                    "the same type, for they would be scaled differently."
                )
            if split.classes != self.classes:
                raise DataError(f"The {title} labels know {split.classes} classes, the train labels {self.classes}.")

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split):,} {title}" for title, split in self.splits().items())
        return f"Dataset({self.name!r}: {sizes}; {self.features} features, {self.classes} classes)"

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        test_images: Any = None,
        test_labels: Any = None,
        validation: tuple[Any, Any] | int | float | None = None,
        name: str = "arrays",
        *,
        classes: int | None = None,
        class_names: Sequence[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> Dataset:
        """Wrap arrays of one's own: NumPy, CuPy, torch, jax, lists; no copy where none is needed.

        images (n, features) or (n, height, width): uint8 (scaled by 1/255 on their way into the
        network) or other numbers (become float32, unscaled). labels: class indices, one-hot rows or
        soft targets.
        validation: a pair (images, labels), or how many examples `hold_out` takes off the train
        ones.
        classes: where the train labels do not show all of them. Raises DataError with one sentence.
        """
        pairs = {"train": (images, labels), "validation": None, "test": None}
        if test_images is not None or test_labels is not None:
            if test_images is None or test_labels is None:
                raise UsageError("Test images and test labels go together; give both or none.")
            pairs["test"] = (test_images, test_labels)
        if isinstance(validation, (tuple, list)):
            if len(validation) != 2:
                raise UsageError("validation is a pair (images, labels), a number of examples or a fraction.")
            pairs["validation"] = (validation[0], validation[1])
        if classes is None and class_names is not None:
            classes = len(class_names)
        dataset = assemble(name, pairs, classes=classes, class_names=class_names, image_shape=image_shape)
        if validation is not None and pairs["validation"] is None:
            return dataset.hold_out(validation)  # type: ignore[arg-type]
        return dataset

    @property
    def scale(self) -> float:
        """What images are multiplied with to be network input."""
        return self.train.scale

    @property
    def checksum(self) -> str:
        """sha256 over the shapes, types and bytes of every split; computed when first asked for."""
        if self._checksum is None:
            import hashlib

            digest = hashlib.sha256()
            for title, split in self.splits().items():
                for array in (split.images, split.labels):
                    little = (
                        array if array.dtype.itemsize == 1 else array.astype(array.dtype.newbyteorder("<"), copy=False)
                    )
                    digest.update(f"{title} {array.dtype.name} {array.shape}\n".encode())
                    digest.update(np.ascontiguousarray(little).data)
            self._checksum = digest.hexdigest()
        return self._checksum

    def splits(self) -> dict[str, Split]:
        """The splits that are there, by name, in the order train, validation, test."""
        pairs = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return {title: split for title, split in pairs if split is not None}

    def hold_out(self, validation: int | float, seed: int = 0) -> Dataset:
        """The same data with so many train examples (a count, or a fraction below 1) held out as
        validation.

        They are drawn at random by the seed; both parts keep the order they had. A validation split
        that is there already goes back to the train examples first; 0 leaves it there. Raises
        UsageError when fewer than one example would be left to train on.
        """
        train = self.train
        if self.validation is not None:
            if self.validation.labels.shape[1:] != train.labels.shape[1:]:
                raise UsageError("Validation labels go back to the train ones only where both are of one kind.")
            train = Split._trusted(
                np.concatenate([self.validation.images, train.images]),
                np.concatenate([self.validation.labels, train.labels]),
                self.classes,
                train.image_shape,
            )
        wrong = isinstance(validation, bool) or not isinstance(validation, (int, float, np.integer, np.floating))
        if wrong or not 0 <= validation < np.inf or (validation >= 1 and validation != int(validation)):
            raise UsageError(f"validation is a number of examples or a fraction below 1, not {validation!r}.")
        count = round(validation * len(train)) if validation < 1 else int(validation)
        if validation and not 1 <= count < len(train):
            raise UsageError(f"{validation} validation examples cannot be taken from {len(train):,} and leave some.")
        if not count:
            return self._with(train, None, self.test)
        held = np.zeros(len(train), bool)
        held[np.random.default_rng(seed).permutation(len(train))[-count:]] = True
        return self._with(train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held)), self.test)

    def select_classes(self, classes: Iterable[int | str]) -> Dataset:
        """Only the examples of these classes (indices or names), numbered anew 0 to k-1 in the
        order given.

        Raises UsageError for a class that is not there, given twice, or without a train example.
        """
        if any(split.labels.ndim != 1 for split in self.splits().values()):
            raise UsageError("Classes can be selected where labels are class indices, not where they are soft targets.")
        names = self.class_names or [str(c) for c in range(self.classes)]
        if isinstance(classes, (str, bytes)) or not hasattr(classes, "__iter__"):
            raise UsageError(f"Select classes with a list of them, such as [3, 8], not {classes!r}.")
        chosen: list[int] = []
        for item in classes:
            index: Any = names.index(item) if isinstance(item, str) and item in names else item
            number = isinstance(index, (int, float, np.number)) and not isinstance(index, bool)
            if not number or not 0 <= index < self.classes or int(index) != index:
                raise UsageError(f"There is no class {item!r} in {self.name}; choose from {', '.join(names)}.")
            chosen.append(int(index))
        if not chosen or len(set(chosen)) != len(chosen):
            raise UsageError(f"Select one or more classes, each once, not {chosen}.")
        renumbered = np.full(self.classes, -1, np.int32)
        renumbered[chosen] = np.arange(len(chosen), dtype=np.int32)

        def pick(split: Split | None) -> Split | None:
            if split is None:
                return None
            rows = np.flatnonzero(renumbered[split.labels] >= 0)
            if not len(rows):
                return None
            return Split._trusted(split.images[rows], renumbered[split.labels[rows]], len(chosen), split.image_shape)

        train = pick(self.train)
        if train is None or (train.class_counts() == 0).any():
            raise UsageError(f"{self.name} has no train examples of one of the classes {chosen}.")
        return self._with(train, pick(self.validation), pick(self.test), [names[c] for c in chosen])

    def _with(
        self,
        train: Split,
        validation: Split | None,
        test: Split | None,
        class_names: list[str] | None = None,
    ) -> Dataset:
        return Dataset(
            self.name,
            train,
            validation,
            test,
            class_names=class_names or self.class_names,
            image_shape=self.image_shape,
        )


def assemble(
    name: str,
    pairs: Mapping[str, tuple[Any, Any] | None],
    *,
    classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> Dataset:
    """A Dataset from (images, labels) pairs under the keys train, validation and test, all checked.

    The number of classes, unless given, is the width of one-hot or soft labels in any of them, else
    the largest train label plus one: a test label beyond that is far more often damage than a class
    that training never shows.
    """
    there = {title: pair for title, pair in pairs.items() if pair is not None}
    if classes is None:
        widths: list[tuple[int, ...]] = [getattr(labels, "shape", ()) for _, labels in there.values()]
        classes = next((int(w[1]) for w in widths if len(w) == 2 and w[1] > 1), None)
    splits: dict[str, Split] = {}
    for title in ("train", "validation", "test"):
        if title in there:
            images, labels = there[title]
            splits[title] = Split(images, labels, classes=classes, name=title)
            classes = splits[title].classes
    return Dataset(
        name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        class_names=class_names,
        image_shape=image_shape,
    )

"""Data as training wants it: a Dataset of up to three Splits (see `split.py`), and how it is divided among them.

`Dataset.from_arrays` wraps arrays; `load.py` brings one in by name or from a file or folder. Everything is checked here
once and trusted from here on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.data.arrays import as_named, choose_task, to_numpy
from gpunet.data.columns import some
from gpunet.data.fitting import Pictures, fit_targets
from gpunet.data.photos import look_centred
from gpunet.data.preparation import Preparation
from gpunet.data.split import Split, joined, told_targets
from gpunet.data.stored import StoredRows
from gpunet.errors import DataError, UsageError
from gpunet.keywords import checked
from gpunet.notebook import Table

#: The beginning of the sentence where something else is given.
DATASET_WANTED = "the data must be a Dataset, as gn.Dataset.from_arrays(inputs, labels) makes one"


@checked
class Dataset:
    """A named train split with what is known of validation and test (each a Split or None).

    Args:
        name: what it is called.
        train, validation, test: the splits.
        class_names: a name for each class or label.
        image_shape: the shape of one image.
        preparation: what was fitted on the train split; by default what its inputs say by themselves, with the
            targets of a regression standardised.
        facts: what was taken for what, as labels and texts for a header.

    Attributes:
        name, train, validation, test: as above.
        task: "classification", "multi-label" or "regression".
        features: how many features the network reads of an example.
        classes: the number of classes or labels, 0 of a regression.
        outputs: how many outputs a network needs: a class, a label or a target each.
        class_names: list of str, or None.
        image_shape: (28, 28) for one, or None.
        preparation: what was fitted on the train split; its splits have the same.
        facts: as above.
        scale: what uint8 inputs are multiplied with to be network input, 1/255; else 1.0.
        checksum: sha256 of the content, hexadecimal.

    Raises:
        DataError: the splits do not fit each other.
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
        preparation: Preparation | None = None,
        facts: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.name, self.train, self.validation = name, train, validation
        # `Any` beside it lets type checkers take it for a Split where a script knows that there is one.
        self.test: Split | Any = test
        self.task, self.classes = train.task, train.classes
        self.image_shape = image_shape or train.image_shape
        self.class_names: list[str] | Any = None if class_names is None else [str(c) for c in class_names]
        self.facts = list(facts)
        self._checksum: str | None = None
        columns = train.inputs.shape[1]
        if self.image_shape is not None and int(np.prod(self.image_shape)) != columns:
            raise DataError(f"Images of shape {self.image_shape} do not have {columns} features.")
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise DataError(f"There are {len(self.class_names)} class names for {self.classes} classes.")
        for title, split in (("validation", validation), ("test", test)):
            if split is not None:
                self._check_fit(title, split)
        self.preparation = self._described(train.preparation if preparation is None else preparation)
        for split in self.splits().values():
            split.preparation = self.preparation
        self.features = self.preparation.width(columns)
        self.outputs = train.targets.shape[1] if self.task == "regression" else self.classes

    def _check_fit(self, title: str, split: Split) -> None:
        train = self.train
        if split.inputs.shape[1] != train.inputs.shape[1]:
            raise DataError(
                f"The {title} images have {split.inputs.shape[1]} features, the train images {train.inputs.shape[1]}."
            )
        if split.inputs.dtype != train.inputs.dtype:
            raise DataError(
                f"The {title} images are {split.inputs.dtype}, the train images {train.inputs.dtype}; give both the "
                "same type, for they would be scaled differently."
            )
        if split.task != self.task:
            raise DataError(f"The {title} labels are those of {split.task}, the train labels of {self.task}.")
        if split.classes != self.classes:
            raise DataError(f"The {title} labels know {split.classes} classes, the train labels {self.classes}.")
        if self.task == "regression" and split.targets.shape[1] != train.targets.shape[1]:
            raise DataError(
                f"The {title} examples have {split.targets.shape[1]} targets, the train ones {train.targets.shape[1]}."
            )

    def _described(self, preparation: Preparation) -> Preparation:
        """A preparation with what the data set itself knows."""
        names = None if self.class_names is None else tuple(self.class_names)
        if self.task == "regression" and preparation.targets is None:
            count = self.train.targets.shape[1]
            titles = ["target"] if count == 1 else [f"target {number}" for number in range(count)]
            preparation = preparation.with_changes(targets=fit_targets(titles, self.train.targets))
        shape = self.image_shape
        if shape is not None and preparation.pictures is None and len(shape) in (2, 3):
            look = look_centred(self.train.inputs, shape)
            preparation = preparation.with_changes(pictures=Pictures(shape[0], shape[1], shape[2:] == (3,), look))
        return preparation.with_changes(class_names=names, image_shape=shape)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split):,} {title}" for title, split in self.splits().items())
        return f"Dataset({self.name!r}: {sizes}; {self.features} features, {told_targets(self.train)})"

    def _repr_html_(self) -> str:
        names = self.class_names or [str(index) for index in range(self.classes)]
        shown = names if 0 < len(names) <= 20 else []
        rows = [
            [title, len(split), *(split.class_counts().tolist() if shown else [])]
            for title, split in self.splits().items()
        ]
        told = f"{self.name}: {self.features} features, {told_targets(self.train)}"
        return Table(told, ["split", "examples", *shown], rows)._repr_html_()

    @classmethod
    @checked
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        test_images: Any = None,
        test_labels: Any = None,
        validation: tuple[Any, ...] | int | float | None = None,
        name: str = "arrays",
        *,
        task: str = "auto",
        weights: Any = None,
        test_weights: Any = None,
        groups: Any = None,
        classes: int | None = None,
        class_names: Sequence[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> Dataset:
        """Wrap arrays of one's own: NumPy, CuPy, torch, jax, lists; no copy where none is needed.

        Args:
            images: the inputs, (n, features) or (n, height, width): uint8 (scaled by 1/255 on their way into the
                network) or other numbers (become float32, unscaled).
            labels: the targets: class indices, texts, booleans, one-hot rows or shares of classes; rows of 0 and 1 of
                several labels; numbers (n,) or (n, k) of a regression, which are standardised inside.
            test_images, test_labels: the same of the test split, or None.
            validation: (images, labels) or (images, labels, weights), or how many examples `hold_out` takes off the
                train ones.
            name: what the data set is called.
            task: "classification", "multi-label", "regression", or "auto" (see `choose_task`).
            weights: a weight for each training example, or None; the validation examples that are held out keep theirs.
            test_weights: the same of the test examples, for their scores.
            groups: (n,) numbers or texts of what each training example belongs to, such as a person; examples of one
                group are held out together, for validation and in folds.
            classes: the number of classes, where the train labels do not show all of them.
            class_names: a name for each class or label.
            image_shape: the shape of one image.

        Raises:
            DataError: the arrays are not what they should be, or may be of more than one task.
            UsageError: arguments that do not go together.
        """
        pairs = {"train": (images, labels), "validation": None, "test": None}
        if test_images is not None or test_labels is not None:
            if test_images is None or test_labels is None:
                raise UsageError("Test images and test labels go together; give both or none.")
            pairs["test"] = (test_images, test_labels)
        weighing = {"train": weights, "test": test_weights}
        if test_weights is not None and pairs["test"] is None:
            raise UsageError("test_weights are of test images; give these too.")
        if isinstance(validation, (tuple, list)):
            if len(validation) not in (2, 3):
                raise UsageError("validation is (images, labels), (images, labels, weights), a number or a fraction.")
            pairs["validation"] = (validation[0], validation[1])
            weighing["validation"] = validation[2] if len(validation) == 3 else None
        if task == "auto":
            known = classes is not None or class_names is not None
            train = to_numpy(labels, "train labels")
            task = "classification" if known and train.ndim < 2 else choose_task(train, "train labels")
        if classes is None and class_names is not None and task != "regression":
            classes = len(class_names)
        dataset = assemble(
            name, pairs, classes=classes, class_names=class_names, image_shape=image_shape, task=task, weights=weighing
        )
        if groups is not None:
            known_as = to_numpy(groups, "groups")
            if known_as.shape != (len(dataset.train),):
                raise DataError(f"groups have the shape {known_as.shape}, for {len(dataset.train):,} train examples.")
            dataset.train.groups = np.unique(known_as, return_inverse=True)[1].astype(np.int64)
        if validation is not None and pairs["validation"] is None:
            return dataset.hold_out(validation)  # type: ignore[arg-type]
        return dataset

    @property
    def scale(self) -> float:
        """What uint8 inputs are multiplied with to be network input."""
        return self.train.scale

    @property
    def checksum(self) -> str:
        """sha256 over the shapes, types and bytes of every split, of what stays in files over their size, time and some
        blocks; computed when first asked for."""
        if self._checksum is None:
            import hashlib

            digest = hashlib.sha256()
            for title, split in self.splits().items():
                for array in (split.inputs, split.targets, split.weights):
                    if array is None:
                        continue
                    if isinstance(array, StoredRows):
                        digest.update(f"{title} {array.fingerprint()}\n".encode())
                        continue
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

    @checked
    def hold_out(self, validation: int | float, seed: int = 0) -> Dataset:
        """The same data with so many train examples held out as validation.

        They are drawn at random by the seed; both parts keep the order they had. A validation split that is there
        already goes back to the train examples first. Of examples with groups as many groups are held out as have so
        many examples, or a few more.

        Args:
            validation: a count, or a fraction below 1; 0 leaves all examples to training.
            seed: of the draw.

        Raises:
            UsageError: fewer than one example would be left to train on.
        """
        train = self.train
        if self.validation is not None:
            if self.validation.targets.shape[1:] != train.targets.shape[1:]:
                raise UsageError("Validation labels go back to the train ones only where both are of one kind.")
            train = joined(self.validation, train)
        wrong = isinstance(validation, bool) or not isinstance(validation, (int, float, np.integer, np.floating))
        if wrong or not 0 <= validation < np.inf or (validation >= 1 and validation != int(validation)):
            raise UsageError(f"validation is a number of examples or a fraction below 1, not {validation!r}.")
        count = round(validation * len(train)) if validation < 1 else int(validation)
        if validation and not 1 <= count < len(train):
            raise UsageError(f"{validation} validation examples cannot be taken from {len(train):,} and leave some.")
        if not count:
            fitted = train.preparation.fitted(train.inputs, train.targets)
            return self._with(train, None, self.test, preparation=fitted)
        held = np.zeros(len(train), bool)
        if train.groups is None:
            held[np.random.default_rng(seed).permutation(len(train))[-count:]] = True
            return self._without(train, held)
        for group in np.random.default_rng(seed).permutation(np.unique(train.groups)):
            if held.sum() < count:
                held |= train.groups == group
        if held.all():
            raise UsageError(f"{validation} validation examples are all of the groups of the train ones; take fewer.")
        return self._without(train, held)

    def folds(self, count: int, seed: int = 0) -> list[Dataset]:
        """The same data `count` times, each with another part of the train examples held out as validation.

        The parts are drawn at random by the seed, as equal in size as can be, and of classes with as equal a share of
        each in every part; of examples with groups each group is in one part, and the parts are as equal as that
        allows. All keep the order they had. A validation split that is there already goes back to the train examples
        first. What is fitted to the train examples is fitted to those of each fold anew.

        Args:
            count: how many parts, 2 to the number of train examples.
            seed: of the draw.

        Raises:
            UsageError: there are not that many parts.
        """
        whole = self.hold_out(0)
        parts = whole._parts(count, seed)
        return [whole._without(whole.train, parts == number) for number in range(count)]

    def fold(self, number: int, count: int, seed: int = 0) -> Dataset:
        """One of the data sets that `folds` gives, the first being number 1.

        Raises:
            UsageError: there are not that many parts.
        """
        whole = self.hold_out(0)
        parts = whole._parts(count, seed)
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 1 <= number <= count:
            raise UsageError(f"there are the folds 1 to {count}, and none {number!r}.")
        return whole._without(whole.train, parts == number - 1)

    def _parts(self, count: int, seed: int) -> np.ndarray:
        """In which of `count` parts each train example is: (n,) int64, from 0."""
        train = self.train
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 2 <= count <= len(train):
            raise UsageError(f"folds are a whole number from 2 to {len(train)}, the train examples, not {count!r}.")
        if train.groups is not None:
            return _grouped(train.groups, count, seed)
        order = np.random.default_rng(seed).permutation(len(train))
        if train.targets.ndim == 1:
            order = order[np.argsort(train.targets[order], kind="stable")]
        parts = np.empty(len(train), np.int64)
        parts[order] = np.arange(len(train)) % count
        return parts

    def _without(self, train: Split, held: np.ndarray) -> Dataset:
        """Train examples without those of a mask, which become the validation split."""
        left, held_out = train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
        return self._with(left, held_out, self.test, preparation=left.preparation.fitted(left.inputs, left.targets))

    def select_classes(self, classes: Iterable[int | str]) -> Dataset:
        """Only the examples of these classes, numbered anew 0 to k-1 in the order given.

        Args:
            classes: indices or names.

        Raises:
            UsageError: a class is not there, is given twice, or has no train example.
        """
        if any(split.targets.ndim != 1 for split in self.splits().values()):
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
            rows = np.flatnonzero(renumbered[split.targets] >= 0)
            if not len(rows):
                return None
            picked = split.take(rows)
            picked.targets, picked.classes = renumbered[picked.targets], len(chosen)
            return picked

        train = pick(self.train)
        if train is None or (train.class_counts() == 0).any():
            raise UsageError(f"{self.name} has no train examples of one of the classes {chosen}.")
        return self._with(train, pick(self.validation), pick(self.test), [names[c] for c in chosen])

    def with_preparation(self, preparation: Preparation) -> Dataset:
        """The same examples under a preparation that was fitted elsewhere, to data of the same columns."""
        return self._with(self.train, self.validation, self.test, preparation=preparation)

    def with_classes(self, names: Sequence[str]) -> Dataset:
        """The same data with its classes numbered as in `names`, by their names; classes without examples are there.

        Raises:
            DataError: an example is of a class that is not among the names.
        """
        known = self.class_names
        if self.task != "classification" or known is None or list(names) == known:
            return self
        index = {name: number for number, name in enumerate(names)}
        numbers = np.array([index.get(name, -1) for name in known], np.int32)
        renamed: dict[str, Split] = {}
        for title, split in self.splits().items():
            if split.targets.ndim != 1:
                raise DataError(f"{self.name} has shares of classes, which cannot be matched by name.")
            targets = numbers[split.targets]
            if (targets < 0).any():
                lost = known[int(split.targets[int(np.argmax(targets < 0))])]
                raise DataError(f"{self.name} has the class {lost}, which is none of the network's: {some(names)}.")
            renamed[title] = split.take(slice(None))
            renamed[title].targets, renamed[title].classes = targets, len(names)
        return self._with(renamed["train"], renamed.get("validation"), renamed.get("test"), list(map(str, names)))

    def _with(
        self,
        train: Split,
        validation: Split | None,
        test: Split | None,
        class_names: list[str] | None = None,
        preparation: Preparation | None = None,
    ) -> Dataset:
        return Dataset(
            self.name,
            train,
            validation,
            test,
            class_names=class_names or self.class_names,
            image_shape=self.image_shape,
            preparation=preparation,
            facts=self.facts,
        )


def _grouped(groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """In which of `count` parts each example is, each group in one of them: the largest first, each to the smallest
    part so far, and equal ones as the seed draws them."""
    numbers, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(numbers) < count:
        raise UsageError(f"there are {len(numbers):,} groups, too few for {count} folds; take at most as many.")
    order = np.random.default_rng(seed).permutation(len(numbers))
    part_of, filled = np.empty(len(numbers), np.int64), np.zeros(count, np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        part_of[group] = np.argmin(filled)
        filled[part_of[group]] += sizes[group]
    return part_of[places]


def assemble(
    name: str,
    pairs: Mapping[str, tuple[Any, Any] | None],
    *,
    classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_shape: tuple[int, ...] | None = None,
    task: str = "classification",
    weights: Mapping[str, Any] | None = None,
    preparation: Preparation | None = None,
    facts: Sequence[tuple[str, str]] = (),
) -> Dataset:
    """A Dataset from (images, labels) pairs under the keys train, validation and test, all checked.

    The number of classes, unless given, is the width of one-hot or soft labels in any of them, else the largest train
    label plus one: a test label beyond that is far more often damage than a class that training never shows. Labels
    of text are numbered by the order of their names in the train split. `weights` are those of the splits.
    """
    there = {title: pair for title, pair in pairs.items() if pair is not None}
    if task == "classification" and classes is None:
        widths: list[tuple[int, ...]] = [getattr(labels, "shape", ()) for _, labels in there.values()]
        classes = next((int(w[1]) for w in widths if len(w) == 2 and w[1] > 1), None)
    splits: dict[str, Split] = {}
    for title in ("train", "validation", "test"):
        if title in there:
            images, labels = there[title]
            if task == "classification" and _is_text(labels):
                labels, class_names = as_named(labels, class_names, f"{title} labels")
                classes = len(class_names)
            mine = (weights or {}).get(title)
            splits[title] = Split(images, labels, classes=classes, name=title, task=task, weights=mine)
            classes = splits[title].classes
    return Dataset(
        name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        class_names=class_names,
        image_shape=image_shape,
        preparation=preparation,
        facts=facts,
    )


def _is_text(labels: Any) -> bool:
    array = np.asarray(labels) if isinstance(labels, (list, tuple)) else labels
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    if kind == "O" or "str" in str(getattr(array, "dtype", "")):  # objects of NumPy, strings of pandas
        values = np.asarray(array).reshape(-1)
        return len(values) > 0 and all(isinstance(value, str) for value in values.tolist())
    return kind in ("U", "T")

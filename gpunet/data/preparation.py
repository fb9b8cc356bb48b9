"""What is fitted on the training split and travels with the model: columns, pictures, classes and target scale.

Data becomes network input in two steps. On the host, once, `Preparation.apply` brings whatever comes in (a frame, a
table of a file) into the form of `Split.inputs`: columns by name, categories as numbers, what is missing as NaN. On
the device, a batch at a time, the `Encoding` turns those rows into what the first layer reads: scaled numbers, 0 and 1
for each category, the bins of a piecewise-linear encoding (see `kernels/encoding.py`). A model keeps its preparation
in its file, so nothing is ever fitted anew to the data at hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import as_numpy
from gpunet.data.columns import TEXT, Table, as_table, is_table, some
from gpunet.data.columns import Column as TableColumn
from gpunet.data.fitting import (
    UNKNOWN,
    Category,
    Number,
    Pictures,
    Targets,
    column_from_dict,
    column_to_dict,
    fit_targets,
)
from gpunet.errors import DataError, UsageError
from gpunet.kernels.encoding import Encoding
from gpunet.notebook import changed
from gpunet.wording import one_line, shown

TASKS = ("classification", "multi-label", "regression")
#: How columns of numbers can be scaled; "pixels" takes bytes from 0 to 255 as a picture's.
SCALES = ("auto", "standard", "robust", "minmax", "none", "pixels")


@dataclass(frozen=True, repr=False)
class Preparation:
    """All that was fitted on a training split; JSON holds it (`to_dict`, `from_dict`).

    Attributes:
        task: "classification", "multi-label" or "regression".
        input_scale: what bytes are multiplied with on the way in.
        image_shape: the shape of one image, or None.
        class_names: a name for each class (of several labels: for each label), or None.
        target: the name of the column of classes, or None; those of a regression are in `targets`.
        names: the names of the input columns where there are no `columns`, or None.
        columns: the columns of a table, or None for pixels and for numbers that are taken as they are.
        targets: shift and scale of a regression's targets, or None.
        pictures: what a picture is made into, or None.
    """

    task: str = "classification"
    input_scale: float = 1.0
    image_shape: tuple[int, ...] | None = None
    class_names: tuple[str, ...] | None = None
    target: str | None = None
    names: tuple[str, ...] | None = None
    columns: tuple[Number | Category, ...] | None = None
    targets: Targets | None = None
    pictures: Pictures | None = None

    # --- to and from JSON ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds; only what differs from the defaults."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told = {name: value for name, value in told.items() if value is not None}
        if self.columns is not None:
            told["columns"] = [column_to_dict(column) for column in self.columns]
        for name in ("targets", "pictures"):
            if name in told:
                told[name] = dataclasses.asdict(told[name])
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}

    @classmethod
    def from_dict(cls, told: Any) -> Preparation:
        """What `to_dict` told.

        Raises:
            DataError: it is not complete, or holds what a preparation does not have.
        """
        try:
            facts = dict(told)
            for name in ("image_shape", "class_names", "names"):
                if facts.get(name) is not None:
                    facts[name] = tuple(int(v) if name == "image_shape" else str(v) for v in facts[name])
            if facts.get("columns") is not None:
                facts["columns"] = tuple(map(column_from_dict, facts["columns"]))
            if facts.get("targets") is not None:
                facts["targets"] = Targets(**{name: tuple(values) for name, values in facts["targets"].items()})
            if facts.get("pictures") is not None:
                facts["pictures"] = Pictures(**facts["pictures"])
            made = cls(**facts)
            if made.task not in TASKS:
                raise ValueError(made.task)
            made.encoding()
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"the description of how data is prepared is damaged ({one_line(error)}).") from None
        return made

    # --- inputs --------------------------------------------------------------------------------------

    __repr__ = changed

    def rows(self, x: Any) -> Any:
        """Examples as an array as of `Split.inputs`, on whatever device they are.

        Args:
            x: such an array, lists of numbers, or a table with named columns: a frame of pandas or polars, an Arrow
                table, a dict of arrays.

        Raises:
            DataError: the table lacks a column, or has something else in it.
            UsageError: it is something else, or a single number.
        """
        if is_table(x):
            return self.apply(as_table(x))
        wanted = f"examples are needed, and this is a {type(x).__name__}"
        if hasattr(x, "splits"):
            raise UsageError(f"{wanted}; give those of a split, as in data.test.inputs.")
        if hasattr(x, "inputs"):
            raise UsageError(f"{wanted}; give its inputs, as in data.test.inputs.")
        rows = x if hasattr(x, "ndim") and hasattr(x, "shape") else as_numpy(x)
        if rows.ndim == 0:
            raise UsageError(f"examples are needed, an array of (n, features), and this is {shown(x)}.")
        return rows

    def apply(self, table: Table) -> np.ndarray:
        """The inputs of a table's rows, (n, columns) as of `Split.inputs`; columns are found by their names.

        Args:
            table: the table; columns that are not asked for are passed over.

        Raises:
            DataError: a column is missing, or has a text where there were numbers in training, or a number that is
                not finite.
        """
        names = self.column_names
        if names is None:
            raise DataError(f"{table.name}: the network was not trained on named columns; give an array.")
        if absent := [name for name in names if name not in table]:
            raise DataError(
                f"{table.name} lacks the column{'s' if len(absent) > 1 else ''} {some(absent)}, which the network was "
                f"trained on; it has {some(table.names)}."
            )
        if self.columns is None:
            return self._pixels(table, names)
        inputs = np.empty((len(table), len(names)), np.float32)
        for at, column in enumerate(self.columns):
            given = table[column.name]
            if isinstance(column, Number):
                inputs[:, at] = numbers_of(table, given) - column.origin
            else:
                inputs[:, at] = _codes(given.as_text(), column)
        return inputs

    def _pixels(self, table: Table, names: Sequence[str]) -> np.ndarray:
        """Columns of bytes as uint8; scaled here already where one of them is no byte."""
        inputs = np.empty((len(table), len(names)), np.float32)
        for at, name in enumerate(names):
            inputs[:, at] = numbers_of(table, table[name])
        if np.isnan(inputs).any():
            row, at = np.argwhere(np.isnan(inputs))[0]
            raise DataError(f"{table.name} has no value in the column {names[at]} in {table.place(int(row))}.")
        if are_bytes(inputs):
            return inputs.astype(np.uint8)
        return inputs * np.float32(self.input_scale)

    def known(self, table: Table) -> list[str]:
        """What in a table's categories training never saw, as remarks: a column and its new values."""
        remarks = []
        for column in self.columns or ():
            if isinstance(column, Category) and column.name in table:
                given = table[column.name].as_text()
                seen = set(np.unique(given.values[given.values >= 0]).tolist())
                if new := sorted({given.texts[code] for code in seen} - set(column.values)):
                    remarks.append(f"{column.name}: {some(new, 5)}")
        return remarks

    def classes_of(self, column: TableColumn, table: Table) -> np.ndarray:
        """The class (n,) int32 of each row, matched by name.

        Raises:
            DataError: a class is missing, or none of those trained on.
        """
        texts, names = column.as_text(), self.class_names or ()
        index = {name: number for number, name in enumerate(names)}
        numbers = np.array([index.get(text, UNKNOWN) for text in texts.texts] + [UNKNOWN])[texts.values]
        if (numbers < 0).any():
            row = int(np.argmax(numbers < 0))
            text = repr(texts.texts[texts.values[row]]) if texts.values[row] >= 0 else "no class"
            raise DataError(
                f"{table.name} has {text} in the column {column.name} in {table.place(row)}, which is none of the "
                f"classes {some(names)}."
            )
        return numbers.astype(np.int32)

    @property
    def column_names(self) -> tuple[str, ...] | Any:
        """The names of the input columns in their order, or None where they have none."""
        return self.names if self.columns is None else tuple(column.name for column in self.columns)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The names of the target columns, () where they have none."""
        if self.targets is not None:
            return self.targets.names
        if self.task == "multi-label":
            return self.class_names or ()
        return () if self.target is None else (self.target,)

    def encoding(self) -> Encoding | None:
        """How rows of `Split.inputs` become network input, or None where they are only scaled."""
        if self.columns is None:
            return None
        features = sorted(
            (feature for source, column in enumerate(self.columns) for feature in column.features(source)),
            key=lambda feature: (feature[1], feature[7]),
        )
        if not features:
            raise ValueError("there are no features")
        source, kind, *numbers = (np.array(values) for values in list(zip(*features, strict=True))[:7])
        fill, shift, factor, low, high = (values.astype(np.float64) for values in numbers)
        return Encoding(
            len(self.columns), source.astype(np.int32), kind.astype(np.int32), fill, shift, factor, low, high
        )

    def width(self, columns: int) -> int:
        """How many features the network reads of so many input columns."""
        if self.columns is None:
            return columns
        return sum(len(column.features(source)) for source, column in enumerate(self.columns))

    # --- targets -------------------------------------------------------------------------------------

    def scale_targets(self, values: Any) -> Any:
        """Targets as the network is trained on: those of a regression standardised, all others as they are.

        Args:
            values: (n, k) on the host, in the targets' units.
        """
        if self.targets is None or self.targets.as_they_are:
            return values
        scaled = (np.asarray(values, np.float64) - self.targets.shift) / self.targets.scale
        return scaled.astype(values.dtype if values.dtype.kind == "f" else np.float32)

    def in_units(self, outputs: Any, xp: Any = np, *, clip: bool = True) -> Any:
        """A network's outputs (n, k) in the targets' units, clipped to their training range where that is set.

        Args:
            outputs: an array of `xp`.
            xp: NumPy or CuPy.
            clip: whether to clip; not for targets, which are right beyond the range too.
        """
        if self.targets is None or self.targets.as_they_are:
            return outputs
        given = self.targets
        shift, scale = (xp.asarray(np.array(values), outputs.dtype) for values in (given.shift, given.scale))
        values = outputs * scale + shift
        if given.low and clip:
            low, high = (xp.asarray(np.array(limit), outputs.dtype) for limit in (given.low, given.high))
            values = xp.clip(values, low, high)
        return values

    def fitted(self, inputs: np.ndarray, targets: np.ndarray) -> Preparation:
        """The same fitted to other training rows: scales, bins, what is missing, shift and scale of the targets.

        Args:
            inputs: (n, columns), as of `Split.inputs`.
            targets: (n, k) numbers of a regression; unused for other tasks.
        """
        changes: dict[str, Any] = {}
        if self.columns is not None:
            changes["columns"] = tuple(column.refitted(inputs[:, at]) for at, column in enumerate(self.columns))
        if self.targets is not None:
            changes["targets"] = fit_targets(self.targets.names, targets, clip=bool(self.targets.low))
        return dataclasses.replace(self, **changes)

    def with_changes(self, **changes: Any) -> Preparation:
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)


def numbers_of(table: Table, column: TableColumn) -> np.ndarray:
    """The numbers (n,) float64 of a column, NaN where a value is missing.

    Raises:
        DataError: there is a text, or a number that is not finite.
    """
    wrong = column.not_numbers()
    values = column.as_numbers()
    wrong |= np.isinf(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        what = repr(column.texts[column.values[row]]) if column.kind == TEXT else f"{values[row]:g}"
        raise DataError(
            f"{table.name} has {what} in the column {column.name} in {table.place(row)}, where a number is needed; "
            f"repair it, or leave the column out with --drop {column.name}."
        )
    return values


def are_bytes(values: np.ndarray) -> bool:
    """Whether all are whole numbers from 0 to 255."""
    return bool(((values >= 0) & (values <= 255) & (values == np.floor(values))).all())


def _codes(column: TableColumn, category: Category) -> np.ndarray:
    """The number of each row's category; NaN where it is missing, UNKNOWN where training never saw it."""
    index = {text: number for number, text in enumerate(category.values)}
    numbers = np.array([*(index.get(text, UNKNOWN) for text in column.texts), np.nan], np.float32)
    return numbers[column.values]

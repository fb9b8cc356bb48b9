"""What is fitted on the training split and travels with the model: columns, pictures, classes and target scale.

Data becomes network input in two steps. On the host, once, `Preparation.apply` brings whatever comes in (a frame, a
table of a file) into the form of `Split.inputs`: columns by name, categories as numbers, what is missing as NaN. On
the device, a batch at a time, the `Encoding` turns those rows into what the first layer reads: scaled numbers, 0 and 1
for each category, the bins of a piecewise-linear encoding (see `kernels/encoding.py`). A model keeps its preparation
in its file, so nothing is ever fitted anew to the data at hand.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import as_numpy
from gpunet.data.arrays import natural
from gpunet.data.columns import TEXT, Table, as_table, is_table, some
from gpunet.data.columns import Column as TableColumn
from gpunet.errors import DataError, UsageError, one_line, shown
from gpunet.kernels.encoding import EQUAL, LINEAR, MISSING, SMOOTH, Encoding
from gpunet.notebook import changed

TASKS = ("classification", "multi-label", "regression")
#: How columns of numbers can be scaled; "pixels" takes bytes from 0 to 255 as a picture's.
SCALES = ("auto", "standard", "robust", "minmax", "none", "pixels")
#: What a category that training never saw, or a missing one without a most frequent value, is numbered.
UNKNOWN = -1


@dataclass(frozen=True)
class Number:
    """A column of numbers, and what the network reads of it: (x - shift) / scale.

    Attributes:
        name: the column's name.
        origin: what is taken off in float64 before a number becomes float32; 0 unless it would lose its digits.
        fill: what a missing value is taken for, after `origin` was taken off.
        shift, scale: as above, after `origin` was taken off.
        method: how shift and scale were fitted (see `fit_number`); after "robust" z is bent to z / sqrt(1 + (z / 3)^2),
            so that no value lies beyond 3.
        flag: whether one more feature is 1 where the value is missing.
        bins: how many bins the piecewise-linear encoding was to have at most; 0 for none.
        edges: of its bins, ascending; () for none.
    """

    name: str
    origin: float = 0.0
    fill: float = 0.0
    shift: float = 0.0
    scale: float = 1.0
    method: str = "none"
    flag: bool = False
    bins: int = 0
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Category:
    """A column of categories; the network reads a feature for each of them, 1 for the row's own and 0 else.

    Attributes:
        name: the column's name.
        values: the categories of the training split; another one is none of them, and all features are 0.
        fill: the number of the category that a missing one is taken for, the most frequent.
        flag: whether one more feature is 1 where the value is missing.
    """

    name: str
    values: tuple[str, ...]
    fill: int = 0
    flag: bool = False


@dataclass(frozen=True)
class Targets:
    """The targets of a regression: the network computes (y - shift) / scale.

    Attributes:
        names: of the target columns.
        shift, scale: one for each target, in its units.
        low, high: the range of the training targets, to which predictions are clipped, or () for no limit.
    """

    names: tuple[str, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @property
    def as_they_are(self) -> bool:
        """Whether the network computes the targets themselves, without limits."""
        return not (any(self.shift) or any(unit != 1 for unit in self.scale) or self.low)


@dataclass(frozen=True)
class Pictures:
    """What a picture is made into before the network sees it.

    Attributes:
        rows, columns: its size in pixels.
        colour: whether its three colours are kept; otherwise it is grey.
        centred: whether the ink is found, turned light on dark, scaled to a box and centred, as in MNIST.
        ground: the grey, 0 to 255, on which transparent pictures are laid.
        inverted: whether dark is turned light, because the training pictures are dark on light.
    """

    rows: int
    columns: int
    colour: bool = False
    centred: bool = False
    ground: int = 255
    inverted: bool = False


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
            told["columns"] = [_column_to_dict(column) for column in self.columns]
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
                facts["columns"] = tuple(map(_column_from_dict, facts["columns"]))
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
            (feature for source, column in enumerate(self.columns) for feature in _features(source, column)),
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
        return sum(len(_features(source, column)) for source, column in enumerate(self.columns))

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
            changes["columns"] = tuple(_fitted(column, inputs[:, at]) for at, column in enumerate(self.columns))
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


def _column_to_dict(column: Number | Category) -> dict[str, Any]:
    told = dataclasses.asdict(column)
    return {"kind": type(column).__name__.lower(), **told}


def _column_from_dict(told: Mapping[str, Any]) -> Number | Category:
    facts = dict(told)
    kind = facts.pop("kind")
    if kind == "category":
        return Category(str(facts["name"]), tuple(map(str, facts["values"])), int(facts["fill"]), bool(facts["flag"]))
    if kind != "number":
        raise ValueError(f"a column of kind {kind!r}")
    numbers = {name: float(facts[name]) for name in ("origin", "fill", "shift", "scale")}
    edges = tuple(map(float, facts["edges"]))
    return Number(
        str(facts["name"]), method=str(facts["method"]), flag=bool(facts["flag"]), bins=int(facts["bins"]),
        edges=edges, **numbers,
    )  # fmt: skip


def _features(source: int, column: Number | Category) -> list[tuple[Any, ...]]:
    """(source, kind, fill, shift, factor, low, high, block) of each feature that a column becomes."""
    infinity = np.inf
    made: list[tuple[Any, ...]] = []
    if isinstance(column, Number):
        kind = SMOOTH if column.method == "robust" else LINEAR
        made.append((source, kind, column.fill, column.shift, 1 / column.scale, -infinity, infinity, 0))
        edges = column.edges
        for bin_, (left, right) in enumerate(itertools.pairwise(edges)):
            low = -infinity if bin_ == 0 else 0.0
            high = infinity if bin_ == len(edges) - 2 else 1.0
            made.append((source, LINEAR, column.fill, left, 1 / (right - left), low, high, 1))
    else:
        for number in range(len(column.values)):
            made.append((source, EQUAL, float(column.fill), float(number), 1.0, -infinity, infinity, 2))
    if column.flag:
        made.append((source, MISSING, 0.0, 0.0, 1.0, -infinity, infinity, 3))
    return made


# --- fitting -----------------------------------------------------------------------------------------


def fit_number(
    name: str, values: np.ndarray, method: str, *, origin: float | None = None, flag: bool = False, bins: int = 0
) -> Number:
    """A column of numbers, fitted on its training values.

    Args:
        name: the column's name.
        values: (n,) float64; NaN is missing.
        method: "standard" (mean and standard deviation), "robust" (median and interquartile range, or half the range
            where that is 0, smoothly clipped), "minmax" (to 0 and 1) or "none".
        origin: what was taken off the values already; by default it is chosen here, and they are whole.
        flag: whether missing values get a feature of their own, if there are any.
        bins: how many bins the piecewise-linear encoding has at most, cut at quantiles (Gorishniy et al. 2022, "On
            embeddings for numerical features in tabular deep learning"); 0 for none.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return Number(name, origin or 0.0, method=method, bins=bins)
    median = float(np.median(known))
    spread = float(known.max() - known.min())
    # float32 has 24 bits: where the numbers lie far from 0 and close together, a near origin keeps their digits.
    if origin is None:
        origin = median if spread and max(abs(known.max()), abs(known.min())) > 4096 * spread else 0.0
        known, median = known - origin, median - origin
    shift, unit = 0.0, 1.0
    if method == "standard":
        shift, unit = float(known.mean()), float(known.std())
    elif method == "minmax":
        shift, unit = float(known.min()), spread
    elif method == "robust":
        low, high = np.quantile(known, (0.25, 0.75))
        shift, unit = median, float(high - low) or spread / 2
    edges: tuple[float, ...] = ()
    if bins:
        cuts = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)).astype(np.float32))
        edges = tuple(map(float, cuts)) if len(cuts) >= 3 else ()
    missing = bool(np.isnan(values).any())
    return Number(name, origin, median, shift, unit or 1.0, method, flag and missing, bins, edges)


def _fitted(column: Number | Category, values: np.ndarray) -> Number | Category:
    if isinstance(column, Number):
        wide = values.astype(np.float64)
        return fit_number(column.name, wide, column.method, origin=column.origin, flag=column.flag, bins=column.bins)
    codes = values[values >= 0].astype(np.int64)  # what is missing is NaN, and not among them
    counts = np.bincount(codes, minlength=len(column.values))
    fill = int(counts.argmax()) if len(codes) else UNKNOWN
    return dataclasses.replace(column, fill=fill, flag=column.flag and bool(np.isnan(values).any()))


def fit_category(name: str, codes: np.ndarray, values: Sequence[str], *, flag: bool = False) -> tuple[Category, Any]:
    """A column of categories, fitted on its training rows.

    Args:
        name: the column's name.
        codes: (n,) integers into `values`; -1 is missing.
        values: the categories; those without a row are left out.
        flag: whether missing values get a feature of their own, if there are any.

    Returns:
        The column, and the new number of each old one (UNKNOWN for those left out).
    """
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: natural(values[code]))
    renumbered = np.full(len(values) + 1, UNKNOWN)  # one more, for -1
    renumbered[order] = np.arange(len(order))
    fill = int(np.argmax(counts[order])) if order else UNKNOWN
    missing = bool((codes < 0).any())
    return Category(name, tuple(values[code] for code in order), fill, flag and missing), renumbered


def fit_targets(names: Sequence[str], values: np.ndarray, *, clip: bool = False) -> Targets:
    """Shift and scale of a regression's targets, fitted on the training split.

    Args:
        names: one for each target.
        values: (n, k), in the targets' units.
        clip: whether predictions are clipped to the range of the training targets.
    """
    wide = np.asarray(values, np.float64)
    shift, scale = wide.mean(axis=0), wide.std(axis=0)
    scale[~(scale > 0)] = 1  # the same in all rows
    low, high = (wide.min(axis=0), wide.max(axis=0)) if clip else ((), ())
    return Targets(tuple(names), *(tuple(map(float, each)) for each in (shift, scale, low, high)))

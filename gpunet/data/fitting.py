"""What is fitted on a training split, a part at a time: columns of numbers and of categories, targets, pictures.

`Preparation` holds these parts and applies them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.data.arrays import natural
from gpunet.kernels.encoding import EQUAL, LINEAR, MISSING, SMOOTH

#: A feature that a column becomes: source, kind, fill, shift, factor, low, high (as in `Encoding`), and its block, by
#: which the features of all columns are put in order.
Feature = tuple[int, int, float, float, float, float, float, int]
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

    def features(self, source: int) -> list[Feature]:
        """The features that the network reads of it: one, one for each bin, and one for what is missing.

        Args:
            source: the number of the column.
        """
        kind = SMOOTH if self.method == "robust" else LINEAR
        made: list[Feature] = [(source, kind, self.fill, self.shift, 1 / self.scale, -np.inf, np.inf, 0)]
        for bin_, (left, right) in enumerate(itertools.pairwise(self.edges)):
            low = -np.inf if bin_ == 0 else 0.0
            high = np.inf if bin_ == len(self.edges) - 2 else 1.0
            made.append((source, LINEAR, self.fill, left, 1 / (right - left), low, high, 1))
        return [*made, _missing(source)] if self.flag else made

    def refitted(self, values: np.ndarray) -> Number:
        """The same fitted to other values, (n,) as of `Split.inputs`."""
        wide = values.astype(np.float64)
        return fit_number(self.name, wide, self.method, origin=self.origin, flag=self.flag, bins=self.bins)


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

    def features(self, source: int) -> list[Feature]:
        """The features that the network reads of it: one for each category, and one for what is missing.

        Args:
            source: the number of the column.
        """
        made: list[Feature] = [
            (source, EQUAL, float(self.fill), float(number), 1.0, -np.inf, np.inf, 2)
            for number in range(len(self.values))
        ]
        return [*made, _missing(source)] if self.flag else made

    def refitted(self, values: np.ndarray) -> Category:
        """The same fitted to other values, (n,) as of `Split.inputs`."""
        codes = values[values >= 0].astype(np.int64)  # what is missing is NaN, and not among them
        counts = np.bincount(codes, minlength=len(self.values))
        fill = int(counts.argmax()) if len(codes) else UNKNOWN
        return dataclasses.replace(self, fill=fill, flag=self.flag and bool(np.isnan(values).any()))


def _missing(source: int) -> Feature:
    return source, MISSING, 0.0, 0.0, 1.0, -np.inf, np.inf, 3


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


def column_to_dict(column: Number | Category) -> dict[str, Any]:
    """A column as JSON holds it."""
    told = dataclasses.asdict(column)
    return {"kind": type(column).__name__.lower(), **told}


def column_from_dict(told: Mapping[str, Any]) -> Number | Category:
    """What `column_to_dict` told.

    Raises:
        KeyError, TypeError, ValueError: it is not complete, or holds something else.
    """
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

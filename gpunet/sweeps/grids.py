"""Grids: which settings a sweep tries, out of a text like "10;50;50,30" for each option that varies.

A grid is a dict from the name of a setting to its values: a list, a text with the values in it, or a `Range` to
draw from. `combinations` takes all of them crossed, `draws` a number of them at random.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.errors import UsageError

#: Settings whose values have commas of their own: without a semicolon 50,30 is one network and not two.
LISTS = frozenset({"hidden", "classes", "class_weights", "metrics", "target", "features", "drop"})
#: A comma that starts a new value, and not the next key=value of an optimizer or a schedule.
_SEPARATOR = re.compile(r",(?![^,:;]*=)")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high` for random draws, written LOW..HIGH.

    Drawn evenly on the scale of logarithms where the ends are positive and a factor of ten or more apart, else
    evenly; whole numbers if both ends are written as whole numbers.
    """

    low: float
    high: float
    whole: bool = False

    @property
    def logarithmic(self) -> bool:
        """Whether numbers are drawn on the scale of logarithms."""
        return self.low > 0 and self.high / self.low >= 10

    def draw(self, generator: np.random.Generator) -> float | int:
        """One number, of four digits."""
        if self.logarithmic:
            return self.rounded(math.exp(generator.uniform(math.log(self.low), math.log(self.high))))
        return self.rounded(generator.uniform(self.low, self.high))

    def rounded(self, value: float) -> float | int:
        """A number of the range to four digits, or to a whole one."""
        if self.whole:
            return round(min(max(value, self.low), self.high))
        # Four digits: so that the value that a table shows is the value that was tried.
        return min(max(float(f"{value:.4g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


def parse(name: str, text: str) -> list[str] | Range:
    """The values in a text: "10;50;50,30", "relu,tanh", or the range "0.001..1".

    Semicolons separate values that have commas in them; without a semicolon commas do, except for settings
    whose every value is a list (`LISTS`). A semicolon at the end makes what stands before it a single value.

    Raises:
        UsageError: a value is missing, or a range is none.
    """
    option = "--" + name.replace("_", "-")
    if ".." in text and not any(mark in text for mark in ",;/\\"):
        return _range(option, text)
    if ";" in text:
        parts = text.removesuffix(";").split(";")
    elif name in LISTS:
        parts = [text]
    else:
        parts = _SEPARATOR.split(text)
    parts = [part.strip() for part in parts]
    if "" in parts:
        raise UsageError(f"{option} {text!r}: a value is missing; write the values like 1;2 or relu,tanh.")
    return parts


def _range(option: str, text: str) -> Range:
    ends = [end.strip() for end in text.split("..")]
    try:
        low, high = (float(end) for end in ends)
    except ValueError:
        raise UsageError(f"{option} {text!r}: this is no range; write it like 0.001..1.") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"{option} {text!r}: a range goes from a smaller to a larger number, like 0.001..1.")
    return Range(low, high, all(re.fullmatch(r"[+-]?\d+", end) for end in ends))


def check(grid: Mapping[str, Any]) -> dict[str, list[Any] | Range]:
    """A grid with every text parsed and every single value in a list, without values named twice.

    Raises:
        UsageError: values are missing.
    """
    checked: dict[str, list[Any] | Range] = {}
    for name, values in grid.items():
        if isinstance(values, str):
            values = parse(name, values)
        if isinstance(values, Range):
            checked[name] = values
            continue
        members = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
        if not members:
            raise UsageError(f"the grid has no value for {name}; give one or more.")
        checked[name] = [member for i, member in enumerate(members) if member not in members[:i]]
    return checked


def combinations(grid: Mapping[str, list[Any] | Range]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of a checked grid, the last option varying fastest.

    Raises:
        UsageError: the grid has a range.
    """
    listed: list[list[Any]] = []
    for name, values in grid.items():
        if isinstance(values, Range):
            raise UsageError(
                f"--{name.replace('_', '-')} {values}: a range is for random draws; "
                "say how many with --search random --trials N, or list the values."
            )
        listed.append(values)
    for chosen in itertools.product(*listed):
        yield dict(zip(grid, chosen, strict=True))


def draws(grid: Mapping[str, list[Any] | Range], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """At most `count` different combinations drawn at random from a checked grid.

    The same seed gives the same ones, and a larger count the same ones and more behind them. There are fewer
    where the grid has no more.
    """
    generator = np.random.default_rng(seed)
    seen: list[dict[str, Any]] = []
    misses = 0
    size = math.prod(math.inf if isinstance(values, Range) else len(values) for values in grid.values())
    while len(seen) < min(count, size) and misses < 1000:
        drawn = {
            name: values.draw(generator) if isinstance(values, Range) else values[int(generator.integers(len(values)))]
            for name, values in grid.items()
        }
        if drawn in seen:
            misses += 1
            continue
        misses = 0
        seen.append(drawn)
        yield drawn

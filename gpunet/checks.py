"""The checks of the numbers and names that a caller gives, with the sentences that refuse them."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.wording import shown


def needs(value: Any, attribute: str, wanted: str) -> None:
    """Refuse a value of another kind than is wanted, which shows in an attribute that it lacks.

    Raises:
        UsageError: it lacks it; the sentence begins with `wanted`.
    """
    if not hasattr(value, attribute):
        raise UsageError(f"{wanted}, not {shown(value)}.")


def number(owner: str, name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """`value` as a float within [low, high), or within (low, high) with `above`.

    Raises:
        UsageError: it is no number, or lies outside; the sentence begins with `owner` and `name`.
    """
    fits = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    result = float(value) if fits else math.nan
    if not (low < result if above else low <= result) or not result < high or result == -math.inf:
        limits = "" if low == -math.inf else f" above {low:g}" if above else f" of at least {low:g}"
        limits += "" if high == math.inf else f"{' and' if limits else ''} below {high:g}"
        raise UsageError(f"{owner}: {name} must be a number{limits}, not {value!r}.")
    return result


def seed(value: Any) -> int:
    """`value` as a seed, a whole number of 64 bits.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**64:
        raise UsageError(f"the seed must be a whole number from 0 to 2^64 - 1, not {value!r}.")
    return int(value)


def whole(name: str, value: Any) -> int:
    """`value` as a whole number of at least 1.

    Raises:
        UsageError: it is none; the sentence begins with `name`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return int(value)


def positive(name: str, value: Any, zero: bool = False) -> float:
    """`value` as a finite number above 0, or of at least 0 with `zero`.

    Raises:
        UsageError: it is none; the sentence begins with `name`.
    """
    result = float(value) if isinstance(value, (int, float, np.number)) and not isinstance(value, bool) else math.nan
    if not (result >= 0 if zero else result > 0) or result == math.inf:
        raise UsageError(f"{name} must be a number {'of at least' if zero else 'above'} 0, not {value!r}.")
    return result


def one_of(name: str, value: str, names: Collection[str]) -> str:
    """`value`, if it is one of these names.

    Raises:
        UsageError: it is none; the sentence begins with `name`.
    """
    if value not in names:
        raise UsageError(f"{name} must be one of {', '.join(names)}, not {value!r}.")
    return value

"""The checks of what a caller gives, numbers and names, with the sentences that refuse them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from gpunet.errors import UsageError

T = TypeVar("T")


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


def entry(what: str, table: Mapping[str, type[T]], base: type[T], given: Any, hyperparameters: dict[str, Any]) -> T:
    """An instance of an entry of a table, from its name, its class or the instance itself.

    Args:
        what: what the table holds, for the sentence.
        table: the classes by name.
        base: what they all are.
        given: a name, a class, or an instance, which is returned as it is.
        hyperparameters: what a class is called with.

    Raises:
        UsageError: there is no such name, or it has no such hyperparameter.
    """
    if isinstance(given, base):
        return given
    found = table.get(given) if isinstance(given, str) else given
    if not isinstance(found, type) or not issubclass(found, base):
        raise UsageError(f"unknown {what} {given!r}; choose one of {', '.join(table)}.")
    try:
        return found(**hyperparameters)
    except TypeError as error:
        name = getattr(found, "name", found.__name__)
        raise UsageError(f"{what} {name!r}: {error}.") from None

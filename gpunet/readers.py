"""Readers of values: each takes what a user gave, as text or as a value of Python, JSON or TOML, and checks it.

A reader is called with the option's name as its user knows it (`--l2` or `l2`) and the value; it returns the value
in its one canonical form, or raises a `UsageError` whose sentence begins with the name and the value and says what to
write instead. Readers accept their own results, so that reading twice changes nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

import numpy as np

from gpunet.errors import UsageError
from gpunet.keywords import suggestion
from gpunet.registry import LARGEST, Registry, parameters_of

Reader = Callable[[str, Any], Any]


def shown(value: Any) -> str:
    """A value as a sentence can hold it: text as it is where that is harmless, and never long."""
    text = value if isinstance(value, str) and value and value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def refuse(option: str, value: Any, advice: str) -> NoReturn:
    """Raise the one sentence for a value that cannot be used."""
    raise UsageError(f"{option} {shown(value)}: {advice}")


def one_of(
    option: str, value: Any, names: Collection[str], what: str, synonyms: Mapping[str, str] | None = None
) -> str:
    """`value` if it is one of `names`, else a sentence with what may have been meant and all of them."""
    if isinstance(value, str) and value in names:
        return value
    hint = suggestion(value, names, synonyms) if isinstance(value, str) else ""
    refuse(option, value, f"unknown {what}; {hint}choose one of {', '.join(names)}.")


def text(option: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        refuse(option, value, "a text that is not empty is needed.")
    if "\0" in value:
        refuse(option, value, "the text holds a zero character; take it out.")
    return value


def choice(names: Collection[str], what: str) -> Reader:
    """A reader of one of a few names."""
    return lambda option, value: one_of(option, value, names, what)


def switch(option: str, value: Any) -> bool:
    """On or off: a truth value, or one of the words."""
    words = {"on": True, "true": True, "off": False, "false": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if not isinstance(value, (bool, np.bool_)):
        refuse(option, value, "on or off is needed.")
    return bool(value)


def entry(table: Registry[Any, Any]) -> Reader:
    """A reader of a name in a table."""
    return lambda option, value: one_of(option, value, table, table.what, table.synonyms)


def optional(reader: Reader) -> Reader:
    """A reader that takes "none" (and a missing value) for None."""

    def read(option: str, value: Any) -> Any:
        return None if value is None or value == "none" else reader(option, value)

    return read


def _as_float(value: Any) -> float:
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    return float(value)


def number(
    minimum: float = -math.inf, *, above: float | None = None, below: float | None = None, example: str = "0.1"
) -> Reader:
    """A reader of a number that float32 can hold and that is at least `minimum`, above `above`, below `below`."""
    limits = []
    if above is not None:
        limits.append(f"above {above:g}")
    elif minimum > -math.inf:
        limits.append(f"of at least {minimum:g}")
    if below is not None:
        limits.append(f"below {below:g}")
    wanted = " ".join(["a finite number", " and ".join(limits)]).strip()

    def read(option: str, value: Any) -> float:
        try:
            result = _as_float(value)
        except (ValueError, OverflowError):
            refuse(option, value, f"this is no number; give {wanted}, for example {example}.")
        if not math.isfinite(result) or result < minimum:
            refuse(option, value, f"{wanted} is needed, for example {example}.")
        if abs(result) > LARGEST:
            refuse(option, value, f"float32 ends at {LARGEST:.2g}; give a smaller number, for example {example}.")
        if (above is not None and result <= above) or (below is not None and result >= below):
            refuse(option, value, f"{wanted} is needed, for example {example}.")
        return result

    return read


def whole(minimum: int, maximum: int = 2**53, *, example: str = "100") -> Reader:
    """A reader of a whole number between `minimum` and `maximum`; 1e4 counts as one."""

    def read(option: str, value: Any) -> int:
        result = None
        try:
            if isinstance(value, np.integer):
                result = int(value)
            elif isinstance(value, int) and not isinstance(value, bool):
                result = value
            elif isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
                result = int(value)
            elif _as_float(value).is_integer():
                result = int(_as_float(value))
        except (ValueError, OverflowError):
            pass
        if result is None:
            refuse(option, value, f"this is no whole number; give one of at least {minimum}, for example {example}.")
        if result < minimum:
            refuse(option, value, f"at least {minimum} is needed, for example {example}.")
        if result > maximum:
            refuse(option, value, f"at most {maximum} is possible, for example {example}.")
        return result

    return read


def hyperparameter(table: Registry[Any, Any], name: str, example: str = "0.1") -> Reader:
    """A reader of the number that entries of a table take by some name, within the limits of the first of them."""

    def read(option: str, value: Any) -> float:
        result: float = number(example=example)(option, value)
        for entry in (entry for entry in table if name in parameters_of(table[entry])):
            try:
                table.make(entry, **{name: result})
            except UsageError as error:
                refuse(option, value, str(error).partition(": ")[2])  # in place of the owner, the option
            break
        return result

    return read


def epochs(option: str, value: Any) -> int | float:
    """A length in epochs, whole or not."""
    result = number(above=0, example="10")(option, value)
    return int(result) if result.is_integer() else result


#: A seed, a whole number of 64 bits.
seed = whole(0, 2**64 - 1, example="0")


def pieces(option: str, value: Any, example: str) -> list[Any]:
    """The members of a list, or of a text with commas; none of them may be empty."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        refuse(option, value, f"values with commas between them are needed, for example {example}.")
    parts = [part.strip() for part in str(value).split(",")]
    if "" in parts:
        place = "between two commas" if "" in parts[1:-1] else "beside a comma"
        missing = f"a value is missing {place}" if len(parts) > 1 else "the value is missing"
        refuse(option, value, f"{missing}; write it like {example}.")
    return parts


def listing(reader: Reader, example: str) -> Reader:
    """A reader of a tuple of at least one member, each read by `reader`."""

    def read(option: str, value: Any) -> tuple[Any, ...]:
        members = tuple(reader(option, part) for part in pieces(option, value, example))
        if not members:
            refuse(option, value, f"at least one value is needed, for example {example}.")
        return members

    return read


def hidden_layers(option: str, value: Any) -> tuple[int, ...]:
    """Neurons per hidden layer: 50,30; none for no hidden layer."""
    if value == "none" or value == () or value == []:
        return ()
    read = whole(1, 10_000_000, example="50,30, or none for no hidden layer")
    return tuple(read(option, part) for part in pieces(option, value, "50,30, or none for no hidden layer"))


def one_or_each(reader: Reader, example: str) -> Reader:
    """A reader of one value for all hidden layers, or of a tuple with one for each."""

    def read(option: str, value: Any) -> Any:
        if (isinstance(value, str) and "," not in value) or isinstance(value, (int, float)):
            return reader(option, value)
        return listing(reader, example)(option, value)

    return read


def name(option: str, value: Any) -> str:
    """A name, or a position, as a text."""
    return text(option, str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def automatic(reader: Reader) -> Reader:
    """A reader that takes "auto" as it is."""
    return lambda option, value: value if value == "auto" else reader(option, value)


def image_size(option: str, value: Any) -> tuple[int, int] | None:
    """Rows and columns of a picture: 28x28, or 28 for a square; None for its own."""
    if value is None or value == "none":
        return None
    example = "28x28"
    given = value.lower().split("x") if isinstance(value, str) else value
    given = given if isinstance(given, (list, tuple)) else [given]
    if len(given) not in (1, 2):
        refuse(option, value, f"rows and columns are needed, for example {example}.")
    sides = tuple(whole(1, 10_000, example=example)(option, side) for side in given)
    return (sides[0], sides[-1])


def class_list(option: str, value: Any) -> tuple[int | str, ...] | None:
    """The classes to keep, by index or name: 3,8; None for all."""
    if value is None or value == "all":
        return None
    index = whole(0, example="3,8")
    result = tuple(
        text(option, part) if isinstance(part, str) and not part.lstrip("+-").isdigit() else index(option, part)
        for part in pieces(option, value, "3,8")
    )
    if len(set(result)) != len(result):
        refuse(option, value, "a class is named twice; name each once, for example 3,8.")
    if len(result) < 2:
        refuse(option, value, "at least two classes are needed, for example 3,8.")
    return result


def class_weights(option: str, value: Any) -> str | tuple[float, ...] | None:
    """The weight of each class in the loss, "balanced", or None for all alike."""
    if value is None or value in ("none", "balanced"):
        return None if value == "none" else value
    example = "1,1,2 (one for each class), or balanced"
    return listing(number(above=0, example=example), example)(option, value)


def batch_size(option: str, value: Any) -> int | str:
    """Examples per step, or "all"."""
    return "all" if value == "all" else whole(1, example="100, or all")(option, value)


def validation(option: str, value: Any) -> int | float | str:
    """What to hold out: a count, a fraction, one of several equal parts ("2of5"), "none", or "auto" for the data set's
    own split."""
    if value is None:
        return "none"
    if value in ("auto", "none"):
        return value
    example = "500 (examples), 0.1 (a fraction), 2of5 (the second of five parts), auto or none"
    if isinstance(value, str) and (part := re.fullmatch(r"\s*(\d{1,9})\s*of\s*(\d{1,9})\s*", value)):
        which, parts = map(int, part.groups())
        if not 1 <= which <= parts >= 2:
            refuse(option, value, "this is none of two or more equal parts; write it like 2of5, the second of five.")
        return f"{which}of{parts}"
    result = number(0, above=0, example=example)(option, value)
    if result < 1:
        return result
    return whole(1, example=example)(option, value)


def specification(table: Registry[Any, Any], hidden: Collection[str] = ()) -> Reader:
    """A reader of NAME or NAME:key=value,key=value, where NAME is in the table.

    The hyperparameters in `hidden` have options of their own.
    """

    def read(option: str, value: Any) -> str:
        spec = text(option, value)
        one_of(option, spec.partition(":")[0], table, table.what, table.synonyms)
        try:
            _, given = table.parse(spec, hidden)
        except UsageError as error:
            refuse(option, value, str(error))
        for key in given:
            if key in hidden:
                refuse(option, value, f"{key} is the option --{key.replace('_', '-')}.")
        return spec

    return read

"""Tables of entries by name: activations, losses, optimizers, schedules, initializers, data sets.

What is in a table can be named wherever one of its kind is wanted, in Python, on the command line and in files of
settings, and its hyperparameters with it: `adam:beta1=0.8`.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, TypeVar, cast

from gpunet.errors import UsageError
from gpunet.extensions import found, load
from gpunet.keywords import checked, suggestion
from gpunet.wording import shown

E = TypeVar("E")
T = TypeVar("T")
X = TypeVar("X")

#: The largest number that float32 holds; what is beyond becomes infinite in a network.
LARGEST = 3.4028234663852886e38

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@functools.lru_cache(maxsize=256)
def _signature(entry: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(entry).parameters


def parameters_of(entry: Any) -> Mapping[str, inspect.Parameter]:
    """What a class or a function is called with; remembered, since to find it out takes 0.1 ms."""
    return _signature(entry) if isinstance(entry, type) else inspect.signature(entry).parameters


@checked
class Entry:
    """Base of the classes that tables hold.

    Attributes:
        name: the name in the table.
        formula: what it computes in one line, for the documentation.
        source: where it comes from.
    """

    name = ""
    formula = ""
    source = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            checked(cls)

    def __init__(self) -> None:
        # Without one of its own, a class without hyperparameters would seem to take any.
        pass

    def settings(self) -> dict[str, Any]:
        """The hyperparameters, as JSON can hold them: the attributes that do not begin with an underscore."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def __repr__(self) -> str:
        parts = []
        for index, parameter in enumerate(parameters_of(type(self)).values()):
            value = getattr(self, parameter.name, parameter.default)
            if value is not parameter.default and value != parameter.default:
                named = index or parameter.kind is inspect.Parameter.KEYWORD_ONLY
                parts.append(f"{parameter.name}={value!r}" if named else repr(value))
        return f"{type(self).__name__}({', '.join(parts)})"


class Registry(MutableMapping[str, E], Generic[E, T]):
    """A table of entries by name, in the order of their registration.

    It is a mapping: `table[name]` is the entry, a class or a finished object, and may be assigned.
    `table.make(name)` is an object, made of the entry if that is a class.

    Args:
        what: what an entry is, for the sentences: "optimizer".
        base: the class of the objects.
        apart: parameters of the entries that are no hyperparameters, such as the learning rate.
        synonyms: other names that people use, by the name of the entry, with spaces between them; they are hinted at
            when a name is unknown.
        group: the entry points of installed packages that are in the table too, loaded when they are used.

    Attributes:
        what: as given.
        base: as given.
        synonyms: as given.
    """

    def __init__(
        self, what: str, base: type[T], *, apart: Collection[str] = (), synonyms: Mapping[str, str] | None = None,
        group: str | None = None,
    ) -> None:  # fmt: skip
        self.what = what
        self.base = base
        self.synonyms: dict[str, str] = dict(synonyms or {})
        self._apart = frozenset(apart)
        self._entries: dict[str, E] = {}
        self._group = group
        self._points: dict[str, Any] = {}  # of entries that are not loaded yet

    def _all(self) -> dict[str, E]:
        """The entries, those of installed packages last; in place of one that is not loaded yet its entry point."""
        if self._group is not None:
            self._points = {name: point for name, point in found(self._group).items() if name not in self._entries}
            self._entries.update(self._points)
            self._group = None
        return self._entries

    def __getitem__(self, name: str) -> E:
        entries = self._entries if name in self._entries else self._all()
        if name in self._points:
            self[name] = load(self._points[name])
        return entries[name]

    def __setitem__(self, name: str, entry: E) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[^\s:;,=]+", name):
            raise UsageError(f"{name!r} is no name for a table: use a text without spaces, colons, commas and '='.")
        held: Any = entry
        if not isinstance(held, self.base) and not callable(held):
            raise UsageError(f"{name}: {shown(entry)} is no {self.what}; derive it from {self.base.__name__}.")
        self._entries[name] = entry
        self._points.pop(name, None)

    def __delitem__(self, name: str) -> None:
        del self._all()[name]
        self._points.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._all()

    def __len__(self) -> int:
        return len(self._all())

    def registered(self) -> dict[str, E]:
        """The entries so far, without those of installed packages that were not used yet."""
        return {name: entry for name, entry in self._entries.items() if name not in self._points}

    def __repr__(self) -> str:
        return f"<{len(self)} of {self.what}: {', '.join(self)}>"

    def register(self, entry: X) -> X:
        """Put an entry into the table under its own name; returns it, so that this can decorate a class."""
        self[getattr(entry, "name", "")] = cast(Any, entry)
        return entry

    def make(self, given: str | T | type[T], /, **hyperparameters: Any) -> T:
        """An object of this table's kind.

        Args:
            given: a name, NAME:key=value,key=value, a class, or an object, which is returned as it is.
            hyperparameters: what a class is called with.

        Raises:
            UsageError: there is no such name, it has no such hyperparameter or cannot take its value, or its
                `settings` leave a hyperparameter out, so that no file could say what it was.
        """
        entry: Any = given
        name = str(getattr(given, "name", "") or getattr(given, "__name__", ""))
        if isinstance(given, str):
            name, parsed = self.parse(given)
            for key in parsed.keys() & hyperparameters.keys():
                raise UsageError(f"{self.what} {name}: {key} is given twice; give it once.")
            entry, hyperparameters = self[name], {**parsed, **hyperparameters}
        elif isinstance(given, type) and not issubclass(given, self.base):
            raise UsageError(self.unknown(given))
        if isinstance(entry, self.base):
            for key in hyperparameters:
                raise UsageError(f"{self.what} {name} is made already; give {key} where it is made.")
            made = entry
        elif isinstance(given, (str, type)):
            made = self._make(name, entry, hyperparameters)
        else:
            raise UsageError(self.unknown(given))
        if hasattr(made, "settings"):
            for key in self.parameters(type(made)).keys() - made.settings().keys():
                raise UsageError(f"{self.what} {name}: its settings() leave out {key}; keep it as an attribute.")
        return made

    def _make(self, name: str, entry: Any, hyperparameters: dict[str, Any]) -> T:
        self._check_keys(name, entry, [key for key in hyperparameters if key not in self._apart])
        for key, parameter in parameters_of(entry).items():
            if key not in hyperparameters and parameter.default is parameter.empty and parameter.kind in _NAMED:
                raise UsageError(f"{self.what} {name} needs {key}; give {key}=VALUE with it.")
        try:
            made = entry(**hyperparameters)
        except UsageError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"{self.what} {name}: {error}") from error
        if not isinstance(made, self.base):
            raise UsageError(f"{self.what} {name} makes {shown(made)}, which is no {self.base.__name__}.")
        return made

    def parameters(self, entry: str | E | type[T]) -> dict[str, inspect.Parameter]:
        """The hyperparameters of an entry or of the entry of a name: what it is called with, but for `apart`."""
        entry = self[entry] if isinstance(entry, str) else entry
        if isinstance(entry, self.base) or not callable(entry):
            return {}
        found = parameters_of(entry)
        return {key: value for key, value in found.items() if value.kind in _NAMED and key not in self._apart}

    def offer(self, hidden: Collection[str] = ()) -> str:
        """The names, each with its hyperparameters that are not `hidden`, as a help shows them."""
        offers = []
        for name in self:
            try:
                keys = [key for key in self.parameters(name) if key not in hidden]
            except UsageError:  # of a package that cannot be loaded, which its use will say
                keys = []
            offers.append(f"{name} ({', '.join(keys)})" if keys else name)
        return ", ".join(offers)

    def parse(self, text: str, hidden: Collection[str] = ()) -> tuple[str, dict[str, Any]]:
        """The name and the hyperparameters in NAME or NAME:key=value,key=value.

        Args:
            text: what to read; a value is a number, `true` or `false`.
            hidden: hyperparameters that are not offered where one is unknown.

        Raises:
            UsageError: there is no such name, it has no such hyperparameter, or a value is none of these.
        """
        name, colon, rest = text.partition(":")
        if name not in self:
            raise UsageError(self.unknown(name))
        given: dict[str, Any] = {}
        for part in rest.split(",") if colon else ():
            key, _, raw = (piece.strip() for piece in part.partition("="))
            if not key or not raw:
                raise UsageError(f"write it like {name}:key=value, with commas between several.")
            key = key.replace("-", "_")
            if key in given:
                raise UsageError(f"{key} is given twice; give it once.")
            given[key] = raw
        self._check_keys(name, self[name], given, hidden)
        return name, {key: _value(key, raw) for key, raw in given.items()}

    def unknown(self, given: Any) -> str:
        """The sentence for what is not in the table, with what may have been meant and all that there is."""
        own = f"derive one from {self.base.__name__}, or "
        hint = suggestion(given, self, self.synonyms) if isinstance(given, str) else own
        return f"unknown {self.what} {shown(given)}; {hint}choose one of {', '.join(self)}."

    def _check_keys(self, name: str, entry: Any, given: Iterable[str], hidden: Collection[str] = ()) -> None:
        known = self.parameters(entry)
        if callable(entry) and any(p.kind is p.VAR_KEYWORD for p in parameters_of(entry).values()):
            return
        offered = [key for key in known if key not in hidden]
        for key in given:
            if key not in known:
                offer = f"it takes {', '.join(offered)}" if offered else "it takes none"
                raise UsageError(f"{self.what} {name} has no {key}; {suggestion(key, offered)}{offer}.")


def _value(key: str, raw: str) -> Any:
    if raw in ("true", "false"):
        return raw == "true"
    try:
        number = float(raw)
    except ValueError:
        number = math.nan
    if not abs(number) <= LARGEST:
        raise UsageError(f"{key}={raw}: a finite number that float32 can hold is needed, for example {key}=0.5.")
    return int(raw) if re.fullmatch(r"[+-]?\d+", raw) else number

"""What was meant by a name that is not there: the hints of sentences, and the check of arguments by name."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from gpunet.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

#: Arguments that the caller does not give himself.
OWNERS = "self", "cls"

#: Other names of options and arguments that people use, by the name that is right, as in a table's synonyms.
SYNONYMS = {
    "lr": "learning-rate rate step-size eta", "hidden": "layers hidden-layers hidden-layer-sizes neurons units",
    "epochs": "max-epochs num-epochs max-iter", "iterations": "steps max-steps", "init": "initializer weights",
    "data": "dataset data-set", "batch_size": "batch mini-batch", "early_stopping": "patience",
    "l2": "alpha ridge", "l1": "lasso", "clip_norm": "gradient-clipping clip-grad-norm grad-clip",
    "precision": "amp mixed-precision bf16",
    "schedule": "scheduler lr-schedule learning-rate-schedule", "seed": "random-state random-seed",
    "learning_rate": "lr rate step-size eta", "initial": "lr learning-rate rate", "initializer": "init",
    "sizes": "layers hidden widths hidden-layer-sizes", "activation": "activations nonlinearity", "backend": "device",
    "device": "backend", "stddev": "std sigma", "weight_decay": "wd decay l2", "images": "inputs x",
    "hidden_layer_sizes": "layers sizes widths neurons units", "solver": "optimizer", "random_state": "seed",
    "max_iter": "epochs", "n_iter_no_change": "patience", "alpha": "l2", "learning_rate_init": "lr eta",
    "labels": "targets y classes", "weights": "sample-weight sample-weights",
}  # fmt: skip


def suggestion(given: str, names: Collection[str], synonyms: Mapping[str, str] | None = None) -> str:
    """What may have been meant by a name that is not among `names`: "did you mean NAME? ", or nothing.

    Args:
        given: what was written.
        names: what there is.
        synonyms: other names that people use, by the name that is right, with spaces between them. They go first, then
            names of which `given` is a part or the beginning, then what is spelt most like it.
    """
    wanted = _plain(given)
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        for spelling in (_plain(name), *(synonyms or {}).get(name, "").split()):
            spellings.setdefault(spelling, []).append(name)
    near = spellings.get(wanted, [])
    if not near and len(wanted) > 1:
        near = [name for name in names if _plain(name).startswith(wanted) or wanted in _plain(name).split("-")]
    if not near:
        near = [name for spelling in difflib.get_close_matches(wanted, spellings, n=1) for name in spellings[spelling]]
    return f"did you mean {' or '.join(near)}? " if near else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def checked(target: F) -> F:
    """Decorates a function or a class: an argument by a name that it does not have, and more arguments by position than
    it has, are refused in a sentence.

    Raises:
        UsageError: when it is called with such an argument.
    """
    if isinstance(target, type):
        target.__init__ = _checked(target.__init__)  # type: ignore[misc]
        return target
    return _checked(target)


def _checked(function: Any) -> Any:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    any_name = code.co_flags & inspect.CO_VARKEYWORDS
    most = math.inf if code.co_flags & inspect.CO_VARARGS else code.co_argcount

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        whose = type(args[0]).__name__ if function.__name__ == "__init__" else None
        if len(args) > most:
            first = [name for name in names[: code.co_argcount] if name not in OWNERS]
            raise UsageError(
                f"{whose or function.__name__} takes {', '.join(first) or 'nothing'} by position, and not "
                f"{len(args) - code.co_argcount + len(first)} values; give all others by name."
            )
        for name in () if any_name else kwargs:
            if name not in names:
                raise UsageError(unknown(name, [each for each in names if each not in OWNERS], whose))
        return function(*args, **kwargs)

    return call


def unknown(name: str, names: Collection[str], whose: str | None = None) -> str:
    """The sentence for an argument that a function, or the class `whose`, does not have, with what it has."""
    begun = f"{whose} has" if whose else "there is"
    there = f"it takes {', '.join(names) or 'none'}."
    return f"{begun} no argument {name}; {suggestion(name, names, SYNONYMS).rstrip() or there}"

"""What installed packages add: their entry points in the groups `gpunet.activations`, `gpunet.commands` and the like.

Nothing of a package is imported before what it adds is used, or listed with its hyperparameters.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from typing import TYPE_CHECKING, Any

from gpunet.errors import UsageError
from gpunet.wording import one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@functools.cache
def found(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, in the order of the names; of two with one name the first that is found."""
    if not _any_there():
        return {}
    from importlib.metadata import entry_points

    points = {point.name: point for point in reversed(tuple(entry_points(group=group)))}
    return {name: points[name] for name in sorted(points)}


@functools.cache
def _any_there() -> bool:
    """Whether a package has any; quicker than importing `importlib.metadata`, which nobody needs otherwise."""
    for folder in sys.path:
        for file in glob.iglob(os.path.join(glob.escape(folder or "."), "*-info", "entry_points.txt")):
            with open(file, "rb") as stream:
                if b"[gpunet." in stream.read():
                    return True
    return False


def package(point: EntryPoint) -> str:
    """The package that an entry point is of."""
    return point.dist.name if point.dist is not None else point.module


def load(point: EntryPoint) -> Any:
    """What an entry point names, imported now.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        return point.load()
    except Exception as error:
        why = one_line(f"{type(error).__name__}: {error}", 200)
        raise UsageError(
            f"{point.name} is of the package {package(point)}, which cannot be loaded ({why}); mend or remove it."
        ) from error

"""What to call several runs in a picture: by the settings that differ, or by their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gpunet.errors import CheckpointError
from gpunet.runs.folder import RunFolder
from gpunet.runs.history import named

#: Settings that say where and how a run is done, not what comes out of it.
ELSEWHERE = ("data_dir", "device", "graph", "steps_per_launch", "threads", "log_every")
#: As many settings make a label at most.
MOST = 2


def labels(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """A label for each run: the settings that differ, where these are one or two and say which run is which.

    Otherwise, and of files that are no run folders, the names of `history.named`.
    """
    names = [name for _, name in named(paths)]
    try:
        settings = [RunFolder(path).config().get("settings", {}) for path in paths]
    except CheckpointError:
        return names
    every = list(dict.fromkeys(name for each in settings for name in each if name not in ELSEWHERE))
    differing = [name for name in every if any(each.get(name) != settings[0].get(name) for each in settings)]
    found = [", ".join(f"{name.replace('_', ' ')} {text(each.get(name))}" for name in differing) for each in settings]
    return found if 0 < len(differing) <= MOST and len(set(found)) == len(found) else names


def text(value: Any) -> str:
    """A setting as it is typed."""
    return "none" if value in (None, []) else ",".join(map(str, value)) if isinstance(value, list) else str(value)

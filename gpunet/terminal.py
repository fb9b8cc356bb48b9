"""What a stream can show: whether it is a terminal or a notebook, can be redrawn, has the characters."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; one that is closed or missing is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def can_redraw(stream: Any) -> bool:
    """Whether a stream is a terminal whose cursor can be moved, so that a progress bar can stand there."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown")


def display() -> Callable[..., Any] | None:
    """What shows an object under the cell of a notebook that runs this; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):  # IPython in a terminal has none
        return None
    from IPython.display import display

    return display


def encodes(stream: Any, text: str) -> bool:
    """Whether a stream's encoding has all characters of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

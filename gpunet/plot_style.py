"""The look of the pictures, and how they are written to a file.

The colours are those of Okabe & Ito (2008), "Color universal design", which people with any kind of colour vision can
tell apart. matplotlib is used without pyplot, so there is no global state and no window.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from gpunet.errors import MissingExtra, UsageError

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#6B6B6B"
#: Axes, and the lines behind the curves.
EDGE, GRID = "#B0B0B0", "#E4E4E4"
#: The colours of runs side by side, in this order.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", ":", "-.")
#: Kinds of files that `save` writes.
FORMATS = (".png", ".svg", ".pdf")

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": GREY,
    "axes.edgecolor": EDGE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "gpunet",  # the same picture is the same file
    "svg.fonttype": "none",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextlib.contextmanager
def style() -> Iterator[Any]:
    """The look of the pictures, for the time of a `with`; gives the matplotlib module.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise MissingExtra("matplotlib", "plot", "drawing a picture") from None
    with matplotlib.rc_context(_STYLE):
        yield matplotlib


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as .png (150 dots per inch), .svg or .pdf, whichever the name ends in; never half a file.

    Raises:
        UsageError: the name ends in something else.
    """
    import io

    from gpunet.files import write_atomic

    kind = check_format(path)
    # Without the date the same picture is the same file, byte for byte.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format=kind[1:], dpi=150, metadata=metadata)
    write_atomic(path, stream.getvalue())


def check_format(path: str | os.PathLike[str]) -> str:
    """The suffix of a picture's name, in lower case.

    Raises:
        UsageError: it is none of `FORMATS`.
    """
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind not in FORMATS:
        raise UsageError(
            f"{os.fspath(path)}: a picture is written as {', '.join(FORMATS)}; end its name in one of them."
        )
    return kind

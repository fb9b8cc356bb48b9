"""The look of the pictures, and how they are written to a file.

The colours are those of Okabe & Ito (2008), "Color universal design", which people with any kind of colour vision can
tell apart. matplotlib is used without pyplot, so there is no global state and no window.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from gpunet.errors import MissingExtra, UsageError

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#6B6B6B"
#: Axes, and the lines behind the curves.
EDGE, GRID = "#B0B0B0", "#E4E4E4"
#: The colours of runs side by side, in this order.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", ":", "-.")
#: The same for pages, darker where they are the colour of text, and for the dark.
PAGE_COLOURS = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --muted: #5e5e5e; --edge: #b0b0b0; --grid: #e4e4e4;
  --card: #f5f6f7; --blue: #0072b2; --vermilion: #c05200; --green: #00744f; --purple: #9c3f78;
  --right: 0, 114, 178; --wrong: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e8e8e8; --muted: #a0a4a8; --edge: #5a5e63;
  --grid: #33373b; --card: #202327; --blue: #56b4e9; --vermilion: #ff9248; --green: #3ecf9b; --purple: #e39cc4;
  --right: 86, 180, 233; --wrong: 255, 130, 50; } }
"""
#: Kinds of files that `save` writes.
FORMATS = (".png", ".svg", ".pdf")
#: Characters that no file can hold as text, such as those of a folder's name that is not UTF-8.
_UNDRAWABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

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
    "text.parse_math": False,  # a dollar in a name is a dollar
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
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # What the font lacks is drawn as a box, and is text all the same in SVG.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield matplotlib


def svg(figure: Any, title: str) -> str:
    """A figure as SVG whose colours are the page's, so that they are right in the dark too."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, facecolor="none")
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    title = html.escape(legible(title))
    # The marks and paths that the page's figures share by name are each figure's own.
    own = hashlib.sha256(text.encode()).hexdigest()[:6]
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{own}-", text)
    opening = rf'<svg viewBox="\1" role="img" aria-label="{title}"><title>{title}</title>'
    text = re.sub(r'<svg[^>]*viewBox="([^"]*)"[^>]*>', opening, text, count=1)
    text = re.sub(r"\n +", "\n", text)
    variables = {BLUE: "blue", VERMILION: "vermilion", GREY: "muted", GRID: "grid", EDGE: "edge", BLACK: "ink"}
    for colour, variable in variables.items():
        text = text.replace(colour.lower(), f"var(--{variable})")
    return text.strip()


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as .png (150 dots per inch), .svg or .pdf, whichever the name ends in; never half a file.

    Raises:
        UsageError: the name ends in something else.
    """
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
    return check_suffix(path, FORMATS, "a picture")


def check_suffix(path: str | os.PathLike[str], suffixes: Sequence[str], what: str) -> str:
    """The suffix of a file's name, in lower case; `what` says in errors what is written.

    Raises:
        UsageError: it is none of these.
    """
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind not in suffixes:
        name = os.fspath(path) or "the name is empty"
        raise UsageError(f"{name}: {what} is written as {', '.join(suffixes)}; end its name in one of them.")
    return kind


def legible(name: str, most: int | None = None) -> str:
    """A name as a picture can show it: without what is no character, and cut in the middle if longer than `most`."""
    name = _UNDRAWABLE.sub("\N{REPLACEMENT CHARACTER}", name)
    if most is None or len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def legible_names(names: Sequence[str], most: int) -> list[str]:
    """Names as a picture can show them; where the cut makes two of them the same, all are numbered."""
    short = [legible(name, most) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    return [f"{number} {name}" for number, name in enumerate(short, 1)]

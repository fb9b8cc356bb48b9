"""Contact sheets: small pictures in rows with a caption to each, as a figure, as text and in a page.

In a terminal a character is two pixels, one above the other: a half-block whose foreground and background are their
colours. Where there are no colours a character stands for how dark its two pixels are.
"""

from __future__ import annotations

import base64
import html
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gpunet.errors import DataError, UsageError
from gpunet.pictures.picture import Canvas, Picture
from gpunet.pictures.style import BLUE, ORANGE, legible, style

#: From no ink to full ink.
INK = " .:-=+*#%@"
#: The same for weights, which have a sign: from strongly negative over nothing to strongly positive.
SIGNED = "#x-. .+oO@"
#: The longest name that is written out.
LONGEST = 20
#: How wide a letter is, in inches for each point of its size.
LETTER = 0.6 / 72
_HALF_BLOCK = "▀"
_RESET = "\x1b[0m"
_RED, _BLUE = np.array([213, 94, 0]), np.array([0, 114, 178])


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        pixels: (rows, columns) or (rows, columns, 3), 0 (no ink) to 1; with `signed` (rows, columns), -1 to 1.
        caption: a few characters.
        signed: whether 0 is the middle, as of weights.
        told: the caption where there is room for lines, such as over a picture of a figure; by default the caption.
        what: what the picture is, for those who do not see it.
    """

    pixels: np.ndarray
    caption: str = ""
    signed: bool = False
    told: tuple[str, ...] = ()
    what: str = ""


class Sheet(Picture):
    """A picture that is many small ones.

    Attributes:
        title: over the sheet.
        limit: of signed pictures what 1 stands for.
        inch, size: how high a small picture is in a figure, in inches, and its caption, in points.
        counts: how many small pictures there are at most in a figure, in a terminal and in a page.
    """

    title: str
    limit: float = 1.0
    inch: ClassVar[float] = 1.05
    size: ClassVar[float] = 7.5
    counts: ClassVar[tuple[int, int, int]] = (24, 12, 32)

    def __init__(self, count: int | None) -> None:
        if count is not None and count < 1:
            raise UsageError(f"a sheet of {count} pictures cannot be drawn; ask for 1 or more.")
        self.count = count

    def tiles(self, count: int) -> list[Tile]:
        """The first `count` small pictures, fewer if there are no more; sets the title."""
        raise NotImplementedError

    def _tiles(self, form: int) -> list[Tile]:
        return self.tiles(self.count or self.counts[form])

    def figure(self) -> Any:
        """The pictures in rows with their captions over them; of signed ones the scale beside them."""
        tiles = self._tiles(0)
        if not tiles:
            raise DataError(f"{self.title}; there is nothing to draw.")
        with style():
            signed = tiles[0].signed
            captions = ["\n".join(tile.told or (tile.caption,)) for tile in tiles]
            lines = max(caption.count("\n") + 1 for caption in captions)
            widest = max(len(line) for caption in captions for line in caption.split("\n")) * self.size * LETTER
            aspect = tiles[0].pixels.shape[1] / tiles[0].pixels.shape[0]
            # As many columns as a page is wide for, but no more than make a sheet that is wider than high.
            columns = max(1, int(9.2 / max(self.inch * aspect, widest)))
            columns = min(columns, max(3, math.ceil(math.sqrt(len(tiles) * 2.5))))
            text = 0.04 + 0.14 * lines if lines > 1 else 0.16
            figure, cells = _grid(len(tiles), columns, aspect, self.inch, text, widest, 0.95 if signed else 0.1)
            for axes, tile, caption in zip(cells, tiles, captions, strict=True):
                if signed:
                    axes.imshow(tile.pixels, cmap=_diverging(), vmin=-1, vmax=1, interpolation="nearest")
                else:
                    axes.imshow(tile.pixels, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
                axes.set_title(caption, fontsize=self.size, color="#303030", fontweight="normal", pad=3, loc="center")
            if signed:
                _scale(figure, cells[min(columns, len(cells)) - 1], self.limit, widest)
            _heading(figure, legible(self.title))
            return figure

    def terminal(self, canvas: Canvas) -> list[str]:
        """The title, and the pictures as half-blocks in colours, or as characters."""
        tiles = self._tiles(1)
        colour = canvas.colours if canvas.colours in ("truecolor", "256") and canvas.encodes(_HALF_BLOCK) else None
        # What the stream cannot encode is said in other words: an arrow in ASCII.
        tiles = [Tile(tile.pixels, _encoded(tile.caption, canvas), tile.signed) for tile in tiles]
        title = textwrap.wrap(_encoded(self.title, canvas), canvas.width)
        return [*title, "", *terminal(tiles, canvas.width, colour)] if tiles else title

    def html(self) -> str:
        """The pictures as PNG inside the page, with captions under them."""
        tiles = self._tiles(2)
        kind = "sheet small" if tiles and tiles[0].signed else "sheet"
        title = f'<p class="muted">{html.escape(legible(self.title))}.</p>'
        return f'{title}\n<div class="{kind}">\n' + "\n".join(map(_figure, tiles)) + "\n</div>" if tiles else title


def shrink(pixels: np.ndarray, factor: int) -> np.ndarray:
    """The means of squares of `factor` pixels; what is left over at the edges is filled up with zeros."""
    rows, columns = (-(-size // factor) * factor for size in pixels.shape[:2])
    full = np.zeros((rows, columns, *pixels.shape[2:]), np.float32)
    full[: pixels.shape[0], : pixels.shape[1]] = pixels
    blocks = full.reshape(rows // factor, factor, columns // factor, factor, *pixels.shape[2:])
    return blocks.mean(axis=(1, 3))


def colours(tile: Tile, paper: bool) -> np.ndarray:
    """The pixels as (rows, columns, 3) uint8: dark ink on paper, or bright ink on black.

    Weights are vermilion where positive and blue where negative, on white or black alike.
    """
    pixels = np.asarray(tile.pixels, np.float32)
    if tile.signed:
        strength = np.clip(np.abs(pixels), 0, 1)[..., None]
        hue = np.where(pixels[..., None] > 0, _RED, _BLUE)
        ground = 255.0 if paper else 0.0
        result = ground + (hue - ground) * strength
    elif pixels.ndim == 3:
        result = 255 * np.clip(pixels, 0, 1)
    else:
        grey = 255 * np.clip(pixels, 0, 1)
        result = np.repeat((255 - grey if paper else grey)[..., None], 3, axis=2)
    return np.rint(result).astype(np.uint8)


def terminal(tiles: Sequence[Tile], width: int, colour: str | None, factor: int | None = None) -> list[str]:
    """The sheet as lines of text, at most `width` columns wide.

    Args:
        tiles: pictures of one size.
        width: the columns that there are.
        colour: "truecolor", "256", or None for characters alone.
        factor: how many pixels of a picture become one, in each direction; by default as it fits: whole pictures if
            one row of them is enough, else half their size.
    """
    if not tiles:
        return []
    columns = tiles[0].pixels.shape[1]
    if factor is None:
        whole = math.ceil(columns / width)
        factor = whole if len(tiles) * (columns + 1) <= width + 1 or columns < 20 else max(2, whole)
    small = [Tile(shrink(tile.pixels, factor), tile.caption, tile.signed) for tile in tiles]
    columns = small[0].pixels.shape[1]
    # A caption wider than its picture makes room for itself, as far as the width allows.
    cell = min(max([columns, *(len(tile.caption) for tile in small)]), max(width, columns))
    left, right = " " * ((cell - columns) // 2), " " * (cell - columns - (cell - columns) // 2)
    across = max(1, (width + 1) // (cell + 1))
    lines: list[str] = []
    for start in range(0, len(small), across):
        strip = small[start : start + across]
        drawn = [_blocks(tile, colour) if colour else _characters(tile) for tile in strip]
        if lines:
            lines.append("")
        for parts in zip(*drawn, strict=True):
            lines.append(" ".join(f"{left}{part}{right}" for part in parts).rstrip())
        if any(tile.caption for tile in strip):
            lines.append(" ".join(f"{tile.caption[:cell]:^{cell}}" for tile in strip).rstrip())
    return lines


def _blocks(tile: Tile, colour: str) -> list[str]:
    """A picture as half-blocks."""
    pixels = colours(tile, paper=False)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    code = _true if colour == "truecolor" else _of_256
    lines = []
    for upper, lower in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
        line, last = "", None
        for above, below in zip(upper, lower, strict=True):
            pair = (code(above), code(below))
            if pair != last:  # a run of one colour says it once
                line += f"\x1b[38;{pair[0]};48;{pair[1]}m"
                last = pair
            line += _HALF_BLOCK
        lines.append(line + _RESET)
    return lines


def _true(rgb: list[int]) -> str:
    return f"2;{rgb[0]};{rgb[1]};{rgb[2]}"


def _of_256(rgb: list[int]) -> str:
    """The nearest of the 24 greys, or of the 6 x 6 x 6 colours."""
    if max(rgb) - min(rgb) < 12:
        level = round((sum(rgb) / 3 - 8) / 10)
        return f"5;{16 if level < 0 else 231 if level > 23 else 232 + level}"
    red, green, blue = (round(value / 51) for value in rgb)
    return f"5;{16 + 36 * red + 6 * green + blue}"


def _characters(tile: Tile) -> list[str]:
    """A picture as characters, each for a pixel and the one below it."""
    pixels: Any = np.asarray(tile.pixels, np.float32)
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=2)
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    pixels = (pixels[::2] + pixels[1::2]) / 2
    ramp, share = (SIGNED, (pixels + 1) / 2) if tile.signed else (INK, pixels)
    # Thin strokes come out at half their ink in a pair of pixels; the root brings them back.
    share = np.clip(share, 0, 1) if tile.signed else np.sqrt(np.clip(share, 0, 1))
    index = np.minimum((share * len(ramp)).astype(int), len(ramp) - 1)
    return ["".join(ramp[i] for i in row) for row in index.tolist()]


def _encoded(text: str, canvas: Canvas) -> str:
    """A text as the stream has it."""
    if canvas.encodes(text):
        return text
    return text.replace("→", ">").encode(canvas.encoding, "replace").decode(canvas.encoding)


def _figure(tile: Tile) -> str:
    """A small picture and its caption as HTML; what is ink on paper turns around in the dark."""
    data = base64.b64encode(png(tile)).decode()
    look = "" if tile.signed or tile.pixels.ndim == 3 else ' class="ink"'
    caption = "<br>".join(html.escape(legible(line)) for line in tile.told or (tile.caption,))
    alt = html.escape(legible(tile.what or tile.caption))
    picture = f'<img{look} alt="{alt}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def png(tile: Tile) -> bytes:
    """The pixels as a PNG, one for one, dark ink on paper."""
    with style():
        from matplotlib.image import imsave

        stream = io.BytesIO()
        imsave(stream, colours(tile, paper=True), format="png")
    return stream.getvalue()


def _diverging() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("weights", ["#003A5D", BLUE, "#FFFFFF", ORANGE, "#7A4F00"])


def _scale(figure: Any, last: Any, limit: float, widest: float) -> None:
    """The scale of signed pictures: right of the last column, as high as the rows are but for two inches at most."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, height = figure.get_size_inches()
    box = last.get_position()
    tall = min(2.0, height - 0.7)
    beside = 0.15 + max(0.0, (widest - box.width * width) / 2)
    place = (box.x1 + beside / width, box.y1 - tall / height, 0.12 / width, tall / height)
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), _diverging()), cax=figure.add_axes(place))
    bar.outline.set_visible(False)
    bar.set_label("weight")


def _grid(
    count: int, columns: int, aspect: float, inch: float, text: float, widest: float, right: float = 0.1
) -> tuple[Any, list[Any]]:
    """A figure with `count` axes for pictures, each `inch` high with `text` inches over it for a caption.

    The places are computed here: they are regular, and a layout engine takes seconds for many axes. `widest` is the
    inches that the captions need, `right` the margin on the right, in inches.
    """
    from gpunet.pictures.figure import Figure

    left, gap, head = 0.1, 0.08, 0.34
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    across, down = max(inch * aspect, widest) + gap, inch + text + gap
    width, height = max(4.2, left + columns * across + right), head + rows * down + 0.04
    figure = Figure(figsize=(width, height))
    cells = []
    for index in range(count):
        row, column = divmod(index, columns)
        x = left + column * across + (across - gap - inch * aspect) / 2
        y = height - head - (row + 1) * down + gap
        axes = figure.add_axes((x / width, y / height, inch * aspect / width, inch / height))
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, color="#D0D0D0", linewidth=0.6)
        cells.append(axes)
    return figure, cells


def _heading(figure: Any, text: str) -> None:
    """The title over a grid, in its upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.08 / height, text, ha="left", va="top", fontweight="bold", fontsize=11)

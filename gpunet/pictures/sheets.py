"""Contact sheets: small pictures in rows with a caption under each, as text for a terminal or as an image file.

In a terminal a character is two pixels, one above the other: a half-block whose foreground and background are their
colours. Where there are no colours a character stands for how dark its two pixels are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.errors import MissingExtra, UsageError

#: From no ink to full ink.
INK = " .:-=+*#%@"
#: The same for weights, which have a sign: from strongly negative over nothing to strongly positive.
SIGNED = "#x-. .+oO@"
#: Kinds of files that `save` writes, by suffix.
FORMATS = (".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
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
    """

    pixels: np.ndarray
    caption: str = ""
    signed: bool = False


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


def image(tiles: Sequence[Tile], across: int = 10, scale: int = 2, title: str = "") -> Any:
    """The sheet as a Pillow image: `across` pictures in a row, each pixel `scale` x `scale`.

    Raises:
        MissingExtra: Pillow is not installed.
        UsageError: there are no pictures.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingExtra("pillow", "images", "writing an image file") from None
    if not tiles:
        raise UsageError("there are no pictures for a sheet.")
    rows, columns = (size * scale for size in tiles[0].pixels.shape[:2])
    font: Any = ImageFont.load_default(13)
    head: Any = ImageFont.load_default(15)
    gap, under = 8, 18 if any(tile.caption for tile in tiles) else 0
    widest = max(math.ceil(font.getlength(tile.caption)) for tile in tiles)
    cell = max(columns, widest)
    across = min(across, len(tiles))
    down = math.ceil(len(tiles) / across)
    top = gap + (24 if title else 0)
    wide = max(gap + across * (cell + gap), 2 * gap + math.ceil(head.getlength(title)))
    sheet = Image.new("RGB", (wide, top + down * (rows + under + gap)), "white")
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((gap, gap), title, fill="black", font=head)
    for number, tile in enumerate(tiles):
        left = gap + number % across * (cell + gap)
        upper = top + number // across * (rows + under + gap)
        picture = Image.fromarray(colours(tile, paper=True)).resize((columns, rows), Image.Resampling.NEAREST)
        inset = left + (cell - columns) // 2
        sheet.paste(picture, (inset, upper))
        pen.rectangle((inset - 1, upper - 1, inset + columns, upper + rows), outline="#DDDDDD")
        if tile.caption:
            place = left + (cell - font.getlength(tile.caption)) / 2
            pen.text((place, upper + rows + 1), tile.caption, fill="#444444", font=font)
    return sheet


def check_format(path: str | os.PathLike[str]) -> None:
    """Refuse a file name whose suffix is no image's.

    Raises:
        UsageError: it is none of `FORMATS`.
    """
    if os.path.splitext(os.fspath(path))[1].lower() not in FORMATS:
        raise UsageError(
            f"{os.fspath(path)}: an image is written as .png (or {', '.join(FORMATS[1:])}); end its name so."
        )


def save(picture: Any, path: str | os.PathLike[str]) -> None:
    """Write a Pillow image; never half a file.

    Raises:
        UsageError: the name ends in no image's suffix.
    """
    import io

    from gpunet.files import write_atomic

    check_format(path)
    kind = os.path.splitext(os.fspath(path))[1].lower()
    stream = io.BytesIO()
    picture.save(stream, format={".tif": "TIFF", ".tiff": "TIFF"}.get(kind, kind[1:].upper()))
    write_atomic(path, stream.getvalue())

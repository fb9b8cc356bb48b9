"""Pictures of one's own made into what a network was trained on: light ink on dark ground, centred, in the right size.

The digits of MNIST were scaled to fit a box of 20 x 20 pixels with their shape kept, which made them grey at the
edges, and laid into 28 x 28 pixels so that their centre of mass is at the centre (LeCun et al. 1998). The same is
done here, in the same proportion for other sizes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.errors import DataError, MissingExtra

#: Pictures of more pixels are refused; a small file can claim any number of them.
MAX_PIXELS = 50_000_000
#: The share of the frame that the ink may fill: 20 of 28 pixels.
BOX = 20 / 28
#: What differs from the ground by less than this share of the darkest ink is noise, not ink.
NOISE = 0.15
#: Pictures whose pixels differ by less than this (of 255) show nothing.
CONTRAST = 16


def load_picture(path: str | os.PathLike[str], shape: Sequence[int]) -> np.ndarray:
    """A picture file as an example of a network: (rows * columns,) or (rows * columns * 3,) uint8.

    Args:
        path: a PNG, JPEG or other file that Pillow reads; grey, coloured, transparent or of 16 bits.
        shape: the shape of the network's images: (rows, columns), for which the ink is found, turned light on
            dark, scaled and centred as in MNIST; or (rows, columns, 3), for which the picture is only scaled.

    Raises:
        MissingExtra: Pillow is not installed.
        DataError: the file is no picture, is damaged or too large, or there is nothing to see in it.
    """
    image = _open(Path(path))
    if len(shape) == 3 and shape[2] == 3:
        return np.asarray(_resized(image.convert("RGB"), shape[1], shape[0]), np.uint8).reshape(-1)
    if len(shape) != 2:
        raise DataError(f"{path}: pictures cannot be made into examples of shape {tuple(shape)}; give a .npy file.")
    frame = (int(shape[0]), int(shape[1]))
    try:
        brightness = grey(image)
        amount = ink(brightness)
        if is_ready(amount, frame):
            light = brightness if brightness[0, 0] < 128 else 255 - brightness
            return np.round(light).astype(np.uint8).reshape(-1)
        return centred(amount, frame).reshape(-1)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _open(path: Path) -> Any:
    """The picture, upright and whole in memory."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingExtra("pillow", "images", "reading pictures") from None
    try:
        # The warning about a large picture is an error further down, with a sentence.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"{path}: the picture has too many pixels; make it smaller.")
                check_sums(path, image)
                image.load()
                return ImageOps.exif_transpose(image)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{path}: the picture has too many pixels; make it smaller.") from None
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except Exception as error:  # Pillow's readers raise whatever the damage in a file leads them to
        reason = getattr(error, "strerror", None) or "it is damaged, or of a kind that Pillow does not read"
        raise DataError(f"{path}: the picture cannot be read ({reason}).") from None


def check_sums(path: Path, image: Any) -> None:
    """Have Pillow raise an error if a checksum in a PNG file is wrong; it reads pixels without looking at it."""
    from PIL import Image

    if image.format == "PNG":
        with Image.open(path, formats=("PNG",)) as again:
            again.verify()


def grey(image: Any) -> np.ndarray:
    """The brightness (rows, columns) float32, 0 to 255, of a picture of any mode.

    What is transparent is laid on white or, if what can be seen is light itself, on black.
    """
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits: stretched over the range that they use
        values = np.asarray(image, np.float64)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255 / (high - low or 1))).astype(np.float32)
    if not ("A" in image.mode or "transparency" in image.info):
        return np.asarray(image.convert("L"), np.float32)
    pixels = np.asarray(image.convert("RGBA"), np.float32)
    brightness = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    share = pixels[..., 3] / 255
    seen = float((brightness * share).sum() / max(float(share.sum()), 1e-6))
    ground = 255.0 if seen < 128 else 0.0
    return brightness * share + ground * (1 - share)


def ink(brightness: np.ndarray) -> np.ndarray:
    """How much ink there is at each pixel, (rows, columns) float32 from 0 to 1; the ground is 0.

    The ground is the brightness along the edges, and the ink is what differs from it: darker on a light ground
    and lighter on a dark one.

    Raises:
        DataError: all pixels are alike.
    """
    edge = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    ground = float(np.median(edge))
    darker, lighter = ground - float(brightness.min()), float(brightness.max()) - ground
    if max(darker, lighter) < CONTRAST:
        raise DataError("there is nothing to see in the picture, all pixels are about alike.")
    amount = (ground - brightness if darker >= lighter else brightness - ground) / max(darker, lighter)
    return np.where(amount < NOISE, 0, amount).astype(np.float32)


def is_ready(amount: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether a picture is what `centred` would make of it, to a pixel: its ink in the box and in the middle."""
    if amount.shape != shape:
        return False
    weight = float(amount.sum())
    for axis, size in enumerate(shape):
        profile = amount.sum(axis=1 - axis)
        inked = np.flatnonzero(profile)
        if inked[-1] - inked[0] + 1 > round(size * BOX):
            return False
        if abs(float(profile @ np.arange(size)) / weight - size / 2) > 1:
            return False
    return True


def centred(amount: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Ink (rows, columns), 0 to 1, cut out, scaled to the box and laid into a frame of `shape`; uint8, 0 to 255."""
    from PIL import Image

    down, across = np.flatnonzero(amount.any(axis=1)), np.flatnonzero(amount.any(axis=0))
    part = amount[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    rows, columns = shape
    scale = min(rows * BOX / part.shape[0], columns * BOX / part.shape[1])
    height, width = (min(max(round(size * scale), 1), most) for size, most in zip(part.shape, shape, strict=True))
    small = _resized(Image.fromarray(np.round(part * 255).astype(np.uint8)), width, height)
    pixels = np.asarray(small, np.float32)
    pixels = pixels * (255 / max(float(pixels.max()), 1.0))  # thin lines pale when they are made smaller
    weight = float(pixels.sum())
    top = round(rows / 2 - float(pixels.sum(axis=1) @ np.arange(height)) / weight)
    left = round(columns / 2 - float(pixels.sum(axis=0) @ np.arange(width)) / weight)
    top, left = min(max(top, 0), rows - height), min(max(left, 0), columns - width)
    frame = np.zeros(shape, np.uint8)
    frame[top : top + height, left : left + width] = np.round(pixels).astype(np.uint8)
    return frame


def _resized(image: Any, width: int, height: int) -> Any:
    """The picture in another size; each new pixel is a weighted mean of all old ones under it."""
    from PIL import Image

    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.HAMMING)

"""Picture files as examples of a network: for training, and prepared the very same way for prediction.

What is done with a picture says `Pictures`, fitted on the training pictures. A network trained on pictures like MNIST's
takes any picture of a digit: its ink is found, turned light on dark and centred. The digits of MNIST were scaled to fit
a box of 20 x 20 pixels with their shape kept, which made them grey at the edges, and laid into 28 x 28 pixels so that
their centre of mass is at the centre (LeCun et al. 1998). The same is done here, in the same proportion for other
sizes.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.fitting import Pictures
from gpunet.errors import DataError, MissingExtra

#: Pictures of more pixels are refused; a small file can claim any number of them.
MAX_PIXELS = 50_000_000
#: The share of the frame that the ink may fill: 20 of 28 pixels.
BOX = 20 / 28
#: What differs from the ground by less than this share of the darkest ink is noise, not ink.
NOISE = 0.15
#: Pictures whose pixels differ by less than this (of 255) show nothing.
CONTRAST = 16
#: How many pictures are looked at to find out what they have in common.
SAMPLE = 200
#: Bytes that all pictures together may take.
MAX_BYTES = 8 << 30
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def fit_pictures(paths: Sequence[Path], size: tuple[int, int] | None = None, others: Sequence[Path] = ()) -> Pictures:
    """What training pictures have in common.

    Args:
        paths: the training pictures, at least one.
        size: (rows, columns) that all are brought to; by default they are of one size already.
        others: pictures for validation and testing, which are of that size too; nothing else is made of them.

    Raises:
        DataError: the pictures are of different sizes, too large, or one cannot be read.
        MissingExtra: Pillow is not installed.
    """
    seen: list[float] = []
    first: tuple[int, int] | None = None
    colour = False
    for number, path in enumerate(paths if size is not None else (*paths, *others)):
        image = open_picture(path)
        if first is None:
            first = image.size
        if size is None and image.size != first:
            raise DataError(
                f"{path} is {image.size[0]} x {image.size[1]} pixels, the ones before are {first[0]} x {first[1]}; "
                "bring all images to one size with --image-size ROWSxCOLUMNS."
            )
        if number >= len(paths):
            continue
        colour = colour or _is_coloured(image)
        if len(seen) < SAMPLE and _is_transparent(image):
            seen.append(_seen(image))
    assert first is not None
    rows, columns = size or (first[1], first[0])
    ground = 255 if not seen or float(np.mean(seen)) < 128 else 0
    made = Pictures(rows, columns, colour, False, ground)
    some = paths[:: max(len(paths) // SAMPLE, 1)][:SAMPLE]
    light = sum(_on_light(np.asarray(_flat(open_picture(path), made))) for path in some)
    return dataclasses.replace(made, inverted=not colour and light >= 0.9 * len(some))


def read_pictures(paths: Sequence[Path], pictures: Pictures) -> np.ndarray:
    """Picture files as examples: (n, rows, columns) uint8, or (n, rows, columns, 3) in colour.

    Raises:
        DataError: a picture cannot be read, or all together take more than MAX_BYTES.
        MissingExtra: Pillow is not installed.
    """
    shape = (pictures.rows, pictures.columns, *((3,) if pictures.colour else ()))
    if len(paths) * int(np.prod(shape)) > MAX_BYTES:
        raise DataError(f"{paths[0].parent.parent} has more images than {MAX_BYTES:,} bytes can hold.")
    images = np.empty((len(paths), *shape), np.uint8)
    for number, path in enumerate(paths):
        images[number] = load_picture(path, pictures).reshape(shape)
    return images


def load_picture(path: str | os.PathLike[str], pictures: Pictures) -> np.ndarray:
    """A picture file as an example of a network: (rows * columns,) or (rows * columns * 3,) uint8.

    Args:
        path: a PNG, JPEG or other file that Pillow reads; grey, coloured, transparent or of 16 bits.
        pictures: what it is made into.

    Raises:
        MissingExtra: Pillow is not installed.
        DataError: the file is no picture, is damaged or too large, or there is nothing to see in it.
    """
    image = open_picture(Path(path))
    size = (pictures.columns, pictures.rows)
    if pictures.centred and not pictures.colour:
        frame = (pictures.rows, pictures.columns)
        try:
            brightness = grey(image)
            amount = ink(brightness)
            if is_ready(amount, frame):
                light = brightness if brightness[0, 0] < 128 else 255 - brightness
                return np.round(light).astype(np.uint8).reshape(-1)
            return centred(amount, frame).reshape(-1)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    pixels = np.asarray(_resized(_flat(image, pictures), *size), np.uint8).reshape(-1)
    return 255 - pixels if pictures.inverted else pixels


def _on_light(pixels: np.ndarray) -> bool:
    """Whether a picture (rows, columns) has a ground of even light along its edges, and something dark on it."""
    if pixels.ndim != 2:
        return False
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return bool((edge > 255 - 2 * CONTRAST).mean() >= 0.75 and pixels.min() < 128)


def look_centred(images: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether examples are pictures as MNIST's: light on dark, their ink in a box and centred by its mass.

    Args:
        images: (n, rows * columns) uint8; the first SAMPLE are looked at.
        shape: (rows, columns).
    """
    if len(shape) != 2 or images.dtype != np.uint8 or min(shape) < 8:
        return False
    fitting = 0
    some = images[:SAMPLE]
    for image in some:
        brightness = image.reshape(shape).astype(np.float32)
        try:
            fitting += bool(brightness[0, 0] < 128 and is_ready(ink(brightness), (shape[0], shape[1])))
        except DataError:  # nothing to see
            continue
    return fitting >= 0.9 * len(some)


def _is_transparent(image: Any) -> bool:
    return "A" in image.mode or "transparency" in image.info


def _is_coloured(image: Any) -> bool:
    """Whether the colours of some pixel differ by more than a careless conversion makes them."""
    if image.mode in ("1", "L", "LA") or image.mode.startswith(("I", "F")):
        return False
    pixels = np.asarray(image.convert("RGBA"), np.int16)
    spread = pixels[..., :3].max(axis=2) - pixels[..., :3].min(axis=2)
    return bool((spread * (pixels[..., 3] > 0) > CONTRAST).any())


def _seen(image: Any) -> float:
    """The mean brightness of what is not transparent."""
    pixels = np.asarray(image.convert("RGBA"), np.float32)
    share = pixels[..., 3] / 255
    return float((pixels[..., :3] @ _LUMA * share).sum() / max(float(share.sum()), 1e-6))


def _flat(image: Any, pictures: Pictures) -> Any:
    """A picture of any mode as one of 8 bits, grey or in colour, what is transparent laid on the ground."""
    from PIL import Image

    mode = "RGB" if pictures.colour else "L"
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        if image.mode == "F" and values.max() <= 1:
            values = values * 255
        elif image.mode != "F" and (image.mode != "I" or values.max() > 255):  # 16 bits
            values = np.floor(values / 256)
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert(mode)
    if _is_transparent(image):
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (pictures.ground,) * 3 + (255,))
        image = Image.alpha_composite(ground, clear)
    return image.convert(mode)


def open_picture(path: Path) -> Any:
    """The picture, upright and whole in memory.

    Raises:
        DataError: it cannot be read, or is too large.
        MissingExtra: Pillow is not installed.
    """
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
    brightness = pixels[..., :3] @ _LUMA
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
    edge.sort()
    ground = float(edge[[(edge.size - 1) // 2, edge.size // 2]].mean())  # the median; np.median would import numpy.ma
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

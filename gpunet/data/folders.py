"""Data of one's own, from a file or a folder: idx files, .npz, .csv, or a folder of images per class.

What is looked for in a folder, in this order:
    idx     train-images*, train-labels* and, if there, test-* or t10k-*, validation-* (plain or .gz)
    .npz    a single file
    .csv    train.csv with, if there, test.csv and validation.csv, or a single file (plain or .gz)
    images  train/, test/, validation/ with one folder of PNG or JPEG files per class,
            or the class folders alone
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.dataset import Dataset, assemble
from gpunet.data.idx import read_idx
from gpunet.data.npy import npz_names, read_npz
from gpunet.data.photos import check_sums
from gpunet.data.tables import csv_files, is_csv, load_csv
from gpunet.errors import DataError, MissingExtra

SPLIT_NAMES = {
    "train": "train",
    "test": "test",
    "t10k": "test",
    "validation": "validation",
    "val": "validation",
}
MAX_BYTES = 8 << 30  # what one file or folder may unpack to
MAX_PIXELS = 1 << 24  # of one image; each pixel is a column of the first weight matrix
_IMAGES = {".png", ".jpg", ".jpeg"}
_IDX = re.compile(r"(?:(train|test|t10k|val|validation)[-_.])?(images|labels)([-_.].*)?$", re.IGNORECASE)
_NPZ_KEYS = {
    "train": ("x_train y_train", "train_images train_labels", "images labels", "x y"),
    "validation": ("x_val y_val", "x_validation y_validation", "val_images val_labels"),
    "test": ("x_test y_test", "test_images test_labels"),
}


def load_path(path: Path) -> Dataset:
    """The data set in a file or folder, see above; Dataset.name is the file's or folder's own name.

    Raises DataError, one sentence, for what cannot be read or does not fit together; MissingExtra
    when images are to be read and Pillow is not installed.
    """
    try:
        if path.is_file():
            return _load_file(path)
        names = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        if idx := _idx_files(names):
            return _load_idx(path, idx)
        if len(files := [p for p in names if p.suffix.lower() == ".npz"]) == 1:
            return _load_npz(files[0])
        if tables := csv_files(names, SPLIT_NAMES):
            return load_csv(path.resolve().name, tables)
        if folders := [p for p in names if p.is_dir()]:
            return _load_images(path, folders)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from error
    raise DataError(
        f"{path} holds no data set: looked for train-images and train-labels idx files, one .npz, train.csv, or one "
        "folder of PNG or JPEG images per class."
    )


def _load_file(path: Path) -> Dataset:
    if path.suffix.lower() == ".npz":
        return _load_npz(path)
    if is_csv(path):
        return load_csv(path.name, {"train": path})
    if _IDX.match(path.name) or "idx" in path.name:
        raise DataError(f"{path} is one idx file of a data set; give the folder that holds its images and labels.")
    raise DataError(f"{path} is no data set: give a .npz or .csv file, or a folder with idx files or images.")


# ---- idx


def _idx_files(names: list[Path]) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {}
    for path in names:
        match = _IDX.match(path.name)
        if match and path.is_file() and path.suffix.lower() not in {".npz", ".npy", ".csv", ".txt", ".part"}:
            split = SPLIT_NAMES[(match[1] or "train").lower()]
            # A file beside its .gz: the names are sorted, so the unpacked one comes first and
            # counts.
            found.setdefault(split, {}).setdefault(match[2].lower(), path)
    return found


def _load_idx(folder: Path, found: dict[str, dict[str, Path]]) -> Dataset:
    pairs: dict[str, tuple[Any, Any] | None] = {}
    for split in ("train", "validation", "test"):
        files = found.get(split)
        if not files and split != "train":
            continue
        if not files or len(files) < 2:
            there = next(iter(files.values())).name if files else ", ".join(sorted(found))
            lacking = "labels" if files and "images" in files else "images"
            raise DataError(f"{folder} has {there} but no {split}-{lacking} file to go with it.")
        images, labels = read_idx(files["images"]), read_idx(files["labels"])
        if len(images) != len(labels):
            raise DataError(
                f"{files['images']} has {len(images):,} images but {files['labels'].name} {len(labels):,} labels; "
                "they belong to different data sets or one is damaged."
            )
        pairs[split] = (images, labels)
    return assemble(folder.resolve().name, pairs)


# ---- npz


def _load_npz(path: Path) -> Dataset:
    names = npz_names(path)
    lower = {name.lower(): name for name in names}
    found: dict[str, tuple[str, str]] = {}
    for split, choices in _NPZ_KEYS.items():
        for images, labels in map(str.split, choices):
            if images in lower and labels in lower:
                found[split] = (lower[images], lower[labels])
                break
    if "train" not in found:
        raise DataError(
            f"{path} has the arrays {', '.join(names) or '(none)'}; needed are images and labels, or x_train, y_train "
            "(and x_test, y_test)."
        )
    pairs: dict[str, tuple[Any, Any] | None] = {}
    for split, pair in found.items():
        images_of, labels_of = read_npz(path, pair)
        pairs[split] = (images_of, labels_of)
    return assemble(path.name, pairs)


# ---- images


def _load_images(root: Path, folders: list[Path]) -> Dataset:
    splits = {SPLIT_NAMES[p.name.lower()]: p for p in folders if p.name.lower() in SPLIT_NAMES}
    if "train" not in splits:
        splits = {"train": root}
    files = {split: _images_by_class(folder) for split, folder in splits.items()}
    names = sorted(files["train"], key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
    if not names:
        raise DataError(f"{splits['train']} has no folders of PNG or JPEG images, one per class.")
    pairs: dict[str, tuple[Any, Any] | None] = {}
    size: tuple[int, int] | None = None
    for split in sorted(files, key=lambda split: split != "train"):
        if unknown := sorted(set(files[split]) - set(names)):
            raise DataError(f"{splits[split] / unknown[0]} is a class that {splits['train']} does not have.")
        paths = [(path, names.index(name)) for name in names for path in files[split].get(name, [])]
        images, size = _read_images([path for path, _ in paths], size)
        pairs[split] = (images, np.array([label for _, label in paths], np.int32))
    return assemble(root.resolve().name, pairs, classes=len(names), class_names=names)


def _images_by_class(folder: Path) -> dict[str, list[Path]]:
    classes: dict[str, list[Path]] = {}
    for sub in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        classes[sub.name] = sorted(
            p for p in sub.iterdir() if p.suffix.lower() in _IMAGES and not p.name.startswith(".")
        )
        if not classes[sub.name]:
            raise DataError(f"The class folder {sub} has no PNG or JPEG images.")
    return classes


def _read_images(paths: list[Path], size: tuple[int, int] | None) -> tuple[np.ndarray, tuple[int, int]]:
    """(n, height, width) uint8 grey images, all of one size (width, height), and that size."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("Pillow", "images", "Reading image files") from error

    images: np.ndarray | None = None
    for number, path in enumerate(paths):
        with contextlib.ExitStack() as opened:
            with _reading_image(path):
                image = opened.enter_context(Image.open(path, formats=("PNG", "JPEG")))
            # The size is in the header: compared before anything is unpacked.
            size = size or image.size
            if size[0] * size[1] > MAX_PIXELS:
                raise DataError(f"{path} has {size[0]} x {size[1]} pixels, more than the {MAX_PIXELS:,} allowed.")
            if image.size != size:
                raise DataError(
                    f"{path} is {image.size[0]} x {image.size[1]} pixels, the ones before are {size[0]} x "
                    f"{size[1]}; bring all images to one size."
                )
            if images is None:
                if len(paths) * size[0] * size[1] > MAX_BYTES:
                    raise DataError(f"{path.parent.parent} has more images than {MAX_BYTES:,} bytes can hold.")
                images = np.empty((len(paths), size[1], size[0]), np.uint8)
            with _reading_image(path):
                check_sums(path, image)
                images[number] = _grey(image)
    assert images is not None
    assert size is not None
    return images, size


@contextlib.contextmanager
def _reading_image(path: Path) -> Iterator[None]:
    """Any error of Pillow's readers, which damage leads to whatever it may, is a sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise DataError(f"{path} is damaged or no PNG or JPEG image.") from error


def _grey(image: Any) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits a pixel: convert("L") would clip instead of scaling
        return (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
    return np.asarray(image.convert("L"))

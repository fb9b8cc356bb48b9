"""What comes in from outside, checked once: inputs and targets of any array library become NumPy arrays.

After these checks the rest of gpunet may trust its data: no label is out of range, no pixel is NaN.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import as_numpy
from gpunet.cuda.opening import import_cupy
from gpunet.data import stored
from gpunet.data.stored import MappedArray, StoredRows
from gpunet.errors import DataError

MAX_CLASSES = 10_000_000  # beyond it, a "label" is surely something else, such as an identifier
_BLOCK = 1 << 22  # elements per block of a check, so that its temporaries stay small


def to_numpy(values: Any, what: str = "the array") -> np.ndarray:
    """A NumPy array of the same content, on the host; no copy where the memory can be shared.

    Args:
        values: a NumPy or CuPy array, nested lists, or anything with `__array__`, `__cuda_array_interface__` or
            DLPack (torch, jax).
        what: what it is, for the sentence.

    Raises:
        DataError: none of these ways works, or values are masked.
    """
    try:
        array = _to_numpy(values)
    except Exception as error:  # each library raises errors of its own
        reason = str(error).strip().splitlines()
        raise DataError(
            f"{what} of type {type(values).__name__} cannot be made into a NumPy "
            f"array{': ' + reason[0].rstrip('.') if reason else ''}."
        ) from error
    mask = getattr(array, "mask", None)
    if mask is not None and np.any(mask):
        raise DataError(f"{what} has masked values; fill them in or leave those examples out.")
    return np.asarray(array)


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, "detach") and hasattr(values, "cpu"):
        values = values.detach().cpu()  # torch: its __array__ refuses tensors on a GPU or with a gradient
    exchanges = not hasattr(values, "__array__") and hasattr(values, "__dlpack_device__")
    if exchanges and int(values.__dlpack_device__()[0]) == 2:  # kDLCUDA
        values = import_cupy().from_dlpack(values)
    return as_numpy(values)


def as_images(images: Any, what: str = "images") -> tuple[Any, tuple[int, ...] | None]:
    """Examples as rows: a C-contiguous (n, features) array and the shape of one image, or None.

    Large arrays that are mapped from files stay there (`StoredRows`).

    uint8 stays uint8, every other number becomes float32. Images of shape (n, 28, 28), (n, 28, 28, 1) or
    (n, 1, 28, 28) have the image shape (28, 28), and so have flat uint8 rows of 784.

    Args:
        images: the examples, of any array library.
        what: what they are, for the sentences.

    Raises:
        DataError: there are no examples or no features, or something else than finite numbers.
    """
    if (rows := _stored(images)) is not None:
        rows.check(what)
        return rows, _image_shape((len(rows), *rows.item_shape), rows.dtype)
    array = to_numpy(images, what)
    if array.dtype.kind not in "buif":
        raise DataError(f"{what} must be numbers, not {array.dtype}.")
    if array.ndim < 2:
        raise DataError(f"{what} must have one row per example, shape (n, features), not shape {array.shape}.")
    if array.size == 0:
        raise DataError(f"{what} are empty: shape {array.shape}.")
    shape = _image_shape(array.shape, array.dtype)
    array = array.reshape(len(array), -1)
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, np.float32)
        _refuse_not_finite(array, what)
    return np.ascontiguousarray(array), shape


def _image_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...] | None:
    """The shape of one image of an array of examples, or None."""
    if len(shape) == 2:
        return (28, 28) if dtype == np.uint8 and shape[1] == 784 else None
    sizes = tuple(size for size in shape[1:] if size != 1)
    return sizes if len(sizes) > 1 else None


def _stored(images: Any) -> StoredRows | None:
    """Examples that stay in their file, or None: a large array that `numpy.load(file, mmap_mode="r")` has mapped."""
    if isinstance(images, StoredRows):
        return images
    if not isinstance(images, np.memmap) or images.nbytes < stored.LARGE or not isinstance(images.base, mmap.mmap):
        return None
    if images.filename is None or not images.flags.c_contiguous or images.ndim < 2:
        return None
    return StoredRows([MappedArray(Path(images.filename), images.dtype, images.shape, images.offset)])


def as_labels(labels: Any, count: int, classes: int | None = None, what: str = "labels") -> tuple[np.ndarray, int]:
    """Labels as (n,) int32 class indices or (n, k) float32 soft targets, and the number of classes.

    Args:
        labels: indices of any integer type, whole floats and bools, columns (n, 1) of these, one-hot rows (they
            become indices) or rows of probabilities.
        count: the number of examples that the labels belong to.
        classes: the number of classes where it is known, else the largest index plus one.
        what: what they are, for the sentences.

    Raises:
        DataError: anything else; the sentence names the first bad label.
    """
    array = to_numpy(labels, what)
    if array.dtype.kind not in "buif":
        raise DataError(f"{what} must be class indices or rows of probabilities, not {array.dtype}.")
    if array.ndim not in (1, 2):
        raise DataError(f"{what} must have shape (n,) or (n, classes), not {array.shape}.")
    if len(array) != count:
        raise DataError(f"There are {len(array):,} {what} for {count:,} images; each image needs one.")
    if array.size == 0:
        raise DataError(f"{what} are empty.")
    if array.dtype.kind == "f":
        _refuse_not_finite(array, what)
    if array.ndim == 2 and array.shape[1] == 1 and (array.dtype.kind != "f" or _whole(array)):
        array = array[:, 0]
    if array.ndim == 1:
        return _as_indices(array, classes, what)
    return _as_rows(array, classes, what)


def as_values(targets: Any, count: int, what: str = "targets") -> np.ndarray:
    """Targets of a regression as (n, k) numbers: float32 as it came, everything else as float64.

    Args:
        targets: (n,) or (n, k) numbers of any array library.
        count: the number of examples that they belong to.
        what: what they are, for the sentences.

    Raises:
        DataError: they are not as many as the examples, or something else than finite numbers.
    """
    array = _checked(targets, count, what, "buif", "numbers")
    array = array.reshape(len(array), -1)
    _refuse_not_finite(array, what)
    return np.ascontiguousarray(array, array.dtype if array.dtype == np.float32 else np.float64)


def as_flags(targets: Any, count: int, what: str = "targets") -> np.ndarray:
    """Several labels for each example as (n, k) float32, 1 where a label holds and 0 where not.

    Args:
        targets: (n, k) numbers 0 and 1 or booleans, of any array library; or a share from 0 to 1.
        count: the number of examples that they belong to.
        what: what they are, for the sentences.

    Raises:
        DataError: they are not as many as the examples, or something else than numbers from 0 to 1.
    """
    array = _checked(targets, count, what, "buif", "0 and 1")
    array = array.reshape(len(array), -1)
    if array.dtype.kind != "b" and not ((array >= 0) & (array <= 1)).all():
        row = int(np.argmax(~((array >= 0) & (array <= 1)).all(axis=1)))
        raise DataError(f"{what} of several labels must be 0 or 1, but row {row} has others.")
    return np.ascontiguousarray(array, np.float32)


def as_weights(weights: Any, count: int, what: str = "weights") -> np.ndarray | None:
    """Sample weights as (n,) float32, or None for None.

    Raises:
        DataError: they are not as many as the examples, negative, not finite, or all 0.
    """
    if weights is None:
        return None
    array = _checked(weights, count, what, "buif", "numbers")
    if array.ndim != 1:
        raise DataError(f"{what} must have shape (n,), not {array.shape}.")
    array = np.ascontiguousarray(array, np.float32)
    if not ((array >= 0) & (array < np.inf)).all() or not array.any():
        raise DataError(f"{what} must be finite numbers of at least 0, and not all of them 0.")
    return array


def _checked(values: Any, count: int, what: str, kinds: str, wanted: str) -> np.ndarray:
    array = to_numpy(values, what)
    if array.dtype.kind not in kinds:
        raise DataError(f"{what} must be {wanted}, not {array.dtype}.")
    if array.ndim not in (1, 2) or array.size == 0:
        raise DataError(f"{what} must have shape (n,) or (n, k), not {array.shape}.")
    if len(array) != count:
        raise DataError(f"There are {len(array):,} {what} for {count:,} examples; each example needs one.")
    return array


#: Targets of more different whole numbers than this are values, not classes.
MOST_CLASSES_OF_NUMBERS = 100


def choose_task(targets: Any, what: str = "labels", *, several: bool = False) -> str:
    """The task that targets are of, where nobody said.

    Texts, booleans and consecutive whole numbers from 0 or 1 are classes, and so are rows that sum to 1; other rows of
    0 and 1 are several labels; fractions, and more than 100 different whole numbers, are values to be predicted.

    Args:
        targets: (n,) or (n, k), of any array library.
        what: what they are, for the sentence.
        several: whether whole numbers are classes only where each of them has several rows.

    Returns:
        "classification", "multi-label" or "regression".

    Raises:
        DataError: whole numbers that may be either; the sentence says what settles it.
    """
    array = to_numpy(targets, what)
    kind = array.dtype.kind
    if kind not in "uif" or array.size == 0 or array.ndim not in (1, 2) or not np.isfinite(array).all():
        rows = array.ndim == 2 and array.shape[1] > 1 and kind == "b"
        return "multi-label" if rows and not (array.sum(axis=1) == 1).all() else "classification"
    shares, rows = array.min() >= 0 and array.max() <= 1, array.ndim == 2 and array.shape[1] > 1
    if shares and rows and (np.abs(array.sum(axis=1, dtype=np.float64) - 1) <= 1e-3).all():
        return "classification"
    if not _whole(array):
        if shares and array.ndim == 2:
            raise DataError(
                f"{what} in rows from 0 to 1 that do not sum to 1 may be probabilities or values; say which with the "
                'task "classification" or "regression".'
            )
        return "regression"
    if shares and rows:
        return "multi-label"
    different, counts = np.unique(array, return_counts=True)
    low, high, number = different[0], different[-1], len(different)
    consecutive = not rows and low in (0, 1) and high - low == number - 1
    if consecutive and (counts.min() > 1 or (number <= MOST_CLASSES_OF_NUMBERS and not several)):
        return "classification"
    if number > MOST_CLASSES_OF_NUMBERS:
        return "regression"
    raise DataError(
        f"{what} are {number} different whole numbers from {int(low)} to {int(high)}, which may be classes or values; "
        'say which with the task "classification" or "regression".'
    )


def as_named(labels: Any, names: Sequence[str] | None = None, what: str = "labels") -> tuple[np.ndarray, list[str]]:
    """Labels of text as class indices, and the name of each class.

    Args:
        labels: (n,) texts.
        names: the classes where they are known, else the different texts in their order.
        what: what they are, for the sentence.

    Raises:
        DataError: a text is none of the names.
    """
    texts = [str(text) for text in to_numpy(labels, what).reshape(-1).tolist()]
    known = sorted(set(texts), key=natural) if names is None else [str(name) for name in names]
    index = {name: number for number, name in enumerate(known)}
    if unknown := sorted(set(texts) - index.keys()):
        row = texts.index(unknown[0])
        raise DataError(f"{what}: number {row} is {unknown[0]!r}, which is none of the classes {_some(known)}.")
    return np.array([index[text] for text in texts], np.int32), known


def natural(text: str) -> tuple[int, float, str]:
    """A key that sorts whole numbers by their value and before all other texts."""
    return (0, float(text), text) if text.isdecimal() else (1, 0.0, text)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def _as_indices(array: np.ndarray, classes: int | None, what: str) -> tuple[np.ndarray, int]:
    if array.dtype.kind == "f" and not _whole(array):
        row = int(np.argmax(array != np.floor(array)))
        raise DataError(f"{what} must be whole class indices, but number {row} is {array[row]}.")
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise DataError(f"{what} must be 0 or more, but number {int(np.argmax(array < 0))} is {low}.")
    if high >= (classes or MAX_CLASSES):
        row = int(np.argmax(array >= (classes or MAX_CLASSES)))
        limit = f"the {classes} classes 0 to {classes - 1}" if classes else f"the {MAX_CLASSES:,} classes allowed"
        raise DataError(f"{what} must be among {limit}, but number {row} is {int(array[row])}.")
    return np.ascontiguousarray(array, np.int32), classes or high + 1


def _as_rows(array: np.ndarray, classes: int | None, what: str) -> tuple[np.ndarray, int]:
    width = array.shape[1]
    if classes is not None and width not in (classes, 1):
        raise DataError(f"{what} have {width} columns, but there are {classes} classes.")
    if array.dtype.kind != "b" and (array.min() < 0 or array.max() > 1):
        row = int(np.argmax(((array < 0) | (array > 1)).any(axis=1)))
        raise DataError(f"{what} in rows must be probabilities from 0 to 1, but row {row} has others.")
    rows = np.ascontiguousarray(array, np.float32)
    if width == 1:
        return rows, classes or 2  # the probability of class 1, for a network with a single output
    sums = rows.sum(axis=1)
    if (wrong := np.abs(sums - 1) > 1e-3).any():
        row = int(np.argmax(wrong))
        raise DataError(f"{what} in rows must sum to 1, but row {row} sums to {sums[row]:.6g}.")
    if np.count_nonzero(rows) == len(rows) and (rows.max(axis=1) == 1).all():
        return rows.argmax(axis=1).astype(np.int32), width
    return rows, width


def _whole(array: np.ndarray) -> bool:
    return bool((array == np.floor(array)).all())


def _refuse_not_finite(array: np.ndarray, what: str) -> None:
    step = max(1, _BLOCK * len(array) // max(array.size, 1))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        if not (finite := np.isfinite(block)).all():
            row = start + int(np.argmax(~finite.reshape(len(block), -1).all(axis=1)))
            raise DataError(
                f"{what} have a value that is NaN, infinite or too large for float32 in row {row}; repair it or "
                "leave that example out."
            )

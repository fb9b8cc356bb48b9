"""What comes in from outside, checked once: images and labels of any array library become NumPy
arrays.

After these checks the rest of gpunet may trust its data: no label is out of range, no pixel is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import as_numpy, import_cupy
from gpunet.errors import DataError

MAX_CLASSES = 10_000_000  # beyond it, a "label" is surely something else, such as an identifier
_BLOCK = 1 << 22  # elements per block of a check, so that its temporaries stay small


def to_numpy(values: Any, what: str = "the array") -> np.ndarray:
    """A NumPy array of the same content, on the host; no copy where the memory can be shared.

    Takes NumPy and CuPy arrays, nested lists and anything with `__array__`,
    `__cuda_array_interface__` or DLPack (torch, jax). Raises DataError when none of these ways
    works.
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


def as_images(images: Any, what: str = "images") -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Examples as rows: a C-contiguous (n, features) array and the shape of one image, or None.

    uint8 stays uint8, every other number becomes float32. Images of shape (n, 28, 28), (n, 28, 28,
    1) or (n, 1, 28, 28) have the image shape (28, 28), and so have flat uint8 rows of 784.
    Raises DataError for no examples, no features, other than numbers, NaN or infinity.
    """
    array = to_numpy(images, what)
    if array.dtype.kind not in "buif":
        raise DataError(f"{what} must be numbers, not {array.dtype}.")
    if array.ndim < 2:
        raise DataError(f"{what} must have one row per example, shape (n, features), not shape {array.shape}.")
    if array.size == 0:
        raise DataError(f"{what} are empty: shape {array.shape}.")
    shape: tuple[int, ...] | None = None
    if array.ndim > 2:
        shape = tuple(size for size in array.shape[1:] if size != 1) or None
        shape = shape if shape and len(shape) > 1 else None
    elif array.dtype == np.uint8 and array.shape[1] == 784:
        shape = (28, 28)
    array = array.reshape(len(array), -1)
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(array, np.float32)
        _refuse_not_finite(array, what)
    return np.ascontiguousarray(array), shape


def as_labels(labels: Any, count: int, classes: int | None = None, what: str = "labels") -> tuple[np.ndarray, int]:
    """Labels as (n,) int32 class indices or (n, k) float32 soft targets, and the number of classes.

    Takes indices of any integer type, whole floats and bools, columns (n, 1) of these, one-hot rows
    (they become indices) and rows of probabilities. `count` is the number of examples that the
    labels belong to; `classes` is the number of classes where it is known, else the largest index
    plus one. Raises DataError for anything else: one sentence that names the first bad label.
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

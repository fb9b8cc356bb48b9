"""Examples as the pixels that they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import DataError


def picture_shape(shape: Sequence[int] | None, what: str) -> tuple[int, int, int]:
    """(rows, columns, colours) of pictures of such a shape; `what` are they, in errors.

    Raises:
        DataError: there is no shape, or not that of a picture.
    """
    if shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise DataError(
            f"{what} are no pictures, so there is nothing to draw; if they are, say of what size when the data set is "
            "made: Dataset.from_arrays(..., image_shape=(28, 28))."
        )
    return int(shape[0]), int(shape[1]), int(shape[2]) if len(shape) == 3 else 1


def picture(example: Any, shape: Sequence[int] | None) -> np.ndarray:
    """One example (features,) as (rows, columns) or (rows, columns, 3) float32 from 0 to 1.

    Integers are 0 to 255. Of other numbers than 0 to 1, such as those of scaled features, the least is 0 and the
    greatest is 1.

    Raises:
        DataError: it has not the shape of a picture.
    """
    rows, columns, channels = picture_shape(shape, "the examples")
    values = np.asarray(example)
    top = 255.0 if values.dtype.kind in "iub" else 1.0
    values = values.astype(np.float32).ravel() / top
    if values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / (float(np.ptp(values)) or 1.0)
    shaped = values.reshape(rows, columns, channels)
    return shaped if channels == 3 else shaped[..., 0]

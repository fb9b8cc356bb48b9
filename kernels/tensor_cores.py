"""Products on a GPU's tensor cores: float32 factors are rounded to TF32 or bfloat16, sums stay float32.

cuBLAS rounds to TF32 itself, as it reads. For bfloat16 the factors of a layer's products are rounded here, each once a
step, which halves what the products read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready, types
from gpunet.kernels.launches import over_elements

#: What the products of a float32 network may be computed in, and how a sentence calls it.
PRECISIONS = {"float32": "float32", "tf32": "TF32", "bfloat16": "bfloat16"}
#: The first compute capability whose tensor cores take TF32 and bfloat16.
SINCE = (8, 0)


@dataclass
class TensorCores:
    """What tensor cores need for the products of one layer.

    Attributes:
        precision: "tf32" or "bfloat16".
        x, weights, delta: for bfloat16 room for the layer's rounded input (batch, fan in), weights (fan in, fan out)
            and delta (batch, fan out), the 16 bits of each number as uint16; None for TF32.
    """

    precision: str
    x: Any = None
    weights: Any = None
    delta: Any = None

    @classmethod
    def of(cls, precision: str, backend: Any, batch: int, fan_in: int, fan_out: int) -> TensorCores | None:
        """What a layer needs for products in a precision of `PRECISIONS`; None for float32."""
        if precision != "bfloat16":
            return None if precision == "float32" else cls(precision)
        shapes = ((batch, fan_in), (fan_in, fan_out), (batch, fan_out))
        return cls(precision, *(backend.empty(shape, np.uint16) for shape in shapes))


def to_bfloat16(array: Any, out: Any) -> Ready:
    """Round a CuPy array to bfloat16, to the nearest number and to the even one of two that are as near.

    Args:
        array: float32, contiguous.
        out: uint16 of the same shape, written with the bits; NaN stays NaN, and what is too large becomes infinite.
    """
    # bfloat16 is the upper half of a float32, so rounding is an addition; it must not carry a NaN on to zero.
    return over_elements(
        "to_bfloat16", "const REAL* array, unsigned short* out",
        "const REAL x = array[i]; const unsigned int bits = __float_as_uint(x);",
        "out[i] = x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;",
        array.size, array, out, defines=types(REAL=array.dtype),
    )  # fmt: skip

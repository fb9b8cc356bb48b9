"""The encoding of a table's rows: what a batch of columns becomes before the first layer reads it.

Each feature looks at one column v of its row. Four kinds there are, in this order:

    LINEAR   min(max((v - shift) * factor, low), high): a scaled number, or one bin of a piecewise-linear encoding
    SMOOTH   z / sqrt(1 + (z / 3)^2) for z = (v - shift) * factor: a scaled number that stays below 3
    EQUAL    1 where v is shift, else 0: one of a column's categories
    MISSING  1 where v is NaN, else 0

Everywhere but in MISSING a NaN is first replaced by `fill`. The piecewise-linear encoding is that of Gorishniy et al.
2022, "On embeddings for numerical features in tabular deep learning". What is not encoded is not stored: a table of
twenty columns lies on the device as twenty numbers a row, however many features they become.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.kernels.build import Ready, operation, source, types
from gpunet.kernels.launches import over_elements

LINEAR, SMOOTH, EQUAL, MISSING = range(4)


@dataclass(frozen=True, eq=False)
class Encoding:
    """How each feature is made; arrays (features,) in ascending order of `kind`.

    Attributes:
        columns: how many columns a row has.
        source: int32, the column that a feature looks at.
        kind: int32, LINEAR, SMOOTH, EQUAL or MISSING.
        fill, shift, factor, low, high: as above; float64, or of the rows' type once they are on a device.
        blocks: the first feature of each kind, and the number of features.
    """

    columns: int
    source: Any
    kind: Any
    fill: Any
    shift: Any
    factor: Any
    low: Any
    high: Any
    blocks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            object.__setattr__(self, "blocks", tuple(np.searchsorted(self.kind, range(5)).tolist()))

    @property
    def features(self) -> int:
        """How many features there are."""
        return self.blocks[-1]

    def on(self, to_device: Callable[..., Any], dtype: Any) -> Encoding:
        """The same with its arrays on a device, numbers as `dtype`."""
        numbers = {name: to_device(getattr(self, name), dtype) for name in ("fill", "shift", "factor", "low", "high")}
        return dataclasses.replace(self, source=to_device(self.source), kind=to_device(self.kind), **numbers)


@operation
def encode(rows: Any, encoding: Encoding, x: Any) -> Ready:
    """Encode a batch.

    Args:
        rows: (batch, columns), NaN where a value is missing.
        encoding: with its arrays on the same device and of the same type as `rows`.
        x: (batch, features), written; of the type of `rows`.
    """
    taken, fill, shift, factor = encoding.source, encoding.fill, encoding.shift, encoding.factor
    _, smooth, equal, missing, features = encoding.blocks
    first, bent, chosen, flags = x[:, :smooth], x[:, smooth:equal], x[:, equal:missing], x[:, missing:]
    low, high = encoding.low[:smooth], encoding.high[:smooth]
    limited = bool(np.isfinite(low).any() or np.isfinite(high).any())
    absent, room = np.empty(x.shape, bool), np.empty(bent.shape, x.dtype)

    def run() -> None:
        rows.take(taken, 1, x, "clip")
        np.isnan(x, out=absent)
        np.copyto(x, fill, where=absent)
        np.subtract(x, shift, out=x)
        if equal < missing:
            np.equal(chosen, 0, out=absent[:, equal:missing])
            np.copyto(chosen, absent[:, equal:missing])
        np.multiply(x[:, :equal], factor[:equal], out=x[:, :equal])
        if limited:
            np.maximum(first, low, out=first)
            np.minimum(first, high, out=first)
        if smooth < equal:
            np.multiply(bent, bent, out=room)
            np.divide(room, 9, out=room)
            np.add(room, 1, out=room)
            np.sqrt(room, out=room)
            np.divide(bent, room, out=bent)
        if missing < features:
            np.copyto(flags, absent[:, missing:])

    return run


@encode.cuda
def _encode_cuda(rows: Any, encoding: Encoding, x: Any) -> Ready:
    plan = encoding
    return over_elements(
        "encode",
        "const REAL* rows, const int* source, const int* kind, const REAL* fill, const REAL* shift, "
        "const REAL* factor, const REAL* low, const REAL* high, int64 columns, int features, REAL* x",
        "const int at = i % features; const int64 row = i / features;"
        "const REAL made = encoded<REAL>("
        "rows[row * columns + source[at]], kind[at], fill[at], shift[at], factor[at], low[at], high[at]);",
        "x[i] = made;",
        x.size, rows, plan.source, plan.kind, plan.fill, plan.shift, plan.factor, plan.low, plan.high,
        np.int64(plan.columns), np.int32(plan.features), x,
        defines=types(REAL=x.dtype), preamble=source("encoding.cuh"),
    )  # fmt: skip

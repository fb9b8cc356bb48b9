"""The data set on the device, and the order in which its rows are taken."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from gpunet.kernels.random import generator

#: Inputs that lie on a device, of each split by device and dtype, as long as a step needs them.
_inputs: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[Any, Any]] = weakref.WeakKeyDictionary()


def on_device(split: Any, backend: Any, dtype: np.dtype[Any]) -> Any:
    """The inputs (n, columns) of a split on a device, uint8 or `dtype`; once for all networks that train on them."""
    arrays = _inputs.setdefault(split, weakref.WeakValueDictionary())
    place = backend.device, dtype.name
    inputs = arrays.get(place)
    if inputs is None:
        inputs = split.inputs if split.inputs.dtype == np.uint8 else split.inputs.astype(dtype, copy=False)
        inputs = arrays[place] = backend.to_device(inputs)
    return inputs


class Order:
    """The ring of two epochs' permutations that the batch gather reads (see `kernels/gather.py`).

    The permutation of an epoch depends on (seed, epoch) alone, so a resumed run needs no history. Each
    example comes once per epoch; a batch may hold the end of one epoch and the beginning of the next. Without
    `shuffle` each epoch has the examples as they lie.
    """

    def __init__(self, backend: Any, examples: int, batch: int, seed: int, shuffle: bool = True) -> None:
        self.backend = backend
        self.examples = examples
        self.batch = batch
        self.seed = seed
        self.shuffle = shuffle
        self.ring = backend.zeros(2 * examples, np.int32)
        self._loaded = -1

    def permutation(self, epoch: int) -> np.ndarray:
        """The order (n,) int32 of an epoch."""
        if not self.shuffle:
            return np.arange(self.examples, dtype=np.int32)
        order = generator(self.seed, "order", counter=epoch).permutation(self.examples)
        return order.astype(np.int32)

    def rows(self, step: int) -> Any:
        """The rows (batch,) of a step that was prepared, on the device."""
        places = step * self.batch + self.backend.xp.arange(self.batch)
        return self.ring[places % len(self.ring)]

    def forget(self) -> None:
        """Have the ring loaded anew by the next `refill`, whatever step it is for."""
        self._loaded = -1

    def refill(self, step: int) -> int:
        """Load what step `step` (0-based) reads.

        Returns:
            The first later step that has to call this again; in between, steps need nothing of the host.
        """
        first, last = step * self.batch // self.examples, ((step + 1) * self.batch - 1) // self.examples
        if self._loaded < 0 or first > self._loaded:
            self._load(first)
        if last > self._loaded:
            self._load(last)
        # Step s ends before row (s + 1) * batch; the first that passes the end of the last loaded epoch:
        return (self._loaded + 1) * self.examples // self.batch

    def _load(self, epoch: int) -> None:
        half = epoch % 2 * self.examples
        with self.backend.use():
            # Ordered behind the steps already queued on the stream, which may still read the other half.
            self.ring[half : half + self.examples] = self.backend.to_device(self.permutation(epoch))
        self._loaded = epoch

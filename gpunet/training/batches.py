"""The order in which examples are taken, and the training split on the device.

A step takes its batch from a *source*: `Resident` here, where all of the split lies on the device, or `Streamed` (see
`streaming.py`), where the host brings the rows of coming batches there. Either has arrays that the batch gather reads,
and is asked to refill them at boundaries.
"""

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
    """The order in which a run takes its examples: epoch after epoch, each example once in each.

    The permutation of an epoch depends on (seed, epoch) alone, so a resumed run needs no history.

    Args:
        examples: how many there are.
        seed: of the permutations.
        shuffle: whether each epoch has an order of its own, or the examples come as they lie.
    """

    def __init__(self, examples: int, seed: int, shuffle: bool = True) -> None:
        self.examples = examples
        self.seed = seed
        self.shuffle = shuffle
        self._epochs: dict[int, np.ndarray] = {}

    def permutation(self, epoch: int) -> np.ndarray:
        """The order (n,) int32 of an epoch."""
        if not self.shuffle:
            return np.arange(self.examples, dtype=np.int32)
        order = generator(self.seed, "order", counter=epoch).permutation(self.examples)
        return order.astype(np.int32)

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows (last - first,) at these places of the endless stream of epochs."""
        epochs = range(first // self.examples, (last - 1) // self.examples + 1)
        known = self._epochs
        self._epochs = {epoch: known[epoch] if epoch in known else self.permutation(epoch) for epoch in epochs}
        starts = {epoch: epoch * self.examples for epoch in epochs}
        return np.concatenate(
            [self._epochs[epoch][max(first - start, 0) : last - start] for epoch, start in starts.items()]
        )


class Resident:
    """The training split on the device, and the ring of permutations that the batch gather reads.

    A batch may hold the end of one epoch and the beginning of the next (see `kernels/gather.py`).

    Args:
        backend: the device.
        split: the split; its inputs are put on the device once for all networks that train on them.
        targets: (n,) or (n, k), as the loss takes them.
        weights: (n,), what each example weighs in the loss, or None.
        dtype: of the network.
        order: the order of the rows.
        batch: rows per step.
        steps: how many follow each other without the host in between, at most.

    Attributes:
        inputs, labels, weights: the split on the device.
        epochs: how many permutations the ring holds: those that so many steps read, wherever in an epoch they begin.
        ring: (epochs * n,) int32, row numbers; those of epoch e at e modulo `epochs`.
        nbytes: what they take there.
    """

    def __init__(
        self, backend: Any, split: Any, targets: Any, weights: Any, dtype: np.dtype[Any], order: Order, batch: int,
        steps: int = 1,
    ) -> None:  # fmt: skip
        self.backend, self.order, self.batch = backend, order, batch
        self.inputs = on_device(split, backend, dtype)
        self.labels = backend.to_device(targets, kind_of(targets, dtype))
        self.weights = None if weights is None else backend.to_device(weights, dtype)
        self.epochs = 1 + -(-steps * batch // order.examples)
        self.ring = backend.zeros(self.epochs * order.examples, np.int32)
        self.nbytes = sum(array.nbytes for array in (self.inputs, self.labels, self.ring))
        self._loaded = -1

    def rows(self, step: int) -> np.ndarray:
        """The rows (batch,) of the last step that was prepared; waits for the device."""
        places = step * self.batch + self.backend.xp.arange(self.batch)
        return self.backend.to_host(self.ring[places % len(self.ring)])

    def forget(self) -> None:
        """Have the ring loaded anew by the next `refill`, whatever step it is for."""
        self._loaded = -1

    def refill(self, step: int, steps: int = 1) -> int:
        """Load what `steps` steps from `step` (0-based) on read.

        Returns:
            The first later step that has to call this again; in between, steps need nothing of the host.
        """
        examples = self.order.examples
        first, last = step * self.batch // examples, ((step + steps) * self.batch - 1) // examples
        self._load(max(first, self._loaded + 1), last)
        # Step s ends before row (s + 1) * batch; the first that passes the end of the last loaded epoch:
        return (self._loaded + 1) * examples // self.batch

    def _load(self, first: int, last: int) -> None:
        examples = self.order.examples
        while first <= last:
            slot = first % self.epochs
            epochs = range(first, min(last, first + self.epochs - slot - 1) + 1)
            orders = np.concatenate([self.order.permutation(epoch) for epoch in epochs])
            with self.backend.use():
                # Ordered behind the steps already queued on the stream, which may still read other epochs.
                self.ring[slot * examples :][: len(orders)] = self.backend.to_device(orders)
            self._loaded = epochs[-1]
            first = self._loaded + 1


def kind_of(targets: np.ndarray, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that targets have on the device."""
    return np.dtype(np.int32) if targets.ndim == 1 else dtype

"""The order in which examples are taken, and the training split on the device.

A step takes its batch from a *source*: `Resident` here, where all of the split lies on the device, or `Streamed` (see
`streaming.py`), where the host brings the rows of coming batches there. Either has arrays that the batch gather reads,
and is asked to refill them at boundaries.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.data.split import Split
from gpunet.data.stored import StoredRows, memory, thrashes
from gpunet.errors import OutOfMemory
from gpunet.kernels.random import generator
from gpunet.kernels.threads import helpers
from gpunet.network.evaluation import dtype_of_targets
from gpunet.training.recipe import Recipe
from gpunet.wording import readable

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Bytes of a chunk of rows that lie behind each other, and chunks whose rows are mixed. An order depends on both.
CHUNK, MIX = 1 << 20, 256
#: Of small splits several epochs are put in order at a time, about so many rows: to begin takes as long as a thousand.
ROWS = 1 << 13
#: Elements that are brought to a device at a time from files.
PIECE = 1 << 24

#: Bytes of validation inputs that stay on a device, at most; more are copied there for each validation.
NEAR = 1 << 28

#: Inputs that lie on a device, of each split by device and dtype, as long as a step needs them.
_inputs: weakref.WeakKeyDictionary[Any, weakref.WeakValueDictionary[Any, Any]] = weakref.WeakKeyDictionary()


def on_device(split: Any, backend: Any, dtype: np.dtype[Any]) -> Any:
    """The inputs (n, columns) of a split on a device, uint8 or `dtype`; once for all networks that train on them."""
    arrays = _inputs.setdefault(split, weakref.WeakValueDictionary())
    place = backend.device, dtype.name
    inputs = arrays.get(place)
    if inputs is None:
        kind = dtype_of_inputs(split.inputs, dtype)
        if isinstance(split.inputs, StoredRows):
            inputs = backend.empty(split.inputs.shape, kind)
            length = max(PIECE // split.inputs.shape[1], 1)
            for first in range(0, len(split), length):
                inputs[first : first + length] = backend.to_device(split.inputs[first : first + length])
        else:
            inputs = backend.to_device(split.inputs.astype(kind, copy=False))
        arrays[place] = inputs
    return inputs


def dtype_of_inputs(inputs: Any, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that inputs have on the device of a network of type `dtype`: bytes stay bytes."""
    return np.dtype(np.uint8) if inputs.dtype == np.uint8 else dtype


def lies_on(split: Any, backend: Any, dtype: np.dtype[Any]) -> bool:
    """Whether the inputs of a split lie on a device already, for another network."""
    return split in _inputs and (backend.device, dtype.name) in _inputs[split]


def near(split: Split, backend: Any, dtype: np.dtype[Any], again: bool = False) -> Split:
    """A split that is to be evaluated, with its inputs on the device where they lie there already.

    Args:
        split: the split.
        backend, dtype: those of the network.
        again: whether it is evaluated more than once, so that inputs of up to `NEAR` bytes are put there if there is
            room, for as long as what is returned lives.
    """
    small = again and not isinstance(split.inputs, StoredRows) and split.inputs.nbytes <= NEAR
    if backend.owns(split.inputs) or not (small or lies_on(split, backend, dtype)):
        return split
    try:
        inputs = on_device(split, backend, dtype)
    except OutOfMemory:
        return split
    return Split.trusted(
        inputs, split.targets, split.classes, split.preparation, split.weights, split.image_shape, split.groups
    )


class Order:
    """The order in which a run takes its examples: epoch after epoch, each example once in each.

    The permutation of an epoch depends on (seed, epoch) alone, so a resumed run needs no history. It is made of blocks
    that can be had one by one; here it is a single one.

    Args:
        examples: how many there are.
        seed: of the permutations.
        shuffle: whether each epoch has an order of its own, or the examples come as they lie.
    """

    told = ""  #: What a header says of it, where it does not go without saying.

    def __init__(self, examples: int, seed: int, shuffle: bool = True) -> None:
        self.examples = examples
        self.seed = seed
        self.shuffle = shuffle
        self._blocks: dict[tuple[int, int], np.ndarray] = {}

    def permutation(self, epoch: int) -> np.ndarray:
        """The order (n,) int32 of an epoch."""
        if not self.shuffle:
            return np.arange(self.examples, dtype=np.int32)
        order = generator(self.seed, "order", counter=epoch).permutation(self.examples)
        return order.astype(np.int32)

    def block(self, epoch: int, number: int) -> np.ndarray:
        """The rows of a block of an epoch, in their order."""
        return self.permutation(epoch)

    def ends(self, epoch: int) -> np.ndarray:
        """Behind how many rows of an epoch each of its blocks ends."""
        return np.array([self.examples])

    def spans(self, epoch: int, number: int) -> list[tuple[int, int]]:
        """The stretches of rows, from the first to behind the last, that a block consists of; none where it is of all
        rows."""
        return []

    @property
    def whole(self) -> Order:
        """The order of all rows, of which this may be a share."""
        return self

    def places(self, first: int, last: int) -> tuple[int, int]:
        """The places of the whole order between which those from `first` to `last` lie."""
        return first, last

    def find(self, place: int) -> tuple[int, int, int]:
        """The epoch and the block of a place in the endless stream of epochs, and where the block begins there."""
        epoch, within = divmod(place, self.examples)
        ends = self.ends(epoch)
        number = int(np.searchsorted(ends, within, "right"))
        return epoch, number, int(ends[number - 1]) if number else 0

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows (last - first,) at these places of the endless stream of epochs."""
        known, used, pieces = self._blocks, dict[tuple[int, int], np.ndarray](), list[np.ndarray]()
        while first < last:
            epoch, number, start = self.find(first)
            key = epoch, number
            used[key] = known[key] if key in known else self.block(*key)
            at = first - epoch * self.examples - start
            pieces.append(used[key][at : at + last - first])
            first += len(pieces[-1])
        self._blocks = used
        return np.concatenate(pieces)


class ChunkOrder(Order):
    """An order that goes with files too large for memory: chunks of rows that lie behind each other are shuffled, and
    the rows of `MIX` chunks at a time among themselves.

    Args:
        examples, seed: as of `Order`.
        chunk: rows of a chunk.
    """

    def __init__(self, examples: int, seed: int, chunk: int) -> None:
        super().__init__(examples, seed)
        self.chunk = chunk
        self.told = f"chunks of {chunk:,} rows are shuffled, and then the rows of {MIX} at a time"
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def _chunks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The chunks of an epoch in their order, and the ends of its blocks."""
        known = self._epochs.get(epoch)
        if known is None:
            count = -(-self.examples // self.chunk)
            order = generator(self.seed, "order", counter=epoch).permutation(count)
            ends = np.cumsum(np.where(order == count - 1, self.examples - (count - 1) * self.chunk, self.chunk))
            known = order, np.append(ends[MIX - 1 : -1 : MIX], self.examples)
            self._epochs = {**dict(list(self._epochs.items())[-1:]), epoch: known}  # a batch may be of two
        return known

    def permutation(self, epoch: int) -> np.ndarray:
        """The order (n,) int32 of an epoch."""
        return np.concatenate([self.block(epoch, number) for number in range(len(self.ends(epoch)))])

    def ends(self, epoch: int) -> np.ndarray:
        """Behind how many rows of an epoch each of its blocks ends."""
        return self._chunks(epoch)[1]

    def spans(self, epoch: int, number: int) -> list[tuple[int, int]]:
        """The stretches of rows, from the first to behind the last, that a block consists of."""
        firsts = np.sort(self._chunks(epoch)[0][number * MIX : (number + 1) * MIX]) * self.chunk
        return [(first, min(first + self.chunk, self.examples)) for first in firsts.tolist()]

    def block(self, epoch: int, number: int) -> np.ndarray:
        """The rows of a block of an epoch, in their order."""
        rows = np.concatenate([np.arange(*span, dtype=np.int32) for span in self.spans(epoch, number)])
        counter = epoch * -(-self.examples // (self.chunk * MIX)) + number
        generator(self.seed, "order", 1, counter).shuffle(rows)
        return rows


def order_of(recipe: Recipe, inputs: Any) -> Order:
    """The order in which a run takes inputs (n, columns).

    Args:
        recipe: how to train, `fitted` to the data.
        inputs: as of `Split.inputs`.
    """
    seed = int(recipe.seed or 0)
    if recipe.shuffle == "chunks":
        order = ChunkOrder(len(inputs), seed, max(CHUNK // (inputs.shape[1] * inputs.dtype.itemsize), 1))
        if thrashes(inputs):
            order.told += f" ({readable(inputs.nbytes)} in files do not stay in {readable(memory())} of memory)"
        return order
    return Order(len(inputs), seed, recipe.shuffle != "off")


class Share(Order):
    """The order of those rows of every batch that are one rank's.

    What it calls an epoch are about as many rows as the rank takes of one.

    Args:
        whole: the order of all rows.
        batch: how many a step takes of them.
        rows: which of these are the rank's.
    """

    def __init__(self, whole: Order, batch: int, rows: slice) -> None:
        self._whole, self._batch, self._start, self._own = whole, batch, rows.start, rows.stop - rows.start
        super().__init__(max(whole.examples * self._own // batch, self._own), whole.seed, whole.shuffle)
        self.told = whole.told

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows (last - first,) at these of the rank's places."""
        steps, within = np.divmod(np.arange(first, last), self._own)
        places = steps * self._batch + self._start + within
        return self._whole.rows(int(places[0]), int(places[-1]) + 1)[places - places[0]]

    @property
    def whole(self) -> Order:
        """The order of all rows."""
        return self._whole

    def places(self, first: int, last: int) -> tuple[int, int]:
        """The places of the whole order between which those from `first` to `last` lie."""
        return first // self._own * self._batch, -(-last // self._own) * self._batch

    def permutation(self, epoch: int) -> np.ndarray:
        """The rows (own examples,) int32 at as many of the rank's places as it takes for about an epoch."""
        return self.rows(epoch * self.examples, (epoch + 1) * self.examples)


def epochs_in_ring(examples: int, rows: int) -> int:
    """How many permutations of a split's examples lie in order, for so many rows to be taken at a time."""
    return 1 + max(-(-rows // examples), ROWS // examples)


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
        iterations: steps of the whole run.

    Attributes:
        inputs, labels, weights: the split on the device.
        epochs: how many permutations the ring holds: those that so many steps read, wherever in an epoch they begin, or
            of small splits more.
        ring: (epochs * n,) int32, row numbers; those of epoch e at e modulo `epochs`.
        nbytes: what they take there.
    """

    def __init__(
        self, backend: Any, split: Any, targets: Any, weights: Any, dtype: np.dtype[Any], order: Order, batch: int,
        steps: int = 1, iterations: int = 0,
    ) -> None:  # fmt: skip
        self.backend, self.order, self.batch = backend, order, batch
        self.inputs = on_device(split, backend, dtype)
        self.labels = backend.to_device(targets, dtype_of_targets(targets, dtype))
        self.weights = None if weights is None else backend.to_device(weights, dtype)
        self._ahead = ROWS // order.examples
        self.epochs = epochs_in_ring(order.examples, steps * batch)
        self._orders = np.zeros(self.epochs * order.examples, np.int32)  # the ring as the host knows it
        self.ring = backend.to_device(self._orders)
        self._elsewhere = self.ring is not self._orders  # on a CPU they are one
        self.nbytes = sum(array.nbytes for array in (self.inputs, self.labels, self.ring))
        self._loaded, self._last = -1, (iterations * batch - 1) // order.examples
        self._coming: Future[dict[int, np.ndarray]] | None = None  # the permutations that will be loaded next

    def rows(self, step: int) -> np.ndarray:
        """The rows (batch,) of the last step that was prepared."""
        places = step * self.batch + np.arange(self.batch)
        return self._orders[places % len(self._orders)]

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
        self._load(max(first, self._loaded + 1), max(last, first + self._ahead))
        # Step s ends before row (s + 1) * batch; the first that passes the end of the last loaded epoch:
        return (self._loaded + 1) * examples // self.batch

    def _load(self, first: int, last: int) -> None:
        if first > last:
            return
        examples, coming = self.order.examples, {} if self._coming is None else self._coming.result()
        while first <= last:
            slot = first % self.epochs
            epochs = range(first, min(last, first + self.epochs - slot - 1) + 1)
            place = slice(slot * examples, (slot + len(epochs)) * examples)
            made = [coming[epoch] if epoch in coming else self.order.permutation(epoch) for epoch in epochs]
            self._orders[place] = np.concatenate(made)
            if self._elsewhere:
                with self.backend.use():
                    # Ordered behind the steps already queued on the stream, which may still read other epochs.
                    self.ring[place] = self.backend.to_device(self._orders[place])
            self._loaded = epochs[-1]
            first = self._loaded + 1
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Have another thread make the next permutations while a device works, which would wait for them otherwise."""
        epochs = range(self._loaded + 1, min(self._loaded + 1 + self._ahead, self._last) + 1)
        pool = helpers(1)[0] if epochs and self._elsewhere else None
        self._coming = None if pool is None else pool.submit(_permutations, self.order, epochs)


def _permutations(order: Order, epochs: range) -> dict[int, np.ndarray]:
    return {epoch: order.permutation(epoch) for epoch in epochs}

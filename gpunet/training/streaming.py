"""Training data that does not lie on the device: the rows of coming batches are brought there, ahead of the steps.

A helper thread gathers them on the host, in the very order in which a resident split is read, so the numbers are the
same bit for bit. The device has a ring of parts, each of the batches of some steps; while the steps of one part are
done, the next ones are filled and copied.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.data.stored import StoredRows
from gpunet.network.evaluation import dtype_of_targets
from gpunet.training.batches import Order, Resident, Share, dtype_of_inputs, lies_on, order_of
from gpunet.training.graph import LaunchMode
from gpunet.training.memory import training_bytes
from gpunet.training.ranks import Ranks
from gpunet.training.recipe import Recipe
from gpunet.wording import readable

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Bytes of inputs in a part of the ring, about; a batch that is larger is a part of its own.
PART = 4 << 20
#: Parts of the ring.
PARTS = 4
#: The share of a device's free memory that training may take with all of its data there.
FULL = 0.9


class Streamed:
    """The rows of coming batches on the device, where the gather of a step reads them as if they were the split.

    Args:
        backend, split, targets, weights, dtype, order, batch: as of `Resident`; the split stays on the host.
        steps: how many steps the run has; nothing is gathered for later ones.

    Attributes:
        inputs, labels, weights: the ring on the device, `PARTS * ahead` batches.
        ring: the numbers of its rows, one after the other.
        nbytes: what they take there.
        ahead: steps whose batches make up a part.
    """

    def __init__(
        self,
        backend: Any,
        split: Any,
        targets: Any,
        weights: Any,
        dtype: np.dtype[Any],
        order: Order,
        batch: int,
        steps: int,
    ) -> None:
        self.order, self.batch, self._steps = order, batch, steps
        kind = dtype_of_inputs(split.inputs, dtype)
        columns = split.inputs.shape[1]
        self.ahead = max(PART // (batch * columns * kind.itemsize), 1)
        rows = self.ahead * batch
        self._arrays = [split.inputs, targets, *([] if weights is None else [weights])]
        kinds = [kind, dtype_of_targets(targets, dtype), dtype]
        shapes = [((rows, *array.shape[1:]), kind) for array, kind in zip(self._arrays, kinds, strict=False)]
        self._staging = backend.staging(PARTS, shapes)
        self.inputs, self.labels, *rest = self._staging.arrays
        self.weights = rest[0] if rest else None
        self.ring = backend.to_device(np.arange(PARTS * rows, dtype=np.int32))
        self.nbytes = self.ring.nbytes + sum(array.nbytes for array in self._staging.arrays)
        from concurrent.futures import ThreadPoolExecutor

        self._worker = ThreadPoolExecutor(1, "gpunet batches")
        self._parts: dict[int, Future[None]] = {}  # what is gathered, or being gathered
        self._files = Files(split.inputs, order.whole) if isinstance(split.inputs, StoredRows) else None
        self._sent = -1

    def rows(self, step: int) -> np.ndarray:
        """The rows (batch,) of a step."""
        order = copy.copy(self.order)  # which the worker may be using
        return order.rows(step * self.batch, (step + 1) * self.batch)

    def forget(self) -> None:
        """Have everything gathered anew by the next `refill`, whatever step it is for."""
        for part in self._parts.values():
            part.cancel()
        for part in self._parts.values():
            if not part.cancelled():
                part.exception()  # which waits for its end
        self._parts, self._sent = {}, -1

    def refill(self, step: int, steps: int = 1) -> int:
        """Have the batch of step `step` (0-based) on the device, and those after it on their way, however many `steps`.

        Returns:
            The first later step that has to call this again; in between, steps need nothing of the host.
        """
        current = step // self.ahead
        if current not in self._parts:
            self.forget()
            self._sent = current - 1
        for part in range(current, current + PARTS):
            # Its place was that of a part whose steps have all been asked for.
            if part not in self._parts and part * self.ahead < self._steps:
                self._staging.wait(part % PARTS)
                self._parts[part] = self._worker.submit(self._gather, part)
        for part in range(self._sent + 1, current + PARTS):
            if part > current and not (part in self._parts and self._parts[part].done()):
                break
            self._parts[part].result()
            self._staging.send(part % PARTS)
            self._sent = part
        self._staging.receive(current % PARTS)
        for part in [part for part in self._parts if part < current]:
            del self._parts[part]
        return (current + 1) * self.ahead

    def _gather(self, part: int) -> None:
        first, last = part * self.ahead, min((part + 1) * self.ahead, self._steps)
        if self._files is not None:
            self._files.look_ahead(*self.order.places(first * self.batch, last * self.batch))
        rows = self.order.rows(first * self.batch, last * self.batch)
        index = rows.astype(np.intp)  # the type of index that `take` wants
        for array, target in zip(self._arrays, self._staging.host(part % PARTS), strict=True):
            taken = target[: len(index)]
            if array.dtype == taken.dtype:
                array.take(index, 0, taken, "clip")  # into its place without a bounds check; the order is ours
            else:
                taken[...] = array.take(index, 0)


class Files:
    """What the system is told of files whose rows are gathered in an order of blocks: which rows to read ahead, so that
    the disk works beside everything else, and which are done with.

    Args:
        inputs: the rows.
        order: the order in which they are gathered.
    """

    def __init__(self, inputs: StoredRows, order: Order) -> None:
        self._inputs, self._order = inputs, order
        self._block: tuple[int, int] | None = None
        self._spans: list[tuple[int, int]] = []  # of the current block, which are released after it
        self._coming: list[tuple[int, int]] = []  # of the next block
        self._expected = 0  # how many of these were asked for

    def look_ahead(self, first: int, last: int) -> None:
        """Tell it what is due when the places from `first` to `last` are gathered."""
        epoch, number, start = self._order.find(first)
        ends = self._order.ends(epoch)
        if (epoch, number) != self._block:
            self._enter(epoch, number, number + 1 == len(ends))
        # As large a share of the next block as is gathered of this one.
        done = (last - epoch * self._order.examples - start) / (int(ends[number]) - start)
        self._expect(min(int(done * len(self._coming)) + 1, len(self._coming)))

    def _enter(self, epoch: int, number: int, at_end: bool) -> None:
        for span in self._spans:
            self._inputs.release(*span)
        following = (epoch + 1, 0) if at_end else (epoch, number + 1)
        spans = self._order.spans(epoch, number)
        if spans == self._coming:
            self._expect(len(self._coming))
        else:
            for span in spans:
                self._inputs.expect(*span)
        self._block, self._spans = (epoch, number), spans
        self._coming, self._expected = self._order.spans(*following), 0

    def _expect(self, count: int) -> None:
        for span in self._coming[self._expected : count]:
            self._inputs.expect(*span)
        self._expected = max(self._expected, count)


def source_of(
    model: Any, data: Any, loss: Any, optimizer: Any, recipe: Recipe, mode: LaunchMode, ranks: Ranks
) -> tuple[Resident | Streamed, str]:
    """Where the batches of a training run come from, and why from there, in a few words
    ("" where that goes without saying).

    Args:
        model, data, loss, optimizer: what is trained, on what and how.
        recipe: how to train, `fitted` to the data.
        mode: how the steps are carried out.
        ranks: the processes that share every batch out.
    """
    backend, train, rows = model.backend, data.train, ranks.share(int(recipe.batch_size))
    batch = rows.stop - rows.start
    targets = data.preparation.scale_targets(train.targets)
    weights = loss.example_weights(targets, train.weights, model.outputs, np)
    order = order_of(recipe, train.inputs)
    if ranks.size > 1:
        order = Share(order, int(recipe.batch_size), rows)
    steps = int(recipe.iterations or 0)
    streamed, reason = _way(model, data, optimizer, recipe, batch, mode)
    if streamed:
        source = Streamed(backend, train, targets, weights, model.dtype, order, batch, steps)
        return source, f"streamed, up to {PARTS * source.ahead:,} ahead of the steps ({reason})"
    resident = Resident(backend, train, targets, weights, model.dtype, order, batch, mode.steps, steps)
    return resident, f"all on {backend.device} ({reason})" if reason else ""


def _way(model: Any, data: Any, optimizer: Any, recipe: Recipe, batch: int, mode: LaunchMode) -> tuple[bool, str]:
    """Whether batches are streamed, and why."""
    backend = model.backend
    if recipe.stream != "auto":
        return recipe.stream == "on", f"stream {recipe.stream}"
    stored = isinstance(data.train.inputs, StoredRows)
    if backend.name == "cpu":  # without files there is nothing to choose
        return stored, f"{readable(data.train.inputs.nbytes)} stay in their files" if stored else ""
    if lies_on(data.train, backend, model.dtype):
        return False, "they lie there already, for another network"
    parts = training_bytes(model, data, optimizer, batch, mode)
    need, free = sum(parts.values()), backend.memory()[0]
    told = f"training takes {readable(need)} with all of the data there, and {readable(free)} are free"
    return need > FULL * free, told

"""How much device memory training needs, and the sentence for when there is less."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gpunet.errors import OutOfMemory
from gpunet.kernels.fused import splits
from gpunet.training.batches import epochs_in_ring
from gpunet.training.graph import LaunchMode
from gpunet.wording import readable


def training_bytes(
    model: Any, data: Any, optimizer: Any, batch: int, mode: LaunchMode, held: int | None = None
) -> dict[str, int]:
    """The bytes that training keeps on the device, by what they are for.

    Args:
        model: an `MLP`.
        data: a `Dataset`.
        optimizer: an `Optimizer`, which keeps some vectors as long as the parameters.
        batch: examples per step.
        mode: how the steps are carried out.
        held: bytes of the data that lie on the device; by default all of the training split, with its order.

    Returns:
        "inputs", which lie there once for all networks that train on them; "rows" (targets, and the order of the rows),
        "parameters" (with gradients and optimizer state) and "batch" (inputs, activations, deltas, and what is rounded
        of them and of the weights for bfloat16), which each network has of its own, and "products" (cuBLAS's
        workspace).
    """
    real = model.dtype.itemsize
    images, labels = data.train.images, data.train.labels
    image_size = 1 if images.dtype.itemsize == 1 else real
    order = 4 * len(labels) * epochs_in_ring(len(labels), mode.steps * batch)
    rows = labels.size * (4 if labels.ndim == 1 else real) + order
    inputs = images.size * image_size
    widths = 0
    for layer, rate in zip(model.layers, [*model.dropout, 0.0], strict=True):
        kept = 0 if mode.fused else 2 * (rate > 0) + (layer.activation.saves == "input" and not layer.last)
        widths += (2 + kept) * layer.weights.shape[1]
    rounded = 0
    if mode.precision == "bfloat16":
        shapes = [layer.weights.shape for layer in model.layers]
        rounded = sum(2 * (batch * fan_in + fan_in * fan_out + batch * fan_out) for fan_in, fan_out in shapes)
    taken = model.sizes[0] * (real + image_size * (image_size != real))
    if mode.fused:
        taken = splits(batch, *model.sizes[:2]) * model.sizes[1] * real
    return {
        "inputs": inputs if held is None else held - min(rows, held),
        "rows": rows if held is None else min(rows, held),
        "parameters": (2 + len(optimizer.state_names)) * model.flat.size * real,
        "batch": batch * (taken + widths * real) + rounded,
        "products": mode.workspace,
    }


@contextlib.contextmanager
def explaining(
    model: Any, data: Any, optimizer: Any, batch: int, mode: LaunchMode, held: int | None = None
) -> Iterator[None]:
    """Around work of a training run: running out of memory becomes a sentence about this run.

    Args:
        model, data, optimizer, batch, mode, held: as of `training_bytes`.

    Raises:
        OutOfMemory: with how much training needs, how much is free, and what to lower.
    """
    try:
        yield
    except OutOfMemory as error:
        parts = training_bytes(model, data, optimizer, batch, mode, held)
        data_bytes = parts["inputs"] + parts["rows"]
        library = f", {readable(parts['products'])} for cuBLAS" if parts["products"] else ""
        hidden = ", ".join(map(str, model.sizes[1:-1]))
        raise OutOfMemory(
            f"training needs about {readable(sum(parts.values()))} on {model.backend.device} "
            f"({readable(data_bytes)} for the data, {readable(parts['parameters'])} for parameters and their "
            f"optimizer, {readable(parts['batch'])} for a batch{library}), and {readable(error.free)} are free; lower "
            f"the batch size ({batch})" + (f" or the hidden sizes ({hidden})" if hidden else "") + ", or use the CPU.",
            error.free,
        ) from error

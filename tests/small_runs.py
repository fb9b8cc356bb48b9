"""Small trainings: their settings, their course and their end."""

from __future__ import annotations

import numpy as np

import gpunet as gn

#: Settings of a small run, as a sweep takes them.
SMALL = {"hidden": "4", "iterations": 30, "batch_size": 20, "log_every": 30, "device": "cpu"}


def trainer(
    data: gn.Dataset, backend: gn.Backend, sizes: tuple[int, ...] = (30, 18, 12, 4), **options: object
) -> gn.Trainer:
    of_model = {key: options.pop(key) for key in ("activation", "dropout", "dtype", "seed") if key in options}
    model = gn.MLP(sizes, backend=backend, **of_model)
    return gn.Trainer(model, data, **{"batch_size": 25, "iterations": 30, "log_every": 10, **options})


def advance(one: gn.Trainer, iteration: int) -> None:
    """Train up to an iteration, which has to be one of the log."""
    for record in one.steps():
        if record.event == "step" and record.iteration == iteration:
            return


def finish(one: gn.Trainer) -> tuple[list[float], gn.ResultRecord, np.ndarray]:
    """The losses at the log steps, the result, and the parameters."""
    *records, result = list(one.steps())
    return [record.loss for record in records], result, np.array(one.backend.to_host(one.model.flat))


def first(data: gn.Dataset, examples: int) -> gn.Dataset:
    """The first training examples alone."""
    return gn.Dataset.from_arrays(data.train.images[:examples], data.train.labels[:examples])


def out_of_memory(cuda: gn.Backend) -> object:
    """A context in which the device has no memory left."""

    def refuse(size: int) -> None:
        raise cuda.xp.cuda.memory.OutOfMemoryError(size, 10**9, 10**9)

    return cuda.xp.cuda.using_allocator(refuse)

"""The training loops that `gpu.py` compares: gpunet, torch (eager, as a graph, compiled) and jax (a scan).

Each starts with the same weights and takes the same batches: the rows of step s are s * batch, s * batch + 1, … modulo
the number of examples, gathered by an index on the device as a shuffled order would be. A contender is a function that
does `log_every` steps and returns the loss of the last one's batch, for which it waits, as a log does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import gpunet as gn

Contender = Callable[[], float]
RATE = 0.05


@dataclass(frozen=True)
class Task:
    """A network and a recipe, for one device ("cpu" or "cuda"); images (n, features) of bytes, labels (n,)."""

    sizes: tuple[int, ...]
    batch: int
    log_every: int
    precision: str = "float32"
    device: str = "cuda"
    examples: int = 10_000
    images: np.ndarray = field(init=False, repr=False)
    labels: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Classes that can be told apart, so that the losses that are compared say something.
        rng = np.random.default_rng(0)
        labels = rng.integers(0, self.sizes[-1], self.examples)
        images = rng.random((self.sizes[-1], self.sizes[0]))[labels] + 0.3 * rng.standard_normal(
            (self.examples, self.sizes[0])
        )
        object.__setattr__(self, "images", (255 * np.clip(images, 0, 1)).astype(np.uint8))
        object.__setattr__(self, "labels", labels)

    def model(self, device: str = "cpu") -> gn.MLP:
        """The network; its first weights suit every width."""
        return gn.MLP(self.sizes, initializer="he-normal", backend=device, seed=0)

    def start(self) -> list[np.ndarray]:
        """The weights and biases that all begin with: W1, b1, W2, …"""
        return [np.array(array) for array in self.model().parameters]


def gpunet(task: Task, graph: str, **options: Any) -> Contender:
    data = gn.Dataset.from_arrays(task.images, task.labels, classes=task.sizes[-1])
    model = task.model(task.device)
    trainer = gn.Trainer(
        model, data, optimizer=gn.SGD(RATE), batch_size=task.batch, iterations=10**8, log_every=task.log_every,
        shuffle=False, graph=graph, precision=task.precision, **options,
    )  # fmt: skip
    records = trainer.steps()
    return lambda: next(records).loss


def torch(task: Task, way: str) -> Contender:
    """`way` is "eager", "graph" (captured by hand) or "compiled" (reduce-overhead)."""
    import torch as t

    device = t.device(task.device)
    if task.device == "cuda" and not t.cuda.is_available():
        raise RuntimeError("torch has no CUDA device")
    t.set_float32_matmul_precision("high" if task.precision == "tf32" else "highest")
    start = task.start()
    parameters = [t.tensor(array, device=device, requires_grad=True) for array in start]
    images, labels = t.as_tensor(task.images, device=device), t.as_tensor(task.labels, device=device)
    step_number, loss = t.zeros((), dtype=t.long, device=device), t.zeros((), device=device)
    offsets = t.arange(task.batch, device=device)
    optimizer = t.optim.SGD(parameters, lr=RATE, fused=True)
    half = task.precision == "bfloat16"

    def loss_of(rows: Any) -> Any:
        x = images[rows].float() * (1 / 255)
        with t.autocast(device.type, t.bfloat16, enabled=half, cache_enabled=False):
            for index in range(0, len(parameters), 2):
                x = t.addmm(parameters[index + 1], x, parameters[index])
                if index + 2 < len(parameters):
                    x = x.relu()
            return t.nn.functional.cross_entropy(x.float(), labels[rows])

    forward = t.compile(loss_of, mode="reduce-overhead") if way == "compiled" else loss_of

    def step() -> None:
        if way == "compiled":
            t.compiler.cudagraph_mark_step_begin()
        rows = (step_number * task.batch + offsets) % task.examples
        step_number.add_(1)
        optimizer.zero_grad(set_to_none=True)
        found = forward(rows)
        found.backward()
        optimizer.step()
        loss.copy_(found.detach())

    if way == "graph":
        step = _torch_graph(t, step, parameters, start, step_number)

    def run() -> float:
        for _ in range(task.log_every):
            step()
        return float(loss)

    return run


def _torch_graph(t: Any, step: Callable[[], None], parameters: list[Any], start: list[Any], number: Any) -> Any:
    """A step of torch as a CUDA graph, with everything as it was at the start."""
    if not t.cuda.is_available():
        raise RuntimeError("a graph needs a CUDA device")
    stream = t.cuda.Stream()
    t.cuda.synchronize()  # what was sent to the device has to be there
    with t.cuda.stream(stream):
        for _ in range(3):  # allocates and chooses
            step()
    t.cuda.synchronize()
    with t.no_grad():
        for parameter, array in zip(parameters, start, strict=True):
            parameter.copy_(t.as_tensor(array))
    number.zero_()
    graph = t.cuda.CUDAGraph()
    with t.cuda.graph(graph):
        step()
    return partial(_replay, graph, step)


def _replay(graph: Any, kept: Any) -> None:
    """A graph does not keep alive what it reads; whoever captured it does."""
    graph.replay()


def jax(task: Task) -> Contender:
    """All steps of a call in one `lax.scan`."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax as j
    import jax.numpy as jnp

    # Where jax has no such device it says so; what is made below lies on the one that is asked for.
    j.config.update("jax_default_device", j.devices(task.device)[0])
    precision = {"tf32": "tensorfloat32"}.get(task.precision, task.precision)
    images, labels = jnp.asarray(task.images), jnp.asarray(task.labels.astype(np.int32))
    start = task.start()

    def loss_of(layers: Any, rows: Any) -> Any:
        x = images[rows].astype(jnp.float32) * jnp.float32(1 / 255)
        for index, (weights, bias) in enumerate(layers):
            x = jnp.matmul(x, weights, precision=precision) + bias
            if index + 1 < len(layers):
                x = jnp.maximum(x, 0)
        return -jnp.take_along_axis(j.nn.log_softmax(x), labels[rows][:, None], 1).mean()

    def step(carry: Any, _: Any) -> Any:
        layers, number = carry
        rows = (number * task.batch + jnp.arange(task.batch)) % task.examples
        loss, slopes = j.value_and_grad(loss_of)(layers, rows)
        layers = j.tree.map(lambda value, slope: value - RATE * slope, layers, slopes)
        return (layers, number + 1), loss

    scan = j.jit(lambda carry: j.lax.scan(step, carry, None, length=task.log_every), donate_argnums=0)
    layers = [(jnp.asarray(weights), jnp.asarray(bias)) for weights, bias in zip(start[::2], start[1::2], strict=True)]
    carry = [(layers, jnp.int32(0))]

    def run() -> float:
        carry[0], losses = scan(carry[0])
        return float(losses[-1])

    return run


CONTENDERS: dict[str, Callable[[Task], Contender]] = {
    "gpunet": partial(gpunet, graph="auto"),
    "gpunet, a step a launch": partial(gpunet, graph="auto", steps_per_launch=1),
    "gpunet, one by one": partial(gpunet, graph="off"),
    "torch, eager": partial(torch, way="eager"),
    "torch, graph": partial(torch, way="graph"),
    "torch, compiled": partial(torch, way="compiled"),
    "jax, scan": jax,
}

"""The training loops that are compared: gpunet, plain NumPy, torch as users write it and by hand, scikit-learn.

Each function trains the same network on the same synthetic images (uint8, as MNIST comes) for a number of steps and
returns the seconds that the steps took; preparing the data is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Task:
    """A network and a recipe: widths, batch size, steps, momentum (0 for plain SGD), examples."""

    sizes: tuple[int, ...]
    batch: int
    steps: int
    momentum: float = 0.0
    examples: int = 55_000
    learning_rate: float = 0.1

    def images(self) -> np.ndarray:
        # Four fifths of an MNIST image are background; the values do not matter to the speed.
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (self.examples, self.sizes[0]), dtype=np.uint8)
        pixels[pixels < 205] = 0
        return pixels

    def labels(self) -> np.ndarray:
        return np.random.default_rng(1).integers(0, self.sizes[-1], self.examples).astype(np.int32)


def gpunet(task: Task) -> float:
    """The trainer of this project, records every 100 steps."""
    import gpunet as gn

    data = gn.Dataset.from_arrays(task.images(), task.labels())
    optimizer = gn.Momentum(task.learning_rate, task.momentum) if task.momentum else gn.SGD(task.learning_rate)
    trainer = gn.Trainer(
        gn.MLP(task.sizes), data, optimizer=optimizer, iterations=task.steps + 20, batch_size=task.batch, log_every=20
    )
    steps = trainer.steps()
    next(steps)  # the first twenty steps warm up
    trainer.logs.every = 100
    before = trainer.seconds
    for record in steps:
        if getattr(record, "iteration", 0) == task.steps + 20:
            break
    return trainer.seconds - before


def numpy(task: Task) -> float:
    """A good NumPy loop as one writes it: float32 images, fancy indexing, a list of weights and biases."""
    x_all = task.images().astype(np.float32) / np.float32(255)
    y_all = task.labels()
    rng = np.random.default_rng(0)
    weights = [
        (rng.standard_normal((m, n)) * 0.1).astype(np.float32) for m, n in zip(task.sizes, task.sizes[1:], strict=False)
    ]
    biases = [np.full(n, 0.1, np.float32) for n in task.sizes[1:]]
    velocities = [np.zeros_like(p) for p in weights + biases]
    rate = np.float32(task.learning_rate)

    def step(x: np.ndarray, y: np.ndarray) -> None:
        inputs = [x]
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(np.maximum(inputs[-1] @ w + b, 0))
        logits = inputs[-1] @ weights[-1] + biases[-1]
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        delta = probabilities
        delta[np.arange(len(y)), y] -= 1
        delta /= len(y)
        grads_w, grads_b = [], []
        for index in range(len(weights) - 1, -1, -1):
            grads_w.append(inputs[index].T @ delta)
            grads_b.append(delta.sum(axis=0))
            if index:
                delta = (delta @ weights[index].T) * (inputs[index] > 0)
        gradients = grads_w[::-1] + grads_b[::-1]
        for p, g, v in zip(weights + biases, gradients, velocities, strict=True):
            if task.momentum:
                v *= np.float32(task.momentum)
                v += g
                p -= rate * v
            else:
                p -= rate * g

    return _timed(task, x_all, y_all, step)


def numpy_by_hand(task: Task) -> float:
    """NumPy as one tunes it by hand for this one network and plain SGD, with one BLAS thread.

    Parameters and gradients are one vector each, everything is written in place, the learning rate is folded into the
    gradient of the loss (so that the update is one subtraction), and the scale of the pixels into the first layer's
    weights and its delta, so that a batch is gathered and converted and not multiplied.
    """
    from threadpoolctl import threadpool_limits

    if task.momentum:
        raise SystemExit("skip: tuned for plain SGD")
    pixels, labels = task.images(), task.labels()
    rng = np.random.default_rng(0)
    scale = np.float32(1 / 255)
    pairs = list(zip(task.sizes, task.sizes[1:], strict=False))
    flat = np.empty(sum(m * n + n for m, n in pairs), np.float32)
    moved = np.empty_like(flat)

    def views(vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        weights, biases, at = [], [], 0
        for m, n in pairs:
            weights.append(vector[at : at + m * n].reshape(m, n))
            biases.append(vector[at + m * n : at + m * n + n])
            at += m * n + n
        return weights, biases

    (weights, biases), (grads_w, grads_b) = views(flat), views(moved)
    for w, b in zip(weights, biases, strict=True):
        w[...] = rng.standard_normal(w.shape) * 0.1
        b[...] = 0.1
    weights[0] *= scale
    raw = np.empty((task.batch, task.sizes[0]), np.uint8)
    layers = [np.empty((task.batch, n), np.float32) for n in task.sizes]
    deltas = [np.empty_like(layer) for layer in layers]
    masks = [np.empty(layer.shape, bool) for layer in layers]
    largest, each = np.empty((task.batch, 1), np.float32), np.arange(task.batch)
    ones, rate = np.ones(task.batch, np.float32), np.float32(task.learning_rate / task.batch)
    last = len(pairs)

    def step(rows: np.ndarray, _: np.ndarray) -> None:
        pixels.take(rows, 0, raw, "clip")
        np.copyto(layers[0], raw, casting="unsafe")
        for k, (w, b) in enumerate(zip(weights, biases, strict=True), 1):
            np.dot(layers[k - 1], w, layers[k])
            np.add(layers[k], b, out=layers[k])
            if k < last:
                np.maximum(layers[k], 0, out=layers[k])
        delta = deltas[last]
        np.maximum.reduce(layers[last], axis=1, keepdims=True, out=largest)
        np.subtract(layers[last], largest, out=delta)
        np.exp(delta, out=delta)
        np.add.reduce(delta, axis=1, keepdims=True, out=largest)
        np.divide(rate, largest, out=largest)
        np.multiply(delta, largest, out=delta)
        delta[each, labels[rows]] -= rate
        for k in range(last, 0, -1):
            np.dot(ones, deltas[k], grads_b[k - 1])
            if k == 1:
                np.multiply(deltas[1], scale * scale, out=deltas[1])
            np.dot(layers[k - 1].T, deltas[k], grads_w[k - 1])
            if k > 1:
                np.dot(deltas[k], weights[k - 1].T, deltas[k - 1])
                np.greater(layers[k - 1], 0, out=masks[k - 1])
                np.multiply(deltas[k - 1], masks[k - 1], out=deltas[k - 1])
        np.subtract(flat, moved, out=flat)

    with threadpool_limits(1, user_api="blas"):
        np.dot(np.zeros((512, 128), np.float32), np.zeros((128, 512), np.float32))  # OpenBLAS's buffers, touched once
        return _timed(task, None, None, step)


def torch(task: Task) -> float:
    """torch as a user writes it: nn.Sequential, cross_entropy, an optimizer, batches by index."""
    import torch as t

    t.manual_seed(0)
    x_all = t.from_numpy(task.images()).float() / 255
    y_all = t.from_numpy(task.labels()).long()
    layers: list[t.nn.Module] = []
    for m, n in zip(task.sizes, task.sizes[1:], strict=False):
        layers += [t.nn.Linear(m, n), t.nn.ReLU()]
    model = t.nn.Sequential(*layers[:-1])
    optimizer = t.optim.SGD(model.parameters(), lr=task.learning_rate, momentum=task.momentum)

    def step(x: t.Tensor, y: t.Tensor) -> None:
        optimizer.zero_grad()
        t.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return _timed(task, x_all, y_all, step, t.from_numpy)


def torch_by_hand(task: Task) -> float:
    """torch without autograd: in-place operations into tensors made once."""
    import torch as t

    t.manual_seed(0)
    x_all = t.from_numpy(task.images()).float() / 255
    y_all = t.from_numpy(task.labels()).long()
    pairs = list(zip(task.sizes, task.sizes[1:], strict=False))
    weights = [t.randn(m, n) * 0.1 for m, n in pairs]
    biases = [t.full((n,), 0.1) for _, n in pairs]
    grads_w = [t.empty_like(w) for w in weights]
    outputs = [t.empty(task.batch, n) for _, n in pairs]
    deltas = [t.empty(task.batch, n) for _, n in pairs]
    velocities = [t.zeros_like(p) for p in weights + biases]
    x_batch = t.empty(task.batch, task.sizes[0])
    rows = t.arange(task.batch)

    def step(index: t.Tensor, _: t.Tensor) -> None:
        t.index_select(x_all, 0, index, out=x_batch)
        y = y_all[index]
        h = x_batch
        for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
            t.addmm(b, h, w, out=outputs[k])
            if k < len(weights) - 1:
                outputs[k].clamp_(min=0)
            h = outputs[k]
        delta = t.softmax(h, 1)
        delta[rows, y] -= 1
        delta /= task.batch
        grads_b = [None] * len(weights)
        for k in range(len(weights) - 1, -1, -1):
            below = outputs[k - 1] if k else x_batch
            t.mm(below.t(), delta, out=grads_w[k])
            grads_b[k] = delta.sum(0)
            if k:
                t.mm(delta, weights[k].t(), out=deltas[k - 1])
                delta = deltas[k - 1].mul_(below > 0)
        for p, g, v in zip(weights + biases, grads_w + grads_b, velocities, strict=True):
            if task.momentum:
                v.mul_(task.momentum).add_(g)
                p.sub_(v, alpha=task.learning_rate)
            else:
                p.sub_(g, alpha=task.learning_rate)

    with t.no_grad():
        return _timed(task, None, None, step, t.from_numpy)


def sklearn(task: Task) -> float:
    """scikit-learn's MLPClassifier, whole epochs of `fit` (its own shuffling; no early stopping)."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    x = task.images().astype(np.float32) / np.float32(255)
    y = task.labels()
    if not task.sizes[1:-1]:
        raise SystemExit("skip: scikit-learn's MLP wants a hidden layer")
    part = min(task.examples, max(task.batch, task.steps * task.batch))
    x, y = x[:part], y[:part]
    epochs = max(1, round(task.steps / max(1, part // task.batch)))
    model = MLPClassifier(
        task.sizes[1:-1], solver="sgd", batch_size=task.batch, learning_rate_init=task.learning_rate, alpha=0.0,
        momentum=task.momentum, nesterovs_momentum=False, max_iter=epochs, n_iter_no_change=10**6, tol=0.0,
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(x, y)
    spent = time.perf_counter() - began
    # `fit` decides how many steps an epoch has; report the time of task.steps of them.
    return spent * task.steps / (epochs * max(1, part // task.batch))


def _timed(task: Task, x_all, y_all, step: Callable, wrap: Callable = lambda order: order) -> float:
    """Seconds of task.steps steps over epoch-wise permutations, after twenty that warm up."""
    rng = np.random.default_rng(2)
    per_epoch = task.examples // task.batch
    done, began = -20, 0.0
    while True:
        order = wrap(rng.permutation(task.examples))
        for k in range(per_epoch):
            if done == 0:
                began = time.perf_counter()
            if done == task.steps:
                return time.perf_counter() - began
            rows = order[k * task.batch : (k + 1) * task.batch]
            if x_all is None:
                step(rows, rows)
            else:
                step(x_all[rows], y_all[rows])
            done += 1


CONTENDERS = {
    "gpunet": gpunet,
    "numpy": numpy,
    "numpy by hand": numpy_by_hand,
    "torch": torch,
    "torch by hand": torch_by_hand,
    "scikit-learn": sklearn,
}

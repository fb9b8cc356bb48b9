"""Every kernel of the tables on the CPU, in GB/s beside a memory copy, plain NumPy and torch, in one run.

    python benchmarks/kernels.py                     # 4,194,304 float32 elements, as one array
    python benchmarks/kernels.py --elements 100000 --json kernels.json

GB/s count what has to be read and written: two arrays for an activation forward, three backward, and so on. The plain
NumPy forms are written as one writes them. The contenders take turns and each figure is the best of many turns, so a
machine that is busy for a moment does not decide. torch, which takes all cores as gpunet does for large arrays, is left
out, with a word, where it is not installed. Run it with OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE unset.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gpunet as gn
from gpunet.cli import errors
from gpunet.kernels import control as control_block
from gpunet.kernels.activations import activation_backward, activation_forward
from gpunet.kernels.optimizers import update

#: Plain forms of f and of grad * f', as one writes them; x is the input, y = f(x).
PLAIN: dict[str, tuple[Callable, Callable]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda g, x, y: g * (x > 0)),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda g, x, y: g * y * (1 - y)),
    "tanh": (np.tanh, lambda g, x, y: g * (1 - y**2)),
    "leaky-relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda g, x, y: g * np.where(x > 0, 1.0, 0.01)),
    "elu": (
        lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
        lambda g, x, y: g * np.where(x > 0, 1, y + 1),
    ),
    "gelu-tanh": (
        lambda x: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))),
        lambda g, x, y: (
            g
            * (
                0.5 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))
                + 0.5
                * x
                * (1 - np.tanh(0.7978845608 * (x + 0.044715 * x**3)) ** 2)
                * (0.7978845608 * (1 + 3 * 0.044715 * x**2))
            )
        ),
    ),
    "silu": (
        lambda x: x / (1 + np.exp(-x)),
        lambda g, x, y: g * (1 / (1 + np.exp(-x)) + y * (1 - 1 / (1 + np.exp(-x)))),
    ),
    "softplus": (lambda x: np.log(1 + np.exp(x)), lambda g, x, y: g / (1 + np.exp(-x))),
    "identity": (lambda x: x.copy(), lambda g, x, y: g * 1),
}


def torch_forms() -> dict[str, Callable]:
    try:
        import torch as t
    except ModuleNotFoundError:
        print("torch is not installed; its column stays empty\n")
        return {}
    f = t.nn.functional
    return {
        "relu": f.relu, "sigmoid": t.sigmoid, "tanh": t.tanh, "leaky-relu": f.leaky_relu, "elu": f.elu, "selu": f.selu,
        "gelu": f.gelu, "gelu-tanh": lambda x: f.gelu(x, approximate="tanh"), "silu": f.silu, "softplus": f.softplus,
        "hard-tanh": f.hardtanh, "relu6": f.relu6, "softsign": f.softsign, "mish": f.mish,
        "identity": lambda x: x.clone(),
    }  # fmt: skip


def best(functions: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The shortest time in seconds of each function; they take turns, but for torch.

    torch comes when the others are done: its threads go on spinning for a while on the cores that the next one needs.
    """
    times = dict.fromkeys(functions, float("inf"))
    for group in ([name for name in functions if name != "torch"], [name for name in functions if name == "torch"]):
        for _ in range(turns):
            for name in group:
                began = time.perf_counter()
                functions[name]()
                times[name] = min(times[name], time.perf_counter() - began)
    return times


def activation_row(name: str, x: np.ndarray, torch_form: Callable | None, turns: int) -> list[dict]:
    entry = gn.ACTIVATIONS[name]
    out, grad = np.empty_like(x), np.ones_like(x)
    y = activation_forward(x, entry, np.empty_like(x))
    saved = y if entry.saves == "output" else x
    forward = {"gpunet": lambda: activation_forward(x, entry, out)}
    backward = {"gpunet": lambda: activation_backward(grad, saved, entry, out)}
    if name in PLAIN:
        forward["plain"] = lambda: PLAIN[name][0](x)
        backward["plain"] = lambda: PLAIN[name][1](grad, x, y)
    if torch_form is not None:
        import torch as t

        tensor = t.from_numpy(x)
        forward["torch"] = lambda: torch_form(tensor)
        leaf = t.from_numpy(x.copy()).requires_grad_()
        result, ones = torch_form(leaf), t.ones(x.shape)
        backward["torch"] = lambda: t.autograd.grad(result, leaf, ones, retain_graph=True)
    with np.errstate(over="ignore"):
        return [
            {"kernel": f"{name} forward", "bytes": 2 * x.nbytes, **best(forward, turns)},
            {"kernel": f"{name} backward", "bytes": 3 * x.nbytes, **best(backward, turns)},
        ]


def plain_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    each = np.arange(len(labels))
    loss = (np.log(total[:, 0]) - shifted[each, labels]).mean()
    gradient = exponentials / total
    gradient[each, labels] -= 1
    return loss, gradient / len(labels)


def cross_entropy_row(rows: int, classes: int, with_torch: bool, turns: int) -> dict:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((rows, classes)).astype(np.float32)
    labels = rng.integers(0, classes, rows).astype(np.int32)
    functions: dict[str, Callable[[], object]] = {
        "gpunet": lambda: gn.losses.softmax_cross_entropy(logits, labels),
        "plain": lambda: plain_cross_entropy(logits, labels),
    }
    if with_torch:
        import torch as t

        leaf, target = t.from_numpy(logits.copy()).requires_grad_(), t.from_numpy(labels).long()
        functions["torch"] = lambda: t.autograd.grad(t.nn.functional.cross_entropy(leaf, target), leaf)
    name = f"softmax cross-entropy and gradient ({rows}, {classes})"
    return {"kernel": name, "bytes": 2 * logits.nbytes, **best(functions, turns)}


def optimizer_row(name: str, elements: int, turns: int) -> dict:
    optimizer = gn.OPTIMIZERS[name]()
    p, g = np.ones(elements, np.float32), np.full(elements, 1e-3, np.float32)
    state = [np.zeros(elements, np.float32) for _ in optimizer.state_names]
    rate = optimizer.learning_rate
    table = optimizer.coefficients(np.ones(1), np.full(1, rate)).astype(np.float32)
    control = control_block.fresh()
    moved = (3 + 2 * len(state)) * p.nbytes
    times = best({"gpunet": lambda: update(p, g, state, optimizer, table, control, elements)}, turns)
    return {"kernel": f"{name} update", "bytes": moved, **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=1 << 22)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch = torch_forms()
    x = np.random.default_rng(0).standard_normal(options.elements).astype(np.float32)
    out = np.empty_like(x)
    copy = 2 * x.nbytes / best({"copy": lambda: np.copyto(out, x)}, options.turns)["copy"]
    rows = []
    for name in gn.ACTIVATIONS:
        rows += activation_row(name, x, torch.get(name), options.turns)
    for shape in ((65536, 10), (8192, 100), (256, 10000)):
        rows.append(cross_entropy_row(*shape, bool(torch), options.turns))
    rows += [optimizer_row(name, options.elements, options.turns) for name in gn.OPTIMIZERS]
    print(f"memory copy {copy / 1e9:.1f} GB/s, {options.elements:,} elements\n")
    print("| kernel | GB/s | of a copy | x plain NumPy | x torch |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        speed = row["bytes"] / row["gpunet"]
        ratios = [f"{row[other] / row['gpunet']:.2f}" if other in row else "" for other in ("plain", "torch")]
        print(f"| {row['kernel']} | {speed / 1e9:.1f} | {speed / copy:.2f} | {ratios[0]} | {ratios[1]} |")
    if options.json:
        options.json.write_text(json.dumps({"copy": copy, "rows": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(errors.run(main))

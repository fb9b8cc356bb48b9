"""Steps per second and kernel bandwidths on a CUDA device: gpunet eager and as a graph, beside torch, in one run.

    python benchmarks/gpu.py                            # the default network, five rounds
    python benchmarks/gpu.py --sizes 784,1024,1024,10 --batch 256 --steps 500
    python benchmarks/gpu.py --json gpu.json

The contenders take turns, round by round, so that a device whose clock drifts treats all alike; medians are printed
with minimum and maximum. Torch is left out, with a word, where it is not installed or has no CUDA device. A kernel's
bandwidth is the bytes that it must read and write over the time between two events around it, beside the bandwidth of
a copy on the device. On a simulated device the program runs too, but the times mean nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.cli import errors
from gpunet.kernels import control as control_block
from gpunet.kernels import gemm
from gpunet.kernels.activation import activation_forward
from gpunet.kernels.column_sum import column_sum
from gpunet.kernels.dense import Below, dense_backward, dense_forward
from gpunet.kernels.dropout import dropout
from gpunet.kernels.gather import gather
from gpunet.kernels.losses import loss_step
from gpunet.kernels.optimizers import update
from gpunet.kernels.penalties import PARTIAL_SUMS, add_penalty, clip_by_norm
from gpunet.kernels.random import Stream
from gpunet.training.graph import step_flop

SECONDS = 0.3  # that a measured loop should take, if --steps is not given


def fake_data(features: int, classes: int, examples: int = 10_000) -> gn.Dataset:
    """Random images and labels: the speed does not depend on what they show."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (examples, features), dtype=np.uint8)
    return gn.Dataset.from_arrays(images, rng.integers(0, classes, examples), classes=classes)


# --- contenders: each gives a function that does a number of steps and waits for the device ---------------


def gpunet_steps(graph: str) -> Callable[..., Callable[[int], None]]:
    def prepare(sizes: list[int], batch: int, data: gn.Dataset) -> Callable[[int], None]:
        model = gn.MLP(sizes, backend="cuda")
        trainer = gn.Trainer(model, data, batch_size=batch, iterations=10**8, graph=graph)

        def run(steps: int) -> None:
            with trainer._running():
                trainer._run_to(trainer.iteration + steps)
                trainer.backend.synchronize()

        return run

    return prepare


def torch_steps(way: str) -> Callable[..., Callable[[int], None]]:
    def prepare(sizes: list[int], batch: int, data: gn.Dataset) -> Callable[[int], None]:
        if importlib.util.find_spec("torch") is None:
            raise RuntimeError("torch is not installed")
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("torch has no CUDA device")
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1]).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        images = torch.as_tensor(data.train.images).cuda()
        labels = torch.as_tensor(data.train.labels).long().cuda()
        order = torch.randperm(len(labels)).cuda()
        counter = torch.zeros((), dtype=torch.long, device="cuda")
        offsets = torch.arange(batch, device="cuda")

        def loss_of(rows: Any) -> Any:
            x = images[rows].float() * (1 / 255)
            return torch.nn.functional.cross_entropy(model(x), labels[rows])

        if way == "compiled":
            loss_of = torch.compile(loss_of)

        def step() -> None:
            rows = order[(counter * batch + offsets) % len(order)]
            counter.add_(1)
            optimizer.zero_grad(set_to_none=False)
            loss_of(rows).backward()
            optimizer.step()

        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(5):
                step()
        torch.cuda.synchronize()
        if way == "graph":
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            step = graph.replay

        def run(steps: int) -> None:
            for _ in range(steps):
                step()
            torch.cuda.synchronize()

        return run

    return prepare


CONTENDERS = {
    "gpunet, eager": gpunet_steps("off"),
    "gpunet, graph": gpunet_steps("on"),
    "torch, eager": torch_steps("eager"),
    "torch, compiled": torch_steps("compiled"),
    "torch, graph": torch_steps("graph"),
}


def steps_per_second(
    sizes: list[int], batch: int, rounds: int, steps: int | None
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Steps per second of each contender, a number per round; and why others were left out."""
    data = fake_data(sizes[0], sizes[-1])
    runs: dict[str, Callable[[int], None]] = {}
    left_out: dict[str, str] = {}
    for name, prepare in CONTENDERS.items():
        try:
            runs[name] = prepare(sizes, batch, data)
            runs[name](5)  # compiles, captures, warms up
        except Exception as error:  # a torch that cannot compile or capture here must not end the others
            if name.startswith("gpunet"):
                raise
            left_out[name] = (str(error) or type(error).__name__).splitlines()[0]
            runs.pop(name, None)
    counts = {}
    for name, run in runs.items():
        began = time.perf_counter()
        run(5)
        counts[name] = steps or max(5, int(5 * SECONDS / max(time.perf_counter() - began, 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run(counts[name])
            found[name].append(counts[name] / (time.perf_counter() - began))
    return found, left_out


# --- kernels ---------------------------------------------------------------------------------------------


def kernels(backend: gn.Backend, rows: int, width: int) -> dict[str, tuple[Callable[[], None], float, float]]:
    """Each kernel on (rows, width) arrays of float32: what runs it, the bytes it must move, and its operations."""
    rng = np.random.default_rng(0)
    size = rows * width
    real = 4.0

    def array(*shape: int) -> Any:
        return backend.to_device(rng.standard_normal(shape).astype(np.float32))

    x, y, z, mask, flat = array(rows, width), array(rows, width), array(rows, width), array(rows, width), array(size)
    bias, slopes, weights, grad = array(width), array(width), array(width, width), array(width, width)
    control = backend.to_device(control_block.fresh())
    relu = gn.ACTIVATIONS["relu"]
    images = backend.to_device(rng.integers(0, 256, (rows, width), dtype=np.uint8))
    labels = backend.to_device(rng.integers(0, min(10, width), rows).astype(np.int32))
    order = backend.to_device(np.concatenate([rng.permutation(rows), rng.permutation(rows)]).astype(np.int32))
    targets = backend.empty(rows, np.int32)
    logits = array(rows, min(10, width))
    delta, losses = backend.empty(logits.shape, np.float32), backend.zeros(rows, np.float32)
    wide_delta, grad_logits = backend.empty(x.shape, np.float32), backend.empty(logits.shape[1], np.float32)
    partial = backend.empty(PARTIAL_SUMS, np.float64)
    entropy, stream = gn.losses.SoftmaxCrossEntropy(), Stream(0, 3)
    below = Below(y, relu, x, None, slopes)
    own_below = Below(y, relu, x, None, None)
    product = 2.0 * rows * width * width
    moved = 4.0 * width * width
    found = {
        "gather": (
            lambda: gather(images, labels, order, control, 1 / 255, x, targets, None), size * (1 + real), 0.0),
        "activation forward": (lambda: activation_forward(x, relu, y), 2 * size * real, 0.0),
        "dropout": (lambda: dropout(x, stream, 0.5, control, mask, y), 3 * size * real, 0.0),
        "column sum": (lambda: column_sum(x, slopes), size * real, 0.0),
        "softmax cross-entropy, 10 classes": (
            lambda: loss_step(logits, None, labels, entropy, delta, grad_logits, losses, control),
            2 * logits.size * real, 0.0),
        f"softmax cross-entropy, {width} classes": (
            lambda: loss_step(x, None, labels, entropy, wide_delta, slopes, losses, control), 3 * size * real, 0.0),
        "penalty": (lambda: add_penalty(x.reshape(-1), flat, size, 0.1, 0.1), 3 * size * real, 0.0),
        "clipping": (lambda: clip_by_norm(x.reshape(-1), 1e-3, partial), 3 * size * real, 0.0),
        "layer forward, own": (
            lambda: dense_forward(x, weights, bias, relu, None, y, None, True), 2 * size * real + moved, product),
        "layer forward, library": (
            lambda: dense_forward(x, weights, bias, relu, None, y, None, False), 4 * size * real + moved, product),
        "layer backward, own": (
            lambda: dense_backward(z, x, weights, grad, slopes, own_below, True), 4 * size * real + 2 * moved,
            2 * product),
        "layer backward, library": (
            lambda: dense_backward(z, x, weights, grad, None, below, False), 6 * size * real + 2 * moved,
            2 * product),
    }  # fmt: skip
    for name, entry in gn.OPTIMIZERS.items():
        optimizer = entry()
        table = backend.to_device(optimizer.coefficients(np.ones(1), np.full(1, 1e-3)).astype(np.float32))
        state = [backend.zeros(size, np.float32) for _ in optimizer.state_names]

        def one(optimizer: Any = optimizer, table: Any = table, state: Any = state) -> None:
            update(flat, x.reshape(-1), state, optimizer, table, control, size)

        found[f"update, {name}"] = (one, (3 + 2 * len(state)) * size * real, 0.0)
    return found


def time_on_device(backend: gn.Backend, work: Callable[[], None], repeats: int) -> float:
    """Seconds between two events around `work`, the least of `repeats`."""
    begin, end = backend.xp.cuda.Event(), backend.xp.cuda.Event()
    best = float("inf")
    for _ in range(repeats):
        begin.record()
        work()
        end.record()
        end.synchronize()
        best = min(best, backend.xp.cuda.get_elapsed_time(begin, end) / 1000)
    return max(best, 1e-9)


def kernel_table(rows: int, width: int, repeats: int) -> list[dict[str, Any]]:
    """Bandwidth (bytes per second) and operations per second of each kernel, the copy first."""
    backend = gn.get_backend("cuda")
    with backend.use():
        source, target = backend.zeros(rows * width, np.float32), backend.zeros(rows * width, np.float32)
        bytes_copied = 2.0 * source.nbytes

        def copy() -> None:
            target.data.copy_from_device_async(source.data, source.nbytes)

        copy()
        bandwidth = bytes_copied / time_on_device(backend, copy, repeats)
        found = [{"kernel": "copy on the device", "bandwidth": bandwidth, "share": 1.0, "flops": 0.0}]
        for name, (work, moved, operations) in kernels(backend, rows, width).items():
            work()  # compiles
            seconds = time_on_device(backend, work, repeats)
            speed = moved / seconds
            found.append(
                {"kernel": name, "bandwidth": speed, "share": speed / bandwidth, "flops": operations / seconds}
            )
    return found


# --- the program -----------------------------------------------------------------------------------------


def facts() -> dict[str, Any]:
    """What was measured, on what."""
    backend = gn.get_backend("cuda")
    properties = backend.xp.cuda.runtime.getDeviceProperties(0)
    return {
        "device": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "cupy": backend.xp.__version__,
        "driver": backend.xp.cuda.runtime.driverGetVersion(),
        "simulated": importlib.util.find_spec("cusim") is not None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="784,50,30,10")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--steps", type=int, help="steps of each contender and round; by default 0.3 s of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=16384, help="rows of the arrays that kernels are timed on")
    parser.add_argument("--width", type=int, default=1024, help="columns of these arrays")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", metavar="FILE", help="write the measurements here")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    try:
        about = facts()
    except gn.errors.DeviceError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{about['device']}, compute capability {about['compute_capability']}, CuPy {about['cupy']}")
    if about["simulated"]:
        print("this is a simulated device: the times mean nothing, and the numbers below only show that all of it runs")
    speeds, left_out = steps_per_second(sizes, arguments.batch, arguments.rounds, arguments.steps)
    flop = step_flop(sizes, arguments.batch)
    print(f"\n{'-'.join(map(str, sizes))}, batch {arguments.batch}, {flop / 1e6:,.3g} MFLOP a step; steps per second")
    base = statistics.median(speeds["gpunet, eager"])
    for name, values in speeds.items():
        middle = statistics.median(values)
        print(f"  {name:<18} {middle:>12,.1f}  ({min(values):,.1f} to {max(values):,.1f})  {middle / base:6.2f} x")
    for name, why in left_out.items():
        print(f"  {name:<18} left out: {why}")
    table = kernel_table(arguments.rows, arguments.width, arguments.repeats)
    print(f"\nkernels on {arguments.rows:,} x {arguments.width:,} float32")
    for row in table:
        flops = f"{row['flops'] / 1e12:8.2f} TFLOP/s" if row["flops"] else ""
        print(f"  {row['kernel']:<36} {row['bandwidth'] / 1e9:>10,.1f} GB/s {row['share']:>7.0%} of a copy {flops}")
    if arguments.json:
        measured = {
            **about, "sizes": sizes, "batch": arguments.batch, "steps_per_second": speeds, "left_out": left_out,
            "kernels": table, "own_tiles": [gemm.SMALL, gemm.LARGE],
        }  # fmt: skip
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(measured, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(errors.run(main))

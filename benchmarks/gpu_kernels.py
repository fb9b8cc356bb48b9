"""What `gpu.py` times on the device itself: launches, the operations of a step, products, and every kernel.

All is timed as a chain: the same work a number of times in one CUDA graph, between two events, so that neither the host
nor the launch of a kernel is part of the figure.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gpu_contenders import RATE, Task

import gpunet as gn
from gpunet.kernels import control as control_block
from gpunet.kernels import cublas
from gpunet.kernels.activation import activation_forward
from gpunet.kernels.build import Ready, apart
from gpunet.kernels.column_sum import column_sum
from gpunet.kernels.dense import Below, dense_backward, dense_forward
from gpunet.kernels.dropout import dropout
from gpunet.kernels.gather import gather
from gpunet.kernels.losses import loss_step
from gpunet.kernels.optimizers import update
from gpunet.kernels.penalties import PARTIAL_SUMS, add_penalty, clip_by_norm
from gpunet.kernels.random import Stream
from gpunet.kernels.tensor_cores import PRECISIONS, SINCE, TensorCores, to_bfloat16

#: Floating-point operations in a clock of a multiprocessor by compute capability: float32 (CUDA C++ programming guide,
#: throughput of arithmetic instructions, twice the multiply-adds), TF32 and bfloat16 of dense matrices on tensor cores
#: (NVIDIA's data sheets of the professional cards; GeForce does half of that).
PEAKS = {
    (7, 5): (128, 0, 0), (8, 0): (128, 1024, 2048), (8, 6): (256, 512, 1024), (8, 9): (256, 512, 1024),
    (9, 0): (256, 2048, 4096), (10, 0): (256, 4096, 8192), (12, 0): (256, 512, 1024),
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """What a CUDA device is and could do at its highest clocks: operations and bytes a second, 0 where not known."""

    name: str
    compute_capability: str
    multiprocessors: int
    cache: int
    flops: dict[str, float]
    bandwidth: float


def describe(backend: gn.Backend) -> Device:
    """The facts about a CUDA device."""
    cuda = backend.xp.cuda
    about, attributes = cuda.runtime.getDeviceProperties(backend.ordinal), cuda.Device(backend.ordinal).attributes
    clock = 1e3 * (attributes.get("ClockRate") or about.get("clockRate", 0))
    memory_clock = 1e3 * (attributes.get("MemoryClockRate") or about.get("memoryClockRate", 0))
    bus = (attributes.get("GlobalMemoryBusWidth") or about.get("memoryBusWidth", 0)) / 8
    count = backend.multiprocessors
    each = PEAKS.get(backend.compute_capability, (0, 0, 0))
    return Device(
        about["name"].decode(), ".".join(map(str, backend.compute_capability)), count, int(about["l2CacheSize"]),
        {name: clock * count * flop for name, flop in zip(PRECISIONS, each, strict=True)}, 2 * memory_clock * bus,
    )  # fmt: skip


def share(value: float, peak: float) -> float | None:
    """`value` as a part of `peak`; None where that is not known."""
    return value / peak if peak else None


def seconds_of(backend: gn.Backend, work: Callable[[], Any], repeats: int) -> float:
    """Seconds between two events around `work`, the median."""
    begin, end, found = backend.xp.cuda.Event(), backend.xp.cuda.Event(), []
    for _ in range(repeats):
        begin.record()
        work()
        end.record()
        end.synchronize()
        found.append(backend.xp.cuda.get_elapsed_time(begin, end) / 1000)
    return max(statistics.median(found), 1e-9)


def in_a_chain(backend: gn.Backend, work: Ready, chain: int, repeats: int) -> float:
    """Seconds that `work` takes the device, `chain` times one after the other in a graph."""
    work()  # compiles

    def several() -> None:
        for _ in range(chain):
            work()

    graph = backend.capture(several)
    graph.launch()
    return seconds_of(backend, graph.launch, repeats) / chain


# --- launches --------------------------------------------------------------------------------------------


def launches(backend: gn.Backend, repeats: int) -> list[dict[str, Any]]:
    """What a graph costs by its number of empty nodes, and a launch by itself: seconds."""
    empty = backend.xp.RawKernel('extern "C" __global__ void empty() {}', "empty")
    found, each = [], 20
    with backend.use():
        empty((1,), (32,), ())
        for nodes in (1, 3, 9, 90):
            graph = backend.capture(lambda count=nodes: [empty((1,), (32,), ()) for _ in range(count)])
            graph.launch()
            seconds = seconds_of(backend, lambda one=graph: [one.launch() for _ in range(each)], repeats) / each
            found.append({"what": f"graph of {nodes} empty nodes", "seconds": seconds, "node": seconds / nodes})
        seconds = seconds_of(backend, lambda: [empty((1,), (32,), ()) for _ in range(each)], repeats) / each
        found.append({"what": "empty kernel by itself", "seconds": seconds, "node": seconds})
    return found


# --- the step --------------------------------------------------------------------------------------------


def operations(task: Task, chain: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds of each operation of a training step, each in a chain of its own, in their order."""
    data = gn.Dataset.from_arrays(task.images, task.labels, classes=task.sizes[-1])
    model = task.model(task.device)
    trainer = gn.Trainer(
        model, data, optimizer=gn.SGD(RATE), batch_size=task.batch, iterations=10**8, log_every=task.log_every,
        precision=task.precision,
    )  # fmt: skip
    next(trainer.steps())
    backend = trainer.backend
    with backend.use():
        return [
            {"operation": named(run), "seconds": in_a_chain(backend, run, chain, repeats)}
            for run in apart(trainer.step.operations(want_losses=False))
        ]


def named(run: Any) -> str:
    """What an operation that is ready to be run is called: its kernel, or the function that made it."""
    made = getattr(run, "func", run)
    return getattr(made, "name", None) or getattr(made, "__qualname__", "operation").split(".")[0].strip("_")


def products(task: Task, device: Device, chain: int, repeats: int) -> list[dict[str, Any]]:
    """The three products of each layer of a network by cuBLAS, in each precision that the device has."""
    backend, rng = gn.get_backend(task.device), np.random.default_rng(0)
    precisions = [name for name in PRECISIONS if name == "float32" or backend.compute_capability >= SINCE]
    found = []
    for fan_in, fan_out in dict.fromkeys(itertools.pairwise(task.sizes)):
        shapes = ((task.batch, fan_in), (fan_in, fan_out), (task.batch, fan_out))
        exact = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        for precision in precisions:
            with backend.use():
                x, weights, delta = given = [backend.to_device(array) for array in exact]
                out, grad, below = (backend.empty(shape, np.float32) for shape in (shapes[2], shapes[1], shapes[0]))
                if precision == "bfloat16":
                    x, weights, delta = (backend.empty(shape, np.uint16) for shape in shapes)
                    for array, narrow in zip(given, (x, weights, delta), strict=True):
                        to_bfloat16(array, narrow)()
                    del array
                three = [
                    cublas.product(a, b, to, precision)
                    for a, b, to in ((x, weights, out), (x.T, delta, grad), (delta, weights.T, below))
                ]
                seconds = in_a_chain(backend, lambda all_three=three: [one() for one in all_three], chain, repeats)
                some = exact[0][:16].astype(np.float64) @ exact[1]
                error = np.linalg.norm(backend.to_host(out)[:16] - some) / np.linalg.norm(some)
            speed = 6.0 * task.batch * fan_in * fan_out / seconds
            found.append({
                "product": f"{task.batch} x {fan_in} x {fan_out}", "precision": precision, "seconds": seconds,
                "flops": speed, "share": share(speed, device.flops[precision]), "error": float(error),
            })  # fmt: skip
    return found


# --- kernels ---------------------------------------------------------------------------------------------


def kernels(backend: gn.Backend, rows: int, width: int) -> Iterator[tuple[str, Ready, float, float]]:
    """Each kernel on (rows, width) arrays of float32: its name, what runs it, the bytes that it must move, and the
    operations of its products."""
    rng, size, real = np.random.default_rng(0), rows * width, 4.0

    def array(*shape: int) -> Any:
        some = rng.standard_normal(min(1 << 20, int(np.prod(shape)))).astype(np.float32)
        return backend.to_device(np.resize(some, shape))

    control, relu = backend.to_device(control_block.fresh()), gn.ACTIVATIONS["relu"]
    x, y = array(rows, width), array(rows, width)
    images = backend.to_device(np.resize(rng.integers(0, 256, 1 << 20, dtype=np.uint8), (rows, width)))
    labels = backend.to_device(rng.integers(0, min(10, width), rows).astype(np.int32))
    order = backend.to_device(np.concatenate([rng.permutation(rows), rng.permutation(rows)]).astype(np.int32))
    targets = backend.empty(rows, np.int32)
    yield (
        "gather", gather.bind(images, labels, order, control, 1 / 255, x, targets, None), size * (1 + real), 0.0,
    )  # fmt: skip
    del images
    yield "activation forward", activation_forward.bind(x, relu, y), 2 * size * real, 0.0
    sums, narrow = backend.empty(width, np.float32), backend.empty((rows, width), np.uint16)
    yield "column sum", column_sum.bind(x, sums), size * real, 0.0
    yield "rounding to bfloat16", to_bfloat16(x, narrow), size * (real + 2), 0.0
    del narrow
    entropy, mask = gn.losses.SoftmaxCrossEntropy(), array(rows, width)
    yield "dropout", dropout.bind(x, Stream(0, 3), 0.5, control, mask, y), 3 * size * real, 0.0
    for classes in (10, width):
        many = size // classes
        logits, some = x.reshape(-1)[: many * classes].reshape(many, classes), labels
        if many > rows:
            some = backend.to_device(np.resize(backend.to_host(labels), many))
        delta = y.reshape(-1)[: many * classes].reshape(many, classes)
        losses, grad_bias = backend.zeros(many, np.float32), backend.empty(classes, np.float32)
        run = loss_step.bind(logits, None, some, entropy, delta, grad_bias, losses, control)
        yield f"softmax cross-entropy, {classes} classes", run, 2 * logits.size * real, 0.0
    partial, flat = backend.empty(PARTIAL_SUMS, np.float64), y.reshape(-1)
    yield "penalty", add_penalty.bind(x.reshape(-1), flat, size, 0.1, 0.1), 3 * size * real, 0.0
    yield "clipping", clip_by_norm.bind(x.reshape(-1), 1e-3, partial), 3 * size * real, 0.0
    for name, entry in gn.OPTIMIZERS.items():
        optimizer = entry()
        table = backend.to_device(optimizer.coefficients(np.ones(1), np.full(1, 1e-3)).astype(np.float32))
        state = [backend.zeros(size, np.float32) for _ in optimizer.state_names]
        run = update.bind(flat, x.reshape(-1), state, optimizer, table, control, size)
        yield f"update, {name}", run, (3 + 2 * len(state)) * size * real, 0.0
    yield from _layers(backend, x, y, mask, array)


def _layers(backend: gn.Backend, x: Any, y: Any, z: Any, array: Any) -> Iterator[tuple[str, Ready, float, float]]:
    """A layer of `width` neurons forward and backward by cuBLAS, in each precision."""
    (rows, width), relu, real = x.shape, gn.ACTIVATIONS["relu"], 4.0
    size, squared, work = rows * width, real * width * width, 2.0 * rows * width * width
    weights, bias, grad, sums = array(width, width), array(width), array(width, width), array(width)
    for name in PRECISIONS:
        if name != "float32" and backend.compute_capability < SINCE:
            continue
        cores, below = TensorCores.of(name, backend, rows, width, width), Below(y, relu, x, None, sums)
        forward = dense_forward.bind(x, weights, bias, relu, None, y, None, cores)
        backward = dense_backward.bind(z, x, weights, grad, below, cores)
        yield f"layer forward, {PRECISIONS[name]}", forward, 2 * size * real + squared, work
        yield f"layer backward, {PRECISIONS[name]}", backward, 4 * size * real + 2 * squared, 2 * work


def kernel_table(device: Device, rows: int, width: int, chain: int, repeats: int) -> list[dict[str, Any]]:
    """Bandwidth (bytes a second) and operations a second of each kernel, the copy first, and their parts of what the
    device could do."""
    backend, found = gn.get_backend("cuda"), []
    with backend.use():
        source, target = backend.zeros(rows * width, np.float32), backend.zeros(rows * width, np.float32)

        def copy() -> None:
            target.data.copy_from_device_async(source.data, source.nbytes)

        runs = itertools.chain([("copy on the device", copy, 2.0 * source.nbytes, 0.0)], kernels(backend, rows, width))
        for name, run, moved, work in runs:
            seconds = in_a_chain(backend, run, chain, repeats)
            precision = next((each for each in PRECISIONS if name.endswith(f" {PRECISIONS[each]}")), "float32")
            found.append({
                "kernel": name, "seconds": seconds, "bandwidth": moved / seconds, "flops": work / seconds,
                "share": share(work / seconds, device.flops[precision]) if work
                else share(moved / seconds, device.bandwidth),
            })  # fmt: skip
    return found

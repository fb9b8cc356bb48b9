"""gpunet on a CUDA device: steps beside torch and jax, and what they are made of, in parts of what the device could do.

    python benchmarks/gpu.py                                    # the default network
    python benchmarks/gpu.py --sizes 784,2048,2048,10 --batch 256 --precision tf32
    python benchmarks/gpu.py --parts steps,operations --json gpu.json
    python benchmarks/gpu.py --suite --parts steps              # from 784-10 to 784-4096-4096-10, in each precision
    python benchmarks/gpu.py --quick                            # everything, small and once: does all of it run?
    python benchmarks/gpu.py --device cpu --parts steps         # the contenders' dry run, where there is no GPU

The parts:

    launches    what a graph costs by its number of empty nodes, and a launch by itself
    steps       steps of gpunet (graphs, and kernels one by one), torch (eager, graph, compiled) and jax (scan): with
                the same weights and batches; those whose loss after the first `--log-every` steps is not gpunet's
                are not timed. Each reads its loss every `--log-every` steps.
    operations  each operation of a step of this network, and their sum
    products    the products of this network's layers by cuBLAS in each precision
    crossover   this network at several batch sizes, by fused products and by cuBLAS: where the limit between them is
    together    this network several times side by side, in common launches
    kernels     every kernel on arrays four times as large as the L2 cache, beside a copy on the device
    repeat      whether two trainings are equal to the last bit

Contenders take turns, round by round, so that a device whose clock drifts treats all alike; medians are printed with
minimum and maximum. A contender that is not installed, or has no such device, is left out with a word. What is not a
contender is timed as a chain in a CUDA graph between two events. A share is that of the device's peak at its highest
clocks. The figures are those of the device whose name is printed first; a simulated one's say nothing about a GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import statistics
import sys
import time
from typing import Any

import numpy as np
from gpu_contenders import CONTENDERS, RATE, Contender, Task
from gpu_kernels import Device, describe, kernel_table, launches, operations, products, share

import gpunet as gn
from gpunet.cli import errors
from gpunet.training import graph as ways

PARTS = ("launches", "steps", "operations", "products", "crossover", "together", "kernels", "repeat")
#: How far a loss may be from gpunet's, relative where it is above 1: what a precision explains.
TOLERANCE = {"float32": 2e-3, "tf32": 1e-2, "bfloat16": 5e-2}
#: With --suite: networks and batches, and the precisions; tensor cores are for those whose products are large.
SUITE = (
    ((784, 10), 100, ("float32",)),
    *(((784, 50, 30, 10), batch, ("float32",)) for batch in (1, 100, 1_000, 10_000)),
    ((784, 256, 128, 10), 100, ("float32",)),
    *((sizes, 256, tuple(TOLERANCE)) for sizes in ((784, 2048, 2048, 10), (784, 4096, 4096, 10))),
)
#: With --quick.
QUICK = {
    "sizes": "20,12,5",
    "batch": 16,
    "log_every": 4,
    "steps": 4,
    "rounds": 2,
    "rows": 64,
    "width": 32,
    "chain": 2,
    "networks": "1,2",
    "seconds": 0.01,
}


# --- steps -----------------------------------------------------------------------------------------------


def ready(task: Task, names: list[str]) -> tuple[dict[str, Contender], dict[str, float], dict[str, str]]:
    """The contenders that train to gpunet's loss, the losses, and why the others are left out."""
    runs: dict[str, Contender] = {}
    losses: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            run = CONTENDERS[name](task)
            losses[name] = run()
        except Exception as error:  # one that cannot be had, compiled or captured here must not end the others
            if name == "gpunet":
                raise
            left_out[name] = f"{type(error).__name__}: {(str(error) or 'no word').splitlines()[0][:150]}"
            continue
        wanted = losses[names[0]]
        if abs(losses[name] - wanted) <= TOLERANCE[task.precision] * max(1.0, abs(wanted)):
            runs[name] = run
        else:
            left_out[name] = f"it computes something else: loss {losses[name]:.6f}, and {names[0]}'s {wanted:.6f}"
    return runs, losses, left_out


def steps(task: Task, names: list[str], rounds: int, count: int | None, seconds: float) -> dict[str, Any]:
    """Seconds a step of each contender, a number per round."""
    runs, losses, left_out = ready(task, names)
    calls = {}
    for name, run in runs.items():
        began = time.perf_counter()
        run()
        spent = time.perf_counter() - began
        calls[name] = max(1, round(count / task.log_every if count else seconds / max(spent, 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(calls[name]):
                run()
            found[name].append((time.perf_counter() - began) / calls[name] / task.log_every)
    return {"seconds": found, "losses": losses, "left_out": left_out}


def crossover(task: Task, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Seconds a step by fused products and by cuBLAS, for a tenth of the batch to a hundred of them."""
    found, limit = [], ways.FUSED_FLOP
    for batch in dict.fromkeys(max(1, task.batch * times // 10) for times in (1, 10, 100, 1000)):
        if batch > task.examples:
            continue
        one = dataclasses.replace(task, batch=batch)
        row: dict[str, Any] = {"batch": batch, "flop": ways.step_flop(task.sizes, batch)}
        try:
            for name, ways.FUSED_FLOP in (("fused", float("inf")), ("cuBLAS", 0.0)):
                row[name] = statistics.median(steps(one, ["gpunet"], rounds, None, seconds)["seconds"]["gpunet"])
        finally:
            ways.FUSED_FLOP = limit
        found.append(row)
    return found


def together(task: Task, counts: list[int], rounds: int) -> list[dict[str, Any]]:
    """Seconds of a step of several networks together; each logs ten times as seldom as alone."""
    data, every, found = (
        gn.Dataset.from_arrays(task.images, task.labels, classes=task.sizes[-1]),
        10 * task.log_every,
        [],
    )
    for count in counts:
        trainers = [
            gn.Trainer(
                task.model(task.device), data, optimizer=gn.SGD(RATE), batch_size=task.batch, iterations=10**8,
                log_every=every, seed=seed, precision=task.precision,
            )
            for seed in range(count)
        ]  # fmt: skip
        records, times = gn.steps_together(trainers), []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            for _ in range(count):
                next(records)
            times.append((time.perf_counter() - began) / every)
        records.close()
        found.append({"networks": count, "seconds": statistics.median(times[1:])})
    return found


def repeat(task: Task) -> dict[str, bool]:
    """Whether two trainings give the same bits, by the way that steps are run."""
    data, same = gn.Dataset.from_arrays(task.images, task.labels, classes=task.sizes[-1]), {}
    for graph in ("auto", "off"):
        ends = []
        for _ in range(2):
            model = task.model(task.device)
            gn.train(
                model, data, optimizer="adam", batch_size=task.batch, iterations=3 * task.log_every, graph=graph,
                precision=task.precision,
            )  # fmt: skip
            ends.append(np.array(model.backend.to_host(model.flat)))
        same[graph] = bool(np.array_equal(*ends))
    return same


# --- what is printed -------------------------------------------------------------------------------------


def percent(part: float | None) -> str:
    return "" if part is None else f"{part:6.1%} of the peak"


def show_steps(found: dict[str, Any], task: Task, peak: float) -> None:
    flop = ways.step_flop(task.sizes, task.batch)
    print(
        f"{flop / 1e6:,.3g} MFLOP a step; loss after {task.log_every} steps {next(iter(found['losses'].values())):.6f}"
    )
    base = statistics.median(next(iter(found["seconds"].values())))
    for name, times in sorted(found["seconds"].items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(times)
        print(
            f"  {name:<24} {1e6 * middle:>10,.1f} us a step ({1e6 * min(times):,.1f} to {1e6 * max(times):,.1f}) "
            f"{1 / middle:>10,.0f} steps/s {flop / middle / 1e12:>7.2f} TFLOP/s {percent(share(flop / middle, peak))} "
            f"{middle / base:6.2f} x"
        )
    for name, why in found["left_out"].items():
        print(f"  {name:<24} left out: {why}")


def show(part: str, found: Any, task: Task, device: Device | None) -> None:
    """One part's figures, under its name."""
    print(f"\n== {part}: {'-'.join(map(str, task.sizes))}, batch {task.batch}, {task.precision}")
    if part == "steps":
        show_steps(found, task, device.flops[task.precision] if device else 0.0)
    elif part == "launches":
        for row in found:
            print(f"  {row['what']:<26} {1e6 * row['seconds']:>9.2f} us, {1e6 * row['node']:.2f} us a kernel")
    elif part == "operations":
        for row in found:
            print(f"  {row['operation']:<26} {1e6 * row['seconds']:>9.2f} us")
        print(f"  {'their sum':<26} {1e6 * sum(row['seconds'] for row in found):>9.2f} us")
    elif part == "products":
        for row in found:
            print(
                f"  {row['product']:<20} {row['precision']:<9} {1e6 * row['seconds']:>10,.1f} us for three "
                f"{row['flops'] / 1e12:>8.2f} TFLOP/s {percent(row['share'])}, error {row['error']:.1e}"
            )
    elif part == "crossover":
        for row in found:
            faster = min(("fused", "cuBLAS"), key=row.get)
            print(
                f"  batch {row['batch']:<8,} {row['flop'] / 1e6:>10,.1f} MFLOP {1e6 * row['fused']:>10,.1f} us fused "
                f"{1e6 * row['cuBLAS']:>10,.1f} us cuBLAS, faster is {faster}"
            )
        print(f"  the limit is {ways.FUSED_FLOP / 1e6:,.0f} MFLOP")
    elif part == "together":
        for row in found:
            print(
                f"  {row['networks']:>4} networks {1e6 * row['seconds']:>10,.1f} us a step of all "
                f"{row['networks'] / row['seconds']:>12,.0f} steps/s in sum"
            )
    elif part == "kernels":
        for row in found:
            rate = f"{row['flops'] / 1e12:.2f} TFLOP/s" if row["flops"] else f"{row['bandwidth'] / 1e9:,.1f} GB/s"
            print(f"  {row['kernel']:<40} {1e6 * row['seconds']:>10,.1f} us {rate:>16} {percent(row['share'])}")
    else:
        for graph, same in found.items():
            print(f"  graph {graph}: two trainings are {'equal to the last bit' if same else 'DIFFERENT'}")


# --- the program -----------------------------------------------------------------------------------------


def versions() -> dict[str, str | None]:
    """Of the packages that take part; None where one is not installed."""
    found: dict[str, str | None] = {"gpunet": gn.__version__}
    for name in ("cupy-cuda12x", "cupy-cuda13x", "torch", "jax"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="store_true", help="eight networks instead of one")
    parser.add_argument("--sizes", default="784,50,30,10")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--precision", default="float32", choices=list(TOLERANCE))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, separated by commas")
    parser.add_argument("--only", default=";".join(CONTENDERS), help="contenders, separated by semicolons")
    parser.add_argument("--log-every", type=int, default=100, help="steps from one reading of the loss to the next")
    parser.add_argument("--steps", type=int, help="of each contender and round; by default as many as --seconds takes")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contender and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", default="1,8,32,128", help="how many train side by side")
    parser.add_argument(
        "--rows", type=int, help="of the arrays that kernels are timed on; by default from the L2 cache"
    )
    parser.add_argument("--width", type=int, default=1024, help="columns of these arrays")
    parser.add_argument("--chain", type=int, default=20, help="how often the same work stands in a graph")
    parser.add_argument("--quick", action="store_true", help="everything small and once")
    parser.add_argument("--json", metavar="FILE", help="write the measurements here")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    arguments.sizes = tuple(int(size) for size in arguments.sizes.split(","))
    for given, known in ((arguments.parts.split(","), PARTS), (arguments.only.split(";"), CONTENDERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"there is no {unknown[0]}; there are {', '.join(known)}")
    return arguments


def measure(part: str, task: Task, device: Device | None, arguments: argparse.Namespace) -> Any:
    """One part's figures, as JSON can hold them."""
    chain, repeats = arguments.chain, arguments.rounds
    if part == "steps":
        return steps(task, arguments.only.split(";"), repeats, arguments.steps, arguments.seconds)
    if part == "repeat":
        return repeat(task)
    if device is None:
        return None
    if part == "launches":
        return launches(gn.get_backend("cuda"), repeats)
    if part == "operations":
        return operations(task, chain, repeats)
    if part == "products":
        return products(task, device, chain, repeats)
    if part == "crossover":
        return crossover(dataclasses.replace(task, precision="float32"), repeats, arguments.seconds)
    if part == "together":
        return together(task, [int(count) for count in arguments.networks.split(",")], repeats)
    rows = arguments.rows or -(-device.cache // arguments.width)  # four bytes a number: four times the cache
    return kernel_table(device, rows, arguments.width, chain, repeats)


def main() -> int:
    arguments = read_arguments()
    backend = gn.get_backend(arguments.device)
    device = describe(backend) if backend.name == "cuda" else None
    if device:
        print(
            f"{device.name}, compute capability {device.compute_capability}, {device.multiprocessors} multiprocessors, "
            f"L2 {device.cache / 2**20:.0f} MiB, {device.flops['float32'] / 1e12:.1f} TFLOP/s in float32, "
            f"{device.bandwidth / 1e9:,.0f} GB/s at the most"
        )
    else:
        print("the CPU: a dry run of what is meant for a GPU")
    print(", ".join(f"{name} {version or 'not installed'}" for name, version in versions().items()))
    found = [measured(task, device, arguments) for task in tasks(arguments)]
    if arguments.json:
        about = {"device": dataclasses.asdict(device) if device else "cpu", "versions": versions()}
        results = {"networks": found} if arguments.suite else found[0]
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({**about, "arguments": vars(arguments), **results}, file, indent=2)
    return 1 if any(map(is_wrong, found)) else 0


def tasks(arguments: argparse.Namespace) -> list[Task]:
    """The networks that are measured, in each precision that the device has."""
    suite = SUITE if arguments.suite else ((arguments.sizes, arguments.batch, (arguments.precision,)),)
    examples = 200 if arguments.quick else 10_000
    return [
        Task(sizes, batch, arguments.log_every, precision, arguments.device, examples)
        for sizes, batch, precisions in suite
        for precision in precisions
        if precision == "float32" or arguments.device == "cuda"
    ]


def measured(task: Task, device: Device | None, arguments: argparse.Namespace) -> dict[str, Any]:
    """All parts' figures for one network, shown as they come."""
    results: dict[str, Any] = {"sizes": task.sizes, "batch": task.batch, "precision": task.precision}
    for part in arguments.parts.split(","):
        found = measure(part, task, device, arguments)
        if found is not None:
            results[part] = found
            show(part, found, task, device)
            sys.stdout.flush()
    return results


def is_wrong(results: dict[str, Any]) -> bool:
    """Whether a contender computed something else, or two trainings differed."""
    left_out = results.get("steps", {}).get("left_out", {}).values()
    return any("something else" in why for why in left_out) or not all(results.get("repeat", {}).values())


if __name__ == "__main__":
    sys.exit(errors.run(main))

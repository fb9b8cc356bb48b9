"""Steps per second on the CPU: gpunet beside plain NumPy, torch and scikit-learn, in one run.

    python benchmarks/cpu.py                          # the write-up's network, five rounds
    python benchmarks/cpu.py --suite --rounds 3       # from 784-10 to 784-4096-4096-10, batches 1 to 10,000
    python benchmarks/cpu.py --sizes 784,2048,2048,10 --batch 256 --steps 60 --momentum 0.9
    python benchmarks/cpu.py --busy 1                 # beside one spinning process a core

Every measurement is a fresh process; the contenders take turns, round by round, so that a machine whose speed drifts
treats all alike. Medians are printed with minimum and maximum, ratios are medians of the rounds' own ratios, and the
limit is computed from matrix products of the network's own shapes and a memory copy measured in the same rounds. A
contender whose package is missing is left out, with a word. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are removed from the
environment of the measured processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from contenders import CONTENDERS, Task

from gpunet.cli import errors

SUITE = [
    Task((784, 10), 100, 5000),
    Task((784, 50, 30, 10), 1, 10000),
    Task((784, 50, 30, 10), 100, 5000),
    Task((784, 50, 30, 10), 1000, 500),
    Task((784, 50, 30, 10), 10000, 60),
    Task((784, 256, 128, 10), 100, 1000),
    Task((784, 2048, 2048, 10), 256, 40, momentum=0.9),
    Task((784, 4096, 4096, 10), 256, 12, momentum=0.9),
]


def limit(task: Task) -> dict[str, float]:
    """Steps per second if a step were its matrix products and its unavoidable memory traffic, each at full speed.

    The products are timed with the network's own shapes, with one BLAS thread and with all, the better counts. The
    traffic (a uint8 batch in, parameters read and written, gradients read, in float32) goes at the speed of a copy.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    def best_of(function, seconds: float = 0.5) -> float:
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            function()
            best = min(best, time.perf_counter() - began)
        return best

    products, flops = 0.0, 0
    rng = np.random.default_rng(0)
    pairs = list(zip(task.sizes, task.sizes[1:], strict=False))
    for index, (m, n) in enumerate(pairs):
        x = rng.random((task.batch, m), np.float32)
        w, z = rng.random((m, n), np.float32), rng.random((task.batch, n), np.float32)
        shapes = [(x, w), (x.T, z)] + ([(z, w.T)] if index else [])
        for a, b in shapes:
            out = np.empty((a.shape[0], b.shape[1]), np.float32)
            times = []
            for threads in {1, os.cpu_count() or 1}:
                with threadpool_limits(threads):
                    times.append(best_of(lambda a=a, b=b, out=out: np.matmul(a, b, out=out)))
            products += min(times)
            flops += 2 * a.shape[0] * a.shape[1] * b.shape[1]
    block = np.ones(1 << 22, np.float32)
    target = np.empty_like(block)
    copy = 2 * block.nbytes / best_of(lambda: np.copyto(target, block))
    parameters = sum(m * n + n for m, n in pairs)
    traffic = task.batch * task.sizes[0] * (1 + 4 + 4) + parameters * 4 * (3 + (2 if task.momentum else 0))
    return {
        "gflops": flops / products / 1e9,
        "copy_gb_per_s": copy / 1e9,
        "steps_per_second": 1 / (products + traffic / copy),
    }


@contextlib.contextmanager
def busy(each: int):
    """So many processes beside, on each core, that do nothing but spin."""
    bind = "hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {int(sys.argv[1])})"
    spin = f"import os, sys; {bind}\nwhile True: pass"
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    spinners = [subprocess.Popen([sys.executable, "-c", spin, str(core)]) for core in cores for _ in range(each)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def measure(name: str, task: Task) -> dict[str, float] | str:
    """One measurement in a fresh process; a sentence instead where it cannot run."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    answer = subprocess.run(
        [sys.executable, __file__, "--worker", name, json.dumps(vars(task))],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode:
        return (answer.stderr.strip().splitlines() or ["no word"])[-1]
    return json.loads(answer.stdout.splitlines()[-1])


def worker(name: str, text: str) -> None:
    fields = json.loads(text)
    task = Task(**{**fields, "sizes": tuple(fields["sizes"])})
    if name == "limit":
        print(json.dumps(limit(task)))
        return
    seconds = CONTENDERS[name](task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"steps_per_second": task.steps / seconds, "peak_mb": peak}))


def compare(task: Task, rounds: int, names: list[str]) -> dict:
    """All contenders, `rounds` times in turn."""
    found: dict[str, list[dict[str, float]]] = {}
    left_out = {}
    for turn in range(rounds):
        for name in ["limit", *names]:
            if name in left_out:
                continue
            print(f"round {turn + 1}/{rounds} {name:<16}", end="\r", file=sys.stderr, flush=True)
            answer = measure(name, task)
            if isinstance(answer, str):
                left_out[name] = answer
            else:
                found.setdefault(name, []).append(answer)
    rows = {}
    for name, answers in found.items():
        speeds = [answer["steps_per_second"] for answer in answers]
        rows[name] = {
            "median": statistics.median(speeds), "min": min(speeds), "max": max(speeds),
            "peak_mb": max(answer.get("peak_mb", 0) for answer in answers),
            # gpunet's speed over this one's, round by round
            "ratio": statistics.median(
                [g["steps_per_second"] / s for g, s in zip(found["gpunet"], speeds, strict=False)]
            ) if "gpunet" in found else None,
        }  # fmt: skip
    machine = found.get("limit", [{}])
    return {
        "task": vars(task), "rows": rows, "left_out": left_out,
        "gflops": max((m.get("gflops", 0) for m in machine), default=0),
        "copy_gb_per_s": max((m.get("copy_gb_per_s", 0) for m in machine), default=0),
    }  # fmt: skip


def table(result: dict) -> str:
    task = result["task"]
    name = "-".join(map(str, task["sizes"]))
    momentum = f", momentum {task['momentum']}" if task["momentum"] else ""
    lines = [
        f"{name}, batch {task['batch']}{momentum}, {task['steps']} steps "
        f"({result['gflops']:.0f} GFLOP/s on its own products, copy {result['copy_gb_per_s']:.1f} GB/s)",
        "",
        "| | steps/s, median | min | max | gpunet is | peak MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row, values in result["rows"].items():
        ratio = "" if row == "gpunet" or values["ratio"] is None else f"{values['ratio']:.2f} x"
        peak = f"{values['peak_mb']:.0f}" if values["peak_mb"] else ""
        label = "limit (products and traffic)" if row == "limit" else row
        lines.append(
            f"| {label} | {values['median']:,.1f} | {values['min']:,.1f} | {values['max']:,.1f} | {ratio} | {peak} |"
        )
    lines += [f"| {row} | left out: {why} | | | | |" for row, why in result["left_out"].items()]
    return "\n".join(lines)


def machine() -> dict:
    import numpy as np
    from threadpoolctl import threadpool_info

    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next(
            (line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")),
            model,
        )
    blas = [f"{i['internal_api']} {i['version']} {i.get('architecture', '')}" for i in threadpool_info()]
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__,
            "blas": blas}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", default="784,50,30,10")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0, help="spinning processes beside, on each core")
    parser.add_argument("--suite", action="store_true", help="all networks instead of one")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, separated by commas")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    one = Task(tuple(map(int, options.sizes.split(","))), options.batch, options.steps, options.momentum)
    results = []
    print(f"{machine()}\n")
    with busy(options.busy):
        for task in SUITE if options.suite else [one]:
            results.append(compare(task, options.rounds, options.only.split(",")))
            print(table(results[-1]), end="\n\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))


if __name__ == "__main__":
    # A worker's own words are what the table says of a contender that is left out.
    sys.exit(main() if "--worker" in sys.argv else errors.run(main))

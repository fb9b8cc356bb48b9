"""Sweeps on the CPU: the throughput of several jobs against as many times that of one process with one thread.

    python benchmarks/sweeps.py                       # two jobs, three rounds
    python benchmarks/sweeps.py --jobs 8 --data mnist
    python benchmarks/sweeps.py --before FOLDER       # beside an older checkout, in turns

Every sweep is a fresh process that trains the default network `--trials` times for each job, `--steps` steps each, by
default on made data of MNIST's size; the clock runs from the first trial to the last result, with the start of the
workers in it. Steps per second of the processor count all processes and depend less on what else the machine does.
Memory is the proportional set size (Pss) of all processes together, in which a page that several of them map counts
once; it is looked at ten times a second and the largest is told. Linux alone (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def processes() -> list[Path]:
    """This process and what it has started, in /proc."""
    found, new = [], [os.getpid()]
    while new:
        path = Path(f"/proc/{new.pop()}")
        try:
            new += [
                int(child) for task in (path / "task").iterdir() for child in (task / "children").read_text().split()
            ]
            found.append(path)
        except OSError:  # it has ended
            continue
    return found


def total(read) -> float:
    """The sum of what `read` finds of each process."""
    amount = 0.0
    for path in processes():
        try:
            amount += read(path)
        except OSError:
            continue
    return amount


def processor(path: Path) -> float:
    """Seconds of the processor that a process has taken."""
    fields = (path / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(path: Path) -> float:
    """The Pss of a process, in MB."""
    lines = (path / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def measure(jobs: int, trials: int, steps: int, data: str) -> dict[str, float]:
    """One sweep, in this process and its workers."""
    import gpunet as gn

    grid = {"lr": [0.05 + 0.1 * number / trials for number in range(trials)]}
    sweep = gn.Sweep({"data": data, "iterations": steps, "device": "cpu", "log_every": steps}, grid)
    most, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], total(memory))

    watch = threading.Thread(target=look)
    watch.start()
    began, taken = time.perf_counter(), total(processor)
    count = 0
    for count, _ in enumerate(sweep.run(jobs=jobs), 1):
        if count == trials:  # before its workers are gone
            seconds, taken = time.perf_counter() - began, total(processor) - taken
    over.set()
    watch.join()
    assert count == trials
    return {
        "a second": trials * steps / seconds,
        "a second of the processor": trials * steps / taken,
        "Pss, MB": most[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--trials", type=int, default=3, help="for each job")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--data", help="by default 60,000 made pictures of 784 bytes in a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="an older checkout")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        trials = given.trials * given.jobs
        print(json.dumps(measure(given.one, trials, given.steps, given.data)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(given, given.data or str(made(Path(folder))))


def made(folder: Path) -> Path:
    """A file of data of MNIST's size."""
    import numpy as np

    rng = np.random.default_rng(0)
    parts = {
        f"{kind}_{part}": values.astype(np.uint8)
        for part, count in (("train", 60000), ("test", 10000))
        for kind, values in (("x", rng.integers(0, 256, (count, 784))), ("y", rng.integers(0, 10, count)))
    }
    np.savez(folder / "made.npz", **parts)
    return folder / "made.npz"


def compare(given: argparse.Namespace, data: str) -> None:
    """All versions and numbers of jobs in turns, as tables."""
    versions = {"now": Path(__file__).parents[1], **({"before": given.before} if given.before else {})}
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(given.rounds):
        for version, folder in versions.items():
            for jobs in (1, given.jobs):
                environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
                done = subprocess.run(
                    [sys.executable, __file__, *sys.argv[1:], "--data", data, "--one", str(jobs)],
                    env=environment, stdout=subprocess.PIPE, text=True, check=True,
                )  # fmt: skip
                found.setdefault((version, jobs), []).append(json.loads(done.stdout.splitlines()[-1]))
    print("| | jobs | steps a second | steps a second of the processor | Pss, MB |\n|---|---:|---:|---:|---:|")
    for (version, jobs), each in found.items():
        cells = [f"{statistics.median(one[name] for one in each):,.0f}" for name in each[0]]
        print(f"| {version} | {jobs} | {' | '.join(cells)} |")
    for version in versions:
        one, many = found[version, 1], found[version, given.jobs]
        for name, times in (("a second", given.jobs), ("a second of the processor", 1)):
            ratios = sorted(b[name] / a[name] / times for a, b in zip(one, many, strict=True))
            told = f"{given.jobs} jobs do {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) x"
            print(f"{version}: steps {name}: {told} {'as many times ' if times > 1 else ''}one process of one thread")


if __name__ == "__main__":
    main()

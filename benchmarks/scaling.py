"""How one network trained by several ranks scales: a cost model, and what it says beside what is measured here.

    python benchmarks/scaling.py                      # predicted: 1 to 64 GPUs, and a training set of a terabyte
    python benchmarks/scaling.py --measure            # measured: 1, 2 and 4 ranks here, beside the model
    python benchmarks/scaling.py --measure --steps 20 --rounds 1     # briefly

The model adds up what a step cannot do without: the products, the memory that is read and written, the launches and
the all-reduce. Its assumptions stand in `Machine` and are printed; where they come from is in docs/scaling.md. No time
of a GPU in it is measured. With --measure the same sum is made of pieces that are measured on this machine: the steps
of one process on a rank's rows, and an all-reduce of the network's gradient among the ranks.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from gpunet.cli import errors
from gpunet.training.graph import FUSED_FLOP, step_flop

NETWORKS = {
    "default": ((784, 50, 30, 10), 100),
    "784-2048-2048-10": ((784, 2048, 2048, 10), 256),
}
#: What the GPU table is about: a network, and rows per step of all ranks together.
PREDICTED = [
    ((784, 50, 30, 10), 100),
    ((784, 2048, 2048, 10), 256),
    ((784, 2048, 2048, 10), 16384),
    ((784, 8192, 8192, 8192, 10), 16384),
]
FLOAT = 4
#: Kernels of a step, with fused products and with those of cuBLAS (counted, see docs/kernels.md).
FUSED, LIBRARY = 3, 16
#: The terabyte: rows of as many bytes as an image of MNIST has, in files.
TERABYTE, ROW = 1e12, 784


@dataclasses.dataclass(frozen=True)
class Machine:
    """GPUs and what is between them; rates in units per second, from data sheets, and shares that are assumed.

    Attributes:
        flop: floating-point operations of products in float32.
        memory: bytes of device memory.
        link, network: bytes that a GPU sends to the others of its machine, and that a machine sends to the others.
        gpus: in a machine.
        products, traffic, links: the share of these rates that is reached.
        fused: floating-point operations of the fused products of a small network, which is assumed too.
        kernel: seconds that each kernel in a graph costs beside its work.
        hop: seconds that each turn costs beside its bytes.
        storage: bytes that a machine reads from its files.
    """

    name: str
    flop: float
    memory: float
    link: float
    network: float
    gpus: int = 8
    products: float = 0.6
    traffic: float = 0.7
    links: float = 0.7
    fused: float = 5e12
    kernel: float = 2e-6
    hop: float = 5e-6
    storage: float = 5e9

    def compute(self, sizes: Sequence[int], rows: float) -> float:
        """Seconds of a step's products, memory traffic and kernels on `rows` rows, with momentum."""
        parameters = parameter_count(sizes)
        moved = FLOAT * (6 * parameters + 6 * rows * sum(sizes))  # forward, backward, update: read and written
        flop = step_flop(sizes, 1) * rows
        fused = flop <= FUSED_FLOP
        products = flop / (self.fused if fused else self.flop * self.products)
        return max(products, moved / (self.memory * self.traffic)) + self.kernel * (FUSED if fused else LIBRARY)

    def all_reduce(self, sizes: Sequence[int], ranks: int) -> float:
        """Seconds of an all-reduce of the gradient: the bytes of rings, of which the slowest link counts, and the turns
        of double binary trees."""
        if ranks == 1:
            return 0.0
        link = self.link if ranks <= self.gpus else min(self.link, self.network)
        update = self.kernel  # no longer part of the last kernel, or one more beside a step's others
        return reduced_bytes(sizes, ranks) / (link * self.links) + 2 * math.log2(ranks) * self.hop + update

    def step(self, sizes: Sequence[int], batch: int, ranks: int) -> float:
        """Seconds of a step: one after the other, since the all-reduce follows the backward pass."""
        return self.compute(sizes, batch / ranks) + self.all_reduce(sizes, ranks)


#: Data sheet: 67 TFLOP/s in float32, 3.35 TB/s, NVLink 900 GB/s in both directions; eight adapters of 400 Gb/s.
H100 = Machine("H100 SXM", 67e12, 3.35e12, 450e9, 400e9)


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases."""
    return sum((below + 1) * above for below, above in itertools.pairwise(sizes))


def reduced_bytes(sizes: Sequence[int], ranks: int) -> float:
    """Bytes that each rank sends in a ring's all-reduce of the gradient (Patarasuk & Yuan 2009)."""
    return 2 * (ranks - 1) / ranks * FLOAT * parameter_count(sizes)


def predicted(machine: Machine) -> None:
    """Print steps per second and efficiency for 1 to 64 GPUs, at one batch for all and at one a rank."""
    print(machine.name + "".join(f", {key} {value:g}" for key, value in list(vars(machine).items())[1:]) + "\n")
    for sizes, batch in PREDICTED:
        name = "-".join(map(str, sizes))
        print(f"{name}, {parameter_count(sizes):,} parameters, batches of {batch:,}")
        print(f"{'GPUs':>5} {'rows':>6} {'GFLOP':>9} {'MB sent':>8} {'steps/s':>9} {'speed-up':>8} {'efficiency':>10}")
        alone = machine.step(sizes, batch, 1)
        for ranks in (1, 2, 4, 8, 16, 32, 64):
            seconds, rows = machine.step(sizes, batch, ranks), batch / ranks
            gflop, sent = step_flop(sizes, 1) * rows / 1e9, reduced_bytes(sizes, ranks) / 1e6
            print(
                f"{ranks:>5} {rows:>6.0f} {gflop:>9.3f} {sent:>8.2f} {1 / seconds:>9,.0f} {alone / seconds:>8.2f} "
                f"{alone / seconds / ranks:>10.0%}"
            )
        print()
    print(f"an epoch of a terabyte ({TERABYTE / ROW:,.0f} rows of {ROW} bytes), 256 rows a GPU and step, in minutes")
    print(f"{'GPUs':>5} {'default':>10} {'784-2048-2048-10':>17} {'reading':>8}")
    for ranks in (1, 2, 4, 8, 16, 32, 64):
        steps = TERABYTE / ROW / (256 * ranks)
        minutes = [steps * machine.step(sizes, 256 * ranks, ranks) / 60 for sizes, _ in NETWORKS.values()]
        reading = TERABYTE / (machine.storage * -(-ranks // machine.gpus)) / 60
        print(f"{ranks:>5} {minutes[0]:>10.1f} {minutes[1]:>17.1f} {reading:>8.1f}")
    print("an epoch takes the longer of its column and of reading, which goes on beside the steps")


# --- measured ------------------------------------------------------------------------------------------


def measured(rounds: int, steps: int) -> None:
    """Print what 1, 2 and 4 ranks of one thread and one process of two threads do here, beside the model's sum."""
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; medians of {rounds} rounds; ranks beyond the cores take turns on them\n")
    print("| network, batch | ranks | threads | rows a rank | MFLOP | KB sent a step | steps/s | the sum | loss |")
    print("|---|---|---|---|---|---|---|---|---|")
    for sizes, batch in NETWORKS.values():
        count = steps or (2000 if len(sizes) == 4 and sizes[1] < 100 else 40)
        name = f"{'-'.join(map(str, sizes))}, {batch}"
        found: dict[Any, list[dict[str, Any]]] = {}
        for _ in range(rounds):
            for ranks, threads in ((1, 1), (1, 2), (2, 1), (4, 1)):
                found.setdefault((ranks, threads), []).append(run(sizes, batch, count, ranks, threads))
            for ranks in (2, 4):  # one process on as many rows as a rank has
                found.setdefault(("part", ranks), []).append(run(sizes, batch // ranks, count, 1, 1))
        for ranks, threads in ((1, 1), (1, 2), (2, 1), (4, 1)):
            told = found[ranks, threads]
            speed = statistics.median(each["steps_per_second"] for each in told)
            model = ""
            if ranks > 1:
                part = statistics.median(1 / each["steps_per_second"] for each in found["part", ranks])
                reduce = statistics.median(each["all_reduce"] for each in told)
                model = figure(1 / (part * max(ranks / cores, 1) + reduce))
            rows, sent = told[0]["rows"], reduced_bytes(sizes, ranks) / 1e3
            print(
                f"| {name} | {ranks} | {threads} | {rows} | {step_flop(sizes, rows) / 1e6:,.1f} | {sent:,.0f} | "
                f"{figure(speed)} | {model} | {told[0]['loss']:.7f} |",
                flush=True,
            )


def figure(speed: float) -> str:
    """Steps per second, three digits of those that are few."""
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"


def run(sizes: Sequence[int], batch: int, steps: int, ranks: int, threads: int) -> dict[str, Any]:
    """What rank 0 of so many, each a process of so many threads, found."""
    task = json.dumps({"sizes": sizes, "batch": batch, "steps": steps, "threads": threads, "ranks": ranks})
    command = [sys.executable, __file__, "--task", task]
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    if ranks > 1:
        command = ["mpirun", "--oversubscribe", "-n", str(ranks), *command]
        environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def train(sizes: Sequence[int], batch: int, steps: int, threads: int, ranks: int) -> None:
    """Train, as one of the ranks, and print what was found as JSON; what is compiled and cached first is not timed."""
    import numpy as np

    import gpunet as gn

    model = gn.MLP(sizes, seed=0)
    trainer = gn.Trainer(
        model, gn.load_dataset("mnist-5k"), optimizer=gn.Momentum(0.01, 0.9), batch_size=batch, iterations=2 * steps,
        log_every=steps, threads=threads, distributed="mpi" if ranks > 1 else None,
    )  # fmt: skip
    seconds = []
    for record in trainer.steps():
        if record.event == "step":
            seconds.append(record.seconds)
            loss = record.loss
    told = {"steps_per_second": steps / (seconds[-1] - seconds[0]), "loss": loss, "rows": trainer.share}
    if ranks > 1:
        vector, times = np.zeros(model.parameter_count, np.float32), []
        reduce = trainer.ranks.all_reduce.bind(vector, trainer.backend)
        for _ in range(50):
            began = time.perf_counter()
            reduce()
            times.append(time.perf_counter() - began)
        told["all_reduce"] = statistics.median(times)
    if trainer.ranks.rank == 0:
        print(json.dumps(told))


def main() -> int:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="2000, and 40 of the large network, by default")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        train(**json.loads(given.task))
    elif given.measure:
        measured(given.rounds, given.steps)
    else:
        predicted(H100)
    return 0


if __name__ == "__main__":
    sys.exit(errors.run(main))

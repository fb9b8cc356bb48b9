"""Training on data that is larger than memory: steps per second beside those of a set that lies in memory.

    python benchmarks/larger_than_memory.py --gigabytes 20 --memory 2 --folder /tmp

It makes uint8 rows of 784 pixels with labels in several .npy files, and trains the default network: on a first set of
a gigabyte that is read into memory, and on a large one from its files, for one epoch, each in a process of its own.
What limits the memory of the second one is RLIMIT_DATA: of its own writable memory (arrays, heaps, stacks) it can have
so much and no more. Pages of mapped files are the system's, which drops them when it needs the room; how many of them
the process held at once is shown too. The system's cache is emptied of the files before, so each byte of the first
epoch comes from the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import gpunet as gn
from gpunet.data import stored

PIXELS, CLASSES = 784, 10
#: Bytes of a file.
FILE = 1 << 30


def make(folder: Path, gigabytes: float) -> None:
    """Write the files: noise around a picture of each class, made of one block of noise that is moved about."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 128, (CLASSES, PIXELS)).astype(np.uint8)
    noise = rng.integers(0, 128, (1 << 16, PIXELS)).astype(np.uint8)
    left, number = int(gigabytes * 1e9 / PIXELS), 0
    while left:
        count = min(left, FILE // PIXELS)
        labels = rng.integers(0, CLASSES, count).astype(np.int32)
        rows = np.lib.format.open_memmap(folder / f"X-{number}.npy", "w+", np.uint8, (count, PIXELS))
        for first in range(0, count, len(noise)):
            some = labels[first : first + len(noise)]
            rows[first : first + len(some)] = pictures[some] + np.roll(noise, int(rng.integers(PIXELS)), 1)[: len(some)]
        rows.flush()
        del rows
        np.save(folder / f"y-{number}.npy", labels)
        left, number = left - count, number + 1


def forget(folder: Path) -> None:
    """Have the system no longer keep the files in memory."""
    os.sync()
    for path in folder.glob("*.npy"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def watch(peak: dict[str, int], stop: threading.Event) -> None:
    """Note the largest numbers of bytes in memory: of the process's own, and of files."""
    while not stop.wait(0.05):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssFile", "VmData"):
                peak[name] = max(peak.get(name, 0), int(value.split()[0]) * 1024)


def train(pattern: str, length: dict[str, float], memory: float | None, shuffle: str) -> dict[str, object]:
    """Train the default network; what was found."""
    if memory is not None:
        limit = int(memory * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    stored.LARGE = 1 << 62 if memory is None else 1
    peak: dict[str, int] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(peak, stop))
    watcher.start()
    try:
        data = gn.load_dataset(pattern)
        trainer = gn.Trainer(gn.MLP([PIXELS, 50, 30, CLASSES]), data, **length, log_every=1000, shuffle=shuffle)
        clock, losses = time.perf_counter(), []
        for record in trainer.steps():
            losses.append(record.loss if record.event == "step" else record.train_loss)
            if record.event == "step" and record.iteration == trainer.iterations:
                break
        seconds = time.perf_counter() - clock
    finally:
        stop.set()
        watcher.join()
    return {
        "examples": len(data.train), "bytes": data.train.inputs.nbytes, "steps": trainer.iteration, "seconds": seconds,
        "steps_per_second": trainer.iteration / seconds, "loss": losses[-1], "batches": trainer.plan["batches"],
        "order": trainer.plan["order"], "peak": peak,
    }  # fmt: skip


def run(pattern: str, *options: str) -> dict[str, object]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--train", pattern, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"training failed with exit code {done.returncode}.")
    return json.loads(done.stdout)


def show(title: str, found: dict[str, object]) -> None:
    """A few lines on a run."""
    peak = {name: f"{size / 1e9:.2f} GB" for name, size in found["peak"].items()}
    print(
        f"{title}: {found['examples']:,} rows, {found['bytes'] / 1e9:.1f} GB; {found['steps']:,} steps in "
        f"{found['seconds']:.1f} s, {found['steps_per_second']:,.0f} a second; loss at the end {found['loss']:.4f}\n"
        f"    batches: {found['batches'] or 'in memory'}; order: {found['order'] or 'exact'}\n"
        f"    at most in memory: {peak['RssAnon']} of its own, {peak['RssFile']} of files (limited: {peak['VmData']})"
    )


def table(runs: dict[str, dict[str, object]]) -> None:
    """What a page shows of the runs."""
    print("\n| set | rows | GB | memory of its own | of files | steps | steps/s | loss at the end |")
    print("|---|---|---|---|---|---|---|---|")
    for title, found in runs.items():
        own, files = (f"{found['peak'][name] / 1e9:.2f} GB" for name in ("RssAnon", "RssFile"))
        print(f"| {title} | {found['examples']:,} | {found['bytes'] / 1e9:.1f} | {own} | {files}", end=" | ")
        print(f"{found['steps']:,} | {found['steps_per_second']:,.0f} | {found['loss']:.4f} |")
    small, large = (found["steps_per_second"] for found in runs.values())
    print(f"\nspeed from files / in memory: {large / small:.2f}")


def main() -> None:
    """Make the files, train on both sets, and say how their speeds compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20, help="size of the large set (20)")
    parser.add_argument("--resident", type=float, default=1, help="size of the set in memory (1)")
    parser.add_argument("--steps", type=int, default=20_000, help="steps on the set in memory (20,000)")
    parser.add_argument("--memory", type=float, default=2, help="GB of memory for the large set (2)")
    parser.add_argument("--epochs", type=float, default=1, help="epochs on the large set (1)")
    parser.add_argument("--shuffle", default="auto", help="order of the large set (auto)")
    parser.add_argument("--folder", default=None, help="where the files are made, and removed (a temporary folder)")
    parser.add_argument("--train", nargs=1, help=argparse.SUPPRESS)
    parser.add_argument("--in-memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        length = {"iterations": given.steps} if given.in_memory else {"epochs": given.epochs}
        print(json.dumps(train(given.train[0], length, None if given.in_memory else given.memory, given.shuffle)))
        return
    if given.folder:
        Path(given.folder).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gpunet-large-", dir=given.folder))
    try:
        clock = time.perf_counter()
        for name, gigabytes in (("small", given.resident), ("large", given.gigabytes)):
            (folder / name).mkdir()
            make(folder / name, gigabytes)
        print(f"made {given.gigabytes + given.resident:g} GB in {time.perf_counter() - clock:.0f} s", flush=True)
        forget(folder / "small")
        small = run(str(folder / "small" / "*.npy"), "--in-memory", "--steps", str(given.steps))
        show("in memory", small)
        forget(folder / "large")
        options = ("--memory", str(given.memory), "--epochs", str(given.epochs), "--shuffle", given.shuffle)
        large = run(str(folder / "large" / "*.npy"), *options)
        show("from files", large)
        table({"in memory": small, "from files": large})
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

"""scikit-learn's MLPClassifier and gpunet's on the same data: time and score, one thread each.

    python benchmarks/sklearn_mlp.py                          # the digits of scikit-learn
    python benchmarks/sklearn_mlp.py --data digits,mnist,table --rounds 3
    python benchmarks/sklearn_mlp.py --epochs 5 --dtype float32

Both have scikit-learn's defaults and run for equally many epochs. Every fit is a process of its own with one thread;
the two take turns, so that a machine whose speed drifts treats both alike. The time is that of `fit` alone, in seconds
of the clock and of the processor; ratios are medians of the rounds' own ratios. The table is made: 100,000 rows of 50
features in two classes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np

#: Epochs of each data set.
EPOCHS = {"digits": 50, "mnist": 5, "table": 5}
MODULES = {"scikit-learn": "sklearn.neural_network", "gpunet": "gpunet.sklearn"}


def load(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised (or scaled) examples and their classes, to train on and to test with."""
    from sklearn.datasets import load_digits, make_classification
    from sklearn.model_selection import train_test_split

    if name == "mnist":
        import gpunet as gn

        data = gn.load_dataset("mnist")
        assert data.test is not None
        X, y, X_test, y_test = data.train.inputs / 255, data.train.targets, data.test.inputs / 255, data.test.targets
    else:
        if name == "digits":
            X, y = load_digits(return_X_y=True)
        else:
            X, y = make_classification(100_000, 50, n_informative=20, random_state=0)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
        shift, scale = X.mean(axis=0), X.std(axis=0)
        scale[scale == 0] = 1
        X, X_test = (X - shift) / scale, (X_test - shift) / scale
    return X.astype(dtype), y, X_test.astype(dtype), y_test


def measure(who: str, data: str, epochs: int, dtype: str, seed: int) -> dict[str, float]:
    """One fit, in this process."""
    import importlib

    from threadpoolctl import threadpool_limits

    X, y, X_test, y_test = load(data, dtype)
    network: Any = importlib.import_module(MODULES[who]).MLPClassifier(
        max_iter=epochs, n_iter_no_change=np.inf, random_state=seed
    )
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        clock, processor = time.perf_counter(), time.process_time()
        network.fit(X, y)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return {"seconds": clock, "processor": processor, "score": network.score(X_test, y_test), "loss": network.loss_}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, mnist, table, with commas between several")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="by default 50 of the digits and 5 of the others")
    parser.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    parser.add_argument("--one", nargs=2, metavar=("WHO", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.data.split(",")
    for name in names:
        if name not in EPOCHS:
            parser.error(f"there is no data {name!r}; choose from {', '.join(EPOCHS)}.")
    if given.one:
        print(json.dumps(measure(given.one[0], names[0], given.epochs, given.dtype, int(given.one[1]))))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name in names:
        epochs = given.epochs or EPOCHS[name]
        found: dict[str, list[dict[str, float]]] = {who: [] for who in MODULES}
        for seed in range(given.rounds):
            for who in MODULES:
                command = [sys.executable, __file__, "--data", name, "--epochs", str(epochs), "--dtype", given.dtype]
                done = subprocess.run(
                    [*command, "--one", who, str(seed)], env=environment, check=True, capture_output=True, text=True
                )
                found[who].append(json.loads(done.stdout))
        print(f"{name}, {epochs} epochs, {given.dtype}, {given.rounds} rounds")
        for who, rounds in found.items():
            middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
            print(
                f"  {who:12} {middle['seconds']:8.2f} s, of the processor {middle['processor']:8.2f} s, "
                f"test accuracy {middle['score']:.4f}, training loss {middle['loss']:.4f}"
            )
        for key, what in (("seconds", "the clock"), ("processor", "the processor")):
            pairs = zip(found["scikit-learn"], found["gpunet"], strict=True)
            ratios = sorted(theirs[key] / ours[key] for theirs, ours in pairs)
            print(f"  {statistics.median(ratios):.2f} times as fast by {what} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()

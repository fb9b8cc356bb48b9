"""scikit-learn's MLPClassifier and gpunet's on the same data, and NumPy by hand: time and score, one thread each.

    python benchmarks/sklearn_mlp.py                          # the digits of scikit-learn
    python benchmarks/sklearn_mlp.py --data digits,mnist,table --rounds 3
    python benchmarks/sklearn_mlp.py --epochs 5 --dtype float32           # that alone

All have scikit-learn's defaults, compute in the type of the numbers they are given, and run for equally many epochs,
on the digits for the 200 that are its default. Every fit is a process of its own with one thread;
they take turns, so that a machine whose speed drifts treats all alike. The time is that of `fit` alone, in seconds
of the clock and of the processor; ratios are medians of the rounds' own ratios. The table is made: 100,000 rows of 50
features in two classes.

"by hand" is this one network written down in NumPy and nothing else, each pass into an array that is there already.
What is much faster than that needs another library.
"""

from __future__ import annotations

import argparse
import itertools
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
EPOCHS = {"digits": 200, "mnist": 5, "table": 20}
MODULES = {"scikit-learn": "sklearn.neural_network", "gpunet": "gpunet.sklearn", "by hand": ""}


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


class ByHand:
    """The default network of an MLPClassifier and its training, in as few passes as NumPy does it in."""

    def __init__(self, max_iter: int, random_state: int, **others: Any) -> None:
        self.epochs, self.random = max_iter, np.random.RandomState(random_state)

    def fit(self, X: np.ndarray, y: np.ndarray, batch: int = 200, hidden: int = 100, alpha: float = 1e-4) -> None:
        """Train on examples and their class indices."""
        (count, features), classes = X.shape, len(np.unique(y))
        outputs, kind = 1 if classes == 2 else classes, X.dtype
        sizes = [features * hidden, hidden * outputs, hidden, outputs]
        p, g, mean, square = np.zeros((4, sum(sizes)), kind)
        ends = np.cumsum(sizes)[:-1]
        (w1, w2, b1, b2), (g1, g2, gb1, gb2) = np.split(p, ends), np.split(g, ends)
        w1, g1, w2, g2 = (v.reshape(-1, n) for v, n in ((w1, hidden), (g1, hidden), (w2, outputs), (g2, outputs)))
        for w in (w1, w2):
            bound = np.sqrt(6 / sum(w.shape))
            w[...] = self.random.uniform(-bound, bound, w.shape)
        weights, slopes = p[: ends[1]], g[: ends[1]]
        added, ones, each = np.empty_like(weights), np.ones(batch, kind), np.arange(batch)
        x, h, d, zero = (np.zeros((batch, n), kind) for n in (features, hidden, hidden, hidden))
        z, top, positive = np.empty((outputs, batch), kind), np.empty(batch, kind), np.empty((batch, hidden), bool)
        wanted, one_hot = np.empty_like(z), np.eye(outputs, dtype=kind) / kind.type(batch)
        y, steps, order, total = y.astype(np.intp), -(-self.epochs * count // batch), np.empty(0, np.intp), 0.0
        for step in range(1, steps + 1):
            if len(order) < batch:
                order = np.append(order, self.random.permutation(count))
            rows, order = order[:batch], order[batch:]
            X.take(rows, 0, x, "clip")
            t = y.take(rows)
            np.maximum(np.add(np.dot(x, w1, h), b1, out=h), zero, out=h)
            np.add(np.dot(w2.T, h.T, z), b2[:, None], out=z)
            if outputs == 1:
                loss = (np.logaddexp(0, z[0]) - z[0] * t).mean()
                z[0] = (0.5 * np.tanh(0.5 * z[0]) + (0.5 - t)) / batch
            else:
                np.subtract(z, np.maximum.reduce(z, axis=0, out=top), out=z)
                loss = -z[t, each].mean()
                np.add.reduce(np.exp(z, out=z), axis=0, out=top)
                loss += np.log(top).mean()
                np.multiply(z, np.divide(1 / batch, top, out=top), out=z)
                np.subtract(z, one_hot.take(t, 1, wanted, "clip"), out=z)
            total += loss + 0.5 * alpha / batch * weights.dot(weights)
            np.dot(z, ones, gb2)
            np.dot(h.T, z.T, g2)
            np.multiply(np.dot(z.T, w2.T, d), np.greater(h, 0, out=positive), out=d)
            np.dot(ones, d, gb1)
            np.dot(x.T, d, g1)
            np.add(slopes, np.multiply(weights, alpha / batch, out=added), out=slopes)
            self._adam(p, g, mean, square, step)
            if step == steps - -(-count // batch):
                total = 0.0
        self.loss_, self.parameters = float(total) / -(-count // batch), (w1, b1, w2, b2)

    @staticmethod
    def _adam(p: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, step: int) -> None:
        np.add(np.multiply(mean, 0.9, out=mean), g, out=mean)
        np.add(np.multiply(square, 0.999, out=square), np.multiply(g, g, out=g), out=square)
        np.add(np.sqrt(square, out=g), 1e-8 / 0.001**0.5, out=g)
        rate = 1e-3 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step) * 0.1 / 0.001**0.5
        np.subtract(p, np.multiply(np.divide(mean, g, out=g), rate, out=g), out=p)

    def score(self, X: np.ndarray, y: np.ndarray) -> float:
        """The accuracy."""
        w1, b1, w2, b2 = self.parameters
        z = np.maximum(X @ w1 + b1, 0) @ w2 + b2
        return float(np.mean((z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(axis=1)) == y))


def measure(who: str, data: str, epochs: int, dtype: str, seed: int) -> dict[str, float]:
    """One fit, in this process."""
    import importlib

    from threadpoolctl import threadpool_limits

    X, y, X_test, y_test = load(data, dtype)
    kind: Any = ByHand if who == "by hand" else importlib.import_module(MODULES[who]).MLPClassifier
    network = kind(max_iter=epochs, n_iter_no_change=np.inf, random_state=seed)
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
    parser.add_argument("--epochs", type=int, help="by default 200 of the digits, 20 of the table, 5 of MNIST")
    parser.add_argument("--dtype", default="float32,float64", help="with commas between several")
    parser.add_argument("--one", nargs=2, metavar=("WHO", "SEED"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.data.split(",")
    for name in names:
        if name not in EPOCHS:
            parser.error(f"there is no data {name!r}; choose from {', '.join(EPOCHS)}.")
    dtypes = given.dtype.split(",")
    for dtype in dtypes:
        if dtype not in ("float32", "float64"):
            parser.error(f"there is no dtype {dtype!r}; choose from float32, float64.")
    if given.one:
        print(json.dumps(measure(given.one[0], names[0], given.epochs, dtypes[0], int(given.one[1]))))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for name, dtype in itertools.product(names, dtypes):
        epochs = given.epochs or EPOCHS[name]
        found: dict[str, list[dict[str, float]]] = {who: [] for who in MODULES}
        for seed in range(given.rounds):
            for who in MODULES:
                command = [sys.executable, __file__, "--data", name, "--epochs", str(epochs), "--dtype", dtype]
                done = subprocess.run(
                    [*command, "--one", who, str(seed)], env=environment, check=True, capture_output=True, text=True
                )
                found[who].append(json.loads(done.stdout))
        print(f"{name}, {epochs} epochs, {dtype}, {given.rounds} rounds", flush=True)
        for who, rounds in found.items():
            middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
            print(
                f"  {who:12} {middle['seconds']:8.2f} s, of the processor {middle['processor']:8.2f} s, "
                f"test accuracy {middle['score']:.4f}, training loss {middle['loss']:.4f}"
            )
        for who, (key, what) in itertools.product(
            list(MODULES)[1:], (("seconds", "the clock"), ("processor", "the processor"))
        ):
            pairs = zip(found["scikit-learn"], found[who], strict=True)
            ratios = sorted(theirs[key] / ours[key] for theirs, ours in pairs)
            told = f"{statistics.median(ratios):.2f} times as fast by {what} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"  {who:12} {told}")


if __name__ == "__main__":
    main()

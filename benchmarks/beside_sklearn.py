"""Test scores beside scikit-learn's MLPClassifier and MLPRegressor: the same network, optimizer, epochs and splits.

    python benchmarks/beside_sklearn.py
    python benchmarks/beside_sklearn.py --data iris,diabetes --seeds 3

A hidden layer of 100 neurons with relu, weights and biases drawn as scikit-learn draws them (Glorot and Bengio 2010),
Adam at 0.001, 100 epochs of batches of 32, no penalty, features standardised by the training rows, and targets of a
regression too. Each seed draws another fifth of the rows for testing, the same for both, and other weights. Scores are
accuracy, of several labels that of all labels together, and R2. In the last column is how far gpunet's median is above
scikit-learn's, in standard deviations of scikit-learn's scores.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

HIDDEN, RATE, EPOCHS, BATCH = 100, 0.001, 100, 32
#: The task of each data set.
TASKS = {
    "iris": "classification", "wine": "classification", "breast_cancer": "classification", "digits": "classification",
    "diabetes": "regression", "friedman1": "regression", "multilabel": "multi-label",
}  # fmt: skip


def load(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training inputs and targets, test inputs and targets."""
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    if name == "friedman1":
        X, y = sklearn.datasets.make_friedman1(1000, noise=1.0, random_state=0)
    elif name == "multilabel":
        X, y = sklearn.datasets.make_multilabel_classification(1000, random_state=0)
    else:
        X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    by = y if TASKS[name] == "classification" else None
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=by)
    shift, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale == 0] = 1
    return (X - shift) / scale, y, (X_test - shift) / scale, y_test


def of_sklearn(task: str, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import StandardScaler

    kind = MLPRegressor if task == "regression" else MLPClassifier
    network = kind(
        hidden_layer_sizes=(HIDDEN,), learning_rate_init=RATE, max_iter=EPOCHS, n_iter_no_change=EPOCHS,
        batch_size=BATCH, alpha=0.0, random_state=seed,
    )  # fmt: skip
    if task == "regression":
        network = TransformedTargetRegressor(network, transformer=StandardScaler())
    return network.fit(X, y).predict(X_test)


def of_gpunet(task: str, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Any:
    import gpunet as gn

    data = gn.Dataset.from_arrays(X, y, task=task)
    losses = {"classification": "softmax-cross-entropy", "multi-label": "binary-cross-entropy", "regression": "mse"}
    model = gn.MLP([data.features, HIDDEN, data.outputs], seed=seed, loss=losses[task])
    generator = np.random.default_rng(seed)
    for layer, (weights, bias) in enumerate(zip(model.parameters[::2], model.parameters[1::2], strict=True)):
        limit = (6 / sum(weights.shape)) ** 0.5
        model.set_parameter(2 * layer, generator.uniform(-limit, limit, weights.shape))
        model.set_parameter(2 * layer + 1, generator.uniform(-limit, limit, bias.shape))
    gn.train(model, data, optimizer=gn.Adam(RATE), epochs=EPOCHS, batch_size=BATCH, threads=1)
    return model.predict(X_test.astype(np.float32))


def score(task: str, y: np.ndarray, predicted: Any) -> float:
    """R2 of a regression; else the share of examples whose labels are all right."""
    right = np.asarray(predicted)
    if task == "regression":
        return float(1 - ((y - right.reshape(y.shape)) ** 2).mean() / y.var())
    return float((y == right).reshape(len(y), -1).all(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(TASKS), help="names with commas between them")
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    if unknown := [name for name in given.data.split(",") if name not in TASKS]:
        parser.error(f"there is no data {unknown[0]!r}; choose from {', '.join(TASKS)}.")
    warnings.simplefilter("ignore")
    print(f"{'':16}{'scikit-learn':>20}{'gpunet':>20}{'difference / sd':>18}")
    for name in given.data.split(","):
        task = TASKS[name]
        found: dict[str, list[float]] = {"scikit-learn": [], "gpunet": []}
        for seed in range(given.seeds):
            X, y, X_test, y_test = load(name, seed)
            with threadpool_limits(1):
                for who, predict in (("scikit-learn", of_sklearn), ("gpunet", of_gpunet)):
                    found[who].append(score(task, y_test, predict(task, X, y, X_test, seed)))
        middle = {who: float(np.median(scores)) for who, scores in found.items()}
        spread = {who: float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0 for who, scores in found.items()}
        apart = (middle["gpunet"] - middle["scikit-learn"]) / (spread["scikit-learn"] or 1)
        told = "".join(f"{middle[who]:12.4f} ±{spread[who]:.4f}" for who in found)
        print(f"{name:16}{told}{apart:18.2f}", flush=True)


if __name__ == "__main__":
    main()

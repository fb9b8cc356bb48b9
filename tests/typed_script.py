"""A script as a user would write it, for type checkers: `mypy --strict` on it finds nothing. The tests run it too."""

from __future__ import annotations

import numpy as np

import gpunet as gn


def softened(x: np.ndarray) -> np.ndarray:
    """A sigmoid of small slope."""
    return np.asarray(x / (1 + np.abs(x)))


def slope(x: np.ndarray) -> np.ndarray:
    """Its derivative."""
    return np.asarray(1 / (1 + np.abs(x)) ** 2)


def main() -> gn.TrainingResult:
    """Train a small network in a few ways of saying how."""
    soft = gn.activation("softened", softened, slope, "x / (ACC(1) + fabs(x))", "ACC(1) / pow(ACC(1) + fabs(x), 2)")
    data: gn.Dataset = gn.load_dataset("mnist-5k")
    model = gn.MLP([data.features, 10, data.classes], activation=soft, initializer=gn.initializers.HeNormal())
    rate: gn.schedules.Schedule = gn.SCHEDULES.make("cosine", initial=0.2, warmup=2)
    optimizer: gn.optimizers.Optimizer = gn.OPTIMIZERS.make("momentum:momentum=0.8", learning_rate=rate)
    same = gn.Momentum(gn.schedules.Cosine(0.2, warmup=2), momentum=0.8)
    assert repr(optimizer) == repr(same)
    loss: gn.losses.Loss = gn.LOSSES.make(gn.losses.SoftmaxCrossEntropy, label_smoothing=0.1)
    result = gn.train(model, data, optimizer=optimizer, loss=loss, iterations=20)
    evaluation: gn.Evaluation = gn.evaluate(model, data.train)
    assert evaluation.accuracy > 0.1
    # What stood in the package itself before works still.
    assert gn.Cosine is gn.schedules.Cosine
    assert gn.CheckpointError is gn.errors.CheckpointError
    try:
        gn.train(model, data, optimizer="adm")
    except gn.UsageError as error:
        print(error)
    return result


if __name__ == "__main__":
    main()

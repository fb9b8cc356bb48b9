"""A script as a user would write it, for type checkers: `mypy --strict` on it finds nothing. The tests run it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


if TYPE_CHECKING:

    def wrong(model: gn.MLP, data: gn.Dataset) -> None:
        """What a checker finds; it says so too where it no longer does."""
        gn.train(model, data, iteratoins=20)  # type: ignore[call-arg]
        gn.train(model, data, iterations="20")  # type: ignore[arg-type]
        gn.train(model, (np.ones((2, 4)), np.ones(2)))  # type: ignore[arg-type]
        gn.train(model, data, optimizer=0.1)  # type: ignore[arg-type]
        gn.train(model, data, loss=softened)  # type: ignore[arg-type]
        gn.train(model, data, callbacks=[20])  # type: ignore[list-item]
        gn.train(model, data, metrics=[softened])  # type: ignore[list-item]
        gn.evaluate(model, data)  # type: ignore[arg-type]
        gn.show(model)  # type: ignore[arg-type]
        gn.SGD(lr=0.1)  # type: ignore[call-arg]
        print(data.test.imgs)  # type: ignore[union-attr]
        for record in gn.training_steps(model, data):
            if record.event == "step":
                print(record.iteration + 1)
            else:
                print(record.test_accuracy + 1)
                print(record.test_loss + "1")  # type: ignore[operator]


if __name__ == "__main__":
    main()

"""The estimators on a GPU: what lies there stays there, and comes back as it went in."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import gpunet as gn
import gpunet.sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = ["classes", "two classes", "labels", "number", "numbers"]


def data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Examples of five features, and targets of a kind."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    classes = (X[:, 0] > 0) + 1 * (X[:, 1] > 0)
    return X, {
        "classes": classes + 3,
        "two classes": np.where(X[:, 0] > 0, "high", "low"),
        "labels": (X[:, :3] > 0).astype(int),
        "number": X[:, 0] - X[:, 1],
        "numbers": X[:, :2] * 2,
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_on_a_gpu_stays_there(cuda: gn.Backend, kind: str) -> None:
    cupy = cuda.xp
    X, y = data(kind)
    name = "MLPRegressor" if kind.startswith("number") else "MLPClassifier"
    given = {"hidden_layer_sizes": 6, "max_iter": 2, "random_state": 0, "early_stopping": kind == "classes"}
    host = getattr(ours, name)(**given).fit(X, y)
    there = cupy.asarray(X)
    targets = y if y.dtype.kind == "U" else cupy.asarray(y)
    device = getattr(ours, name)(**given).fit(there, targets)
    assert isinstance(device.coefs_[0], cupy.ndarray)
    for mine, other in zip(device.coefs_, host.coefs_, strict=True):
        np.testing.assert_allclose(cupy.asnumpy(mine), other, rtol=1e-7, atol=1e-9)
    answers = device.predict(there)
    assert isinstance(answers, np.ndarray if y.dtype.kind == "U" else cupy.ndarray)
    assert isinstance(device.predict(X), np.ndarray)
    assert isinstance(host.predict(there), np.ndarray if y.dtype.kind == "U" else cupy.ndarray)
    assert device.score(there, targets) == pytest.approx(host.score(X, y))
    if name == "MLPClassifier":
        assert isinstance(device.predict_log_proba(there), cupy.ndarray)
        np.testing.assert_allclose(cupy.asnumpy(device.predict_proba(there)), host.predict_proba(X), rtol=1e-6)
    with pytest.raises(ValueError, match="features"):
        device.predict(there[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        device.predict(there * cupy.nan)
    pickle.loads(pickle.dumps(device)).set_params(early_stopping=False).partial_fit(there, targets)


def test_the_penalty_is_divided_by_the_weights_of_each_batch_on_a_gpu_too(cuda: gn.Backend) -> None:
    X, y = data("classes")
    weights = np.random.default_rng(0).random(60)
    weights[20:40] = 0  # all of a batch
    given = {"hidden_layer_sizes": 6, "max_iter": 2, "random_state": 0, "batch_size": 20, "shuffle": False, "alpha": 3}
    host, device = (ours.MLPClassifier(**given, device=name).fit(X, y, weights) for name in ("cpu", "cuda"))
    for mine, other in zip(device.coefs_, host.coefs_, strict=True):
        np.testing.assert_allclose(cuda.to_host(mine), other, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(device.loss_curve_, host.loss_curve_, rtol=1e-9)


def test_a_device_that_is_named_is_taken(cuda: gn.Backend) -> None:
    our = ours.MLPClassifier(max_iter=2, device="cuda").fit(*data("classes"))
    assert our.model_.backend.name == "cuda"
    assert isinstance(our.predict(data("classes")[0]), np.ndarray)

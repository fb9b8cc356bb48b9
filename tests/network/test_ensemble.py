"""Ensembles: the mean of their members' answers, in every way that a network is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest
from scipy.special import log_softmax

import gpunet as gn
from gpunet.data.preparation import Preparation, fit_targets


def members(backend: gn.Backend | str = "cpu", outputs: int = 3, **options: Any) -> list[gn.MLP]:
    shapes = [[6, 5, outputs], [6, outputs], [6, 4, 4, outputs]]
    normal = gn.initializers.Normal(1.5)
    return [gn.MLP(s, seed=i, backend=backend, initializer=normal, **options) for i, s in enumerate(shapes)]


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((40, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("outputs", "loss"),
    [(3, "softmax-cross-entropy"), (1, "binary-cross-entropy"), (3, "binary-cross-entropy")],
)
def test_probabilities_are_the_mean_of_the_members(backend: gn.Backend, x: np.ndarray, outputs: int, loss: str) -> None:
    models = members(backend, outputs, loss=loss)
    ensemble = gn.Ensemble(models)
    each = np.stack([backend.to_host(model.predict_proba(x)) for model in models])
    np.testing.assert_allclose(backend.to_host(ensemble.predict_proba(x)), each.mean(axis=0), atol=2e-6)
    np.testing.assert_allclose(backend.to_host(ensemble.spread(x)), each.std(axis=0), atol=2e-6)
    assert each.std(axis=0).max() > 0.1


def test_confident_members_have_finite_logits(x: np.ndarray) -> None:
    for outputs, loss in ((3, "softmax-cross-entropy"), (1, "binary-cross-entropy")):
        models = members(outputs=outputs, loss=loss)
        for model in models:
            model.flat[...] *= 100
        assert np.isfinite(gn.Ensemble(models).forward(x)).all()


def test_evaluated_like_a_network(x: np.ndarray, rng: np.random.Generator) -> None:
    models = members()
    labels = rng.integers(0, 3, len(x))
    data = gn.Dataset.from_arrays(x, labels)
    evaluation = gn.evaluate(gn.Ensemble(models), data.train)
    likely = np.mean([np.exp(log_softmax(model.forward(x), axis=1)) for model in models], axis=0)
    assert evaluation.accuracy == (likely.argmax(axis=1) == labels).mean()
    assert evaluation.loss == pytest.approx(-np.log(likely[np.arange(len(x)), labels]).mean(), rel=1e-5)
    assert (gn.Ensemble(models).predict(x) == likely.argmax(axis=1)).all()


def regression(rng: np.random.Generator) -> tuple[gn.Dataset, list[gn.MLP]]:
    """Folds of a regression, each with its own scale of the targets, and a trained network for each."""
    x = rng.standard_normal((90, 6)).astype(np.float32)
    data = gn.Dataset.from_arrays(x, 500 + 40 * x[:, 0] + rng.standard_normal(90), task="regression")
    trained = [
        gn.train(gn.MLP([6, 5, 1], loss="mse"), fold, iterations=200, batch_size=20).model for fold in data.folds(3)
    ]
    return data, trained


def test_values_are_the_mean_in_the_targets_units(rng: np.random.Generator) -> None:
    data, models = regression(rng)
    shifts = {model.preparation.targets.shift for model in models}  # type: ignore[union-attr]
    assert len(shifts) == 3
    ensemble = gn.Ensemble(models)
    each = np.stack([model.predict(data.train.inputs) for model in models])
    np.testing.assert_allclose(ensemble.predict(data.train.inputs), each.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(ensemble.spread(data.train.inputs)[:, 0], each.std(axis=0), rtol=1e-2, atol=1e-3)
    assert gn.evaluate(ensemble, data.train).r2 > 0.9


def test_values_may_lie_where_those_of_any_member_may() -> None:
    models = [gn.MLP([1, 1], loss="mse") for _ in range(2)]
    for model, limits in zip(models, ([1.0, 3.0], [0.0, 2.0]), strict=True):
        targets = fit_targets(["y"], np.array(limits)[:, None], clip=True)
        model.preparation = Preparation(task="regression", targets=targets)
    targets = gn.Ensemble(models).preparation.targets
    assert targets is not None
    assert (targets.low, targets.high) == ((0.0,), (3.0,))


def test_one_file_holds_all_members(x: np.ndarray, tmp_path: Path) -> None:
    ensemble = gn.Ensemble([*members(), gn.MLP([6, 3], seed=9, dtype="float64", dropout=[])])
    path = tmp_path / "five.safetensors"
    ensemble.save(path)
    again = gn.load_model(path)
    assert isinstance(again, gn.Ensemble)
    assert [model.sizes for model in again.models] == [model.sizes for model in ensemble.models]
    assert (again.forward(x) == ensemble.forward(x)).all()
    with pytest.raises(gn.errors.CheckpointError, match="this is an ensemble and not a model"):
        gn.MLP.load(path)
    whole = path.read_bytes()
    for content, words in (
        (whole[:-1] + bytes([whole[-1] ^ 1]), "the ensemble is damaged, its checksum"),
        (whole[:-8], "the ensemble is damaged, it cannot be read"),
        (whole[:100], "this is no model"),
        (whole[:5], "this is no model"),
        (b"", "this is no model"),
    ):
        path.write_bytes(content)
        with pytest.raises(gn.errors.CheckpointError, match=words):
            gn.load_model(path)
    ensemble.models[0].save(path)
    assert isinstance(gn.load_model(path), gn.MLP)
    with pytest.raises(gn.errors.CheckpointError, match="this is a model and not an ensemble"):
        gn.Ensemble.load(path)


@pytest.mark.parametrize("kind", ["classes", "binary", "values"])
def test_exported_as_one_onnx_graph(kind: str, x: np.ndarray, rng: np.random.Generator, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    if kind == "values":
        models = regression(rng)[1]
    else:
        models = members(outputs=3) if kind == "classes" else members(outputs=1, loss="binary-cross-entropy")
    ensemble = gn.Ensemble(models)
    gn.export.export(ensemble, tmp_path / "all.onnx")
    session = runtime.InferenceSession(str(tmp_path / "all.onnx"), providers=["CPUExecutionProvider"])
    found = dict(zip([output.name for output in session.get_outputs()], session.run(None, {"images": x}), strict=True))
    if kind == "values":
        np.testing.assert_allclose(found["values"][:, 0], ensemble.predict(x), rtol=1e-4)
    else:
        np.testing.assert_allclose(found["probabilities"], ensemble.predict_proba(x), atol=1e-5)
        assert (found["class"] == ensemble.predict(x)).all()
    with pytest.raises(gn.UsageError, match="onnx"):
        gn.export.export(ensemble, tmp_path / "all.npz")


def test_members_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(gn.UsageError, match="at least one"):
        gn.Ensemble([])
    with pytest.raises(gn.UsageError, match="outputs"):
        gn.Ensemble([gn.MLP([6, 3]), gn.MLP([6, 4])])
    with pytest.raises(gn.UsageError, match="loss"):
        gn.Ensemble([gn.MLP([6, 3]), gn.MLP([6, 3], loss="mse")])


@pytest.mark.host
def test_the_command_line_takes_an_ensemble(mnist_5k: gn.Dataset, tmp_path: Path) -> None:
    models = [gn.MLP([784, 10], seed=seed) for seed in range(2)]
    gn.train_together([gn.Trainer(model, mnist_5k, iterations=20) for model in models])
    ensemble, path = gn.Ensemble(models), tmp_path / "two.safetensors"
    ensemble.save(path)
    told = command_line.gpunet("evaluate", path, "--data", "mnist-5k", "--json")
    assert json.loads(told.stdout)["accuracy"] == gn.evaluate(ensemble, mnist_5k.test).accuracy
    refused = command_line.gpunet("export", path, tmp_path / "page.html", code=2)
    assert "an ensemble of 2" in refused.stderr
    pytest.importorskip("onnx")
    command_line.gpunet("export", path, tmp_path / "two.onnx")
    assert (tmp_path / "two.onnx").exists()

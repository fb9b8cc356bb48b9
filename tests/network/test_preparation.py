"""What is fitted on the training split travels with the model: training, its file, prediction."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet.data.fitting import Category, Number, Pictures, Targets, fit_category, fit_number, fit_targets
from gpunet.data.preparation import Preparation
from gpunet.data.split import Split
from gpunet.errors import CheckpointError, DataError, UsageError
from gpunet.network import container

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (400, 5)).astype(np.float32)
WEIGHTS = RNG.normal(0, 1, (5, 2))
Y = 1000 + 50 * X @ WEIGHTS

FULL = Preparation(
    task="regression",
    input_scale=0.5,
    names=None,
    columns=(
        Number("age", 1.0, 2.0, 3.0, 4.0, "robust", True, 2, (0.0, 1.0, 2.0)),
        Category("town", ("a", "b"), 1, True),
    ),
    targets=Targets(("price",), (1.0,), (2.0,), (0.0,), (9.0,)),
    pictures=Pictures(28, 28, False, True),
)


def test_a_preparation_is_the_same_after_json() -> None:
    for preparation in (Preparation(), FULL, Preparation(image_shape=(2, 3), class_names=("x", "y"), names=("p", "q"))):
        told = json.loads(json.dumps(preparation.to_dict()))
        assert Preparation.from_dict(told) == preparation


@pytest.mark.parametrize(
    "damage",
    [{"task": "x"}, {"columns": [{"kind": "y"}]}, {"columns": 3}, {"targets": {"names": []}}, {"other": 1},
     {"columns": []}, {"image_shape": ["a"]}],
)  # fmt: skip
def test_a_damaged_description_is_refused_in_a_sentence(damage: dict) -> None:
    with pytest.raises(DataError, match="damaged"):
        Preparation.from_dict({**FULL.to_dict(), **damage})


def test_fitted_numbers() -> None:
    values = np.array([0.0, 1, 2, 3, 100, np.nan])
    standard = fit_number("x", values, "standard", flag=True)
    assert (standard.shift, standard.scale) == (pytest.approx(21.2), pytest.approx(np.std([0, 1, 2, 3, 100])))
    assert standard.fill == 2
    assert standard.flag
    robust = fit_number("x", values, "robust")
    assert (robust.shift, robust.scale, robust.flag) == (2, 2, False)
    assert fit_number("x", np.array([1.0, 1, 1, 1, 5]), "robust").scale == 2  # half the range: no interquartile range
    small = fit_number("x", values, "minmax")
    assert (small.shift, small.scale) == (0, 100)
    assert fit_number("x", np.full(3, 7.0), "standard").scale == 1
    far = fit_number("x", np.array([1e9, 1e9 + 1, 1e9 + 3]), "standard")  # float32 tells the first two not apart
    assert (far.origin, far.fill, far.shift) == (1e9 + 1, 0, pytest.approx(1 / 3))
    assert fit_targets(["y"], np.full((3, 1), 5.0)) == Targets(("y",), (5.0,), (1.0,))
    assert fit_number("x", np.full(3, np.nan), "standard").fill == 0
    assert fit_number("x", np.array([0.0, 1.0]), "none", bins=16).edges != ()
    assert fit_number("x", np.array([1.0, 1.0]), "none", bins=16).edges == ()


def test_fitted_categories_are_those_of_the_training_rows() -> None:
    column, numbers = fit_category("x", np.array([3, 0, 3, -1]), ["b", "never", "10", "9"], flag=True)
    assert column == Category("x", ("9", "b"), 0, True)
    assert numbers.tolist() == [1, -1, -1, 0, -1]
    often, _ = fit_category("x", np.array([0, 1, 1]), ["a", "b"])
    assert often.fill == 1


def test_categories_are_fitted_anew_to_the_rows_that_are_left() -> None:
    column = Category("x", ("a", "b", "c"), 0, True)
    left = np.array([[1.0], [2.0], [2.0], [-1.0]])  # -1 is a category that the training rows did not have
    again = Preparation(columns=(column,)).fitted(left, np.zeros(4))
    assert again.columns == (Category("x", ("a", "b", "c"), 2, False),)
    assert Preparation(columns=(column,)).fitted(np.array([[np.nan], [1.0]]), np.zeros(2)).columns == (
        Category("x", ("a", "b", "c"), 1, True),
    )


def test_predictions_are_in_the_units_of_the_target(backend: gn.Backend, tmp_path: Path) -> None:
    data = gn.Dataset.from_arrays(X[:300], Y[:300], X[300:], Y[300:])
    model = gn.MLP([5, 2], backend=backend, loss="mse", bias=0.0)
    result = gn.train(model, data, iterations=600, optimizer=gn.SGD(0.05), batch_size=50)
    predicted = np.asarray(backend.to_host(model.predict(data.test.inputs)))
    assert predicted.shape == (100, 2)
    assert 1 - ((predicted - Y[300:]) ** 2).sum() / ((Y[300:] - Y[300:].mean(axis=0)) ** 2).sum() > 0.999
    assert result.test_loss < 1e-3  # of standardised targets
    model.save(tmp_path / "m.safetensors")
    again = gn.MLP.load(tmp_path / "m.safetensors", backend)
    assert again.preparation == model.preparation == data.preparation
    for other in (again, copy.deepcopy(model)):
        np.testing.assert_array_equal(np.asarray(backend.to_host(other.predict(X[300:]))), predicted)
    single = gn.Dataset.from_arrays(X, Y[:, 0])
    line = gn.MLP([5, 1], backend=backend, loss="mse")
    gn.train(line, single, iterations=3)
    assert backend.to_host(line.predict(X)).shape == (400,)
    with pytest.raises(UsageError, match="only values"):
        line.predict_proba(X)


def test_predictions_are_clipped_where_the_preparation_says_so() -> None:
    targets = fit_targets(["y"], np.array([[1.0], [3.0]]), clip=True)
    model = gn.MLP([1, 1], activation="relu", loss="mse", initializer="constant", bias=0.0)
    model.set_parameter(0, [[1.0]])
    model.preparation = Preparation(task="regression", targets=targets)
    np.testing.assert_allclose(model.predict([[-9.0], [0.5], [9.0]]), [1.0, 2.5, 3.0])
    found = gn.evaluate(model, gn.Split(np.array([[9.0]]), np.array([7.0]), task="regression"))
    assert found.truth.tolist() == [7.0]  # what is right is not clipped
    assert found.rmse == pytest.approx(4.0)


def test_the_columns_of_a_table_are_encoded_in_training_and_prediction(backend: gn.Backend, tmp_path: Path) -> None:
    rows = np.array([[20.0, 0], [40, 1], [np.nan, 2], [60, np.nan]] * 10, np.float32)
    columns = (
        fit_number("age", rows[:, 0].astype(float), "standard", flag=True, bins=4),
        Category("k", ("a", "b", "c")),
    )
    preparation = Preparation(columns=columns)
    labels = np.array([0, 1, 2, 0] * 10, np.int32)
    split = Split.trusted(rows, labels, 3, preparation)
    data = gn.Dataset("table", split)
    assert data.features == preparation.width(2) == 1 + 2 + 3 + 1
    model = gn.MLP([data.features, 8, 3], backend=backend, seed=1)
    assert gn.train(model, data, iterations=200, batch_size=20).train_accuracy == 1
    model.save(tmp_path / "m.safetensors")
    again = gn.MLP.load(tmp_path / "m.safetensors", backend)
    assert backend.to_host(again.predict(rows)).tolist() == labels.tolist()
    inputs, _ = data.train.next_batch(7)
    assert inputs.shape == (7, data.features)
    assert np.isfinite(inputs).all()
    with pytest.raises(UsageError, match="takes 2 features"):
        model.predict(rows[:, :1])
    held = data.hold_out(8)
    known = held.train.inputs[:, 0].astype(float)
    assert held.preparation.columns[0].shift == pytest.approx(np.nanmean(known))


def test_several_labels(backend: gn.Backend) -> None:
    flags = (X[:, :3] > 0).astype(int)
    data = gn.Dataset.from_arrays(X, flags, class_names=["a", "b", "c"])
    assert (data.task, data.classes, data.outputs) == ("multi-label", 3, 3)
    model = gn.MLP([5, 16, 3], backend=backend, loss="binary-cross-entropy")
    gn.train(model, data, iterations=150, batch_size=50, optimizer=gn.Adam(0.05))
    answers = backend.to_host(model.predict(X))
    assert (answers == flags).mean() > 0.95
    assert backend.to_host(model.predict_proba(X)).shape == (400, 3)
    assert model.class_names == ["a", "b", "c"]
    with pytest.raises(UsageError, match="binary-cross-entropy"):
        gn.Trainer(gn.MLP([5, 3]), data)


def test_a_loss_for_classes_is_refused_for_numbers() -> None:
    data = gn.Dataset.from_arrays(X, Y)
    for loss in ("softmax-cross-entropy", "binary-cross-entropy", "hinge"):
        with pytest.raises(UsageError, match="mse"):
            gn.Trainer(gn.MLP([5, 2], loss=loss), data)


def test_a_file_without_a_preparation_opens(tmp_path: Path) -> None:
    model = gn.MLP([4, 2])
    model.class_names, model.image_shape, model.input_scale = ["x", "y"], (2, 2), 1 / 255
    path = tmp_path / "m.safetensors"
    model.save(path)
    arrays, facts = container.read(path, container.MODEL)
    del facts["preparation"]
    container.write(path, container.MODEL, arrays, facts)
    old = gn.MLP.load(path)
    assert (old.class_names, old.image_shape, old.input_scale) == (["x", "y"], (2, 2), 1 / 255)
    facts["preparation"] = {"task": "nonsense"}
    container.write(path, container.MODEL, arrays, facts)
    with pytest.raises(CheckpointError, match="damaged"):
        gn.MLP.load(path)


def table_network(task: str) -> tuple[gn.MLP, np.ndarray]:
    """A network of an encoded table, and some of its rows."""
    rows = RNG.normal(0, 2, (60, 3)).astype(np.float32)
    rows[:, 2] = np.arange(60) % 4 - 1
    rows[::7, 0] = rows[::5, 2] = np.nan
    wide = rows.astype(float)
    columns = (
        fit_number("a", wide[:, 0], "robust", flag=True, bins=5), fit_number("b", wide[:, 1], "standard"),
        Category("k", ("x", "y", "z"), 1, True),
    )  # fmt: skip
    targets = fit_targets(["p", "q"], RNG.normal(50, 9, (60, 2)), clip=True) if task == "regression" else None
    preparation = Preparation(task=task, columns=columns, targets=targets)
    loss = {"regression": "mse", "multi-label": "binary-cross-entropy"}.get(task, "softmax-cross-entropy")
    return gn.MLP([preparation.width(3), 6, 2], loss=loss, initializer="he-normal", preparation=preparation), rows


@pytest.mark.parametrize("task", ["classification", "multi-label", "regression"])
def test_the_encoding_is_part_of_an_exported_graph(tmp_path: Path, task: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from gpunet.network.export import export

    model, rows = table_network(task)
    export(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found = dict(zip([each.name for each in session.get_outputs()], session.run(None, {"images": rows}), strict=True))
    np.testing.assert_allclose(found["logits"], model.forward(rows), rtol=1e-4, atol=1e-5)
    name = {"classification": "class", "multi-label": "labels", "regression": "values"}[task]
    np.testing.assert_allclose(found[name], model.predict(rows), rtol=1e-4, atol=1e-4)
    assert ("probabilities" in found) == (task != "regression")
    with pytest.raises(UsageError, match="no pixels"):
        export(model, tmp_path / "m.onnx", pixels=True)


def test_the_encoding_in_numpy_alone_as_the_page_says(tmp_path: Path) -> None:
    from gpunet.network.export import export

    model, rows = table_network("regression")
    export(model, tmp_path / "m.npz")
    page = (Path(__file__).parents[2] / "docs" / "inference.md").read_text()
    file = np.load(tmp_path / "m.npz")
    scope: dict = {"np": np, "file": file}
    exec(page[page.index("def encoded(") :].split("```")[0], scope)
    np.testing.assert_allclose(scope["encoded"](rows), model.as_inputs(rows), rtol=1e-4, atol=1e-5)
    logits = model.forward(rows)
    values = np.clip(logits * file["target_scale"] + file["target_shift"], file["target_low"], file["target_high"])
    np.testing.assert_allclose(values, model.predict(rows), rtol=1e-5)

"""Export: what an ONNX runtime computes is what the model computes; the .npz file needs NumPy alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet

import gpunet as gn
from gpunet.network import export

runtime = pytest.importorskip("onnxruntime", reason="the extra test has onnxruntime")
onnx = pytest.importorskip("onnx", reason="the extra onnx")


def run(proto, images):
    """What the outputs of a graph are for images, by name."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


@pytest.mark.parametrize("activation", gn.ACTIVATIONS)
def test_the_runtime_agrees_for_every_activation(activation, backend, rng):
    model = gn.MLP([20, 16, 12, 5], activation=activation, seed=3, backend=backend)
    for index in range(len(model.parameters)):  # weights large enough to reach both ends of every activation
        model.set_parameter(index, rng.normal(0, 1, model.parameters[index].shape))
    images = rng.random((33, 20), np.float32)
    found = run(export.to_onnx(model), images)
    logits = backend.to_host(model.forward(images))
    assert np.abs(logits).max() > 1
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-5, atol=1e-5 * np.abs(logits).max())
    np.testing.assert_allclose(found["probabilities"], backend.to_host(model.predict_proba(images)), atol=1e-5)
    np.testing.assert_array_equal(found["class"], backend.to_host(model.predict(images)))
    assert found["class"].dtype == np.int64


@pytest.mark.parametrize("loss", gn.LOSSES)
@pytest.mark.parametrize("sizes", [[6, 4], [6, 5, 3], [6, 5, 1]])
def test_the_outputs_fit_the_loss(loss, sizes, rng):
    if sizes[-1] == 1 and gn.LOSSES[loss]().output == "softmax":
        pytest.skip("the softmax of a single output is always 1")
    model = gn.MLP(sizes, loss=loss, seed=1)
    for array in model.parameters:
        array[...] = rng.normal(0, 1, array.shape)
    images = rng.normal(0, 1, (50, 6)).astype(np.float32)
    found = run(export.to_onnx(model), images)
    np.testing.assert_allclose(found["logits"], model.forward(images), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["class"], model.predict(images))
    if model.loss.output in ("softmax", "sigmoid"):
        np.testing.assert_allclose(found["probabilities"], model.predict_proba(images), atol=1e-5)
    else:
        assert "probabilities" not in found


def test_pixels_are_scaled_by_the_graph(mnist_5k):
    model = gn.MLP([784, 10], seed=0)
    found = run(export.to_onnx(model, pixels=True), mnist_5k.test.images[:20])
    np.testing.assert_allclose(found["logits"], model.forward(mnist_5k.test.images[:20]), atol=1e-5)


def test_a_float64_model_is_written_in_float32(rng):
    model = gn.MLP([4, 3], dtype="float64")
    images = rng.random((5, 4))
    found = run(export.to_onnx(model), images.astype(np.float32))
    np.testing.assert_allclose(found["logits"], model.forward(images), atol=1e-5)


def test_the_metadata_says_what_a_program_must_know():
    model = gn.MLP([784, 2])
    model.class_names, model.image_shape = ["three", "eight"], (28, 28)
    props = {entry.key: json.loads(entry.value) for entry in export.to_onnx(model).metadata_props}
    assert props["class_names"] == ["three", "eight"]
    assert props["image_shape"] == [28, 28]
    assert props["input_scale"] == 1 / 255


def test_an_activation_of_ones_own_has_no_form_until_it_gets_one(rng):
    square = gn.activation("square", lambda x: x * x, lambda x: 2 * x, "x * x", "ACC(2) * x")
    model = gn.MLP([4, 3, 2], activation=square)
    with pytest.raises(gn.UsageError, match="'square' has no ONNX form"):
        export.to_onnx(model)
    square = gn.activation(
        "square", lambda x: x * x, lambda x: 2 * x, "x * x", "ACC(2) * x", onnx=lambda graph, x: graph("Mul", x, x)
    )
    model, images = gn.MLP([4, 3, 2], activation=square), rng.random((5, 4), np.float32)
    found = run(export.to_onnx(model), images)
    np.testing.assert_allclose(found["logits"], model.forward(images), atol=1e-5)


def test_the_arrays_need_no_pickle(tmp_path, rng):
    model = gn.MLP([6, 5, 3], activation="tanh", seed=2)
    export.export(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        images = rng.random((7, 6), np.float32)
        hidden = np.tanh(images @ arrays["W1"] + arrays["b1"])
        logits = hidden @ arrays["W2"] + arrays["b2"]
        assert arrays["activations"].tolist() == ["tanh"]
    np.testing.assert_allclose(logits, model.forward(images), atol=1e-6)


def test_other_names_and_missing_packages_are_refused(tmp_path, monkeypatch):
    model = gn.MLP([6, 3])
    with pytest.raises(gn.UsageError, match=r"\.onnx or \.npz"):
        export.export(model, tmp_path / "model.pb")
    with pytest.raises(gn.UsageError, match="only an ONNX graph"):
        export.export(model, tmp_path / "model.npz", pixels=True)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(gn.MissingExtra, match=r"gpunet\[onnx\]"):
        export.export(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_command_exports_a_model_file(tmp_path: Path, mnist_5k):
    model = gn.MLP([784, 10])
    model.save(tmp_path / "model.safetensors")
    done = gpunet("export", tmp_path / "model.safetensors", tmp_path / "model.onnx", "--pixels")
    assert done.stderr == ""
    assert "784-10" in done.stdout
    found = run(onnx.load(tmp_path / "model.onnx"), mnist_5k.test.images[:5])
    np.testing.assert_allclose(found["logits"], model.forward(mnist_5k.test.images[:5]), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.safetensors", "model.onnx"], 1, "missing.safetensors"),
        (["missing", "model.txt"], 2, "model.txt: a model is written as .onnx, .npz, .html, .htm"),
        (["missing"], 2, "FILE"),
    ],
)
def test_the_command_refuses_in_a_sentence(arguments, code, said):
    done = gpunet("export", *arguments, code=code)
    assert said in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1

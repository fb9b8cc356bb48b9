"""The MLP: shapes, the flat layout, seeds, what can be predicted on, and the sentences for what cannot."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.network.mlp import CHUNK


def host(model: gn.MLP, array: Any) -> np.ndarray:
    return model.backend.to_host(array)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), dtype=st.sampled_from(["float32", "float64"]))
def test_parameters_are_views_of_one_flat_buffer(sizes: list[int], dtype: str) -> None:
    model = gn.MLP(sizes, dtype=dtype)
    pairs = list(itertools.pairwise(sizes))
    shapes = [shape for fan_in, fan_out in pairs for shape in ((fan_in, fan_out), (fan_out,))]
    assert [p.shape for p in model.parameters] == shapes
    assert [g.shape for g in model.gradients] == shapes
    assert model.parameter_names[:2] == ["W1", "b1"]
    assert len(model.parameter_names) == len(shapes)
    assert model.parameter_count == sum(i * o + o for i, o in pairs)
    assert model.flat.ndim == 1
    seen = np.zeros(model.flat.size, int)
    base = model.flat.__array_interface__["data"][0]
    for index, parameter in enumerate(model.parameters):
        assert parameter.base is model.flat or parameter.base.base is model.flat
        assert parameter.flags.c_contiguous
        start = (parameter.__array_interface__["data"][0] - base) // model.flat.itemsize
        assert start % 16 == 0  # aligned for vector loads
        seen[start : start + parameter.size] += 1
        # All weights come first, then all biases: decay knows them by their place.
        assert (start + parameter.size <= model.weight_count) if index % 2 == 0 else start >= model.weight_count
    assert seen.max() == 1
    assert not np.asarray(model.flat)[seen == 0].any()


def test_writing_to_a_parameter_changes_the_network(backend: gn.Backend) -> None:
    model = gn.MLP([3, 2], backend=backend)
    with backend.use():
        model.parameters[0][...] = 0
        model.parameters[1][...] = backend.to_device(np.array([1.0, 2.0], np.float32))
    np.testing.assert_array_equal(host(model, model.forward(np.ones((1, 3), np.float32))), [[1, 2]])
    model.set_parameter(1, [5.0, 7.0])
    np.testing.assert_array_equal(host(model, model.forward(np.ones((1, 3), np.float32))), [[5, 7]])
    with pytest.raises(gn.UsageError, match=r"parameter b1 is of shape \(2,\), not \(3,\)"):
        model.set_parameter(1, [1.0, 2.0, 3.0])


def test_the_forward_pass_is_the_formula(backend: gn.Backend, rng: np.random.Generator) -> None:
    model = gn.MLP([5, 7, 6, 4], activation=["tanh", "relu"], backend=backend, seed=9, initializer="he-normal")
    w1, b1, w2, b2, w3, b3 = (host(model, p).astype(np.float64) for p in model.parameters)
    x = rng.standard_normal((11, 5)).astype(np.float32)
    wanted = np.maximum(np.tanh(x @ w1 + b1) @ w2 + b2, 0) @ w3 + b3
    np.testing.assert_allclose(host(model, model.forward(x)), wanted, rtol=1e-5, atol=1e-6)
    p = np.exp(wanted) / np.exp(wanted).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(host(model, model.predict_proba(x)), p, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(host(model, model.predict(x)), wanted.argmax(axis=1))
    assert model.predict(x).dtype == np.int64


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 17])
def test_any_number_of_examples(backend: gn.Backend, size: int, rng: np.random.Generator) -> None:
    model = gn.MLP([3, 5, 2], backend=backend)
    x = rng.standard_normal((size, 3)).astype(np.float32)
    logits = host(model, model.forward(x))
    assert logits.shape == (size, 2)
    if size:
        np.testing.assert_allclose(logits[-1:], host(model, model.forward(x[-1:])), rtol=1e-5, atol=1e-6)


def test_rows_at_once_are_for_speed(
    cuda: gn.Backend, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gn.MLP([3, 5, 2], backend=cuda)
    x = rng.standard_normal((2 * CHUNK + 17, 3)).astype(np.float32)
    whole = host(model, model.forward(x))
    for elements in (0, 5 * 700):
        monkeypatch.setattr("gpunet.backend.AT_ONCE", elements)
        np.testing.assert_allclose(host(model, model.forward(x)), whole, rtol=1e-5, atol=1e-6)


class Foreign:
    """An array of another library, as NumPy sees it."""

    def __init__(self, array: np.ndarray, protocol: str) -> None:
        if protocol == "array":
            self.__class__ = type("WithArray", (Foreign,), {"__array__": lambda self, *_, **__: array})
        else:
            methods = {
                "__dlpack__": lambda self, **options: array.__dlpack__(**options),
                "__dlpack_device__": lambda self: array.__dlpack_device__(),
            }
            self.__class__ = type("WithDlpack", (Foreign,), methods)


def test_images_of_every_kind(backend: gn.Backend, rng: np.random.Generator) -> None:
    model = gn.MLP([12, 5, 3], backend=backend)
    pixels = rng.integers(0, 256, (6, 12), dtype=np.uint8)
    scaled = (pixels / np.float32(255)).astype(np.float32)
    wanted = host(model, model.forward(scaled))
    kinds = {
        "uint8": pixels,
        "int64": pixels.astype(np.int64),
        "float64": scaled.astype(np.float64),
        "Fortran order": np.asfortranarray(scaled),
        "every second": np.repeat(scaled, 2, axis=0)[::2],
        "pictures": scaled.reshape(6, 3, 4),
        "list": scaled.tolist(),
        "__array__": Foreign(scaled, "array"),
        "DLPack": Foreign(scaled, "dlpack"),
        "device": backend.to_device(scaled),
        "uint8 on the device": backend.to_device(pixels),
    }
    for kind, images in kinds.items():
        np.testing.assert_allclose(host(model, model.forward(images)), wanted, rtol=1e-5, atol=1e-6, err_msg=kind)
    np.testing.assert_allclose(host(model, model.forward(scaled[2])), wanted[2:3], rtol=1e-5, atol=1e-6)


def test_torch_tensors(backend: gn.Backend, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    model = gn.MLP([4, 3], backend=backend)
    x = rng.standard_normal((5, 4)).astype(np.float32)
    for tensor in (torch.tensor(x), torch.tensor(x, requires_grad=True)):
        np.testing.assert_array_equal(host(model, model.forward(tensor)), host(model, model.forward(x)))


def test_the_wrong_width_is_told(backend: gn.Backend) -> None:
    model = gn.MLP([12, 3], backend=backend)
    for images in (np.zeros((5, 11)), np.zeros((5, 13), np.uint8), np.zeros(7), np.zeros((2, 3, 5))):
        with pytest.raises(gn.UsageError, match=r"takes 12 features per example, and the data has \d+\."):
            model.predict(images)


def test_one_output_is_a_binary_classifier(backend: gn.Backend) -> None:
    model = gn.MLP([1, 1], loss="binary-cross-entropy", initializer=gn.Fill(1.0), bias=0.0, backend=backend)
    x = np.array([[-1e4], [-1.0], [0.0], [2.0], [1e4]], np.float32)
    assert host(model, model.predict(x)).tolist() == [0, 0, 0, 1, 1]
    probabilities = host(model, model.predict_proba(x))
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    wanted = [0, 1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-2)), 1]
    np.testing.assert_allclose(probabilities[:, 1], wanted, rtol=1e-6, atol=1e-30)


def test_a_loss_without_probabilities_says_so() -> None:
    model = gn.MLP([4, 2], loss="hinge")
    assert model.predict(np.zeros((3, 4))).shape == (3,)
    with pytest.raises(gn.UsageError, match="hinge gives no probabilities, only classes"):
        model.predict_proba(np.zeros((3, 4)))


def test_the_seed_decides(backend: gn.Backend) -> None:
    first, again, other = (
        backend.to_host(gn.MLP([5, 4, 3], seed=seed, backend=device).flat)
        for seed, device in ((3, "cpu"), (3, backend), (4, backend))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_seeds_network_has_the_write_ups_initial_weights() -> None:
    model = gn.MLP([784, 50, 30, 10])
    assert model.parameter_count == 41_090
    for index, parameter in enumerate(model.parameters):
        if index % 2:
            assert (parameter == np.float32(0.1)).all()
        else:
            assert np.abs(parameter).max() <= np.float32(0.2)
            assert parameter.std() == pytest.approx(0.088, rel=0.1)


def test_double_precision_stays_double(backend: gn.Backend) -> None:
    model = gn.MLP([4, 3, 2], dtype="float64", backend=backend)
    x = np.ones((2, 4), np.float32)
    assert model.flat.dtype == model.forward(x).dtype == model.predict_proba(x).dtype == np.float64


def test_softmax_regression_has_no_hidden_layer() -> None:
    model = gn.MLP([784, 10])
    assert len(model.layers) == 1
    assert model.description == "784-10"
    assert model.predict_proba(np.zeros((2, 784), np.uint8)).shape == (2, 10)


def test_layers_may_have_activations_of_their_own() -> None:
    mine = gn.activation("square", np.square, lambda x: 2 * x, "x * x", "ACC(2) * x")
    model = gn.MLP([3, 4, 5, 6, 2], activation=["relu", mine, "tanh"])
    assert [a.name for a in model.activations] == ["relu", "square", "tanh"]
    assert model.description == "3-4-5-6-2 relu, square, tanh"
    assert gn.MLP([3, 4, 5, 2], activation=mine).activations == [mine, mine]


@pytest.mark.parametrize(
    ("sizes", "options", "sentence"),
    [
        ([784], {}, "at least two sizes"),
        ([], {}, "at least two sizes"),
        ([784, 0, 10], {}, "layer sizes must be whole numbers of at least 1, not 0"),
        ([784, 2.5, 10], {}, "not 2.5"),
        ([784, True, 10], {}, "not True"),
        ([4, 3, 2], {"activation": "rely"}, "unknown activation 'rely'"),
        ([4, 3, 2], {"activation": ["relu", "tanh"]}, "2 activations for 1 layers"),
        ([4, 3, 2], {"activation": 3}, "unknown activation 3"),
        (
            [4, 3, 2],
            {"activation": np.tanh},
            "unknown activation <ufunc 'tanh'>; derive one from Activation, or choose one of relu",
        ),
        ([4, 3, 2], {"initializer": 3}, "unknown initializer 3"),
        ([4, 3, 2], {"loss": 7}, "unknown loss 7"),
        (5, {}, "sizes must be a list of widths"),
        ("784,10", {}, "sizes must be a list of widths"),
        ([4, 3, 2], {"loss": "entropy"}, "unknown loss 'entropy'"),
        ([4, 3, 2], {"seed": -1}, "seed must be a whole number"),
        ([4, 3, 2], {"seed": 2**64}, "seed must be a whole number"),
        ([4, 3, 2], {"seed": "x"}, "seed must be a whole number"),
        ([4, 3, 2], {"dtype": "float16"}, "dtype must be float32 or float64, not float16"),
        ([4, 3, 2], {"dtype": "real"}, "dtype must be float32 or float64, not 'real'"),
        ([4, 3, 2], {"bias": "zero"}, "bias must be a number, not 'zero'"),
        ([4, 3, 2], {"bias": math.nan}, "bias must be a number, not nan"),
        ([4, 3, 2], {"backend": "gpu"}, "unknown device 'gpu'; did you mean cuda"),
    ],
)
def test_what_makes_no_network_is_told(sizes: list, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=sentence):
        gn.MLP(sizes, **options)


# --- copies ----------------------------------------------------------------------------------------------


def through_pickle(model: gn.MLP) -> gn.MLP:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copied", [through_pickle, copy.copy, copy.deepcopy])
def test_a_copy_trains_as_the_model_does(backend: gn.Backend, copied: Any) -> None:
    data = gn.Dataset.from_arrays(np.eye(6, dtype=np.float32), np.arange(6) % 3)
    model = gn.MLP([6, 5, 3], activation="gelu", dropout=0.2, backend=backend)
    again = copied(model)
    assert again.backend.device == model.backend.device
    before = host(model, model.flat).copy()
    for one in (again, model):
        gn.train(one, data, iterations=5, batch_size=4)
    assert np.array_equal(host(again, again.flat), host(model, model.flat))
    assert not np.array_equal(host(model, model.flat), before)
    assert np.array_equal(host(again, again.gradients[0]), host(model, model.gradients[0]))


@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_every_activation_can_be_pickled(name: str) -> None:
    model = gn.MLP([3, 4, 2], activation=name)
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_array_equal(through_pickle(model).forward(x), model.forward(x))


def test_a_trainer_is_not_copied() -> None:
    data = gn.Dataset.from_arrays(np.eye(4, dtype=np.float32), np.arange(4) % 2)
    with pytest.raises(gn.UsageError, match="a trainer cannot be copied"):
        copy.deepcopy(gn.Trainer(gn.MLP([4, 2]), data, batch_size=2))


def test_a_result_can_be_pickled() -> None:
    data = gn.Dataset.from_arrays(np.eye(4, dtype=np.float32), np.arange(4) % 2)
    result = gn.train(gn.MLP([4, 2]), data, iterations=3, batch_size=2)
    again = pickle.loads(pickle.dumps(result))
    assert again.test_accuracy == result.test_accuracy
    assert np.array_equal(again.model.flat, result.model.flat)


def test_no_examples_have_no_answers(backend: gn.Backend) -> None:
    model = gn.MLP([4, 5, 3], backend=backend)
    nothing = np.empty((0, 2, 2), np.float32)
    assert model.prepare(nothing).shape == (0, 4)
    assert model.predict_proba(nothing.reshape(0, 4)).shape == (0, 3)
    assert model.predict(nothing.reshape(0, 4)).shape == (0,)

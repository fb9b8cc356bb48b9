"""Networks to and from PyTorch: the same outputs and gradients; and weights from a plain dict, which needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="the extra gpunet[torch] is not installed")


def close(given: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(given, wanted, rtol=0, atol=TOLERANCE[wanted.dtype.name] * np.abs(wanted).max())


def network(name: str, dtype: str, **options: Any) -> gn.MLP:
    sizes, options = [7, 6, 5, 3], {"seed": 3, "initializer": "he-normal", **options}
    return gn.MLP(sizes, [name, "tanh"], dropout=[0.0, 0.25], dtype=dtype, **options)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", [name for name, entry in gn.ACTIVATIONS.items() if entry.torch])
def test_there_and_back(torch: Any, rng: np.random.Generator, name: str, dtype: str) -> None:
    model = network(name, dtype)
    inputs = (4 * rng.normal(size=(40, 7))).astype(dtype)
    module = model.to_torch()
    assert not module.training
    logits = model.backend.to_host(model.forward(inputs))
    close(logits, module(torch.from_numpy(inputs)).detach().numpy())
    again = gn.MLP.from_torch(module)
    assert (again.sizes, again.dropout, again.dtype) == (model.sizes, model.dropout, model.dtype)
    assert again.activations == model.activations
    assert (again.forward(inputs) == logits).all()
    # A copy: training one leaves the other as it was.
    module[0].weight.data.zero_()
    assert model.parameters[0].any()
    assert again.parameters[0].any()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gradients_are_those_of_torch(torch: Any, rng: np.random.Generator, dtype: str) -> None:
    model = gn.MLP([7, 6, 3], "gelu", dtype=dtype, seed=3, initializer="he-normal")
    inputs = rng.normal(size=(40, 7)).astype(np.float32).astype(dtype)  # data is held in float32
    labels = np.arange(40) % 3
    module = model.to_torch()
    torch.nn.functional.cross_entropy(module(torch.from_numpy(inputs)), torch.from_numpy(labels)).backward()
    before = [np.array(array) for array in model.parameters]
    data = gn.Dataset.from_arrays(inputs, labels)
    gn.train(model, data, optimizer=gn.SGD(1.0), iterations=1, batch_size=40)
    for old, new, parameter in zip(before, model.parameters, module.parameters(), strict=True):
        wanted = parameter.grad.numpy()
        np.testing.assert_allclose((old - new).T, wanted, rtol=0, atol=10 * TOLERANCE[dtype] * np.abs(old).max())


def test_parameters_leave_without_a_copy(torch: Any, backend: gn.Backend) -> None:
    if backend.name != "cpu" and not torch.cuda.is_available():
        pytest.skip("this torch knows no CUDA")
    model = gn.MLP([4, 3, 2], backend=backend)
    for array in model.parameters:
        tensor = torch.from_dlpack(array)
        tensor.fill_(0.5)
        assert (model.backend.to_host(array) == 0.5).all()


def test_what_is_read_of_a_module(torch: Any) -> None:
    nn = torch.nn
    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(6, 5, bias=False), nn.LeakyReLU()), nn.Dropout(0.5), nn.Linear(5, 4),
        nn.Linear(4, 2), nn.Identity(),
    )  # fmt: skip
    model = gn.MLP.from_torch(module.to(torch.bfloat16), loss="mse")
    assert model.description == gn.MLP([6, 5, 4, 2], ["leaky-relu", "identity"]).description
    assert model.dropout == [0.5, 0.0]
    assert model.loss.name == "mse"
    assert model.dtype == np.float32
    assert not model.parameters[1].any()
    assert gn.MLP.from_torch(nn.Linear(3, 2)).sizes == [3, 2]
    assert [activation.name for activation in gn.MLP.from_torch(
        nn.Sequential(nn.Linear(2, 2), nn.Softplus(), nn.Linear(2, 2))
    ).activations] == ["softplus"]  # fmt: skip


def test_a_module_may_be_there_more_than_once(torch: Any, rng: np.random.Generator) -> None:
    act, square = torch.nn.Tanh(), torch.nn.Linear(4, 4)
    module = torch.nn.Sequential(square, act, square, act, torch.nn.Linear(4, 2)).double()
    model, x = gn.MLP.from_torch(module), rng.normal(size=(9, 4))
    assert model.description == "4-4-4-2 tanh"
    close(model.forward(x), module(torch.from_numpy(x)).detach().numpy())


def test_modules_that_are_no_network_are_told(torch: Any) -> None:
    nn = torch.nn
    linear = nn.Linear(3, 3)
    for module, sentence in [
        (nn.Sequential(linear, nn.LeakyReLU(0.2), linear), r"LeakyReLU\(.*0.2\), which is no layer of an MLP; only"),
        (nn.Sequential(linear, nn.BatchNorm1d(3), linear), "BatchNorm1d.*; there are Linear, Dropout and ELU, GELU"),
        (nn.Sequential(nn.ReLU(), linear), "begins with ReLU"),
        (nn.ModuleDict({"a": linear}), r"begins with ModuleDict\( .*take the weights alone: MLP.from_weights"),
        (nn.Sequential(linear, nn.ReLU(), nn.Tanh(), linear), "Tanh.* behind a layer that has its relu already"),
        (nn.Sequential(linear, nn.Sigmoid()), r"ends with sigmoid; an MLP ends with a Linear layer.*module\[:-1\]"),
        (nn.Sequential(linear, nn.Softmax(1)), "Softmax"),
        (nn.Sequential(), "no Linear layer"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence) as caught:
            gn.MLP.from_torch(module)
        assert "\n" not in str(caught.value)
    mine = gn.activation("mine", np.sin, np.cos, "sin(x)", "cos(x)")
    with pytest.raises(gn.UsageError, match="torch has no activation mine"):
        gn.MLP([3, 2, 2], mine).to_torch()


def test_a_state_dict_of_torch(torch: Any, rng: np.random.Generator) -> None:
    nn = torch.nn
    layers = [each for width in range(2, 14) for each in (nn.Linear(width, width + 1), nn.Tanh())][:-1]
    module = nn.Sequential(*layers)  # ten layers and more: 10.weight is behind 2.weight
    model = gn.MLP.from_weights(module.state_dict(), "tanh")
    inputs = rng.normal(size=(5, 2)).astype(np.float32)
    close(model.forward(inputs), module(torch.from_numpy(inputs)).detach().numpy())


# --- without torch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_weights_from_a_dict(backend: gn.Backend, rng: np.random.Generator, dtype: str) -> None:
    model = network("elu", dtype, backend=backend)
    weights = dict(zip(model.parameter_names, model.parameters, strict=True))
    again = gn.MLP.from_weights(weights, ["elu", "tanh"], backend=backend)
    assert again.dtype == model.dtype
    inputs = rng.normal(size=(9, 7)).astype(dtype)
    assert (backend.to_host(again.forward(inputs)) == backend.to_host(model.forward(inputs))).all()
    turned = {
        f"layers.{index}.{what}": backend.to_host(weights[f"{short}{index}"]).T
        for index in (1, 2, 3)
        for what, short in (("weight", "W"), ("bias", "b"))
    }
    again = gn.MLP.from_weights(turned, ["elu", "tanh"], backend=backend)
    assert (backend.to_host(again.forward(inputs)) == backend.to_host(model.forward(inputs))).all()
    lists = gn.MLP.from_weights({"W1": [[1, 2], [3, 4], [5, 6]]})
    assert lists.sizes == [3, 2]
    assert lists.parameters[0].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert lists.parameters[1].tolist() == [0, 0]


def test_dicts_that_are_no_network_are_told() -> None:
    for weights, sentence in [
        ({}, "there are no weights in the dict"),
        ({"w": np.ones((2, 2))}, "there is no parameter w; the names are W1, b1"),
        ({"b1": np.ones(2)}, "the weights of layer 1 are missing, or are no matrix"),
        ({"W1": np.ones(2)}, "the weights of layer 1 are missing, or are no matrix"),
        (
            {"W1": np.ones((2, 3)), "W2": np.ones((2, 3))},
            "layer 2 takes 2 inputs, and the layer before it has 3",
        ),
        ({"W1": np.ones((2, 3)), "b1": np.ones(2)}, r"parameter b1 is of shape \(3,\), not \(2,\)"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence):
            gn.MLP.from_weights(weights)

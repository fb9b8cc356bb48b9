"""The activations: values, derivatives, extremes, arrays of any kind, and activations of one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels.activations import activation_backward, activation_forward
from gpunet.kernels.blocks import BLOCK

NAMES = sorted(gn.ACTIVATIONS)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


#: The definitions, in Python's double precision.
DEFINITIONS = {
    "relu": lambda x: max(x, 0.0),
    "sigmoid": logistic,
    "tanh": math.tanh,
    "leaky-relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2)),
    "gelu-tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
    "silu": lambda x: x * logistic(x),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "mish": lambda x: x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
    "softsign": lambda x: x / (1 + abs(x)),
    "hard-tanh": lambda x: min(max(x, -1.0), 1.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "identity": lambda x: x,
}


def forward(name: str | gn.Activation, x: np.ndarray) -> np.ndarray:
    entry = name if isinstance(name, gn.Activation) else gn.ACTIVATIONS[name]
    return activation_forward(x, entry, np.empty_like(x))


def slope(name: str, x: np.ndarray) -> np.ndarray:
    entry = gn.ACTIVATIONS[name]
    saved = forward(name, x) if entry.saves == "output" else x
    return activation_backward(np.ones_like(x), saved, entry, np.empty_like(x))


def test_every_entry_has_its_definition_here() -> None:
    assert set(DEFINITIONS) == set(gn.ACTIVATIONS)
    assert all(name == entry.name and entry.formula for name, entry in gn.ACTIVATIONS.items())


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_definition(name: str) -> None:
    x = np.concatenate([np.linspace(-20, 20, 801), [-1e4, -100.0, -1e-6, 1e-6, 100.0, 1e4]])
    wanted = np.array([DEFINITIONS[name](value) for value in x.tolist()])
    np.testing.assert_allclose(forward(name, x), wanted, rtol=1e-13, atol=1e-15)
    single = x.astype(np.float32)
    wanted = np.array([DEFINITIONS[name](value) for value in single.tolist()])
    np.testing.assert_allclose(forward(name, single), wanted, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "elu", "selu", "silu", "gelu", "gelu-tanh", "mish"])
def test_small_results_keep_their_digits_in_single_precision(name: str) -> None:
    x = np.linspace(-5, 0.0, 501, dtype=np.float32)[:-1]
    exact = forward(name, x.astype(np.float64))
    np.testing.assert_allclose(forward(name, x), exact, rtol=4e-6)
    tiny = np.array([-1e-3, -1e-5, 1e-5, 1e-3], np.float32)
    np.testing.assert_allclose(forward(name, tiny), forward(name, tiny.astype(np.float64)), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_agrees_with_finite_differences(name: str) -> None:
    assert gn.check_activation(name) <= 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_derivative_is_the_double_one_rounded(name: str) -> None:
    x = np.linspace(-8, 8, 400, dtype=np.float32) + np.float32(0.013)
    np.testing.assert_allclose(slope(name, x), slope(name, x.astype(np.float64)), rtol=2e-5, atol=4e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_extremes_neither_warn_nor_overflow_nor_change_the_dtype(name: str, dtype: str) -> None:
    x = np.array([-1e4, -745.0, -104.0, -88.0, 0.0, -0.0, 88.0, 89.0, 710.0, 1e4], dtype)
    y, f = forward(name, x), slope(name, x)
    assert y.dtype == f.dtype == x.dtype
    assert np.isfinite(y).all()
    assert np.isfinite(f).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_the_largest_numbers_values_and_slopes_are_those_far_out(backend: gn.Backend, dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    sizes = [1e10, 1e19, 1e20, math.sqrt(largest), largest / 2]
    x = np.array([*sizes, *(-size for size in sizes)], dtype)
    far = np.repeat(np.array([1e6, -1e6], dtype), len(sizes))  # where softsign's slope has come to 1e-12
    device = backend.to_device(x)
    for name, entry in gn.ACTIVATIONS.items():
        with backend.use(), np.errstate(over="ignore"):
            y = activation_forward(device, entry, backend.xp.empty_like(device))
            saved = y if entry.saves == "output" else device
            f = activation_backward(backend.xp.ones_like(device), saved, entry, backend.xp.empty_like(device))
        wanted = np.array([DEFINITIONS[name](value) for value in x.tolist()])
        np.testing.assert_allclose(backend.to_host(y), wanted, rtol=1e-6, atol=1e-30, err_msg=name)
        np.testing.assert_allclose(backend.to_host(f), slope(name, far), rtol=1e-6, atol=1e-11, err_msg=name)


def test_gelu_of_infinity_is_infinity(backend: gn.Backend) -> None:
    x = backend.to_device(np.array([np.inf, 1.0], np.float32))
    with backend.use():
        y = activation_forward(x, gn.ACTIVATIONS["gelu"], backend.xp.empty_like(x))
    assert backend.to_host(y)[0] == np.inf


@pytest.mark.parametrize("name", NAMES)
def test_nan_comes_through(backend: gn.Backend, name: str) -> None:
    x = backend.to_device(np.array([1.0, np.nan, -1.0], np.float32))
    with backend.use():
        y = backend.to_host(activation_forward(x, gn.ACTIVATIONS[name], backend.xp.empty_like(x)))
    assert np.isnan(y).tolist() == [False, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_an_array_may_be_its_own_output_and_what_is_saved_stays(name: str, rng: np.random.Generator) -> None:
    entry = gn.ACTIVATIONS[name]
    x, grad = rng.standard_normal((2, 30, 7)).astype(np.float32) * 3
    y = forward(name, x)
    again = x.copy()
    activation_forward(again, entry, again)
    np.testing.assert_array_equal(again, y)
    saved = y if entry.saves == "output" else x
    kept = saved.copy()
    wanted = activation_backward(grad, saved, entry, np.empty_like(grad))
    activation_backward(grad, saved, entry, grad)
    np.testing.assert_array_equal(grad, wanted)
    np.testing.assert_array_equal(saved, kept)


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_blocks_have_no_seams(size: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal(size).astype(np.float32)
    for name in ("relu", "softplus", "gelu"):
        whole, pieces = forward(name, x), [forward(name, part) for part in np.array_split(x, 7)]
        np.testing.assert_array_equal(whole, np.concatenate(pieces))
        whole, pieces = slope(name, x), [slope(name, part) for part in np.array_split(x, 7)]
        np.testing.assert_array_equal(whole, np.concatenate(pieces))


@pytest.mark.parametrize("name", NAMES)
def test_any_strides(name: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((24, 34)).astype(np.float32)
    y = forward(name, x)
    for view, wanted in [(np.asfortranarray(x), y), (x[::2, 1::3], y[::2, 1::3]), (x.T, y.T), (x[:, ::-1], y[:, ::-1])]:
        out = np.empty_like(view)
        activation_forward(view, gn.ACTIVATIONS[name], out)
        np.testing.assert_array_equal(out, wanted)
    target = np.zeros((24, 68), np.float32)
    activation_forward(x, gn.ACTIVATIONS[name], target[:, ::2])
    np.testing.assert_array_equal(target[:, ::2], y)
    assert not target[:, 1::2].any()


def test_gelu_has_its_tail() -> None:
    x = np.array([-8.0, -12.0, -20.0])
    wanted = [0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]
    np.testing.assert_allclose(forward("gelu", x), wanted, rtol=1e-13)


def squareplus(**changes: object) -> gn.Activation:
    """A correct activation of one's own, or with something changed."""
    parts: dict = {
        "name": "squareplus",
        "forward": lambda x: (x + np.sqrt(x * x + 4)) / 2,
        "derivative": lambda x: (1 + x / np.sqrt(x * x + 4)) / 2,
        "cuda_forward": "(x + sqrt(x * x + ACC(4))) / ACC(2)",
        "cuda_derivative": "(ACC(1) + x / sqrt(x * x + ACC(4))) / ACC(2)",
        **changes,
    }
    return gn.activation(**parts)


def test_an_activation_of_ones_own_passes_the_check(backend: gn.Backend) -> None:
    assert 0 < gn.check_activation(squareplus(), backend) <= 1e-6


def test_one_that_saves_its_output_passes_the_check(backend: gn.Backend) -> None:
    mine = gn.activation("exp", np.exp, lambda y: y, "exp(x)", "y", saves="output")
    assert gn.check_activation(mine, backend) <= 1e-6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"derivative": lambda x: np.ones_like(x)}, "derivative differs from the finite difference at x = -"),
        ({"forward": np.abs, "derivative": lambda x: np.where(x > 0, 1.0, 1.0)}, "differs from the finite difference"),
        ({"forward": lambda x: x[:-1]}, "NumPy form cannot be run"),
        ({"forward": lambda x: x / 0}, "cannot be run|finite difference"),
        ({"derivative": lambda x: undefined}, "NumPy derivative cannot be run .*undefined"),  # noqa: F821
        ({"derivative": lambda x: np.multiply(x, 2, out=x)}, "changes the array"),
        ({"forward": lambda x: x * np.nan}, "differs"),
    ],
)
def test_wrong_ones_are_told(changes: dict, sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=f"'squareplus'.*{sentence}"):
        gn.check_activation(squareplus(**changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cuda_forward": "x"}, "its CUDA form differs from its NumPy form at x = "),
        ({"cuda_derivative": "ACC(1)"}, "its CUDA derivative differs"),
        ({"cuda_forward": "no_such_function(x)"}, "its CUDA form cannot be run"),
    ],
)
def test_wrong_cuda_forms_are_told(cuda: gn.Backend, changes: dict, sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=f"'squareplus'.*{sentence}"):
        gn.check_activation(squareplus(**changes), cuda)


def test_a_kink_has_to_be_listed() -> None:
    # An even number of points meets the kink nowhere; the point is that a listed one is stepped around.
    bend = {"forward": lambda x: np.abs(x - 0.5), "derivative": lambda x: np.sign(x - 0.5)}
    shift = 12 / 256 * 138 - 6 + 1e-3 / math.pi  # one of the points of the check
    on_a_point = {"forward": lambda x: np.abs(x - shift), "derivative": lambda x: np.sign(x - shift) + (x == shift)}
    with pytest.raises(gn.UsageError, match="kink"):
        gn.check_activation(squareplus(**on_a_point))
    gn.check_activation(squareplus(**on_a_point, kinks=(shift,)))
    gn.check_activation(squareplus(**bend, kinks=(0.5,)))


def test_names_and_attributes_are_checked() -> None:
    with pytest.raises(gn.UsageError, match=r"unknown activation 'rely'; did you mean relu\? choose one of relu"):
        gn.check_activation("rely")
    with pytest.raises(gn.UsageError, match="saves must be"):
        squareplus(saves="both")


def test_training_with_an_activation_of_ones_own(backend: gn.Backend, rng: np.random.Generator) -> None:
    angle = rng.uniform(0, 2 * np.pi, 300)
    labels = np.arange(300) % 2
    points = np.column_stack([np.cos(angle), np.sin(angle)]) * (0.5 + labels)[:, None]
    data = gn.Dataset.from_arrays(points.astype(np.float32), labels)
    model = gn.MLP([2, 16, 2], activation=squareplus(), initializer="he-normal", backend=backend, seed=3)
    before = gn.evaluate(model, data.train).accuracy
    result = gn.train(model, data, optimizer=gn.Adam(0.05), iterations=150, batch_size=50)
    assert before < 0.8
    assert result.train_accuracy > 0.95

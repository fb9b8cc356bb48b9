"""The optimizers: against PyTorch over 50 steps, against the rules written out, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels import control as control_block
from gpunet.kernels.blocks import BLOCK, scratch
from gpunet.kernels.optimizers import OPTIMIZERS, update

STEPS = 50


def run(
    optimizer: gn.Optimizer, start: np.ndarray, slope: Callable[[np.ndarray], np.ndarray], device: gn.Backend,
    decayed: int = 0, steps: int = STEPS, rates: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The parameters after so many steps, on the host."""
    rates = np.full(steps, optimizer.learning_rate) if rates is None else rates
    with device.use():
        p = device.to_device(start.copy())
        state = [device.zeros(p.shape, p.dtype) for _ in optimizer.state_names]
        table = device.to_device(optimizer.coefficients(np.arange(steps) + 1.0, rates).astype(start.dtype))
        control = device.to_device(control_block.fresh())
        for _ in range(steps):
            g = device.to_device(slope(device.to_host(p).copy()))
            control[1] = control[0]
            update(p, g, state, optimizer, table, control, decayed)
        assert int(control[0]) == steps
        return device.to_host(p)


def bowl(dtype: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """A start and the gradient of a function with steep and flat directions, and waves on its ground."""
    rng = np.random.default_rng(7)
    steep = np.exp(rng.uniform(-2, 2, 40)).astype(dtype)
    return rng.standard_normal(40).astype(dtype), lambda p: (steep * p + np.sin(3 * p)).astype(dtype)


def torch_optimizers() -> dict[str, tuple[gn.Optimizer, str, dict[str, Any]]]:
    """Ours beside torch's class and its arguments, with values that are not the defaults."""
    return {
        "sgd": (gn.SGD(0.05), "SGD", {"lr": 0.05}),
        "momentum": (gn.Momentum(0.02, 0.8), "SGD", {"lr": 0.02, "momentum": 0.8}),
        "nesterov": (gn.Nesterov(0.02, 0.8), "SGD", {"lr": 0.02, "momentum": 0.8, "nesterov": True}),
        "adagrad": (gn.Adagrad(0.1), "Adagrad", {"lr": 0.1}),
        "rmsprop": (gn.RMSprop(0.01, 0.95, 1e-6), "RMSprop", {"lr": 0.01, "alpha": 0.95, "eps": 1e-6}),
        "adam": (gn.Adam(0.03, 0.8, 0.99, 1e-7), "Adam", {"lr": 0.03, "betas": (0.8, 0.99), "eps": 1e-7}),
        "adamw": (gn.AdamW(0.03, weight_decay=0.1), "AdamW", {"lr": 0.03, "weight_decay": 0.1}),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*torch_optimizers()])
def test_fifty_steps_are_those_of_torch(backend: gn.Backend, name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    ours, kind, arguments = torch_optimizers()[name]
    start, slope = bowl(dtype)
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, kind)([theirs], **arguments)
    for _ in range(STEPS):
        theirs.grad = torch.tensor(slope(theirs.detach().numpy()))
        optimizer.step()
    wanted = theirs.detach().numpy()
    assert np.abs(wanted - start).max() > 0.1
    got = run(ours, start, slope, backend, decayed=len(start))
    # In single precision the steps of both feed their rounding back into the next gradient.
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 if dtype == "float64" else 3e-5)


LR, DECAY = 0.02, 0.1


def sgd(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    return p - LR * g, m, v


def momentum(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    m = 0.8 * m + g
    return p - LR * m, m, v


def nesterov(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    m = 0.8 * m + g
    return p - LR * (g + 0.8 * m), m, v


def adagrad(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    v = v + g**2
    return p - LR * g / (np.sqrt(v) + 1e-10), m, v


def rmsprop(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    v = 0.9 * v + 0.1 * g**2
    return p - LR * g / (np.sqrt(v) + 1e-7), m, v


def adam(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return p - LR * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def lion(p: Any, g: Any, t: int, m: Any, v: Any) -> tuple[Any, Any, Any]:
    return p - LR * np.sign(0.9 * m + 0.1 * g), 0.99 * m + 0.01 * g, v


#: The published rules, t from 1; the decay of the weights comes before each.
RULES = {
    "sgd": (sgd, {}),
    "momentum": (momentum, {"momentum": 0.8}),
    "nesterov": (nesterov, {"momentum": 0.8}),
    "adagrad": (adagrad, {}),
    "rmsprop": (rmsprop, {}),
    "adam": (adam, {}),
    "adamw": (adam, {}),
    "lion": (lion, {}),
}


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_fifty_steps_are_those_of_the_published_rule(backend: gn.Backend, name: str) -> None:
    rule, options = RULES[name]
    start, slope = bowl("float64")
    p, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t in range(1, STEPS + 1):
        p, m, v = rule(p * (1 - LR * DECAY), slope(p), t, m, v)
    optimizer = OPTIMIZERS.make(name, learning_rate=LR, weight_decay=DECAY, **options)
    np.testing.assert_allclose(run(optimizer, start, slope, backend, decayed=len(start)), p, atol=1e-11)


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_decay_is_decoupled_and_spares_the_biases(backend: gn.Backend, name: str) -> None:
    start = np.linspace(1, 2, 10)
    optimizer = OPTIMIZERS.make(name, learning_rate=0.1, weight_decay=0.5)
    got = run(optimizer, start, np.zeros_like, backend, decayed=6, steps=3)
    # Without a gradient nothing but the decay happens, whatever the rule.
    np.testing.assert_allclose(got[:6], start[:6] * 0.95**3, rtol=1e-12)
    np.testing.assert_array_equal(got[6:], start[6:])


def test_without_decay_weights_are_left_alone() -> None:
    for name, entry in gn.OPTIMIZERS.items():
        optimizer = entry() if name != "adamw" else entry(weight_decay=0)
        assert "decays" not in optimizer.cuda
        np.testing.assert_array_equal(
            run(optimizer, np.ones(4), np.zeros_like, gn.get_backend("cpu"), decayed=4, steps=2), np.ones(4)
        )


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_blocks_have_no_seams(name: str, rng: np.random.Generator) -> None:
    size = BLOCK + 1000
    start = rng.standard_normal(size).astype(np.float32)
    optimizer = OPTIMIZERS.make(name, weight_decay=0.1)
    cpu, decayed = gn.get_backend("cpu"), BLOCK + 500
    whole = run(optimizer, start, np.sin, cpu, decayed, steps=2)
    half = size // 2  # of at most a block, so that these are not cut
    parts = [
        run(optimizer, start[:half], np.sin, cpu, half, steps=2),
        run(optimizer, start[half:], np.sin, cpu, decayed - half, steps=2),
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_the_rate_of_each_step_is_that_of_the_table(backend: gn.Backend, name: str) -> None:
    start, slope = bowl("float64")
    rates = np.array([0.01, 0.0, 0.0])
    optimizer = OPTIMIZERS.make(name)
    # A rate of 0 leaves the parameters where they are.
    np.testing.assert_array_equal(
        run(optimizer, start, slope, backend, steps=3, rates=rates),
        run(optimizer, start, slope, backend, steps=1, rates=rates[:1]),
    )


@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_every_optimizer_trains_and_keeps_the_dtype(backend: gn.Backend, name: str, rng: np.random.Generator) -> None:
    labels = np.arange(120) % 3
    points = rng.normal(0, 0.3, (120, 2)) + np.array([[0, 2], [-2, -1], [2, -1]])[labels]
    data = gn.Dataset.from_arrays(points.astype(np.float32), labels)
    model = gn.MLP([2, 12, 3], seed=1, initializer="he-normal", backend=backend)
    rate = 0.01 if name == "lion" else 0.05
    result = gn.train(model, data, optimizer=OPTIMIZERS.make(name, learning_rate=rate), iterations=80, batch_size=40)
    assert result.train_accuracy > 0.95
    assert model.flat.dtype == np.float32


def test_hyperparameters_are_kept_and_checked() -> None:
    assert gn.RMSprop(0.1).settings() == {"weight_decay": 0.0, "decay": 0.9, "epsilon": 1e-7}
    assert gn.Adam().settings() == {"weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert gn.AdamW().weight_decay == 0.01
    assert OPTIMIZERS.make("lion").learning_rate == 0.0001
    assert OPTIMIZERS.make(gn.Adagrad).learning_rate == 0.01
    mine = gn.SGD(0.3)
    assert OPTIMIZERS.make(mine) is mine
    for make, sentence in [
        (lambda: gn.SGD(0), "sgd: learning rate must be a number above 0, not 0"),
        (lambda: gn.SGD(float("nan")), "learning rate must be a number above 0, not nan"),
        (lambda: gn.SGD("fast"), "learning rate must be a number above 0, not 'fast'"),
        (lambda: gn.Momentum(0.1, 1.0), "momentum must be a number of at least 0 and below 1, not 1.0"),
        (lambda: gn.Adam(0.1, beta2=-0.1), "beta2 must be"),
        (lambda: gn.RMSprop(0.1, epsilon=0), "epsilon must be a number above 0"),
        (lambda: gn.AdamW(0.1, weight_decay=-1), "weight decay must be a number of at least 0"),
        (
            lambda: OPTIMIZERS.make("adamax"),
            "unknown optimizer 'adamax'; did you mean adam. choose one of sgd, momentum, nesterov",
        ),
        (lambda: OPTIMIZERS.make("sgd", momentum=0.9), "optimizer sgd has no momentum; it takes weight_decay"),
    ]:
        with pytest.raises(gn.UsageError, match=sentence):
            make()


def test_scratch_grows_and_is_told_apart() -> None:
    first, second = scratch(np.empty(10)), scratch(np.empty(10), 1)
    assert len(first) == len(second) == 10
    assert not np.shares_memory(first, second)
    assert len(scratch(np.empty(BLOCK * 2))) == BLOCK * 2

"""The checks of an activation and of a loss: derivatives against finite differences, CUDA forms against NumPy forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels.activation import Activation, activation_backward, activation_forward
from gpunet.kernels.activations import get_activation
from gpunet.kernels.losses import LOSSES, Loss, loss_step
from gpunet.keywords import checked

#: The largest difference that passes.
TOLERANCE = 1e-6


@checked
def check_activation(activation: str | Activation, backend: Any = None, points: int = 257) -> float:
    """Hold an activation's forms against each other and against finite differences.

    In float64 over `points` inputs in [-6, 6] that keep clear of the kinks: f' against the central
    difference (f(x + h) - f(x - h)) / 2h with h = 1e-6, and, where `backend` is a CUDA device, the CUDA
    forms of f and f' against the NumPy forms. A difference may be 1e-6, relative where the value is above 1.

    Args:
        activation: a name of the table, or an `Activation` of one's own.
        backend: the device to check besides NumPy; none by default.
        points: how many inputs.

    Returns:
        The largest difference found, at most 1e-6.

    Raises:
        UsageError: a difference is larger, or a form cannot be run; the sentence says which form, where and
            by how much.
    """
    entry = get_activation(activation)
    x = np.linspace(-6.0, 6.0, points) + 1e-3 / math.pi
    for kink in entry.kinks:
        x = x[np.abs(x - kink) > 1e-4]
    h = 1e-6
    y = _numpy_forward(entry, x)
    saved = y if entry.saves == "output" else x
    slope = _numpy_slope(entry, saved)
    difference = (_numpy_forward(entry, x + h) - _numpy_forward(entry, x - h)) / (2 * h)
    pairs = [("its derivative differs from the finite difference", slope, difference)]
    if backend is not None and backend.name == "cuda":
        device_y, device_slope = _on_device(entry, x, saved, backend)
        pairs.append(("its CUDA form differs from its NumPy form", device_y, y))
        pairs.append(("its CUDA derivative differs from its NumPy derivative", device_slope, slope))
    worst = 0.0
    for what, got, expected in pairs:
        with np.errstate(invalid="ignore"):
            error = np.abs(got - expected) / np.maximum(np.abs(expected), 1)
        place = int(np.argmax(np.where(np.isfinite(error), error, np.inf)))
        if not error[place] <= TOLERANCE:
            raise UsageError(
                f"activation {entry.name!r}: {what} at x = {x[place]:.6g}, {got[place]:.9g} against "
                f"{expected[place]:.9g}; correct one of the two, or list a kink there if f' jumps."
            )
        worst = max(worst, float(error[place]))
    return worst


def _numpy_forward(entry: Activation, x: np.ndarray) -> np.ndarray:
    try:
        return activation_forward(x, entry, np.empty_like(x))
    except Exception as error:  # a form of the user's own raises whatever it likes
        raise _cannot(entry, "NumPy form", error) from error


def _numpy_slope(entry: Activation, saved: np.ndarray) -> np.ndarray:
    kept = saved.copy()
    try:
        slope = activation_backward(np.ones_like(saved), saved, entry, np.empty_like(saved))
    except Exception as error:
        raise _cannot(entry, "NumPy derivative", error) from error
    if not np.array_equal(saved, kept, equal_nan=True):
        raise UsageError(
            f"activation {entry.name!r}: its NumPy derivative changes the array that it is given; make a new one."
        )
    return slope


def _on_device(entry: Activation, x: np.ndarray, saved: np.ndarray, backend: Any) -> tuple[np.ndarray, np.ndarray]:
    """The CUDA forms of f and f'."""
    with backend.use():
        device_x, device_saved = backend.to_device(x), backend.to_device(saved)
        try:
            y = backend.to_host(activation_forward(device_x, entry, backend.xp.empty_like(device_x)))
        except Exception as error:  # the compiler's complaint about the expression
            raise _cannot(entry, "CUDA form", error) from error
        ones = backend.xp.ones_like(device_x)
        try:
            slope = backend.to_host(activation_backward(ones, device_saved, entry, backend.xp.empty_like(device_x)))
        except Exception as error:
            raise _cannot(entry, "CUDA derivative", error) from error
    return y, slope


@checked
def check_loss(loss: str | Loss, backend: Any = None, examples: int = 64) -> float:
    """Hold a loss's gradient against finite differences of its value, and its CUDA form against its NumPy form.

    In float64, for outputs drawn from a normal distribution of deviation 2: with class indices and with numbers from 0
    to 1 as targets, with one output (unless the loss weighs outputs against each other) and with three, with and
    without weights of the examples. The gradient against (l(z + h) - l(z - h)) / 2h with h = 1e-6. A difference may be
    1e-6, relative where the value is above 1.

    Args:
        loss: a name of the table, or a `Loss` of one's own.
        backend: the device to check besides NumPy; none by default.
        examples: how many.

    Returns:
        The largest difference found, at most 1e-6.

    Raises:
        UsageError: a difference is larger, or a form cannot be run; the sentence says which form, where and by how
            much.
    """
    entry = LOSSES.make(loss)
    rng = np.random.default_rng(0)
    worst = 0.0
    for outputs in (3,) if entry.compares else (1, 3):
        logits = 2 * rng.standard_normal((examples, outputs))
        shares = rng.random((examples, outputs)) + 0.01
        indices = rng.integers(0, max(outputs, 2), examples).astype(np.int32)
        for targets in (indices, shares / shares.sum(axis=1, keepdims=True) if outputs > 1 else shares / 2):
            for weights in (None, rng.random(examples)):
                worst = max(worst, _check_loss(entry, logits, targets, weights, backend))
    return worst


def _check_loss(entry: Loss, logits: np.ndarray, targets: np.ndarray, weights: Any, backend: Any) -> float:
    share = 1 / len(logits) if weights is None else weights[:, None] / weights.sum()
    gradient, value = _run_loss(entry, logits, targets, weights)
    difference = np.empty_like(gradient)
    for output in range(logits.shape[1]):
        step = np.zeros_like(logits)
        step[:, output] = 1e-6
        above, below = (_run_loss(entry, logits + sign * step, targets, weights)[1] for sign in (1, -1))
        difference[:, output] = (above - below) / 2e-6
    pairs = [("its gradient differs from the finite difference", gradient / share, difference)]
    if backend is not None and backend.name == "cuda":
        device_gradient, device_value = _run_loss(entry, logits, targets, weights, backend)
        pairs.append(("its CUDA value differs from its NumPy value", device_value[:, None], value[:, None]))
        pairs.append(("its CUDA gradient differs from its NumPy gradient", device_gradient / share, gradient / share))
    worst = 0.0
    for what, got, expected in pairs:
        with np.errstate(invalid="ignore"):
            error = np.abs(got - expected) / np.maximum(np.abs(expected), 1)
        place = np.unravel_index(int(np.argmax(np.where(np.isfinite(error), error, np.inf))), error.shape)
        if not error[place] <= TOLERANCE:
            raise UsageError(
                f"loss {entry.name!r}: {what} at the outputs {np.round(logits[place[0]], 6).tolist()} with the target "
                f"{np.round(targets[place[0]], 6).tolist()}, {got[place]:.9g} against {expected[place]:.9g}; correct "
                "one of the two."
            )
        worst = max(worst, float(error[place]))
    return worst


def _run_loss(
    entry: Loss, logits: np.ndarray, targets: np.ndarray, weights: Any, backend: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient (n, outputs) of the mean loss, and the loss of each example (n,)."""
    form = "NumPy form" if backend is None else "CUDA form"
    try:
        if backend is None:
            z, delta, losses = logits.copy(), np.empty_like(logits), np.empty(len(logits))
            total = None if weights is None else weights.sum(keepdims=True)
            loss_step(z, None, targets, entry, delta, None, losses, None, weights, total)
            return delta, losses
        with backend.use():
            z, t = backend.to_device(logits).copy(), backend.to_device(targets)
            delta, losses = backend.empty(logits.shape, z.dtype), backend.empty(len(logits), z.dtype)
            w = None if weights is None else backend.to_device(weights)
            total = None if w is None else w.sum(keepdims=True)
            loss_step(z, None, t, entry, delta, None, losses, None, w, total)
            return backend.to_host(delta), backend.to_host(losses)
    except Exception as error:  # as above
        raise _cannot(entry, form, error) from error


def _cannot(entry: Activation | Loss, form: str, error: Exception) -> UsageError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # A compiler says "file(line): error: what is wrong", somewhere below what it was called with.
    told = next((line for line in lines if "error" in line.lower()), lines[0])
    what = "loss" if isinstance(entry, Loss) else "activation"
    return UsageError(f"{what} {entry.name!r}: its {form} cannot be run ({told[:200]}); correct the formula.")

"""The check of an activation: its derivative against finite differences, its CUDA form against its NumPy form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.errors import UsageError
from gpunet.kernels.activation import Activation, activation_backward, activation_forward
from gpunet.kernels.activations import get_activation

#: The largest difference that passes.
TOLERANCE = 1e-6


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


def _cannot(entry: Activation, form: str, error: Exception) -> UsageError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # A compiler says "file(line): error: what is wrong", somewhere below what it was called with.
    told = next((line for line in lines if "error" in line.lower()), lines[0])
    return UsageError(f"activation {entry.name!r}: its {form} cannot be run ({told[:200]}); correct the formula.")

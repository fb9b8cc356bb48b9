"""Examples, targets and weights as a user of scikit-learn hands them over, checked by scikit-learn's own checks.

What lies on a CUDA device stays there: examples are checked where they are, and only targets and weights, which are
small beside them, are looked at on the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from gpunet.backend import Backend, as_numpy, get_backend
from gpunet.errors import UsageError


def on_cuda(values: Any) -> bool:
    """Whether an array lies on a CUDA device."""
    return hasattr(values, "__cuda_array_interface__")


def _known(values: Any) -> Any:
    """A tensor of torch or JAX on the host as NumPy's array, whose type scikit-learn's checks know, and all else as it
    is."""
    foreign = hasattr(values, "__dlpack__") and not isinstance(values, np.ndarray) and not on_cuda(values)
    return as_numpy(values) if foreign else values


def backend_for(device: Any, X: Any) -> Backend:
    """The backend of a device; of None that on which the examples lie."""
    if device is not None:
        return get_backend(device)
    if not on_cuda(X):
        return get_backend("cpu")
    return get_backend(f"cuda:{getattr(X.device, 'id', getattr(X.device, 'index', 0))}")


def check_examples(estimator: Any, X: Any, *, reset: bool, backend: Backend) -> Any:
    """The examples (n, features) as float64 or float32, in C order, where they lie.

    Args:
        estimator: whose `n_features_in_` (and `feature_names_in_`) they are compared with.
        X: the examples.
        reset: whether to set these instead.
        backend: the device to check them on, if they lie on one.

    Raises:
        ValueError: they are not what they should be.
    """
    if not on_cuda(X):
        return validate_data(estimator, _known(X), dtype=(np.float64, np.float32), order="C", reset=reset)
    rows = backend.to_device(X)
    with backend.use():
        rows = backend.xp.ascontiguousarray(rows, np.float32 if rows.dtype == np.float32 else np.float64)
        if rows.ndim != 2 or 0 in rows.shape:
            raise UsageError(f"X must be of shape (examples, features) with one of each at least, not {rows.shape}.")
        if not bool(backend.xp.isfinite(rows).all()):
            raise UsageError("X contains NaN, infinity or a number that is too large.")
    # scikit-learn counts features and compares with those of before; of what lies here it needs the shape alone.
    validate_data(estimator, np.broadcast_to(np.float32(0), (1, rows.shape[1])), reset=reset)
    return rows


def check_pairs(estimator: Any, X: Any, y: Any, *, numeric: bool, reset: bool, backend: Backend) -> tuple[Any, Any]:
    """Examples as `check_examples` gives them, and targets (n,) or (n, k) on the host; see there.

    Args:
        estimator, X, reset, backend: as there.
        y: the targets.
        numeric: whether they must be numbers.
    """
    if not on_cuda(X) and not on_cuda(y):
        return validate_data(
            estimator, _known(X), _known(y), multi_output=True, y_numeric=numeric, dtype=(np.float64, np.float32),
            order="C", reset=reset,
        )  # fmt: skip
    dtype = (np.float64, np.float32) if numeric else None
    y = check_array(as_numpy(y), ensure_2d=False, dtype=dtype, input_name="y", estimator=estimator)
    rows = check_examples(estimator, X, reset=reset, backend=backend)
    check_consistent_length(y, np.broadcast_to(0, len(rows)))
    return rows, y


def check_weights(sample_weight: Any, count: int) -> np.ndarray | None:
    """Sample weights (n,) float64 on the host, or None.

    Raises:
        ValueError: they are not as many as the examples, not numbers, negative, or all 0.
    """
    if sample_weight is None:
        return None
    weights = as_numpy(sample_weight)
    if weights.ndim == 0:
        weights = np.full(count, weights)
    weights = check_array(weights, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.shape != (count,):
        raise UsageError(f"sample_weight must be of shape ({count},), one for each example, not {weights.shape}.")
    if weights.min() < 0 or not weights.any():
        raise UsageError("the numbers of sample_weight must be at least 0, and not all of them zero.")
    return weights


def like(X: Any, values: Any, backend: Backend) -> Any:
    """Results on the device of a model as the caller wants them: CuPy where the examples lie on a CUDA device, else
    NumPy."""
    if not on_cuda(X):
        return backend.to_host(values)
    return values if backend.name == "cuda" else backend_for(None, X).to_device(values)

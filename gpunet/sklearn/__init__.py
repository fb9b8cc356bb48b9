"""Estimators for scikit-learn: MLPClassifier and MLPRegressor with the parameters of its own, trained by gpunet.

scikit-learn is imported here alone; it comes with `pip install "gpunet[sklearn]"`.

Raises:
    MissingExtra: scikit-learn is not installed, or too old.
"""

from __future__ import annotations

from gpunet.errors import MissingExtra

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  in scikit-learn since 1.6
except ImportError as error:
    raise MissingExtra("scikit-learn (1.6 or later)", "sklearn", "gpunet.sklearn") from error

from gpunet.sklearn.classifier import MLPClassifier
from gpunet.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]

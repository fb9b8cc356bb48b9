"""scikit-learn's own checks of an estimator, all of them, with no failure that is expected."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.utils.estimator_checks import parametrize_with_checks

from gpunet.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.host

#: Epochs as scikit-learn checks its own networks with; the checks warn on purpose, and of other things than these.
ESTIMATORS = [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)

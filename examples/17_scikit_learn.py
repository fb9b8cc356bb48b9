"""Lesson 17: a network among the tools of scikit-learn.

`gpunet.sklearn` has the MLPClassifier and the MLPRegressor of scikit-learn with the same parameters, and trains them
as gpunet trains. They stand in pipelines, in cross-validation and in searches like any other estimator, and take
float64 data as it is. Needs `pip install "gpunet[sklearn]"`.
"""

import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpunet.sklearn import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are enough to see what is to be seen
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

# The same parameters, the same weights to begin with; only the order of the examples is drawn in another way.
for kind in (TheirClassifier, MLPClassifier):
    network = make_pipeline(StandardScaler(), kind(max_iter=30, random_state=0)).fit(X_train, y_train)
    print(f"{kind.__module__:42} test accuracy {network.score(X_test, y_test):.4f}")

# A search chooses the penalty and the dropout by cross-validation; the scaler is fitted to each fold's own examples.
search = GridSearchCV(
    make_pipeline(StandardScaler(), MLPClassifier(max_iter=30, random_state=0)),
    {"mlpclassifier__alpha": [1e-4, 1e-1], "mlpclassifier__dropout": [0.0, 0.3]},
    cv=3,
).fit(X_train, y_train)
for parameters, accuracy in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"]):
    print(
        f"alpha {parameters['mlpclassifier__alpha']:<8} dropout {parameters['mlpclassifier__dropout']}: {accuracy:.4f}"
    )
print(f"chosen {search.best_params_}")
print(f"test accuracy of the chosen one {search.score(X_test, y_test):.4f}")

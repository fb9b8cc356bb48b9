"""The classifier: one of several classes, or several labels an example."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from gpunet.data.preparation import Preparation
from gpunet.errors import UsageError
from gpunet.kernels.losses import LOSSES
from gpunet.network.mlp import MLP
from gpunet.sklearn.base import BaseMLP, Task


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multi-layer perceptron that tells classes apart, with the parameters of scikit-learn's MLPClassifier.

    Two classes have one output with a sigmoid, more have a softmax, several labels an example a sigmoid each. With the
    same `random_state` it starts from the same weights as scikit-learn's.

    Args:
        hidden_layer_sizes: the width of each hidden layer; a number for a single one, () for none.
        activation: of the hidden layers: "identity", "logistic", "tanh", "relu", any other of `gn.ACTIVATIONS`, an
            `Activation`, or a list with one for each.
        solver: "adam" or "sgd", any other of `gn.OPTIMIZERS`, or an `Optimizer`, whose own learning rate then counts.
            There is no "lbfgs".
        alpha: the L2 penalty: alpha / 2 times the sum of the squared weights, divided by the examples of the batch (by
            their weights, where they have some: by what these are in the mean of all batches).
        batch_size: examples per step; "auto" for 200, or all where there are fewer. A batch may hold the end of one
            epoch and the beginning of the next.
        learning_rate: "constant", "invscaling" or "adaptive"; for the solver "sgd" alone.
        learning_rate_init: the learning rate at the beginning.
        power_t: the exponent of "invscaling".
        max_iter: epochs, at most.
        shuffle: whether each epoch has an order of its own.
        random_state: a seed or a `RandomState`, of the weights, the validation examples, the order and dropout.
        tol: by how much the loss (or the validation score) has to get better.
        verbose: whether to print the loss of each epoch.
        warm_start: whether `fit` goes on from the weights of the last one.
        momentum, nesterovs_momentum: of the solver "sgd"; a momentum below 1.
        early_stopping: whether to hold out validation examples, to stop where their score no longer gets better, and
            to take the weights of the best epoch.
        validation_fraction: how many to hold out for that.
        beta_1, beta_2, epsilon: of the solver "adam".
        n_iter_no_change: for how many epochs there may be no better one before training stops; infinity for no end.
        max_fun: without meaning here; it is a parameter of "lbfgs".
        schedule: a learning-rate schedule in place of `learning_rate`: one of `gn.SCHEDULES` such as "cosine", with
            `learning_rate_init` as its first rate, or a `Schedule`.
        dropout: the rate of dropout behind each hidden layer, or one for each.
        device: "cpu", "cuda", "cuda:1" or "auto"; None computes where the examples lie, CuPy's on their GPU and all
            others on the CPU.

    Attributes:
        model_: the network, an `MLP`; the model's own methods, such as `save`, are there for it.
        classes_: the classes in their order; of several labels their numbers.
        n_features_in_, feature_names_in_: what the examples had.
        coefs_, intercepts_: weights and biases of each layer, on the model's device.
        loss_curve_: the mean loss, with the penalty, of the batches of each epoch; loss_ the last, best_loss_ the best.
        validation_scores_: the score after each epoch with `early_stopping`; best_validation_score_ the best.
        n_iter_: the epochs of the last fit; t_ the examples seen in all fits.
        n_layers_, n_outputs_, out_activation_: of the network, as scikit-learn counts and names them.
    """

    _scorer = staticmethod(accuracy_score)
    classes_: np.ndarray

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train for one epoch on these examples, going on from what was fitted before, the optimizer too.

        Args:
            X: (n, features).
            y: (n,) classes, or (n, labels) of 0 and 1.
            sample_weight: (n,) weights of the examples, or None.
            classes: all classes that there are; needed at the first call.

        Returns:
            The estimator.

        Raises:
            ValueError: as `fit`; and the classes are missing, or others than before.
        """
        first = "model_" not in vars(self)
        if first and classes is None:
            raise UsageError("classes must be passed on the first call to partial_fit, since y need not have them all.")
        if not first and classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise UsageError(f"classes={classes!r} is not the same as on the last call, {self.classes_!r}.")
        return self._fit(X, y, sample_weight, going_on=not first, partial=True, classes=classes)

    def predict(self, X: Any) -> Any:
        """The class (n,) of each example; of several labels (n, labels), 0 or 1.

        CuPy where `X` is on a CUDA device (and the classes are numbers), else NumPy.
        """
        rows = self._examples(X)
        answers = self._answers(self.model_, rows)
        backend = self.model_.backend
        if self.model_.preparation.task == "multi-label":
            return self._finish(X, answers)
        if self.classes_.dtype.kind not in "biuf":
            return self.classes_[backend.to_host(answers)]
        with backend.use():
            return self._finish(X, backend.to_device(self.classes_)[answers])

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class (n, classes), in the order of `classes_`, or of each label by itself."""
        rows = self._examples(X)
        logits, backend = self.model_.forward(rows), self.model_.backend
        with backend.use():
            found = self.model_.loss.probabilities(logits, backend.xp)
            if self.model_.preparation.task == "classification" and self.model_.outputs == 1:
                # One class alone is certain.
                found = backend.xp.hstack((1 - found, found)) if len(self.classes_) == 2 else found * 0 + 1
            return self._finish(X, found)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithms of `predict_proba`."""
        found = self.predict_proba(X)
        if isinstance(found, np.ndarray):
            with np.errstate(divide="ignore"):
                return np.log(found)
        with self.model_.backend.use():
            return self.model_.backend.xp.log(found)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy; of several labels that of whole rows.

        Args:
            X: (n, features).
            y: (n,) or (n, outputs).
            sample_weight: (n,) weights of the examples, or None.
        """
        return self._score(X, y, sample_weight)

    def _answers(self, model: MLP, X: Any) -> Any:
        logits, xp = model.forward(X), model.backend.xp
        with model.backend.use():
            if model.preparation.task == "multi-label":
                return model.loss.labels(logits, xp).astype(np.int64)
            return xp.minimum(model.loss.classes(logits, xp), len(self.classes_) - 1)

    def _task(self, y: np.ndarray, dtype: Any, *, going_on: bool, partial: bool, classes: Any) -> Task:
        if hasattr(y, "toarray"):  # a sparse matrix of labels
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multilabel-indicator"):
            check_classification_targets(y)  # which finds out the same once more
        if kind == "multiclass-multioutput":
            raise UsageError("y has several classes an example; fit a classifier to each of its columns.")
        several = kind == "multilabel-indicator"
        found = np.arange(y.shape[1]) if several else np.unique(y)
        known = self.classes_ if going_on else np.unique(classes) if partial and not several else found
        strange = np.setdiff1d(found, known)
        if len(strange) or (not partial and len(found) != len(known)):
            raise UsageError(f"y has the classes {found}, and those before were {known}.")
        self.classes_ = known
        if several:
            return self._sigmoids(y.astype(dtype), "multi-label", len(known))
        targets = np.searchsorted(known, y).astype(np.int32)
        if len(known) <= 2:
            return self._sigmoids(targets, "classification", 1)
        loss = LOSSES.make("softmax-cross-entropy")
        return Task(targets, len(known), len(known), loss, self._preparation("classification"), "softmax", None)

    def _sigmoids(self, targets: np.ndarray, name: str, outputs: int) -> Task:
        loss, stratify = LOSSES.make("binary-cross-entropy"), targets if targets.ndim == 1 else None
        return Task(targets, outputs, max(outputs, 2), loss, self._preparation(name), "logistic", stratify)

    def _preparation(self, task: str) -> Preparation:
        named = task == "classification" and len(self.classes_) >= 2
        return Preparation(task=task, class_names=tuple(map(str, self.classes_)) if named else None)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

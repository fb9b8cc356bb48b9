"""The estimators against scikit-learn's own, which take the same steps from the same weights, and among its tools."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import sklearn
import sklearn.neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gpunet as gn
import gpunet.sklearn as ours
from gpunet.sklearn.convergence import Convergence

pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

DIGITS, CLASSES = load_digits(return_X_y=True)
DIGITS, CLASSES = DIGITS[:400] / 16, CLASSES[:400]
DIABETES, PROGRESS = (array[:400] for array in load_diabetes(return_X_y=True, scaled=False))
DIABETES, PROGRESS = StandardScaler().fit_transform(DIABETES), PROGRESS / 100
TOPICS, LABELS = make_multilabel_classification(400, 10, n_classes=4, random_state=0)
#: Examples and targets of each kind.
DATA = {
    "classes": (DIGITS, CLASSES),
    "two classes": (DIGITS, np.where(CLASSES < 5, "low", "high")),
    "labels": (TOPICS, LABELS),
    "number": (DIABETES, PROGRESS),
    "numbers": (DIABETES, np.column_stack((PROGRESS, -2 * PROGRESS + 1))),
}


def pair(kind: str, **parameters: Any) -> list[Any]:
    """scikit-learn's network and ours, both fitted to the same data in the same order."""
    name = "MLPRegressor" if kind.startswith("number") else "MLPClassifier"
    X, y = DATA[kind]
    given = {"hidden_layer_sizes": (12, 7), "max_iter": 6, "shuffle": False, "random_state": 3, **parameters}
    return [getattr(module, name)(**given).fit(X, y) for module in (theirs, ours)]


def assert_alike(their: Any, our: Any, X: np.ndarray, tolerance: float = 1e-7) -> None:
    """Both went the same way, up to rounding."""
    for theirs_, ours_ in zip(their.coefs_ + their.intercepts_, our.coefs_ + our.intercepts_, strict=True):
        assert ours_.dtype == theirs_.dtype
        np.testing.assert_allclose(ours_, theirs_, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(our.loss_curve_, their.loss_curve_, rtol=tolerance)
    answers, expected = our.predict(X), their.predict(X)
    assert answers.shape == expected.shape
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answers, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(answers, expected)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(our, name) == getattr(their, name), name
    for name in ("loss_", "best_loss_", "best_validation_score_", "validation_scores_"):
        expected = getattr(their, name)
        assert (getattr(our, name) is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_allclose(getattr(our, name), expected, rtol=tolerance)


# --- the same steps as scikit-learn's ------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(DATA))
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_the_same_steps_as_scikit_learns(kind: str, solver: str) -> None:
    their, our = pair(kind, solver=solver, learning_rate_init=0.01)
    X, y = DATA[kind]
    assert_alike(their, our, X)
    assert our.score(X, y) == pytest.approx(their.score(X, y))
    if "class" in kind or kind == "labels":
        np.testing.assert_array_equal(our.classes_, their.classes_)
        np.testing.assert_allclose(our.predict_proba(X), their.predict_proba(X), rtol=1e-6)
        np.testing.assert_allclose(our.predict_log_proba(X), their.predict_log_proba(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "parameters",
    [
        {"activation": "tanh"},
        {"activation": "logistic"},
        {"activation": "identity", "hidden_layer_sizes": 5},
        {"hidden_layer_sizes": ()},
        {"alpha": 1.0},
        {"alpha": 0.0, "batch_size": 40},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling", "power_t": 0.2, "learning_rate_init": 0.1},
        {"solver": "sgd", "momentum": 0.0, "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2,
         "learning_rate_init": 0.3, "max_iter": 60},
        {"tol": 0.02, "n_iter_no_change": 3, "max_iter": 100},
        {"early_stopping": True, "max_iter": 40, "n_iter_no_change": 4, "batch_size": 36, "learning_rate_init": 0.01},
    ],
    ids=lambda parameters: ",".join(f"{name}={value}" for name, value in parameters.items()),
)  # fmt: skip
def test_every_parameter_means_what_it_means_in_scikit_learn(parameters: dict[str, Any]) -> None:
    assert_alike(*pair("classes", **parameters), DIGITS, 1e-6)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", list(DATA))
def test_sample_weights_count_as_in_scikit_learn(kind: str, solver: str) -> None:
    if "sample_weight" not in inspect.signature(theirs.MLPClassifier.fit).parameters:
        pytest.skip("scikit-learn's own take no sample weights before 1.7")
    X, y = DATA[kind]
    weights = np.random.default_rng(0).integers(0, 4, len(X)) * np.random.default_rng(1).random(len(X))
    name = "MLPRegressor" if kind.startswith("number") else "MLPClassifier"
    # The penalty counts for much, and it is divided by the weights of each batch.
    given = {"hidden_layer_sizes": 8, "batch_size": 40, "max_iter": 2, "shuffle": False, "random_state": 0,
             "alpha": 0.5, "learning_rate_init": 0.01, "solver": solver}  # fmt: skip
    their, our = (getattr(module, name)(**given).fit(X, y, sample_weight=weights) for module in (theirs, ours))
    assert_alike(their, our, X, 1e-12)
    assert our.score(X, y, sample_weight=weights) == pytest.approx(their.score(X, y, sample_weight=weights))


def test_the_poisson_loss() -> None:
    if "loss" not in inspect.signature(theirs.MLPRegressor).parameters:
        pytest.skip("scikit-learn's own have no Poisson loss before 1.7")
    counts = np.random.default_rng(0).poisson(PROGRESS)
    given = {"loss": "poisson", "max_iter": 10, "shuffle": False, "random_state": 0, "learning_rate_init": 0.01}
    their, our = (module.MLPRegressor(**given).fit(DIABETES, counts) for module in (theirs, ours))
    assert_alike(their, our, DIABETES)
    with pytest.raises(ValueError, match="negative numbers"):
        our.fit(DIABETES, counts - 1)


@pytest.mark.parametrize("kind", ["classes", "labels", "number"])
def test_early_stopping_takes_the_weights_of_the_best_epoch(kind: str) -> None:
    their, our = pair(
        kind, early_stopping=True, max_iter=30, n_iter_no_change=5, batch_size=36, learning_rate_init=0.02
    )
    assert_alike(their, our, DATA[kind][0], 1e-6)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_goes_on_with_the_optimizer(solver: str) -> None:
    given = {"hidden_layer_sizes": 9, "shuffle": False, "random_state": 0, "solver": solver}
    their, our = (module.MLPClassifier(**given) for module in (theirs, ours))
    for estimator in (their, our):
        for start in (0, 200, 0, 200):
            part = slice(start, start + 200)
            estimator.partial_fit(DIGITS[part], CLASSES[part], classes=np.arange(10))
    assert_alike(their, our, DIGITS)
    regressors = [module.MLPRegressor(hidden_layer_sizes=9, shuffle=False, random_state=0) for module in (theirs, ours)]
    for estimator in regressors:
        for _ in range(3):
            estimator.partial_fit(DIABETES, PROGRESS)
    assert_alike(*regressors, DIABETES)


def test_partial_fit_of_several_labels_and_after_a_fit() -> None:
    our = ours.MLPClassifier(max_iter=3, random_state=0).fit(TOPICS, LABELS)
    before = our.loss_
    our.partial_fit(TOPICS, LABELS)
    assert our.loss_ < before
    assert len(our.loss_curve_) == 4
    fresh = ours.MLPClassifier(random_state=0).partial_fit(TOPICS, LABELS, classes=np.arange(4))
    assert fresh.predict(TOPICS).shape == LABELS.shape


def test_partial_fit_says_what_it_needs() -> None:
    our = ours.MLPClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        our.partial_fit(DIGITS, CLASSES)
    our.partial_fit(DIGITS, CLASSES, classes=np.arange(10))
    with pytest.raises(ValueError, match="not the same as on the last call"):
        our.partial_fit(DIGITS, CLASSES, classes=np.arange(9))
    with pytest.raises(ValueError, match="those before were"):
        our.partial_fit(DIGITS, CLASSES + 1)
    with pytest.raises(ValueError, match="early_stopping"):
        ours.MLPClassifier(early_stopping=True).partial_fit(DIGITS, CLASSES, classes=np.arange(10))


def test_a_warm_start_goes_on() -> None:
    their, our = pair("classes", warm_start=True)
    for estimator in (their, our):
        estimator.fit(DIGITS, CLASSES)
    assert_alike(their, our, DIGITS)
    with pytest.raises(ValueError, match="those before were"):
        our.fit(DIGITS[:5], CLASSES[:5])
    our.set_params(hidden_layer_sizes=(3,))
    with pytest.raises(ValueError, match="fit without warm_start"):
        our.fit(DIGITS, CLASSES)


def test_a_shuffled_fit_learns_as_well_and_is_repeated_by_its_seed() -> None:
    their, our = pair("classes", shuffle=True, max_iter=60)
    assert our.score(DIGITS, CLASSES) > their.score(DIGITS, CLASSES) - 0.02
    again = clone(our).fit(DIGITS, CLASSES)
    np.testing.assert_array_equal(again.predict_proba(DIGITS), our.predict_proba(DIGITS))
    assert clone(our).set_params(random_state=4).fit(DIGITS, CLASSES).loss_ != our.loss_


# --- more than scikit-learn's --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "adamw", "dropout": 0.1},
        {"solver": "adam:beta1=0.8"},
        {"solver": gn.Lion(0.001)},
        {"schedule": "cosine", "learning_rate_init": 0.01},
        {"schedule": gn.schedules.Step(0.01, every=20)},
        {"activation": ["silu", gn.ACTIVATIONS["gelu"]], "hidden_layer_sizes": (20, 10), "dropout": [0.1, 0.0],
         "learning_rate_init": 0.01},
    ],
    ids=str,
)  # fmt: skip
def test_what_gpunet_has_besides(parameters: dict[str, Any]) -> None:
    our = ours.MLPClassifier(random_state=0, max_iter=30, **parameters).fit(DIGITS, CLASSES)
    assert our.score(DIGITS, CLASSES) > 0.8
    clone(our)


def test_a_schedule_changes_the_rate() -> None:
    usual, cosine = (
        ours.MLPClassifier(random_state=0, max_iter=5, schedule=schedule).fit(DIGITS, CLASSES)
        for schedule in (None, "cosine")
    )
    assert usual.loss_ < cosine.loss_


def test_dropout_is_drawn_anew_in_every_partial_fit() -> None:
    losses = []
    for _ in range(2):
        our = ours.MLPRegressor(dropout=0.5, alpha=0.0, random_state=np.random.RandomState(0), learning_rate_init=1e-30)
        losses.append([our.partial_fit(DIABETES, PROGRESS).loss_ for _ in range(2)])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_the_model_can_be_saved_and_read_elsewhere(tmp_path: Path) -> None:
    our = ours.MLPClassifier(max_iter=3, random_state=0).fit(*DATA["two classes"])
    our.model_.save(tmp_path / "model.safetensors")
    model = gn.MLP.load(tmp_path / "model.safetensors")
    assert model.class_names == ["high", "low"]
    np.testing.assert_array_equal(our.classes_[model.predict(DIGITS)], our.predict(DIGITS))
    for kind in ("number", "numbers"):
        regressor = ours.MLPRegressor(max_iter=3, random_state=0).fit(*DATA[kind])
        regressor.model_.save(tmp_path / "model.safetensors")
        model = gn.MLP.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(model.predict(DIABETES), regressor.predict(DIABETES))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_numbers_are_computed_as_they_come(dtype: str) -> None:
    X = (DIGITS * 16).astype(dtype)
    our = ours.MLPClassifier(max_iter=3).fit(X, CLASSES)
    expected = np.float32 if dtype == "float32" else np.float64
    assert our.coefs_[0].dtype == our.predict_proba(X).dtype == expected
    assert ours.MLPRegressor(max_iter=3).fit(X, CLASSES).predict(X).dtype == expected


class Tensor:
    """An array of another library in host memory, known by DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tensors_of_other_libraries_are_as_good_as_arrays(dtype: str) -> None:
    X = DIGITS.astype(dtype)
    our = ours.MLPClassifier(max_iter=3, random_state=0).fit(Tensor(X), Tensor(CLASSES))
    assert our.model_.dtype == dtype
    expected = ours.MLPClassifier(max_iter=3, random_state=0).fit(X, CLASSES).predict_proba(X)
    np.testing.assert_array_equal(our.predict_proba(Tensor(X)), expected)


# --- among scikit-learn's tools ------------------------------------------------------------------------


def test_pipelines_searches_and_cross_validation() -> None:
    pipeline = make_pipeline(StandardScaler(), ours.MLPClassifier(max_iter=30, learning_rate_init=0.01, random_state=0))
    assert cross_val_score(pipeline, DIGITS, CLASSES, cv=2).min() > 0.8
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e3]}, cv=2, n_jobs=2)
    search.fit(DIGITS, CLASSES)
    assert search.best_params_ == {"mlpclassifier__alpha": 1e-4}
    assert search.score(DIGITS, CLASSES) > 0.9


def test_frames_have_their_names_checked() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DIABETES, columns=[f"column {number}" for number in range(DIABETES.shape[1])])
    pipeline = make_pipeline(StandardScaler(), ours.MLPRegressor(max_iter=5)).set_output(transform="pandas")
    pipeline.fit(frame, PROGRESS)
    assert list(pipeline[-1].feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        pipeline.predict(frame.rename(columns={"column 0": "another"}))


def test_a_frame_of_polars_is_as_good_as_its_array() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    columns = [f"column {number}" for number in range(DIABETES.shape[1])]
    frame = polars.DataFrame(DIABETES, schema=columns)
    targets = np.arange(len(DIABETES)) % 3
    fitted = ours.MLPClassifier(max_iter=4, random_state=0).fit(frame, polars.Series(targets))
    plain = ours.MLPClassifier(max_iter=4, random_state=0).fit(DIABETES, targets)
    assert list(fitted.feature_names_in_) == columns
    np.testing.assert_array_equal(fitted.predict_proba(frame), plain.predict_proba(DIABETES))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename({"column 0": "other"}))
    pipeline = make_pipeline(StandardScaler(), ours.MLPRegressor(max_iter=4)).set_output(transform="polars")
    assert pipeline.fit(frame, targets).predict(frame).shape == targets.shape
    assert list(pipeline[-1].feature_names_in_) == columns


def test_sample_weights_are_routed() -> None:
    weights = np.where(CLASSES == 3, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        network = ours.MLPClassifier(max_iter=3, random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), network)
        pipeline.fit(DIGITS, CLASSES, sample_weight=weights)
    direct = ours.MLPClassifier(max_iter=3, random_state=0)
    direct.fit(StandardScaler().fit_transform(DIGITS), CLASSES, sample_weight=weights)
    np.testing.assert_array_equal(pipeline[-1].coefs_[0], direct.coefs_[0])


def test_pickled_and_dumped_it_is_the_same(tmp_path: Path) -> None:
    our = ours.MLPClassifier(max_iter=3, random_state=0).fit(DIGITS, CLASSES)
    joblib.dump(our, tmp_path / "network.joblib")
    for copy in (pickle.loads(pickle.dumps(our)), joblib.load(tmp_path / "network.joblib")):
        np.testing.assert_array_equal(copy.predict_proba(DIGITS), our.predict_proba(DIGITS))
        copy.partial_fit(DIGITS, CLASSES)  # the optimizer has come along
    our.partial_fit(DIGITS, CLASSES)
    np.testing.assert_array_equal(copy.predict_proba(DIGITS), our.predict_proba(DIGITS))


# --- what is said --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"solver": "lbfgs"}, "solver='lbfgs' is not there"),
        ({"solver": "amsgrad"}, "did you mean adam"),
        ({"alpha": -1.0}, "alpha -1.0: a finite number of at least 0"),
        ({"activation": "swsh"}, "did you mean silu"),
        ({"hidden_layer_sizes": (10, 0)}, "hidden_layer_sizes must be whole numbers"),
        ({"learning_rate": "invscalng"}, "did you mean invscaling"),
        ({"batch_size": 0}, "batch_size 0: at least 1"),
        ({"n_iter_no_change": 0}, "n_iter_no_change 0"),
        ({"dropout": 1.0}, "dropout rate"),
        ({"device": "gpu"}, "did you mean cuda"),
        ({"validation_fraction": 1.5}, "validation_fraction 1.5"),
        ({"beta_2": 1}, "beta_2 1: beta2 must be a number of at least 0 and below 1"),
        ({"epsilon": 0}, "epsilon 0: epsilon must be a number above 0"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "fewer than two examples"),
        ({"schedule": "reduce-on-plateau"}, "take solver='sgd' and learning_rate='adaptive'"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told_in_a_sentence(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ours.MLPClassifier(**parameters).fit(DIGITS, CLASSES)


def test_a_parameter_that_is_not_there_is_refused_with_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"MLPClassifier has no argument optimizer; did you mean solver\?"):
        ours.MLPClassifier(optimizer="adamw")
    with pytest.raises(ValueError, match="MLPRegressor has no argument hiden_layer_sizes; did you mean hidden_layer"):
        ours.MLPRegressor(hiden_layer_sizes=(3,))


def test_other_sentences() -> None:
    with pytest.raises(ValueError, match="unknown loss"):
        ours.MLPRegressor(loss="mse").fit(DIABETES, PROGRESS)
    with pytest.raises(ValueError, match="several classes an example"):
        ours.MLPClassifier().fit(DIGITS, np.column_stack((CLASSES, CLASSES)))
    with pytest.raises(NotFittedError):
        ours.MLPClassifier().predict(DIGITS)
    assert not hasattr(ours.MLPClassifier(), "coefs_")
    with pytest.raises(TypeError, match="dense data is required"):
        ours.MLPClassifier().fit(pytest.importorskip("scipy.sparse").csr_array(DIGITS), CLASSES)
    with pytest.warns(UserWarning, match="taken all"):
        ours.MLPClassifier(batch_size=1000, max_iter=1).fit(DIGITS, CLASSES)


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_an_end_before_convergence_is_warned_of() -> None:
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        ours.MLPClassifier(max_iter=2).fit(DIGITS, CLASSES)


def test_a_run_that_diverges_leaves_the_last_fit(recwarn: pytest.WarningsRecorder) -> None:
    our = ours.MLPRegressor(max_iter=2, random_state=0).fit(DIABETES, PROGRESS)
    before = our.predict(DIABETES)
    our.set_params(solver="sgd", learning_rate_init=1e6, max_iter=200)
    with pytest.raises(gn.TrainingDiverged, match="not a finite number"):
        our.fit(DIABETES, PROGRESS)
    np.testing.assert_array_equal(our.predict(DIABETES), before)


def test_an_interrupted_fit_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Convergence.on_step

    def interrupted(self: Convergence, trainer: Any) -> None:
        judge(self, trainer)
        if self.epochs == 3:
            raise KeyboardInterrupt  # as by Ctrl-C

    monkeypatch.setattr(Convergence, "on_step", interrupted)
    our = ours.MLPClassifier(max_iter=50, random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        our.fit(DIGITS, CLASSES)
    assert our.n_iter_ == 3
    monkeypatch.undo()
    expected = ours.MLPClassifier(max_iter=3, random_state=0).fit(DIGITS, CLASSES)
    np.testing.assert_array_equal(our.coefs_[0], expected.coefs_[0])


def test_verbose_alone_prints(capsys: pytest.CaptureFixture[str]) -> None:
    ours.MLPClassifier(max_iter=2, random_state=0).fit(DIGITS, CLASSES)
    assert capsys.readouterr() == ("", "")
    our = ours.MLPClassifier(max_iter=2, random_state=0, verbose=True).fit(DIGITS, CLASSES)
    assert capsys.readouterr().out.splitlines() == [
        f"Epoch {number}, loss {loss:.8f}" for number, loss in enumerate(our.loss_curve_, 1)
    ]


def test_without_scikit_learn_a_sentence_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import gpunet as gn\n"
        "try:\n"
        "    import gpunet.sklearn\n"
        "except gn.GpunetError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert 'pip install "gpunet[sklearn]"' in done.stdout, done.stderr

"""How objects look in a console and in a notebook, and what Python says to calls that are nearly right."""

from __future__ import annotations

import re
import sys
import time
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.network.metrics import METRICS
from gpunet.notebook import Table
from gpunet.runs.history import History
from gpunet.training.rate_finder import RangeTest

pytestmark = pytest.mark.host

DATA = gn.Dataset.from_arrays(
    np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32), np.arange(90) % 3, class_names=["<a>", "b", "c"]
).hold_out(30)


@pytest.fixture(scope="module")
def result() -> gn.TrainingResult:
    return gn.train(gn.MLP([6, 4, 3], dropout=0.25), DATA, iterations=20, batch_size=20, log_every=4)


def test_every_public_object_is_one_line(result: gn.TrainingResult, tmp_path: Path) -> None:
    model = result.model
    trainer = gn.Trainer(model, DATA, batch_size=10, iterations=2000, callbacks=[gn.ProgressBar()])
    evaluation = gn.evaluate(model, DATA.train)
    folder = gn.RunFolder("runs/a")
    looks = {
        gn.SGD(0.1): "SGD(0.1)",
        gn.Adam(gn.schedules.Cosine(0.01), beta1=0.8): "Adam(Cosine(0.01), beta1=0.8)",
        gn.ACTIVATIONS["relu"]: "Activation('relu': max(x, 0))",
        gn.DATASETS["mnist"]: "DatasetEntry('mnist': 70,000 handwritten digits, the full MNIST)",
        gn.Settings(hidden="7", lr=0.5): "Settings(hidden=(7,), lr=0.5)",
        gn.Recipe(l2=0.1): "Recipe(l2=0.1)",
        trainer: "<Trainer of 6-4-3 relu on arrays (cpu): iteration 0 of 2,000>",
        model: "<MLP 6-4-3 relu on cpu>",
        model.layers[0]: "<Dense 6 x 4 relu>",
        model.layers[1]: "<Dense 4 x 3>",
        folder: "<RunFolder runs/a>",
        gn.Recorder(folder): "Recorder(<RunFolder runs/a>, keep=1)",
        gn.CsvLog("a.csv"): "CsvLog('a.csv')",
        gn.ProgressBar(): "ProgressBar()",
        METRICS["accuracy"]: f"{METRICS['accuracy']!r}",
    }
    assert {look: repr(each) for each, look in looks.items()} == {look: look for look in looks.values()}
    assert repr(evaluation).startswith("Evaluation(accuracy=0.")
    assert repr(evaluation).endswith(", 60 examples)")
    assert repr(result).startswith("TrainingResult(validation_accuracy=0.")
    assert repr(result).endswith(" s)")
    found = RangeTest(np.geomspace(1e-6, 10, 200), np.ones(200), np.ones(200), 0.034)
    assert repr(found) == "RangeTest(suggestion=0.034, 200 rates from 1e-06 to 10)"
    record = result.history[0]
    assert repr(record).startswith("StepRecord(iteration=3, epoch=1, accuracy=0.")
    others = [DATA, DATA.train, DATA.preparation, result.record, record, History.of(result.history), model.backend]
    for each in [*looks, evaluation, result, *others]:
        assert "\n" not in repr(each)
        assert len(repr(each)) < 300, repr(each)
        assert " object at 0x" not in repr(each)


class Cells(HTMLParser):
    """The cells of a table in HTML, row by row; every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.caption = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data


def test_a_model_is_a_table_of_its_layers(result: gn.TrainingResult) -> None:
    summary = result.model.summary()
    assert str(summary).splitlines() == [
        "MLP 6-4-3 relu, float32 on cpu, loss softmax-cross-entropy",
        "layer  weights  activation  dropout  parameters",
        "1      6 x 4    relu           0.25          28",
        "2      4 x 3    softmax                      15",
        "total                                        43",
    ]
    assert repr(summary) == str(summary)
    page = Cells(result.model._repr_html_())
    assert page.rows[0] == ["layer", "weights", "activation", "dropout", "parameters"]
    assert page.rows[-1] == ["total", "", "", "", "43"]


def test_data_results_and_evaluations_are_tables(result: gn.TrainingResult) -> None:
    page = Cells(DATA._repr_html_())
    assert page.rows[0] == ["split", "examples", "<a>", "b", "c"]
    assert page.rows[1][:2] == ["train", "60"]
    assert sum(map(int, page.rows[1][2:])) == 60
    page = Cells(result._repr_html_())
    assert [row[0] for row in page.rows] == ["split", "train", "validation"]
    assert page.rows[1][1] == f"{result.train_accuracy:.4g}"
    page = Cells(gn.evaluate(result.model, DATA.train)._repr_html_())
    assert page.rows[0] == ["class", "precision", "recall", "f1", "support"]
    assert len(page.rows) == 4


def test_the_results_of_a_regression_are_tables() -> None:
    data = gn.Dataset.from_arrays(np.eye(8, dtype=np.float32), np.arange(8) / 2, task="regression")
    model = gn.MLP([8, 1], loss="mse")
    result = gn.train(model, data, iterations=3, batch_size=4)
    assert "train" in Cells(result._repr_html_()).rows[1]
    assert Cells(gn.evaluate(model, data.train)._repr_html_()).rows[0] == ["metric", "value"]
    assert Cells(data._repr_html_()).rows[0] == ["split", "examples"]


def test_the_history_by_columns(result: gn.TrainingResult) -> None:
    columns = result.columns()
    assert list(columns)[:4] == ["iteration", "epoch", "accuracy", "loss"]
    assert {len(values) for values in columns.values()} == {len(result.history)}
    assert columns["loss"] == [record.loss for record in result.history]
    assert columns["validation_accuracy"] == [record.validation_accuracy for record in result.history]
    assert None in columns["validation_loss"]
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns)
    assert frame["loss"].tolist() == columns["loss"]


def test_a_table_escapes_what_it_is_given() -> None:
    table = Table("a & <b>", ["x"], [["<i>"], [None], [1234], [0.123456], [True]])
    assert Cells(table._repr_html_()).caption == "a & <b>"
    assert "<i>" not in table._repr_html_()
    assert str(table).splitlines() == ["a & <b>", "     x", "   <i>", "", " 1,234", "0.1235", "  True"]


MODEL = gn.MLP([6, 3])
X, Y = DATA.train.inputs, DATA.train.labels


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: gn.train(MODEL, (X, Y)),
            "the data must be a Dataset, as gn.Dataset.from_arrays(inputs, labels)",
        ),
        (lambda: gn.train(MODEL, X), "the data must be a Dataset"),
        (lambda: gn.train(MODEL, DATA.train), "the data must be a Dataset"),
        (lambda: gn.train(DATA, MODEL), "the model must be an MLP, not Dataset("),
        (lambda: gn.train(MODEL, DATA, iteratoins=3), "there is no option iteratoins; did you mean iterations?"),
        (
            lambda: gn.train(MODEL, DATA, learning_rate=1),
            "no option learning_rate; it is given with the optimizer, as in",
        ),
        (lambda: gn.train(MODEL, DATA, device="cpu"), "no option device; it is given with the model's backend, as in"),
        (
            lambda: gn.train(MODEL, DATA, batch_size=9, callbacks=print),
            "callbacks are a list; write callbacks",
        ),
        (
            lambda: gn.train(MODEL, DATA, batch_size=9, callbacks=gn.CsvLog("a")),
            "with CsvLog('a') in it.",
        ),
        (lambda: MODEL.predict_proba(DATA.train), "this is a Split; give its inputs, as in data.test.inputs."),
        (lambda: MODEL.predict(DATA), "this is a Dataset; give those of a split, as in data.test.inputs."),
        (lambda: MODEL.predict(None), "examples are needed, an array of (n, features), and this is None."),
        (lambda: MODEL.forward(3.0), "examples are needed, an array of (n, features), and this is 3.0."),
        (lambda: gn.evaluate(MODEL, (X, Y)), "a split, such as data.test or gn.Split(inputs, labels), is needed to"),
        (lambda: gn.evaluate(MODEL, DATA), "to evaluate a model, not Dataset("),
        (
            lambda: gn.train(MODEL, X, Y),
            "train takes model, data by position, and not 3 values; give all others by name",
        ),
        (lambda: gn.Trainer(MODEL, X, Y), "Trainer takes model, data by position, and not 3 values"),
        (
            lambda: gn.MLP(6, 4, 3),
            "MLP takes sizes, activation by position, and not 3 values; give all others by name.",
        ),
        (lambda: gn.evaluate(MODEL, X, Y), "a split, such as data.test or gn.Split(inputs, labels), is needed to"),
        (lambda: gn.train(MODEL, DATA, loss=lambda z, t: z), "derive one from Loss, or choose one of softmax-cross"),
        (
            lambda: gn.evaluate(MODEL, DATA.train, metrics=[np.mean]),
            "derive one from Metric, or choose one of accuracy",
        ),
        (lambda: gn.MLP([6, 4, 3], activation=np.tanh), "derive one from Activation, or choose one of relu"),
        (lambda: MODEL.set_parameter("w1", 0), "there is no parameter 'w1'; the model has W1, b1."),
        (lambda: MODEL.set_parameter(2, 0), "there is no parameter 2; the model has W1, b1."),
        (lambda: gn.plot_history(MODEL), "the result of a training, or a list or a dict of results, is needed to draw"),
        (
            lambda: gn.plot_confusion(MODEL),
            "an Evaluation, as gn.evaluate gives, or a matrix of counts is needed, not <M",
        ),
        (lambda: gn.show(X), "the data must be a Dataset, as gn.Dataset.from_arrays(inputs, labels)"),
        (lambda: gn.find_learning_rate(MODEL, (X, Y)), "the data must be a Dataset, as gn.Dataset.from_arrays"),
        (
            lambda: gn.cross_validate(MODEL, DATA),
            "make must be a function that gives a trainer of its data set, not <MLP",
        ),
        (lambda: gn.train_ensemble(lambda data, seed: None, (X, Y)), "the data must be a Dataset"),
        (
            lambda: gn.train_together([MODEL]),
            "what is trained together must be Trainers, as gn.Trainer(model, data), not",
        ),
        (lambda: gn.MLP([6, 4, 3], activation="swsh"), "unknown activation 'swsh'; did you mean silu? choose one of"),
    ],
)
def test_calls_that_are_nearly_right_get_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(gn.UsageError) as caught:
        call()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("accuracy", "did you mean train_accuracy or validation_accuracy?"),
        ("val_loss", "did you mean validation_loss?"),
        ("train_acc", "did you mean train_accuracy?"),
    ],
)
def test_a_metric_s_name_that_is_nearly_right(result: gn.TrainingResult, name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(hint)):
        getattr(result, name)


class Cell:
    """What stands under a cell, as IPython's `display` has it."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, value: Any, *, display_id: bool) -> Cell:
        assert display_id
        self.update(value)
        return self

    def update(self, value: Any, raw: bool = False) -> None:
        self.shown.append(value if raw else value._repr_mimebundle_((), ()))


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A notebook that runs the test."""
    made = Cell()
    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(package)["get_ipython"] = lambda: types.SimpleNamespace(kernel=None)
    vars(module)["display"] = made.display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return made


def test_the_bar_is_drawn_under_the_cell_and_taken_away(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    class Wait(gn.Callback):
        """Until it was drawn for once."""

        def on_record(self, record: gn.Record, trainer: gn.Trainer) -> None:
            before, end = len(cell.shown), time.monotonic() + 300
            while len(cell.shown) < before + 2 and time.monotonic() < end:
                time.sleep(0.01)

    gn.train(gn.MLP([6, 4, 3]), DATA, iterations=20, batch_size=20, log_every=10, progress=True, callbacks=[Wait()])
    assert "0/20" in cell.shown[0]["text/html"]
    assert any("20/20" in each["text/html"] and "loss" in each["text/html"] for each in cell.shown)
    assert cell.shown[-1] == {"text/plain": "", "text/html": ""}
    assert capsys.readouterr() == ("", "")


def test_rows_of_several_networks_are_drawn_under_the_cell(cell: Cell) -> None:
    trainers = [gn.Trainer(gn.MLP([6, 4, 3], seed=seed), DATA, iterations=6, batch_size=20) for seed in range(2)]
    gn.train_together(trainers, progress=True)
    assert "6-4-3 relu" in cell.shown[0]["text/html"]
    assert cell.shown[-1] == {"text/plain": "", "text/html": ""}
    assert len(cell.shown) >= 3


def test_nothing_is_drawn_where_there_is_no_notebook(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    sys.modules["IPython"].get_ipython = lambda: object()  # IPython in a pipe
    gn.train(gn.MLP([6, 4, 3]), DATA, iterations=5, batch_size=20, progress=True)
    assert cell.shown == []
    assert capsys.readouterr() == ("", "")

"""Pictures: what is drawn is what was recorded, and the files are what their names say."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from drawn import assert_apart, texts
from fuzzing import tries
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.pictures.picture import Canvas, metric_text
from gpunet.runs.history import History, named, smoothed

pytest.importorskip("matplotlib", reason="the extra plot")

from gpunet.pictures import plots
from gpunet.pictures.curves import Curves

pytestmark = pytest.mark.host


def steps(count=20, every=10, validation=False, rate=0.1):
    """Step records with a loss that falls from 2."""
    records = []
    for number in range(1, count + 1):
        record = {
            "event": "step",
            "iteration": number * every,
            "epoch": number * every / 40,
            "loss": 2.0 / number,
            "accuracy": 1 - 0.9 / number,
            "learning_rate": rate if np.isscalar(rate) else rate[number - 1],
        }
        if validation and number % 2 == 0:
            record |= {"validation_loss": 2.2 / number, "validation_accuracy": 0.9 - 0.5 / number}
        records.append(record)
    return records


RESULT = {"event": "result", "device": "cpu", "test_accuracy": 0.91, "test_loss": 0.3}


# --- history --------------------------------------------------------------------------------------------


def test_history_of_a_result_and_of_its_lines_are_the_same(mnist_5k, tmp_path):
    result = gn.train(gn.MLP([784, 10]), mnist_5k, iterations=40, log_every=10)
    from_result = History.of(result, "a")
    lines = "".join(json.dumps(record.as_dict()) + "\n" for record in [*result.history, result.record])
    (tmp_path / "a.jsonl").write_text(lines)
    from_file = History.read(tmp_path / "a.jsonl")
    assert from_file == from_result
    assert from_file.final("test_accuracy") == result.test_accuracy
    assert from_file.epoch_length == 40
    iterations, losses = from_file.column("loss")
    assert iterations.tolist() == [10, 20, 30, 40]
    assert losses.tolist() == [record.loss for record in result.history]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    text = json.dumps(steps(2)[0]) + "\n" + json.dumps(steps(2)[1])[:25]
    (tmp_path / "metrics.jsonl").write_text(text)
    assert [step["iteration"] for step in History.read(tmp_path).steps] == [10]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no step of a run"),
        (b"not json\n{}\n", "line 1 is not JSON"),
        (b"[1, 2]\n", "line 1 is no record"),
        (b'{"event": "step", "loss": 1}\n', "line 1 is a step without a number of iterations"),
        (b'{"event": "step", "iteration": true}\n', "line 1 is a step without"),
        (b'{"event": "result"}\n', "no step of a run"),
        (b"\xff\xfe\x00", "no text"),
        (b"[" * 100_000 + b"\n\n", "line 1 is not JSON"),
    ],
)
def test_a_file_that_holds_no_records_is_refused_in_a_sentence(content, said, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(gn.DataError, match=said):
        History.read(tmp_path)


def test_a_run_that_is_not_there_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(gn.DataError, match="there is no such run"):
        History.read(tmp_path / "missing")
    with pytest.raises(gn.DataError, match=r"no metrics\.jsonl"):
        History.read(tmp_path)


def test_numbers_that_are_not_finite_or_no_numbers_are_left_out():
    records = steps(4)
    records[1]["loss"], records[2]["loss"] = float("nan"), "high"
    assert History.of(records).column("loss")[0].tolist() == [10, 40]
    assert len(plots.curves(records).axes) == 2


def test_short_names_are_used_unless_they_are_the_same(tmp_path):
    for folder in ("one/a", "one/b", "two/a"):
        (tmp_path / folder).mkdir(parents=True)
    assert [name for _, name in named([tmp_path / "one/a", tmp_path / "one/b"])] == ["a", "b"]
    twins = [tmp_path / "one/a", tmp_path / "two/a"]
    assert [name for _, name in named(twins)] == [str(path) for path in twins]


def test_smoothing_is_the_mean_of_as_many_neighbours_on_both_sides():
    values = np.array([4.0, 0.0, 2.0, 6.0, 1.0])
    np.testing.assert_allclose(smoothed(values, 0), values)
    np.testing.assert_allclose(smoothed(values, 2), [4, 2, 13 / 5, 3, 1])


values = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.integers(-(10**400), 10**400), st.text(max_size=3),
    st.lists(st.integers(), max_size=1),
)  # fmt: skip
names = st.sampled_from(
    ["event", "iteration", "epoch", "loss", "accuracy", "learning_rate", "validation_loss", "test_loss"]
)
lines = st.dictionaries(names, values | st.sampled_from(["step", "result"]) | st.integers(0, 9)).map(json.dumps)


@tries(200)
@given(st.lists(lines | st.text(max_size=5), max_size=6))
def test_whatever_stands_in_a_file_is_a_history_or_a_sentence(written):
    text = "\n".join(written)
    try:
        history = History.parse(text, "a", "a.jsonl")
    except gn.DataError:
        return
    try:
        Curves([history])
    except gn.DataError:
        return
    for log in (False, True):
        Curves([history], log=log).terminal(Canvas())
    Curves([history, history]).terminal(Canvas(60, "256"))


@pytest.mark.parametrize(
    "record",
    [
        {"loss": 1e300, "accuracy": -5},
        {"loss": 10**400, "accuracy": 0.5},
        {"loss": float("inf"), "accuracy": 0.5, "learning_rate": "fast", "epoch": 0},
        {"loss": -3.0, "accuracy": 1e99, "learning_rate": -1, "epoch": -1.0},
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_odd_numbers_are_drawn_or_left_out(record, log, tmp_path):
    records = [{"event": "step", "iteration": index, **record} for index in (0, 7)]
    plots.save(plots.curves(records, log=log), tmp_path / "odd.svg")
    plots.save(plots.curves([History.of(records), History.of(steps())], log=log), tmp_path / "odd.svg")


@pytest.mark.parametrize("record", [{}, {"loss": float("nan"), "accuracy": "high"}, {"seconds": 1.0}])
def test_records_without_a_loss_or_a_metric_are_refused_in_a_sentence(record):
    with pytest.raises(gn.DataError, match="no loss and no metric"):
        plots.curves([{"event": "step", "iteration": 1, **record}])


# --- curves ---------------------------------------------------------------------------------------------


def test_the_curves_of_a_run_are_its_records():
    figure = plots.curves([*steps(validation=True), RESULT], smooth=0)
    loss = figure.axes[0]
    lines = [line.get_ydata().tolist() for line in loss.get_lines()]
    recorded = [2.0 / number for number in range(1, 21)]
    assert lines[0] == recorded
    np.testing.assert_allclose(lines[1], recorded)
    assert lines[2] == [2.2 / number for number in range(2, 21, 2)]
    assert lines[3] == [0.3]
    assert {"training 0.100", "validation 0.110", "test 0.300"} <= set(texts(figure))
    assert {"Loss", "Accuracy", "iteration (an epoch is 40, learning rate 0.1)"} <= set(texts(figure))


def test_every_metric_of_the_records_has_a_panel():
    records = [
        {"event": "step", "iteration": i, "loss": 1 / i, "r2": 0.1 * i, "validation_mae": 3 / i} for i in range(1, 9)
    ]
    titles = [axes.get_title(loc="left") for axes in plots.curves(records).axes]
    assert titles == ["Loss", "R2", "MAE"]
    assert [axes.get_title(loc="left") for axes in plots.curves([{**one, "r2": None} for one in records]).axes] == [
        "Loss",
        "MAE",
    ]
    text = "\n".join(Curves([History.of(records)]).terminal(Canvas()))
    assert "training 0.8" in text
    assert text.count("╭") == 3


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.94612, "0.9461"), (28810.9666, "28,811"), (437.06, "437.1"), (1e99, "1e+99"), (float("nan"), "nan")],
)
def test_a_value_has_as_many_digits_as_say_something(value, said):
    assert metric_text(value) == said


def test_runs_are_called_what_the_labels_say():
    runs = [History.of(steps(), "a"), History.of(steps(), "b")]
    assert {"slow 0.100", "fast 0.100"} <= set(texts(plots.curves(runs, labels=["slow", "fast"])))
    assert {"slow 0.100", "fast 0.100"} <= set(texts(plots.curves({"slow": runs[0], "fast": runs[1]})))
    with pytest.raises(gn.UsageError, match="3 labels for 2 runs"):
        plots.curves(runs, labels=["x", "y", "z"])


def test_a_notebook_shows_a_figure_as_the_last_line():
    picture, size = plots.curves(steps())._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert size["width"] == round(96 * 9.6)


def test_a_figure_can_be_pickled():
    figure = plots.curves(steps())
    again = pickle.loads(pickle.dumps(figure))
    assert type(again) is type(figure)
    assert texts(again) == texts(figure)


def test_the_learning_rate_gets_a_panel_when_it_changes():
    assert len(plots.curves(steps()).axes) == 2
    figure = plots.curves(steps(rate=np.linspace(1, 0.1, 20).tolist()))
    assert figure.axes[2].get_title(loc="left") == "Learning rate"
    assert figure.axes[2].get_lines()[0].get_ydata()[0] == 1


def test_many_runs_are_told_apart_by_colour_and_name():
    runs = [History.of(steps(validation=True), f"run-{letter}") for letter in "abcdefghij"]
    figure = plots.curves(runs)
    looks = {
        (line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines() if line.get_linewidth() > 1
    }
    assert len(looks) == 10
    for letter in "abcdefghij":
        assert f"run-{letter} 0.110" in texts(figure)
    assert "Validation loss (training thin)" in texts(figure)


def test_runs_with_and_without_validation_say_which_is_drawn():
    runs = [History.of(steps(validation=True), "a"), History.of(steps(), "b")]
    assert {"a validation 0.110", "b training 0.100"} <= set(texts(plots.curves(runs)))


def test_names_at_the_ends_never_overlap():
    from gpunet.pictures.curves import spread

    places = spread([0.5, 0.5, 0.5, 0.9], 0.1)
    np.testing.assert_allclose(places, [0.4, 0.5, 0.6, 0.9])
    assert spread([0.2], 0.1) == [0.2]
    np.testing.assert_allclose(spread([0.0, 0.0, 1.0], 0.1), [0, 0.1, 1])
    np.testing.assert_allclose(spread([0.9, 1.0, 1.0], 0.1), [0.8, 0.9, 1])
    np.testing.assert_allclose(spread([0.0] * 5, 0.5), [-0.5, 0, 0.5, 1, 1.5])  # more than fit
    crowded = spread(sorted(np.random.default_rng(0).random(12).tolist()), 0.05)
    assert np.diff(crowded).min() >= 0.05 - 1e-9
    assert min(crowded) >= -1e-12
    assert max(crowded) <= 1 + 1e-12


LONG = "experiment-learning-rate-0.1-batch-64-run-{}"


@pytest.mark.parametrize("rate", [0.1, np.linspace(1, 0.1, 20).tolist()], ids=["constant", "changing"])
@pytest.mark.parametrize("count", [9, 28, 40])
def test_many_runs_with_long_names_stay_legible(count, rate):
    from gpunet.pictures.style import COLOURS

    figure = plots.curves([History.of(steps(validation=True, rate=rate), LONG.format(n)) for n in range(count)])
    names = [text for axes in figure.axes[:2] for text in axes.texts]
    assert len(names) == 2 * (count if count <= 28 else len(COLOURS))
    assert_apart(names)
    assert figure.axes[0].get_position().width > 0.2
    assert ("in colour the best 7 of 40 runs by accuracy" in texts(figure)) == (count == 40)


def test_of_too_many_runs_the_best_are_named():
    runs = [steps(5) for _ in range(30)]
    for number, records in enumerate(runs):
        records[-1]["accuracy"] = number / 30
    written = texts(plots.curves([History.of(records, f"run-{number}") for number, records in enumerate(runs)]))
    assert [f"run-{number} {number / 30:.3f}" in written for number in range(30)] == [False] * 23 + [True] * 7


def test_a_long_name_is_cut_in_the_middle_and_stays_one_of_its_own():
    from gpunet.pictures.style import legible, legible_names

    assert legible("experiment-a-run-1", 9) == "expe…un-1"
    assert legible_names(["left-1-right", "left-2-right"], 8) == ["1 left…ght", "2 left…ght"]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_name_is_drawn_as_it_is(suffix, tmp_path, recwarn):
    runs = [History.of(steps(), name) for name in ("q$$z", "bad\udcff\x1b", "日本")]
    plots.save(plots.curves(runs), tmp_path / f"a.{suffix}")
    plots.save(plots.confusion(np.eye(2, dtype=int), ["a$b$c", "日本"]), tmp_path / f"b.{suffix}")
    assert not recwarn.list
    if suffix == "svg":
        curves, confusion = ((tmp_path / name).read_text(encoding="utf-8") for name in ("a.svg", "b.svg"))
        assert all(f">{name} 0.100<" in curves for name in ("q$$z", "bad\ufffd\ufffd", "日本"))
        assert "a$b$c" in confusion


def test_one_record_is_enough():
    assert len(plots.curves(steps(1)).axes) == 2


def test_a_logarithmic_loss_bears_a_zero(tmp_path):
    records = steps(3)
    records[-1]["loss"] = 0.0
    plots.save(plots.curves(records, log=True), tmp_path / "log.png")


# --- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("A.PNG", b"\x89PNG")]
)
def test_a_picture_is_of_the_kind_its_name_ends_in_and_repeats(name, start, tmp_path):
    contents = []
    for _ in range(2):
        plots.save(plots.curves(steps()), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0].startswith(start)
    assert contents[0] == contents[1]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_kind_is_refused(tmp_path):
    with pytest.raises(gn.UsageError, match=r"\.png, \.svg, \.pdf"):
        plots.save(plots.curves(steps()), tmp_path / "a.gif")


def test_a_report_is_html_whatever_the_run_is_called(rng, tmp_path):
    from gpunet.pictures import report

    data = gn.Dataset.from_arrays(rng.random((9, 6), np.float32), rng.integers(0, 3, 9).astype(np.int32))
    page = report.html(History.of(steps(), "bad\udcff"), gn.MLP([6, 3]), data.train)
    report.save(page, tmp_path / "a.htm")
    assert "<h1>bad\ufffd</h1>" in (tmp_path / "a.htm").read_text(encoding="utf-8")
    with pytest.raises(gn.UsageError, match=r"a report is written as \.html"):
        report.save(page, tmp_path / "model.safetensors")
    with pytest.raises(gn.UsageError, match="the name is empty"):
        report.check_format("")


def test_pictures_leave_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.curves(steps())
    assert dict(matplotlib.rcParams) == before


def test_drawing_needs_no_pyplot_and_importing_no_matplotlib():
    code = (
        "import sys, gpunet; from gpunet import plots; assert 'matplotlib' not in sys.modules;"
        "plots.curves([dict(event='step', iteration=i, loss=1 / i, accuracy=0.5) for i in (1, 2)]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_without_matplotlib_the_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(gn.MissingExtra, match=r"gpunet\[plot\]"):
        plots.curves(steps())


@settings(max_examples=60)
@given(
    st.lists(st.floats(-1e99, 1e99) | st.sampled_from([0.5, -1e99, 1e99, 5e-324]), min_size=1, max_size=8),
    st.sampled_from([40, 80]),
    st.booleans(),
)
def test_any_number_is_drawn_within_the_width(values, width, log):
    records = [
        {"event": "step", "iteration": 10 * number, "loss": value, "accuracy": value, "learning_rate": value}
        for number, value in enumerate(values)
    ]
    lines = Curves([History.of(records)], log=log).terminal(Canvas(width))
    assert max(map(len, lines), default=0) <= width

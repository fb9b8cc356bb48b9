"""Pictures: what is drawn is what was recorded, and the files are what their names say."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.pictures.mistakes import worst_mistakes
from gpunet.pictures.picture import Canvas, metric_text, percent
from gpunet.pictures.pixels import picture
from gpunet.pictures.weights import Weights
from gpunet.runs.history import History, named, smoothed

pytest.importorskip("matplotlib", reason="the extra plot")

from gpunet.pictures import plots
from gpunet.pictures.curves import Curves
from gpunet.pictures.style import style
from gpunet.pictures.sweeps import SweepPicture

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


def written(figure):
    """Everything written in a figure, as objects of matplotlib."""
    import matplotlib.text

    return [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def texts(figure):
    """Everything written in a figure."""
    return [text.get_text() for text in written(figure)]


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


def extents(texts):
    """Where texts stand in their figure, which is drawn for that; a warning is an error."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with warnings.catch_warnings(), style():
        warnings.simplefilter("error")
        FigureCanvasAgg(texts[0].figure.get_figure()).draw()
        return [text.get_window_extent() for text in texts]


def assert_apart(texts):
    """No text overlaps another one, and all are inside the figure."""
    boxes = extents(texts)
    page = texts[0].figure.get_figure().bbox
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1


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


# --- pictures of a model --------------------------------------------------------------------------------


def test_the_confusion_matrix_shows_every_count():
    matrix = np.array([[8, 2, 0], [0, 0, 0], [1, 3, 1234]])
    figure = plots.confusion(matrix, ["cat", "dog", "owl"])
    assert {"8", "2", "1", "3", "1,234", "cat", "dog", "owl", "80%", "99.7%"} <= set(texts(figure))
    assert "99.5% of 1,248 right" in texts(figure)
    assert len(plots.confusion(np.eye(50, dtype=int)).axes) == 1  # too many classes for numbers


@pytest.mark.parametrize("classes", [2, 5, 20, 30, 40])
def test_long_names_of_classes_do_not_overlap(classes):
    names = [f"a rather long name of a class {index}" for index in range(classes)]
    figure = plots.confusion(np.eye(classes, dtype=int), names, title="a run: 25.0% of 100 validation examples right")
    axes = figure.axes[0]
    assert_apart(axes.get_yticklabels())
    assert_apart([text for text in written(figure) if text.get_text() == axes.get_title("left")])  # ends on the page
    if classes > 20:  # the boxes of texts aslant overlap
        assert_apart(axes.get_xticklabels())
    else:
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {45}


def test_long_captions_do_not_overlap(rng):
    data = gn.Dataset.from_arrays(rng.random((40, 4, 4), np.float32), rng.integers(0, 4, 40).astype(np.int32))
    model = gn.MLP([16, 4], seed=1)
    model.image_shape = (4, 4)
    model.class_names = [f"{place} is a long name of a class" for place in ("here", "there", "nowhere", "somewhere")]
    for figure in (plots.mistakes(model, data.train), plots.weights(model)):
        assert_apart([axes.title for axes in figure.axes if axes.get_title()])


def test_the_tiles_are_the_first_layers_weights():
    model = gn.MLP([12, 5, 3], seed=4)
    model.image_shape = (3, 4)
    sheet = Weights(model)
    tiles = sheet.tiles(64)
    assert [tile.caption for tile in tiles] == ["1", "2", "3", "4", "5"]
    np.testing.assert_allclose(tiles[2].pixels * sheet.limit, model.parameters[0][:, 2].reshape(3, 4), rtol=1e-6)
    assert 0 < sheet.limit <= np.abs(model.parameters[0]).max()
    model.parameters[0][:, 3] = 9
    assert [tile.caption for tile in Weights(model).tiles(1)] == ["4"]
    assert any(
        "Weights into 2 of 5 neurons of the first layer" in text for text in texts(plots.weights(model, units=2))
    )
    softmax_regression = gn.MLP([12, 3])
    softmax_regression.image_shape = (3, 4)
    softmax_regression.class_names = ["cat", "dog", "owl"]
    written = texts(plots.weights(softmax_regression))
    assert {"cat", "dog", "owl"} <= set(written)
    assert any("Weights into 3 outputs" in text for text in written)


@pytest.mark.parametrize(
    ("shape", "features", "expected"),
    [
        ((28, 28), 784, (28, 28)),
        ((4, 4, 3), 48, (4, 4, 3)),
        ((4, 3, 1), 12, (4, 3)),
    ],
)
def test_a_picture_has_the_shape_of_its_data(shape, features, expected):
    found = picture(np.arange(features, dtype=np.uint8), shape)
    assert found.shape == expected
    np.testing.assert_allclose(found.ravel(), np.arange(features, dtype=np.uint8) / 255, rtol=1e-6)


def test_numbers_that_are_no_pixels_are_drawn_from_the_least_to_the_greatest():
    np.testing.assert_allclose(picture(np.array([-1.0, 0.0, 1.0, 3.0]), (2, 2)).ravel(), [0, 0.25, 0.5, 1])


def test_what_has_no_shape_is_not_drawn_as_a_picture(rng):
    data = gn.Dataset.from_arrays(rng.random((40, 16), np.float32), rng.integers(0, 4, 40).astype(np.int32))
    model = gn.MLP([16, 4])
    for draw in (lambda: plots.mistakes(model, data.train), lambda: plots.weights(model), lambda: plots.examples(data)):
        with pytest.raises(gn.DataError, match=r"are no pictures.*image_shape"):
            draw()


def test_the_worst_mistakes_come_first(mnist_5k):
    model = gn.MLP([784, 10], seed=1)
    gn.train(model, mnist_5k, iterations=100)
    found = worst_mistakes(model, mnist_5k.test, count=10)
    wrong = np.flatnonzero(model.predict(mnist_5k.test.images) != mnist_5k.test.labels)
    assert {one.index for one in found} <= set(wrong.tolist())
    labels, shares = mnist_5k.test.labels, model.predict_proba(mnist_5k.test.images)
    losses = -np.log(shares[np.arange(len(labels)), labels])
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:10]
    assert [one.index for one in found] == worst.tolist()
    np.testing.assert_allclose([one.loss for one in found], losses[worst], rtol=1e-3)
    for one in found:
        assert (one.truth, one.answer) == (labels[one.index], shares[one.index].argmax())
        assert one.probability == pytest.approx(shares[one.index].max(), rel=1e-5)
    one = found[0]
    written = texts(plots.mistakes(model, mnist_5k.test))
    assert f"{one.truth}, read as {one.answer}\n{percent(one.probability)} sure" in written
    assert f"{len(wrong)} of 1,000 examples are answered wrong, 24 shown" in written


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.0, "100%"),
        (0.9996, "over 99.9%"),
        (0.9961, "99.6%"),
        (0.873, "87%"),
        (0.004, "0.4%"),
        (1e-5, "under 0.1%"),
        (0, "0%"),
    ],
)
def test_only_what_is_certain_is_a_hundred_percent(share, said):
    assert percent(share) == said


def test_a_model_without_mistakes_says_so(rng):
    images = rng.random((4, 2, 3), np.float32)
    model = gn.MLP([6, 3])
    model.image_shape = (2, 3)
    data = gn.Dataset.from_arrays(images, model.predict(images.reshape(4, 6)).astype(np.int32), task="classification")
    with pytest.raises(gn.DataError, match="all 4 examples are answered right; there is nothing to draw"):
        plots.mistakes(model, data.train)


# --- the picture of a sweep -----------------------------------------------------------------------------


def sweep_plan(grid, failed=0, settings=None, **options):
    """A sweep with results, of which the first failed."""
    from gpunet.sweeps.sweep import Sweep
    from gpunet.sweeps.trials import Result

    plan = Sweep({"data": "mnist-5k", **(settings or {})}, grid, **options)
    for number, trial in enumerate(plan.trials):
        outcome = (
            {"error": "diverged"}
            if number < failed
            else {"train_metrics": {"accuracy": 0.9}, "validation_metrics": {"accuracy": 0.8}, "validation_loss": 0.5}
        )
        plan.results[trial.key] = Result(trial.key, trial.varied, trial.settings.seed, **outcome)
    return plan


def sweep_axes(grid, failed=0, **options):
    """The first axes of the picture of a sweep."""
    return SweepPicture(sweep_plan(grid, failed, **options)).figure().axes[0]


def tick_labels(axes):
    return [label for label in axes.get_xticklabels() if label.get_text()]


@pytest.mark.parametrize("values", ["0.001..1", "0.5..1"])
def test_many_values_get_round_ticks(values):
    axes = sweep_axes({"lr": values}, random=30)
    low, high = axes.get_xlim()
    assert_apart([label for label in tick_labels(axes) if low <= label.get_position()[0] <= high])
    assert axes.get_title(loc="left") == "mnist-5k"  # one seed has no deviation


def test_the_legend_of_a_sweep_covers_no_point():
    figure = sweep_axes({"lr": "0.1,0.2", "activation": "relu,tanh,sigmoid,elu,gelu,selu,identity"}, seeds=2).figure
    assert "mnist-5k, mean and deviation over 2 seeds" in texts(figure)
    legend = figure.axes[2].get_legend()
    (first, *_) = extents(legend.get_texts())
    assert first.x0 > max(axes.get_window_extent().x1 for axes in figure.axes)
    assert [text.get_text() for text in legend.get_texts()] == ["train", "validation"]


def test_of_many_combinations_the_best_have_panels():
    plan = sweep_plan({"lr": "0.1,0.2", "hidden": ";".join(str(width) for width in range(1, 13))})
    for number, trial in enumerate(plan.trials):
        plan.results[trial.key] = dataclasses.replace(
            plan.results[trial.key], validation_metrics={"accuracy": number / 100}
        )
    figure = SweepPicture(plan).figure()
    panels = {axes.get_title(loc="left") for axes in figure.axes}
    assert len(panels) == 9
    assert "the best 9 of 12 combinations of the other settings" in " ".join(texts(figure))
    best = max(plan.trials, key=lambda trial: plan.results[trial.key].validation_metrics["accuracy"])
    assert f"hidden {best.varied['hidden']}" in panels


def test_a_sweep_is_drawn_by_what_it_chooses_by():
    plan = sweep_plan({"lr": "0.1,0.2,0.3"}, settings={"metric": "loss"})
    for number, trial in enumerate(plan.trials):
        plan.results[trial.key] = dataclasses.replace(plan.results[trial.key], validation_loss=0.1 * (number + 1))
    axes = SweepPicture(plan).figure().axes[0]
    assert axes.get_ylabel() == "loss"
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata().astype(float), [0.1, 0.2, 0.3])


def test_a_sweep_in_a_terminal_and_in_a_page():
    picture = SweepPicture(sweep_plan({"lr": "0.1,0.2", "activation": "relu,tanh"}, seeds=2))
    lines = picture.terminal(Canvas(60, None, "ascii"))
    assert max(map(len, lines)) <= 60
    assert sum(line.count("0.8000") for line in lines) == 4
    assert "lr 0.2, activation tanh" in "\n".join(lines)
    page = picture.html()
    assert page.count('<th scope="row">') == 4
    assert "0.8000 ±0.0000" in page
    assert "#ffffff" not in page.lower()


def test_failed_runs_are_counted_and_seeds_are_points():
    assert sweep_axes({"lr": "0.1,0.2,0.3"}, failed=1).get_xlabel() == "lr (1 of 3 combinations failed)"
    seeds = sweep_axes({}, seeds=3)
    assert [label.get_text() for label in tick_labels(seeds)] == ["0", "1", "2"]
    assert len(seeds.get_lines()[0].get_xdata()) == 3


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

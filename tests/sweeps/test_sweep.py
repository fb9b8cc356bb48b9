"""Sweeps: grids out of texts, trials that never see the test set, the choice, and going on where it was stopped."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import pytest
from small_runs import SMALL

import gpunet as gn
from gpunet.runs.settings import Settings
from gpunet.sweeps import grids, lines
from gpunet.sweeps.sweep import Sweep, sweep
from gpunet.sweeps.trials import Result, Row, Spread

# --- running -----------------------------------------------------------------------------------------------


def test_a_trial_is_the_training_run_with_the_same_settings(data: gn.Dataset) -> None:
    (result,) = sweep({**SMALL, "seed": 3}, {}, data=data)
    held = data.hold_out(0.1)
    model = gn.MLP([4, 4, 2], seed=3)
    expected = gn.train(model, held, iterations=30, batch_size=20, seed=3)
    assert result.validation_accuracy == expected.validation_accuracy
    assert result.train_loss == pytest.approx(expected.train_loss, rel=1e-5)


def test_every_setting_and_seed_once_with_mean_and_spread(data: gn.Dataset) -> None:
    plan = Sweep(SMALL, {"lr": [0.01, 0.5], "activation": "relu,tanh"}, seeds=3, data=data)
    results = list(plan.run())
    assert len(results) == len({result.key for result in results}) == 12
    rows = plan.rows()
    assert [row.varied for row in rows] == [
        {"lr": lr, "activation": f} for lr in ("0.01", "0.5") for f in ("relu", "tanh")
    ]
    found = [result.validation_accuracy for result in rows[0].results]
    spread = rows[0].spread("validation_accuracy")
    assert spread is not None
    assert spread.mean == pytest.approx(np.mean(found))
    assert spread.deviation == pytest.approx(np.std(found, ddof=1))
    assert {result.seed for result in rows[0].results} == {0, 1, 2}


def test_the_choice_is_the_best_validation_accuracy(data: gn.Dataset) -> None:
    plan = Sweep(SMALL, {"lr": [1e-9, 0.5]}, seeds=2, data=data)
    list(plan.run())
    assert plan.choose().varied == {"lr": "0.5"}


def test_of_equals_the_lower_validation_loss_is_better_and_a_missing_one_is_worst(data: gn.Dataset) -> None:
    plan = Sweep({**SMALL, "iterations": 1}, {"lr": [0.1, 0.2, 0.3, 0.4]}, data=data)
    list(plan.run())
    losses: list[float | None] = [None, 0.7, 0.6, 0.5]
    for trial, loss in zip(plan.trials, losses, strict=True):
        scores = {"accuracy": 0.9 if loss != 0.5 else 0.8}
        plan.results[trial.key] = dataclasses.replace(
            plan.results[trial.key], validation_metrics=scores, validation_loss=loss
        )
    order = sorted(plan.rows(), key=plan.merit, reverse=True)
    assert [row.varied["lr"] for row in order] == ["0.3", "0.2", "0.1", "0.4"]
    assert plan.choose().varied == {"lr": "0.3"}


@pytest.mark.parametrize(("metric", "best"), [("mae", min), ("loss", min), (None, max)])
def test_numbers_are_chosen_by_the_metric_asked_for(
    metric: str | None, best: Callable[..., float], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((90, 3)).astype(np.float32)
    targets = 100 + 10 * inputs.sum(axis=1) + rng.standard_normal(90)
    data = gn.Dataset.from_arrays(
        inputs[:70], targets[:70], inputs[70:], targets[70:], validation=20, task="regression"
    )
    options = {**SMALL, "loss": "mse", "metric": metric}
    plan = Sweep(options, {"lr": ["1e-6", "0.05"]}, data=data, out=tmp_path / "sweep")
    list(plan.run())
    name = f"validation_{metric or 'r2'}"
    scores = [result.value(name) for result in plan.results.values()]
    row = plan.choose()
    assert scores[0] != scores[1]
    assert row.results[0].value(name) == best(scores)
    told = json.loads((tmp_path / "sweep" / "choice.json").read_text())
    assert (told["chosen_by"], told[name]) == (name, best(scores))
    (score,) = plan.measure([row])
    model = gn.MLP.load(plan.model_path(row.trials[0]))
    assert score == getattr(gn.evaluate(model, data.test), metric or "r2")
    again = Sweep(options, {"lr": ["1e-6", "0.05"]}, data=data, out=tmp_path / "sweep")
    assert not again.missing
    assert again.results == plan.results
    assert again.tests == plan.tests
    if metric == "mae":  # in the units of the targets, whose spread is about 17
        assert 1 < score < 20


def test_the_test_set_is_looked_at_after_the_choice_and_for_it_alone(
    data: gn.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Sweep(SMALL, {"lr": [0.1, 0.5]}, seeds=2, data=data)
    looked = []
    monkeypatch.setattr(
        "gpunet.sweeps.sweep.evaluate",
        lambda model, split, **options: looked.append(split) or gn.evaluate(model, split, **options),
    )
    seen = []
    original = gn.Trainer.__init__

    def watched(self: gn.Trainer, model: gn.MLP, given: gn.Dataset, **options: object) -> None:
        seen.append(given.test)
        original(self, model, given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(gn.Trainer, "__init__", watched)
    list(plan.run())
    assert seen == [None] * 4
    with pytest.raises(gn.UsageError, match="after the choice"):
        plan.measure(plan.rows())
    assert looked == []
    chosen = plan.choose()
    found = plan.measure([chosen])
    assert len(looked) == len(found) == 2
    assert set(plan.tests) == {trial.key for trial in chosen.trials}
    plan.measure(plan.rows())
    assert len(plan.tests) == 4
    assert len(looked) == 4


def test_the_measured_model_is_the_trained_one(data: gn.Dataset) -> None:
    plan = Sweep(SMALL, {}, data=data)
    list(plan.run())
    (accuracy,) = plan.measure([plan.choose()])
    model = gn.MLP([4, 4, 2], seed=0)
    expected = gn.train(model, data.hold_out(0.1), iterations=30, batch_size=20)
    assert accuracy == pytest.approx(expected.test_accuracy, abs=0.011)  # rounding may turn one answer


def test_a_stopped_sweep_goes_on_where_it_was(data: gn.Dataset, tmp_path: Path) -> None:
    grid = {"lr": [0.1, 0.2, 0.3]}
    first = Sweep(SMALL, grid, seeds=2, data=data, out=tmp_path / "sweep")
    running = first.run()
    done = [next(running), next(running)]
    running.close()
    # A process that is killed leaves half a line.
    with (tmp_path / "sweep" / "results.jsonl").open("a") as stream:
        stream.write('{"key": "12')
    second = Sweep(SMALL, grid, seeds=2, data=data, out=tmp_path / "sweep")
    assert {result.key for result in done} == set(second.results)
    assert len(list(second.run())) == 4
    whole = Sweep(SMALL, grid, seeds=2, data=data)
    expected = {result.key: result.validation_accuracy for result in whole.run()}
    assert {key: result.validation_accuracy for key, result in second.results.items()} == expected
    third = Sweep(SMALL, {"lr": [0.1, 0.2, 0.3, 0.4]}, seeds=2, data=data, out=tmp_path / "sweep")
    assert len(third.missing) == 2


def test_ctrl_c_while_a_result_is_written_loses_no_count(
    data: gn.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Sweep(SMALL, {"lr": "0.1,0.2"}, data=data, out=tmp_path / "sweep")

    def interrupted(stream: IO[str]) -> None:
        stream.flush()
        raise KeyboardInterrupt

    monkeypatch.setattr(lines, "sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(started.run())
    assert len(started.results) == 1
    assert started.model_path(started.trials[0]).exists()  # what is written down has its model
    monkeypatch.undo()
    assert [result.varied for result in started.run()] == [{"lr": "0.2"}]


def test_other_data_or_settings_are_not_taken_for_done(data: gn.Dataset, tmp_path: Path) -> None:
    list(Sweep(SMALL, {}, data=data, out=tmp_path).run())
    assert Sweep(SMALL, {}, data=data, out=tmp_path).missing == []
    assert len(Sweep({**SMALL, "l2": 0.1}, {}, data=data, out=tmp_path).missing) == 1
    other = gn.Dataset.from_arrays(data.train.images + 1, data.train.labels, data.test.images, data.test.labels)
    assert len(Sweep(SMALL, {}, data=other, out=tmp_path).missing) == 1


def test_a_folder_of_something_else_is_left_alone(data: gn.Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("text")
    with pytest.raises(gn.UsageError, match="holds other files"):
        Sweep(SMALL, {}, data=data, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_line_is_named(data: gn.Dataset, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"key": "a", "error": "b"}\nnonsense\n')
    with pytest.raises(gn.DataError, match=r"results\.jsonl, line 2"):
        Sweep(SMALL, {}, data=data, out=tmp_path)


def test_two_sweeps_do_not_share_a_folder_at_a_time(data: gn.Dataset, tmp_path: Path) -> None:
    running = Sweep(SMALL, {"lr": [0.1, 0.2]}, data=data, out=tmp_path).run()
    next(running)
    with pytest.raises(gn.CheckpointError, match="another process"):
        next(Sweep(SMALL, {"lr": [0.3, 0.4]}, data=data, out=tmp_path).run())
    running.close()
    assert len(list(Sweep(SMALL, {"lr": [0.3, 0.4]}, data=data, out=tmp_path).run())) == 2


def test_a_diverged_run_is_a_result_and_is_not_chosen(data: gn.Dataset) -> None:
    plan = Sweep({**SMALL, "activation": "identity"}, {"lr": ["0.1", "1e30"]}, data=data)
    results = list(plan.run())
    assert [result.error is None for result in results] == [True, False]
    assert "not a finite number" in str(results[1].error)
    assert plan.choose().varied == {"lr": "0.1"}
    assert len(plan.measure(plan.rows())) == 1


def test_nothing_to_choose_from_is_said(data: gn.Dataset) -> None:
    plan = Sweep({**SMALL, "activation": "identity"}, {"lr": ["1e30"]}, data=data)
    list(plan.run())
    with pytest.raises(gn.DataError, match="nothing to choose"):
        plan.choose()


def test_data_with_validation_examples_keeps_them(data: gn.Dataset) -> None:
    held = data.hold_out(50)
    (trial,) = Sweep(SMALL, {}, data=held).trials
    assert trial.settings.validation == "auto"
    (trial,) = Sweep(SMALL, {}, data=data).trials
    assert trial.settings.validation == 0.1


@pytest.mark.parametrize(
    ("grid", "options", "sentence"),
    [
        ({"lr": "0.1,zero"}, {}, "--lr"),
        ({"learning_rate": "0.1"}, {}, "learning_rate"),
        ({"lr": []}, {}, "no value"),
        ({"seed": "1,2"}, {"seeds": 2}, "seeds"),
        ({"lr": "0.1..1"}, {}, "--search random"),
        ({}, {"seeds": 0}, "seeds"),
        ({"validation": "none"}, {}, "--validation none"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_runs(
    data: gn.Dataset, grid: dict, options: dict, sentence: str
) -> None:
    with pytest.raises(gn.UsageError, match=sentence):
        Sweep(SMALL, grid, data=data, **options)


def test_the_csv_has_a_line_per_run(data: gn.Dataset) -> None:
    plan = Sweep(SMALL, {"hidden": "3;4,4"}, seeds=2, data=data)
    list(plan.run())
    plan.measure([plan.choose()])
    lines = plan.csv().splitlines()
    assert lines[0].startswith(
        "hidden,seed,train_accuracy,train_loss,validation_accuracy,validation_loss,test_accuracy"
    )
    assert len(lines) == 5
    assert lines[3].startswith('"4,4",0,')


def test_a_sweep_on_cuda_trains_there(cuda: gn.Backend, data: gn.Dataset) -> None:
    (result,) = sweep({**SMALL, "device": "cuda"}, {}, data=data)
    (expected,) = sweep(SMALL, {}, data=data)
    assert result.device == "cuda:0"
    assert result.train_loss == pytest.approx(expected.train_loss, rel=1e-3)
    with pytest.raises(gn.UsageError, match="threading"):
        list(sweep({**SMALL, "device": "cuda"}, {}, data=data, jobs=2, backend="threading"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_side_by_side_gives_the_table_of_one_by_one(
    device: str, data: gn.Dataset, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if device == "cuda":
        request.getfixturevalue("cuda")
    settings, grid = {**SMALL, "device": device, "loss": "mse"}, {"hidden": "4;3,3", "lr": "0.1,0.2,1e30"}
    tables, choices, seeds = [], [], 2 if device == "cpu" else 1
    for together in (1, 4):
        made = Sweep(settings, grid, data=data, seeds=seeds, out=tmp_path / str(together))
        if together > 1:  # stopped in between, and taken up again
            results = made.run(together=together)
            next(results)
            results.close()
            made = Sweep(settings, grid, data=data, seeds=seeds, out=tmp_path / str(together))
            assert len(made.missing) == 6 * seeds - 1
        list(made.run(together=together))
        told = [{**made.results[trial.key].as_dict(), "train_seconds": None} for trial in made.trials]
        assert sum("error" in each for each in told) == 2 * seeds
        tables.append(told)
        choices.append(made.measure([made.choose()]))
    assert tables[0] == tables[1]
    assert choices[0] == choices[1]


def test_how_many_fit_side_by_side(cuda: gn.Backend, data: gn.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Sweep({**SMALL, "device": "cuda"}, {"hidden": "4;8"}, data=data, seeds=40)
    assert made.room() == max(1, cuda.multiprocessors // 4)
    monkeypatch.setattr(gn.Backend, "memory", lambda self: (20_000, 20_000))
    assert made.room() == 1
    assert Sweep(SMALL, {}, data=data, seeds=5).room() == 1


def test_jobs_and_together_do_not_mix(data: gn.Dataset) -> None:
    with pytest.raises(gn.UsageError, match="several processes"):
        list(sweep(SMALL, {}, data=data, jobs=2, together=2))


def test_spread() -> None:
    assert Spread.of([]) is None
    assert str(Spread.of([0.5])) == "0.5000"
    assert str(Spread.of([0.5, 0.7])) == "0.6000 ±0.1414"


def test_all_settings_can_be_swept() -> None:
    # A new setting whose value has commas has to be named in LISTS.
    plain = {name for name in Settings().to_dict() if isinstance(Settings().to_dict()[name], list)}
    assert plain <= grids.LISTS


# --- the picture ---------------------------------------------------------------------------------------------


def drawn(data: gn.Dataset, grid: dict, test: bool = False) -> object:
    pytest.importorskip("matplotlib")
    from gpunet.pictures.sweeps import accuracies

    plan = Sweep({**SMALL, "iterations": 5, "log_every": 5}, grid, seeds=2, data=data)
    list(plan.run())
    if test:
        plan.measure([plan.choose()])
    return accuracies(plan).axes[0]


def labels(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_numbers_stand_at_their_place_in_the_picture(data: gn.Dataset) -> None:
    axes = drawn(data, {"hidden": "2;5;100"}, test=True)
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "5", "100"]
    assert list(axes.get_xticks()) == [2, 5, 100]
    assert axes.get_xlabel() == "neurons in the hidden layer"
    assert labels(axes) == ["train", "validation", "test"]


def test_names_stand_side_by_side_and_the_rest_have_panels(data: gn.Dataset) -> None:
    first = drawn(data, {"activation": "relu,tanh", "lr": [0.1, 0.2]})
    assert first.get_xscale() == "linear"
    assert [text.get_text() for text in first.get_xticklabels()] == ["relu", "tanh"]
    panels = first.figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == ["lr 0.1", "lr 0.2"]
    assert labels(panels[1]) == ["train", "validation"]
    places = [sorted(line.get_xdata()) for axes in panels for line in axes.get_lines() if line.get_marker() in ".o"]
    np.testing.assert_allclose(places[0], [-0.16, 0.84])  # train left of validation
    np.testing.assert_allclose(places[1], [0, 1])


def test_a_picture_of_no_results_is_refused(data: gn.Dataset) -> None:
    pytest.importorskip("matplotlib")
    from gpunet.pictures.sweeps import accuracies

    with pytest.raises(gn.DataError, match="no results"):
        accuracies(Sweep(SMALL, {}, data=data))


def test_a_loss_beyond_all_numbers_is_a_result(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = 10 * rng.random((300, 20), np.float32), rng.integers(0, 5, 300)
    large = gn.Dataset.from_arrays(images, labels, validation=50)
    settings = {"batch_size": 20, "hidden": (), "loss": "mse", "iterations": 10, "device": "cpu"}
    one = Sweep(settings, {"lr": [0.001, 0.5]}, data=large, out=tmp_path / "sweep")
    losses = [result.train_loss for result in one.run()]
    assert losses[0] is not None
    assert losses[1] is None
    assert one.choose().varied == {"lr": "0.001"}
    results = tmp_path / "sweep" / "results.jsonl"
    text = re.sub(r', "crc32": \d+', "", results.read_text())
    results.write_text(text.replace('"train_loss": null', '"train_loss": Infinity'))  # as it was once written
    again = Sweep(settings, {"lr": [0.001, 0.5]}, data=large, out=tmp_path / "sweep")
    assert again.missing == []
    results.write_text(text.replace('"validation_accuracy": ', '"validation_accuracy": NaN, "was": '))
    with pytest.raises(gn.DataError, match="nothing to choose from"):
        Sweep(settings, {"lr": [0.001, 0.5]}, data=large, out=tmp_path / "sweep").choose()


def test_what_was_stopped_early_does_not_count(data: gn.Dataset) -> None:
    results = {
        "whole": Result("whole", {}, 0, validation_metrics={"accuracy": 0.5}, validation_loss=0.5),
        "stopped": Result("stopped", {}, 1, validation_metrics={"accuracy": 0.9}, validation_loss=0.1, pruned=True),
    }
    row = Row({}, [SimpleNamespace(key=key) for key in results], results, {})
    assert row.pruned
    spread = row.spread("validation_accuracy")
    assert spread is not None
    assert (spread.mean, spread.count) == (0.5, 1)
    plan = Sweep({**SMALL, "iterations": 1}, {"lr": [0.1, 0.2]}, seeds=2, data=data)
    for index, trial in enumerate(plan.trials):
        found = results["stopped" if index == 3 else "whole"]
        better = {"accuracy": 0.5 + 0.1 * (index == 2)}
        plan.results[trial.key] = dataclasses.replace(found, key=trial.key, validation_metrics=better)
    assert plan.choose().varied == {"lr": "0.1"}

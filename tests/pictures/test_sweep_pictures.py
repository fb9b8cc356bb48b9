"""The picture of a sweep: ticks, legends, panels, and what it is chosen by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drawn import assert_apart, extents, texts

from gpunet.pictures.picture import Canvas

pytest.importorskip("matplotlib", reason="the extra plot")

from gpunet.pictures.sweeps import SweepPicture

pytestmark = pytest.mark.host


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

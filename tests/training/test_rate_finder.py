from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.pictures.picture import Canvas
from gpunet.pictures.rates import Rates
from gpunet.training.rate_finder import TOO_HIGH


@pytest.fixture
def data() -> gn.Dataset:
    rng = np.random.default_rng(3)
    images = rng.standard_normal((200, 5)).astype(np.float32)
    return gn.Dataset.from_arrays(images, (images @ rng.standard_normal((5, 3))).argmax(axis=1), validation=20)


def model(**options: Any) -> gn.MLP:
    return gn.MLP([5, 16, 3], seed=2, backend="cpu", initializer="he-normal", **options)


def test_it_suggests_a_rate_that_is_good_and_leaves_the_model_alone(data: gn.Dataset) -> None:
    network = model()
    before = np.array(network.flat)
    test = gn.find_learning_rate(network, data, batch_size=20)
    assert np.array_equal(network.flat, before)
    assert test.suggestion is not None

    def loss(rate: float) -> float:
        options: dict[str, Any] = {"iterations": 100, "batch_size": 20, "optimizer": gn.SGD(rate)}
        return gn.train(model(), data, **options).validation_loss

    assert loss(test.suggestion) < loss(test.suggestion / 1000)
    assert loss(test.suggestion) < 0.7 * np.log(3)


def test_rates_rise_by_a_factor_and_the_end_is_where_the_loss_explodes(data: gn.Dataset) -> None:
    test = gn.find_learning_rate(model(), data, batch_size=20, lowest=1e-4, highest=1e4, steps=81)
    assert np.allclose(test.rates[1:] / test.rates[:-1], 10**0.1)
    assert test.rates[0] == pytest.approx(1e-4)
    assert len(test.rates) == len(test.losses) == len(test.smoothed) < 81
    assert test.smoothed[-1] > TOO_HIGH * test.smoothed.min() or not np.isfinite(test.losses[-1] * 1e30)


def test_the_losses_are_those_of_a_training_with_these_rates(data: gn.Dataset) -> None:
    test = gn.find_learning_rate(model(), data, batch_size=20, lowest=0.01, highest=0.02, steps=10)
    schedule = gn.schedules.Exponential(0.01, every=1, factor=2 ** (1 / 9))
    alone = gn.Dataset("alone", data.train)
    trained = gn.train(model(), alone, optimizer=gn.SGD(schedule), batch_size=20, iterations=11, log_every=1)
    assert test.losses.tolist() == [record.loss for record in trained.history][:10]
    weight = 0.9 ** np.arange(9, -1, -1)
    assert test.smoothed[-1] == pytest.approx((weight * test.losses).sum() / weight.sum())


def test_no_rate_that_helps_is_suggested_where_none_does(data: gn.Dataset) -> None:
    flat = gn.Dataset.from_arrays(np.zeros((40, 5), np.float32), np.arange(40) % 2)
    network = gn.MLP([5, 2], seed=1, backend="cpu", initializer="zeros", bias=0.0)
    assert gn.find_learning_rate(network, flat, batch_size=40, highest=1e-3).suggestion is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iterations": 5}, "takes no iterations"),
        ({"lowest": 1.0, "highest": 0.1}, "not below the highest"),
        ({"steps": 3}, "at least 10"),
        ({"batch_size": 1000}, "180 examples"),
    ],
)
def test_bad_options(data: gn.Dataset, options: dict[str, Any], words: str) -> None:
    with pytest.raises(gn.UsageError, match=words):
        gn.find_learning_rate(model(), data, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80])
def test_the_picture(data: gn.Dataset, width: int, encoding: str) -> None:
    test = gn.find_learning_rate(model(), data, batch_size=20)
    lines = Rates(test).terminal(Canvas(width, None, encoding))
    assert max(map(len, lines)) <= width
    assert lines[-1].lstrip().startswith("^")
    assert "1e-06" in lines[-2]
    pytest.importorskip("matplotlib")
    assert Rates(test).figure().axes[0].get_xscale() == "log"


def test_the_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    import typer

    from gpunet.cli.app import app

    def run(*arguments: str) -> str:
        command = ["lr-find", "--device", "cpu", *arguments]
        typer.main.get_command(app).main(command, prog_name="gpunet", standalone_mode=False)
        return capsys.readouterr().out

    text = run("--hidden", "10", "--steps", "60")
    assert text.splitlines()[-1].startswith("suggested: --lr 0.")
    assert run("--hidden", "10", "--steps", "60", "-q").splitlines() == text.splitlines()[-1:]
    told = json.loads(run("--hidden", "10", "--steps", "60", "--json"))
    assert f"suggested: --lr {told['suggestion']:.2g}" in text
    assert len(told["rates"]) == len(told["losses"])
    for option in ("--lr", "--epochs", "--schedule"):
        with pytest.raises(gn.UsageError, match=f"{option}: the test decides this itself"):
            run(option, "1" if option != "--schedule" else "cosine")

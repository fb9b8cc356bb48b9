"""Beginning with the weights of an earlier run: all of them and the optimizer's, or those of the layers that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.runs.initial import begin_from, hidden_layers

pytestmark = pytest.mark.host


@pytest.fixture
def data() -> gn.Dataset:
    rng = np.random.default_rng(5)
    return gn.Dataset.from_arrays(rng.standard_normal((60, 6)).astype(np.float32), np.arange(60) % 3)


def trainer(data: gn.Dataset, sizes: list[int] | None = None, **options: Any) -> gn.Trainer:
    standard: dict[str, Any] = {"iterations": 30, "batch_size": 10, "optimizer": "adam", "seed": 3}
    return gn.Trainer(gn.MLP(sizes or [6, 5, 4, 3], seed=1, backend="cpu"), data, **{**standard, **options})


def kept(data: gn.Dataset, path: Path, **options: Any) -> gn.Trainer:
    run = trainer(data, **options)
    gn.RunFolder.start(path, run)
    list(run.steps())
    return run


def test_a_run_goes_on_as_if_it_had_been_longer(data: gn.Dataset, tmp_path: Path) -> None:
    """Over whole epochs, whose orders are the same again, two runs of 30 steps are one without a change of order."""
    first = kept(data, tmp_path / "a", shuffle=False)
    second = trainer(data, shuffle=False)
    told = begin_from(second, str(tmp_path / "a"))
    assert told == f"all 3 layers of {tmp_path / 'a'} and its optimizer, after 30 updates"
    assert np.array_equal(second.model.flat, first.model.flat)
    list(second.steps())
    whole = trainer(data, shuffle=False, iterations=60)
    list(whole.steps())
    assert np.array_equal(second.model.flat, whole.model.flat)


def test_a_run_that_began_so_is_resumed_and_begun_from(data: gn.Dataset, tmp_path: Path) -> None:
    kept(data, tmp_path / "a", shuffle=False)
    second = trainer(data, shuffle=False)
    begin_from(second, str(tmp_path / "a"))
    gn.RunFolder.start(tmp_path / "b", second)
    steps = second.steps()
    second.callbacks.append(Stop(13))
    list(steps)
    third = trainer(data, shuffle=False)
    gn.RunFolder(tmp_path / "b").resume(third)
    assert third.iteration == 13
    list(third.steps())
    whole = trainer(data, shuffle=False, iterations=60)
    list(whole.steps())
    assert np.array_equal(third.model.flat, whole.model.flat)
    assert "after 60 updates" in begin_from(trainer(data, shuffle=False), str(tmp_path / "b"))


class Stop(gn.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: gn.Trainer) -> None:
        if trainer.iteration == self.step:
            trainer.stop()


@pytest.mark.parametrize("options", [{"optimizer": "sgd"}, {"optimizer": gn.Adam(beta1=0.5)}])
def test_another_optimizer_begins_anew(data: gn.Dataset, tmp_path: Path, options: dict[str, Any]) -> None:
    kept(data, tmp_path / "a")
    second = trainer(data, **options)
    assert begin_from(second, str(tmp_path / "a")) == f"all 3 layers of {tmp_path / 'a'}"
    assert second.step.coefficients.before == 0
    assert not any(vector.any() for vector in second.step.optimizer_state)


def test_another_learning_rate_keeps_the_optimizer(data: gn.Dataset, tmp_path: Path) -> None:
    kept(data, tmp_path / "a")
    assert "30 updates" in begin_from(trainer(data, optimizer=gn.Adam(0.5)), str(tmp_path / "a"))


def test_another_output_layer_keeps_its_fresh_weights(data: gn.Dataset, tmp_path: Path) -> None:
    first = kept(data, tmp_path / "a")
    first.model.save(tmp_path / "model.safetensors")
    other = gn.Dataset.from_arrays(data.train.inputs, np.arange(60) % 5)
    second = trainer(other, [6, 5, 4, 5])
    fresh = [np.array(array) for array in second.model.parameters]
    path = str(tmp_path / "model.safetensors")
    assert begin_from(second, path) == f"the first 2 of 3 layers of {path}"
    for index, (mine, before) in enumerate(zip(second.model.parameters, fresh, strict=True)):
        expected = first.model.parameters[index] if index < 4 else before
        assert np.array_equal(mine, expected)
    assert hidden_layers(path) == {"hidden": (5, 4), "activation": "relu"}


def test_what_does_not_begin_alike_is_refused(data: gn.Dataset, tmp_path: Path) -> None:
    kept(data, tmp_path / "a")
    with pytest.raises(gn.UsageError, match=r"its network 6-5-4-3 does not begin like this one, 6-7-3"):
        begin_from(trainer(data, [6, 7, 3]), str(tmp_path / "a"))
    with pytest.raises(gn.CheckpointError, match="there is no such run or model"):
        begin_from(trainer(data), str(tmp_path / "nothing"))

"""Files that an earlier version wrote: they open, say the same, are resumed and repeated, and are gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet

import gpunet as gn

pytestmark = pytest.mark.host

FILES = Path(__file__).parents[1] / "files"
#: The command that wrote `sweep/`.
SWEEP = (
    "sweep", "--data", "points.npz", "--hidden", "4", "--iterations", "100", "--batch-size", "20", "--optimizer",
    "adam", "--lr", "0.005,0.02", "--activation", "relu,tanh", "--validation", "40", "--seeds", "2", "--jobs", "1",
    "--out", "sweep",
)  # fmt: skip


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """A copy of the files, which is the working folder too."""
    folder = Path(shutil.copytree(FILES, tmp_path / "files"))
    monkeypatch.chdir(folder)
    return folder


def assert_alike(found: list[dict], expected: list[dict]) -> None:
    """The same records; on another processor the last digits of what is computed may differ."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        numbers = {name: value for name, value in theirs.items() if isinstance(value, float)}
        assert {name: ours[name] for name in numbers} == pytest.approx(numbers, rel=1e-4)
        assert {name: ours[name] for name in theirs if name not in numbers} == {
            name: value for name, value in theirs.items() if name not in numbers
        }


def without_time(result: dict) -> dict:
    """A trial's result without the clock, and without the settings, to which later versions add."""
    return {name: value for name, value in result.items() if name not in ("train_seconds", "settings")}


def test_a_model_of_digits_opens_and_says_what_it_said(files, mnist_5k):
    model = gn.MLP.load("digits.safetensors")
    assert model.sizes == [784, 4, 10]
    assert (model.image_shape, model.input_scale) == ((28, 28), 1 / 255)
    assert list(model.class_names) == list("0123456789")
    found = gn.evaluate(model, mnist_5k.test)
    assert found.accuracy == pytest.approx(0.64, abs=0.002)
    assert found.loss == pytest.approx(1.1073920899182559, rel=1e-5)


def test_a_model_is_evaluated_shown_predicted_with_and_exported(files):
    said = json.loads(gpunet("evaluate", "finished/model.safetensors", "--data", "points.npz", "--json").stdout)
    assert said["accuracy"] == 0.95
    assert said["loss"] == pytest.approx(0.10243790067070221, rel=1e-5)
    assert said["confusion"] == [[14, 0, 0], [2, 9, 0], [0, 0, 15]]
    some = np.load("points.npz")["x_test"][:3]
    np.save("some.npy", some)
    lines = gpunet("predict", "finished/model.safetensors", "some.npy", "--json").stdout.splitlines()
    shares = gn.MLP.load("finished").predict_proba(some)
    assert [json.loads(line)["probability"] for line in lines] == pytest.approx(shares.max(axis=1).tolist())
    pytest.importorskip("onnx")
    gpunet("export", "digits.safetensors", "digits.onnx")


def test_runs_are_read(files):
    said = json.loads(gpunet("evaluate", "finished", "--json").stdout)
    assert said["loss"] == pytest.approx(0.10243790067070221, rel=1e-5)
    assert "interrupted" in gpunet("plot", "finished", "interrupted", "--terminal").stdout


def test_a_checkpoint_goes_on_in_a_script(files):
    data = gn.load_dataset("points.npz").hold_out(40)
    trainer = gn.Trainer(
        gn.MLP([8, 4, 3], dropout=0.1),
        data,
        optimizer=gn.Adam(gn.ReduceOnPlateau(0.02, patience=1, warmup=20)),
        iterations=400,
        batch_size=20,
        early_stopping=8,
        validate_every=40,
        log_every=50,
    )
    gn.load_checkpoint("interrupted/checkpoint.safetensors", trainer)
    assert trainer.iteration == 250
    end = records(files / "finished/metrics.jsonl")[-1]
    assert list(trainer.steps())[-1].test_loss == pytest.approx(end["test_loss"], rel=1e-4)


def test_an_interrupted_run_is_resumed_to_the_end_it_would_have_had(files):
    gpunet("train", "--resume", "interrupted", "-q")
    assert_alike(records(files / "interrupted/metrics.jsonl"), records(files / "finished/metrics.jsonl"))
    for name in ("model.safetensors", "best.safetensors"):
        ours, theirs = gn.MLP.load(f"interrupted/{name}"), gn.MLP.load(f"finished/{name}")
        for one, other in zip(ours.parameters, theirs.parameters, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    tables = [(files / run / "metrics.csv").read_text().splitlines() for run in ("interrupted", "finished")]
    assert tables[0][0] == tables[1][0]
    assert len(tables[0]) == len(tables[1])


def test_a_finished_run_is_repeated_from_its_config(files):
    gpunet("train", "--config", "finished/config.json", "--out", "again", "-q")
    assert_alike(records(files / "again/metrics.jsonl"), records(files / "finished/metrics.jsonl"))


def test_a_sweep_goes_on_and_trains_nothing_that_it_has(files):
    results = files / "sweep/results.jsonl"
    whole = results.read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in gpunet(*SWEEP, "--json").stdout.splitlines()]
    assert [each["event"] for each in events] == ["test", "test", "choice"]
    assert results.read_text() == "".join(whole)
    results.write_text("".join(whole[:5]))
    events = [json.loads(line) for line in gpunet(*SWEEP, "--json").stdout.splitlines()]
    assert [each["event"] for each in events] == ["trial"] * 3 + ["test"] * 2 + ["choice"]
    assert events[-1]["varied"] == {"activation": "relu", "lr": "0.005"}
    assert_alike(*([without_time(each) for each in map(json.loads, lines)] for lines in (results.open(), whole)))

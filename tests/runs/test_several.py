"""Several networks in one run: an ensemble or folds, each network as trained by itself, kept, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import environment, gpunet

import gpunet as gn
from gpunet.runs.several import Several, conclude
from gpunet.training.records import TrainingResult

host = pytest.mark.host  # but for those on a GPU

PLAIN = (
    "--device", "cpu", "--hidden", "8", "--iterations", "300", "--batch-size", "40", "--log-every", "25",
    "--optimizer", "adam", "--dropout", "0.1",
)  # fmt: skip
OPTIONS = (*PLAIN, "--checkpoint-every", "20")
#: What two runs that are the same have in common, byte for byte.
SAME = ("metrics.jsonl", "model.safetensors")

#: The command line with a signal to itself, when the record of iteration 125 of the second network is written.
ITSELF = """
import os, sys
from gpunet.__main__ import main
from gpunet.runs.folder import Recorder
number, write = int(sys.argv.pop(1)), Recorder.on_record
def on_record(self, record, trainer):
    write(self, record, trainer)
    if self.folder.path.name == "2" and trainer.iteration == 125:
        os.kill(os.getpid(), number)
Recorder.on_record = on_record
main()
"""


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """An ensemble of three that was kept, and what was told of it."""
    folder = tmp_path_factory.mktemp("three") / "run"
    told = gpunet("train", *OPTIONS, "--ensemble", 3, "--validation", 0.2, "--seed", 5, "--out", folder, "--json")
    return folder, records(told.stdout)


@host
def test_each_network_is_that_of_training_it_alone(three: tuple[Path, Any], tmp_path: Path) -> None:
    folder, told = three
    for number in (1, 2, 3):
        alone = tmp_path / str(number)
        gpunet("train", *OPTIONS, "--validation", f"{number}of5", "--seed", 4 + number, "--out", alone, "-q")
        for name in (*SAME, "best.safetensors"):
            assert (folder / "networks" / str(number) / name).read_bytes() == (alone / name).read_bytes(), name
    assert {record["network"] for record in told[:-1]} == {1, 2, 3}
    validation = [gn.load_dataset("mnist-5k").folds(5)[number].validation for number in range(3)]
    models = [gn.MLP.load(folder / "networks" / str(number)) for number in (1, 2, 3)]
    scores = [gn.evaluate(model, split).accuracy for model, split in zip(models, validation, strict=True)]
    result = told[-1]
    assert result["scores"]["validation_accuracy"] == scores
    assert result["validation_accuracy"] == result["mean"]["validation_accuracy"] == statistics.fmean(scores)
    assert result["deviation"]["validation_accuracy"] == statistics.stdev(scores)
    assert result["iterations"] == 900


@host
def test_the_ensemble_opens_like_a_network(three: tuple[Path, Any], mnist_5k: gn.Dataset, tmp_path: Path) -> None:
    folder, told = three
    ensemble = gn.load_model(folder)
    assert isinstance(ensemble, gn.Ensemble)
    assert [model.seed for model in ensemble.models] == [5, 6, 7]
    own = gn.evaluate(ensemble, mnist_5k.test).accuracy
    assert told[-1]["test_accuracy"] == own
    assert json.loads(gpunet("evaluate", folder, "--json").stdout)["accuracy"] == own
    whole = json.loads(gpunet("evaluate", folder, "--split", "train", "--json").stdout)
    assert whole["examples"] == 4000
    np.save(tmp_path / "digits.npy", mnist_5k.test.inputs[:3])
    lines = records(gpunet("predict", folder, tmp_path / "digits.npy", "--json").stdout)
    assert [int(line["class"]) for line in lines] == ensemble.predict(mnist_5k.test.inputs[:3]).tolist()
    assert "→" in gpunet("show", "--run", folder, "--mistakes", "--count", 1).stdout
    (listed,) = records(gpunet("runs", folder, "--json").stdout)
    assert listed["ended"]
    assert listed["test_accuracy"] == own
    assert gn.MLP.load(folder / "networks" / "2").seed == 6
    assert "2of5, seed 6" in gpunet("plot", folder, "--terminal").stdout
    assert "networks/1" in gpunet("plot", folder, "--weights", "--terminal", code=2).stderr
    pytest.importorskip("onnx")
    gpunet("export", folder, tmp_path / "all.onnx")


@host
def test_five_folds_are_five_trainings_by_hand(tmp_path: Path) -> None:
    told = records(gpunet("train", *OPTIONS, "--folds", 5, "--out", tmp_path / "folds", "--json").stdout)[-1]
    scores = []
    for number, fold in enumerate(gn.load_dataset("mnist-5k").folds(5), 1):
        by_hand = records(gpunet("train", *PLAIN, "--validation", f"{number}of5", "--json").stdout)[-1]
        model = gn.MLP.load(tmp_path / "folds" / "networks" / str(number))
        assert by_hand["validation_accuracy"] == gn.evaluate(model, fold.validation).accuracy
        scores.append(by_hand["validation_accuracy"])
    assert told["scores"]["validation_accuracy"] == scores
    assert told["mean"]["validation_accuracy"] == statistics.fmean(scores)
    finished = gpunet("train", "--resume", tmp_path / "folds")
    assert "the run is finished" in finished.stdout


def same(folder: Path, wanted: Path, count: int = 3) -> None:
    for name in SAME:
        assert (folder / name).read_bytes() == (wanted / name).read_bytes(), name
        for number in range(1, count + 1):
            inside = Path("networks") / str(number) / name
            assert (folder / inside).read_bytes() == (wanted / inside).read_bytes(), inside


@host
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_killed_or_stopped_and_resumed(three: tuple[Path, Any], tmp_path: Path, number: int, code: int) -> None:
    folder = tmp_path / "run"
    options = [*OPTIONS, "--ensemble", "3", "--validation", "0.2", "--seed", "5", "--out", str(folder), "-q"]
    words = [sys.executable, "-c", ITSELF, str(int(number)), "train", *options]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=600)
    assert done.returncode == code, done.stderr
    assert not (folder / "model.safetensors").exists()
    assert isinstance(gn.RunFolder(folder).load(), gn.Ensemble)
    if code == 143:
        assert f"go on with: gpunet train --resume {folder}" in done.stderr
    else:
        shutil.rmtree(folder / "networks" / "3")  # as if it had not begun
    gpunet("train", "--resume", folder, "-q")
    same(folder, three[0])


def test_killed_on_a_gpu_and_resumed(cuda: gn.Backend, tmp_path: Path) -> None:
    few = ("--iterations", "130", "--batch-size", "10", "--ensemble", "3", "--validation", "0.2")
    words = ["train", *OPTIONS, "--device", "cuda", *few, "-q", "--out"]
    gpunet(*words, tmp_path / "whole")
    program = [sys.executable, "-c", ITSELF, str(int(signal.SIGKILL)), *words, str(tmp_path / "run")]
    done = subprocess.run(program, capture_output=True, text=True, env=environment(), timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr
    gpunet("train", "--resume", tmp_path / "run", "-q")
    same(tmp_path / "run", tmp_path / "whole")


@host
def test_killed_before_the_result_was_written(three: tuple[Path, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three[0], folder)
    for path in (folder / "model.safetensors", folder / "networks" / "2" / "model.safetensors"):
        path.unlink()
    (folder / "metrics.jsonl").write_bytes(b"")
    told = records(gpunet("train", "--resume", folder, "--json").stdout)
    assert {record.get("network") for record in told[:-1]} <= {2}
    same(folder, three[0])


@host
def test_a_run_is_written_over_when_asked(three: tuple[Path, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three[0], folder)
    short = ("train", "--device", "cpu", "--hidden", "3", "--iterations", "5", "--out", folder, "-q")
    assert "there is a run in this folder already" in gpunet(*short, code=1).stderr
    gpunet(*short, "--force")
    assert isinstance(gn.load_model(folder), gn.MLP)
    assert not list(folder.glob("networks/*/*.safetensors"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--ensemble", "2", "--folds", "2"], "give one of them"),
        (["--folds", "3", "--validation", "0.2"], "leave it out"),
        (["--ensemble", "3", "--validation", "0.7"], "half of them at most"),
        (["--ensemble", "1"], "at least 2"),
        (["--ensemble", "2", "--log", "csv:here.csv"], "leave the path out"),
        (["--validation", "6of5"], "none of two or more equal parts"),
        (["--folds", "5000"], "folds are a whole number from 2 to 4000"),
    ],
)
@host
def test_what_does_not_go_together_is_refused(words: list[str], sentence: str) -> None:
    assert sentence in gpunet("train", "--device", "cpu", *words, code=2).stderr


@host
def test_a_resumed_run_keeps_its_networks(three: tuple[Path, Any]) -> None:
    assert "leave this out" in gpunet("train", "--resume", three[0], "--ensemble", 3, code=2).stderr


@host
def test_a_config_is_repeated_with_all_its_networks(three: tuple[Path, Any]) -> None:
    short = ("train", "--config", three[0] / "config.json", "--iterations", "5")
    assert gpunet(*short, "-q").stdout.startswith("ensemble of 3: ")
    assert "another of 5 parts held out" in gpunet(*short, "--dry-run").stdout
    refused = gpunet("train", "--init-from", three[0], "--iterations", "5", code=2).stderr
    assert str(three[0] / "networks" / "1") in refused


def small() -> gn.Dataset:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 120)
    inputs = rng.standard_normal((120, 5)).astype(np.float32) + labels[:, None]
    return gn.Dataset.from_arrays(inputs[:90], labels[:90], inputs[90:], labels[90:])


def make(data: gn.Dataset, seed: int, bad: int = -1) -> gn.Trainer:
    loss = "mse" if bad >= 0 else "softmax-cross-entropy"
    optimizer = gn.SGD(1e30 if seed == bad else 0.1)
    model = gn.MLP([5, 4, 3], seed=seed, loss=loss)
    return gn.Trainer(model, data, optimizer=optimizer, batch_size=20, iterations=30, log_every=30)


@host
def test_an_ensemble_in_python() -> None:
    whole = small()
    found = gn.train_ensemble(make, whole, 4, validation=30, seed=2)
    assert found.parts == 3
    folds = whole.folds(3)
    for number, result in enumerate(found.results):
        alone = gn.MLP([5, 4, 3], seed=2 + number)
        fold = folds[number % 3]
        trained = gn.train(alone, fold, optimizer=gn.SGD(0.1), batch_size=20, iterations=30, log_every=30)
        assert isinstance(result, TrainingResult)
        assert alone.flat.tobytes() == result.model.flat.tobytes()
        assert found.scores["validation_accuracy"][number] == trained.validation_accuracy
    assert set(found.evaluations()) == {"test"}
    assert set(gn.train_ensemble(make, whole, 2).evaluations()) == {"train", "test"}
    with pytest.raises(gn.UsageError, match="half of them at most"):
        gn.train_ensemble(make, whole, 2, validation=60)
    with pytest.raises(gn.UsageError, match="the data set that it is called with"):
        gn.train_ensemble(lambda part, seed: make(small(), seed), whole, 2)


@host
def test_a_network_that_diverges_is_left_out(tmp_path: Path) -> None:
    whole = small()
    found = gn.train_ensemble(lambda data, seed: make(data, seed, bad=1), whole, 3)
    assert [type(result).__name__ for result in found.results] == [
        "TrainingResult",
        "TrainingDiverged",
        "TrainingResult",
    ]
    assert len(found.ensemble.models) == 2
    told = conclude(Several("ensemble", 3), found.results, whole, 0, [], None)
    assert set(told["failed"]) == {"2"}
    assert len(told["scores"]["test_loss"]) == 2
    with pytest.raises(gn.TrainingDiverged):
        gn.train_ensemble(lambda data, seed: make(data, seed, bad=seed), whole, 2)


@host
def test_all_that_diverge_end_the_command(tmp_path: Path) -> None:
    words = ("train", "--device", "cpu", "--ensemble", 2, "--loss", "mse", "--lr", "1e30", "--iterations", 50)
    assert "--clip-norm" in gpunet(*words, "--out", tmp_path / "run", code=1).stderr
    assert "--clip-norm" in gpunet("train", "--resume", tmp_path / "run", code=1).stderr
    assert os.path.exists(tmp_path / "run" / "networks" / "2")

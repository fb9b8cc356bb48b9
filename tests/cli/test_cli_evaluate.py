"""`gpunet evaluate`: numbers that agree with those of the library, tables that fit, and sentences for what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet

import gpunet as gn
from gpunet.pictures.confusion import Confusion
from gpunet.pictures.picture import Canvas

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "a"
    gpunet(
        "train", "--device", "cpu", "--hidden", "8", "--iterations", "150", "--validation", "300", "--out", folder, "-q"
    )
    return folder


def test_the_numbers_are_those_of_the_library(run, mnist_5k):
    record = json.loads(gpunet("evaluate", run, "--json", "--mistakes", "7").stdout)
    model = gn.MLP.load(run)
    found = gn.evaluate(model, mnist_5k.test)
    assert (record["event"], record["split"], record["examples"]) == ("evaluation", "test", 1000)
    assert (record["loss"], record["accuracy"]) == (found.loss, found.accuracy)
    assert record["confusion"] == found.confusion.tolist()
    assert sum(map(sum, record["confusion"])) == 1000
    for index, row in enumerate(record["classes"]):
        confusion = found.confusion
        assert row["class"] == str(index)
        assert row["recall"] == confusion[index, index] / confusion[index].sum()
        assert row["precision"] == confusion[index, index] / confusion[:, index].sum()
        assert row["support"] == confusion[index].sum()
    shares = model.predict_proba(mnist_5k.test.images)
    labels = mnist_5k.test.labels
    losses = -np.log(shares[np.arange(1000), labels])
    wrong = np.flatnonzero(shares.argmax(axis=1) != labels)
    worst = wrong[np.argsort(-losses[wrong])][:7]
    assert [each["index"] for each in record["mistakes"]] == worst.tolist()
    for each in record["mistakes"]:
        assert each["true"] == str(labels[each["index"]])
        assert each["predicted"] == str(shares[each["index"]].argmax())
        assert each["probability"] == pytest.approx(float(shares[each["index"]].max()), rel=1e-5)
        assert each["loss"] == pytest.approx(float(losses[each["index"]]), rel=1e-3)


def test_each_split_and_other_data(run, tmp_path, mnist_5k):
    held = mnist_5k.hold_out(300)
    for split in ("train", "validation"):
        record = json.loads(gpunet("evaluate", run, "--split", split, "--json").stdout)
        assert record["examples"] == len(getattr(held, split))
        assert record["accuracy"] == gn.evaluate(gn.MLP.load(run), getattr(held, split)).accuracy
    images, labels = mnist_5k.test.images[:50], mnist_5k.test.labels[:50]
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=labels)
    record = json.loads(gpunet("evaluate", run, "--data", tmp_path / "mine.npz", "--json").stdout)
    assert (record["split"], record["examples"]) == ("train", 50)
    by_model = gpunet("evaluate", run / "model.safetensors", "--data", "mnist-5k", "--json").stdout
    assert json.loads(by_model)["accuracy"] == gn.evaluate(gn.MLP.load(run), mnist_5k.test).accuracy


def test_the_text_has_all_parts_and_no_colours_in_a_pipe(run):
    text = gpunet("evaluate", run).stdout
    for part in (
        "accuracy",
        "precision",
        "recall",
        "F1",
        "confusions",
        "worst mistakes",
        "mnist-5k, test: 1,000 examples",
    ):
        assert part in text
    assert "\x1b" not in text
    assert text.count("\n") > 35
    assert "worst mistakes" not in gpunet("evaluate", run, "--mistakes", "0").stdout


def test_a_picture_of_the_confusions(run, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    said = gpunet("evaluate", run, "--picture", tmp_path / "confusion.png").stdout
    assert f"confusion matrix in {tmp_path / 'confusion.png'}" in said
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    gpunet("evaluate", run, "--picture", tmp_path / "confusion.doc", code=2)


def test_two_classes_with_a_single_output(tmp_path):
    folder = tmp_path / "run"
    gpunet("train", "--device", "cpu", "--hidden", "none", "--classes", "3,8", "--loss", "binary-cross-entropy",
           "--iterations", "100", "--out", folder, "-q")  # fmt: skip
    record = json.loads(gpunet("evaluate", folder, "--json").stdout)
    assert [row["class"] for row in record["classes"]] == ["3", "8"]
    assert record["accuracy"] > 0.8
    assert {each["predicted"] for each in record["mistakes"]} <= {"3", "8"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--split", "fourth"], 2, "no split 'fourth'; it has train, validation, test"),
        (["--data", "mnits"], 2, "mnist"),
        (["--mistakes", "-1"], 2, "--mistakes"),
        (["--device", "gpu"], 2, "device"),
    ],
)
def test_arguments_that_are_refused(run, arguments, code, sentence):
    assert sentence in gpunet("evaluate", run, *arguments, code=code).stderr


def test_data_that_does_not_fit(run, tmp_path, rng):
    np.savez(tmp_path / "wide.npz", x_train=rng.random((20, 30)), y_train=np.arange(20) % 2)
    assert "30" in gpunet("evaluate", run, "--data", tmp_path / "wide.npz", code=1).stderr
    np.savez(tmp_path / "many.npz", x_train=rng.random((20, 784)), y_train=np.arange(20))
    assert "no place" in gpunet("evaluate", run, "--data", tmp_path / "many.npz", code=1).stderr
    assert "--data" in gpunet("evaluate", run / "model.safetensors", code=2).stderr


def test_losses_that_are_not_finite_are_null_in_json(tmp_path):
    model = gn.MLP([784, 10], initializer="normal", bias=0)
    model.flat *= 3e38
    model.input_scale = 1 / 255
    model.save(tmp_path / "model")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    line = gpunet("evaluate", tmp_path / "model", "--data", "mnist-5k", "--mistakes", "2", "--json").stdout
    record = json.loads(line, parse_constant=refuse)
    assert record["loss"] is None
    assert [each["loss"] for each in record["mistakes"]] == [None, None]
    assert "worst mistakes" in gpunet("evaluate", tmp_path / "model", "--data", "mnist-5k").stdout


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_confusion_matrix_fits(width, rng):
    confusion = rng.integers(0, 30, (10, 10))
    confusion[3, 3] = 9999
    names = [str(index) for index in range(10)]
    lines = Confusion(confusion, names).lines(Canvas(width))
    assert max(map(len, lines)) <= width
    assert ("9999" in "".join(lines)) == (width >= 60)
    if width < 60:
        assert lines[0] == "most frequent confusions"
        off = confusion.copy()
        np.fill_diagonal(off, 0)
        assert lines[1].split()[0] == str(off.max())


def test_a_run_that_has_not_ended_is_told(run, tmp_path):
    unfinished = shutil.copytree(run, tmp_path / "b")
    wanted = gpunet("evaluate", run, "--json")
    assert wanted.stderr == ""
    (unfinished / "model.safetensors").unlink()
    found = gpunet("evaluate", unfinished, "--json")
    assert "has not ended; the network is that of its newest checkpoint" in found.stderr
    assert found.stdout == wanted.stdout

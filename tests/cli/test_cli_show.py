"""`gpunet show` as users run it: examples, mistakes and weights, in a pipe, in colours, and in a file."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import command_line
import numpy as np
import pytest

import gpunet as gn

pytestmark = pytest.mark.host

#: `gpunet show` with any end.
gpunet = functools.partial(command_line.gpunet, "show", code=None)

PLAIN = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, mnist_5k: gn.Dataset) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    network = gn.MLP([784, 12, 10])
    gn.train(network, mnist_5k, iterations=150)
    network.save(path)
    return path


def test_examples_in_a_pipe() -> None:
    found = gpunet()
    assert found.returncode == 0, found.stderr
    assert "\x1b" not in found.stdout
    assert found.stdout.isascii()
    assert found.stdout.startswith("mnist-5k, train: 20 of 4,000 examples\n")
    lines = found.stdout.splitlines()[1:]
    captions = [word for line in lines for word in line.split() if word.isdigit()]
    assert captions == [str(digit) for digit in range(10) for _ in range(2)]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("columns", ["60", "80"])
def test_half_blocks_where_there_are_colours(columns: str) -> None:
    found = gpunet("--count", "6", FORCE_COLOR="1", TERM="xterm-256color", COLORTERM="truecolor", COLUMNS=columns)
    assert found.returncode == 0, found.stderr
    assert "\x1b[38;2;" in found.stdout
    assert max(len(PLAIN.sub("", line)) for line in found.stdout.splitlines()) <= int(columns)
    of_256 = gpunet("--count", "6", FORCE_COLOR="1", TERM="xterm-256color", COLUMNS=columns)
    assert "\x1b[38;5;" in of_256.stdout
    plain = gpunet("--count", "6", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color", COLUMNS=columns)
    assert "\x1b" not in plain.stdout
    assert max(map(len, plain.stdout.splitlines())) <= int(columns)


def test_an_encoding_without_blocks_gets_characters() -> None:
    found = gpunet("--count", "2", FORCE_COLOR="1", TERM="xterm-256color", PYTHONIOENCODING="ascii")
    assert found.returncode == 0, found.stderr
    assert "38;5" not in found.stdout


def test_one_digit_and_another_seed() -> None:
    twos = gpunet("--digit", "2", "--count", "4", "--split", "test")
    assert twos.stdout.startswith("mnist-5k, test: 4 of 100 examples\n")
    assert re.findall(r"\b\d\b", twos.stdout.split("\n", 1)[1]) == ["2"] * 4
    assert gpunet("--digit", "2", "--count", "4", "--split", "test").stdout == twos.stdout
    assert gpunet("--digit", "2", "--count", "4", "--split", "test", "--seed", "1").stdout != twos.stdout


def test_a_sheet_in_a_file(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    found = gpunet("--out", str(tmp_path / "sheet.png"))
    assert found.returncode == 0, found.stderr
    assert "100 of 4,000 examples, in " in found.stdout
    with image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 10 * 56
        assert sheet.height > 10 * 56


def test_the_mistakes_of_a_model_are_its_mistakes(model: Path, mnist_5k: gn.Dataset) -> None:
    found = gpunet("--run", str(model), "--wrong", "--count", "5", "--data", "mnist-5k")
    assert found.returncode == 0, found.stderr
    network = gn.MLP.load(model)
    answers = network.predict(mnist_5k.test.images)
    wrong = answers != mnist_5k.test.labels
    assert f"{wrong.sum()} of 1,000 test examples are answered wrong, 5 shown" in found.stdout
    pairs = re.findall(r"(\d)→(\d)", found.stdout)
    assert len(pairs) == 5
    first = np.argmax(gn.evaluate(network, mnist_5k.test).losses * wrong)
    assert pairs[0] == (str(mnist_5k.test.labels[first]), str(answers[first]))


def test_weights(model: Path, tmp_path: Path) -> None:
    found = gpunet("--run", str(model), "--weights")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("Weights into 12 neurons of the first layer: orange for it, blue against\n")
    pytest.importorskip("matplotlib")
    found = gpunet("--run", str(model), "--weights", "--out", str(tmp_path / "weights.png"))
    assert found.returncode == 0, found.stderr


def test_a_run_folder_brings_its_data(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--classes", "4,9", "--hidden", "3", "--iterations", "20", "--device", "cpu")
    command_line.gpunet("train", *options, "--out", run, "-q")
    found = gpunet("--run", str(run), "--wrong", "--count", "8")
    assert found.returncode == 0, found.stderr
    assert re.search(r"of 200 test examples are answered wrong", found.stdout)
    assert set(re.findall(r"(\d)→(\d)", found.stdout)) <= {("4", "9"), ("9", "4")}


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (["--mistakes"], "--run", 2),
        (["--weights"], "--run", 2),
        (["--run", "nowhere", "--wrong"], "nowhere", 1),
        (["--run", "nowhere"], "--mistakes or --weights", 2),
        (["--run", "x", "--wrong", "--weights"], "one of them", 2),
        (["--class", "12"], "class 12: mnist-5k has no such class", 2),
        (["--split", "validation"], "has no split 'validation'", 2),
        (["--out", "sheet.doc"], "sheet.doc", 2),
        (["--count", "0"], "--count", 2),
        (["--data", "nist"], "nist", 2),
        (["--data", "mnist-5k", "--data-dir", "nowhere"], "comes with the package", 2),
    ],
)
def test_a_bad_option_is_one_sentence(arguments: list[str], sentence: str, code: int) -> None:
    found = gpunet(*arguments)
    assert found.returncode == code
    assert found.stdout == ""
    assert found.stderr.startswith("Error: ")
    assert sentence in found.stderr
    assert found.stderr.count("\n") == 1

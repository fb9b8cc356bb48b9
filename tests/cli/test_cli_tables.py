"""Files as people have them, through the command line: each trains the right model, or is refused in a sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import gpunet

import gpunet as gn
from gpunet.data.reader import read_table

pytest.importorskip("pyarrow")
Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.host

FAST = ("--recipe", "write-up", "--optimizer", "adam", "--iterations", 300, "--quiet")
RNG = np.random.default_rng(0)


def write(path: Path, header: Any, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        if header is not None:
            writer.writerow(header)
        writer.writerows(rows)
    return path


def flowers(count: int = 90) -> list[list[Any]]:
    """Three kinds, told apart by two of four measures."""
    rows = []
    for number in range(count):
        kind = number % 3
        centre = [5 + kind, 3, 1.5 + 2 * kind, 0.2 + kind]
        rows.append([*np.round(RNG.normal(centre, 0.2), 2).tolist(), ["rose", "iris", "lily"][kind]])
    return rows


FLOWERS = ["sepal", "width", "petal", "breadth", "species"]


def pictures(root: Path, images: np.ndarray, labels: np.ndarray, make: Any) -> None:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        make(image).save(folder / f"{number:05}.png")


@pytest.fixture(scope="module")
def digits(mnist_5k: gn.Dataset) -> tuple[np.ndarray, np.ndarray]:
    return mnist_5k.train.inputs[:900].reshape(-1, 28, 28), mnist_5k.train.targets[:900]


def result(*arguments: Any) -> dict[str, Any]:
    words = [each for each in arguments if each != "--quiet"]
    return json.loads(gpunet("train", *words, "--json", "--quiet").stdout.splitlines()[-1])


def evaluation(*arguments: Any) -> dict[str, Any]:
    return json.loads(gpunet("evaluate", *arguments, "--json").stdout)


def test_a_frame_with_its_index(tmp_path: Path) -> None:
    rows = [[number, *row[:4], ["rose", "iris", "lily"].index(row[4])] for number, row in enumerate(flowers())]
    path = write(tmp_path / "iris.csv", ["", *FLOWERS[:4], "target"], rows)
    said = gpunet("data", "info", path).stdout
    assert "no feature" in said
    assert "4 features" in said
    assert result("--data", path, *FAST)["test_accuracy"] > 0.9


def test_digits_under_a_header_of_numbers_train_as_under_names(tmp_path: Path, digits: Any) -> None:
    rows = [[int(label), *image.ravel().tolist()] for image, label in zip(*digits, strict=True)]
    numbers = write(tmp_path / "a" / "digits.csv", range(785), rows)
    named = write(tmp_path / "b" / "digits.csv", ["label", *(f"pixel{i}" for i in range(784))], rows)
    options = ("--iterations", 50, "--validation", "none", "--seed", 0, "--quiet")
    one, other = (result("--data", path, *options) for path in (numbers, named))
    assert one["train_accuracy"] == other["train_accuracy"]
    assert one["train_loss"] == other["train_loss"]


def test_predict_agrees_with_evaluate_and_classes_are_matched_by_name(tmp_path: Path, digits: Any) -> None:
    images, labels = digits
    data, run = tmp_path / "data", tmp_path / "run"
    for part, rows in (("train", slice(0, 700)), ("test", slice(700, 900))):
        pictures(data / part, 255 - images[rows], labels[rows], Image.fromarray)
    said = gpunet("train", "--data", data, *FAST[:-1], "--out", run).stdout
    assert "dark on light and turned light on dark" in said
    accuracy = evaluation(run)["accuracy"]
    assert accuracy > 0.75
    files = sorted((data / "test").glob("*/*.png"))
    lines = [json.loads(line) for line in gpunet("predict", run, *files, "--json").stdout.splitlines()]
    assert len(lines) == 200
    assert np.mean([line["class"] == Path(line["file"]).parent.name for line in lines]) == accuracy
    keep = labels[700:] != 0
    pictures(tmp_path / "rest", (255 - images[700:])[keep], labels[700:][keep], Image.fromarray)
    rest = evaluation(run, "--data", tmp_path / "rest", "--split", "train")
    assert rest["examples"] == keep.sum()
    right = [line["class"] == Path(line["file"]).parent.name for line in lines if Path(line["file"]).parent.name != "0"]
    assert rest["accuracy"] == pytest.approx(np.mean(right))


def test_ink_on_nothing(tmp_path: Path, digits: Any) -> None:
    def ink(image: np.ndarray) -> Any:
        return Image.fromarray(np.dstack([np.zeros_like(image)] * 3 + [image]))

    images, labels = digits
    for part, rows in (("train", slice(0, 700)), ("test", slice(700, 900))):
        pictures(tmp_path / part, images[rows], labels[rows], ink)
    data = gn.load_dataset(tmp_path)
    assert len(np.unique(data.train.inputs, axis=0)) > 690
    assert result("--data", tmp_path, *FAST)["test_accuracy"] > 0.7


def test_data_that_lacks_a_class_is_matched_by_name(tmp_path: Path) -> None:
    rows = flowers(180)
    train = write(tmp_path / "train.csv", FLOWERS, rows[:90])
    two = write(tmp_path / "two.csv", FLOWERS, [row for row in rows[90:] if row[-1] != "iris"])
    gpunet("train", "--data", train, "--target", "species", *FAST, "--out", tmp_path / "run")
    found = evaluation(tmp_path / "run", "--data", two)
    assert found["accuracy"] > 0.9
    assert [row["class"] for row in found["classes"]] == ["iris", "lily", "rose"]
    assert found["classes"][0]["support"] == 0


def test_the_scale_is_that_of_training_whatever_the_data_at_hand(tmp_path: Path) -> None:
    centres = RNG.integers(45, 115, (4, 12))
    label = RNG.integers(0, 4, 800)
    values = np.clip(centres[label] + RNG.normal(0, 18, (800, 12)), 20, 178).astype(int)
    header = ["label", *(f"f{i}" for i in range(12))]
    rows = [[int(b), *map(int, a)] for a, b in zip(values, label, strict=True)]
    rest = rows[600:]
    low = [row for row in rest if max(row[1:]) <= 127]
    odd = [list(row) for row in rest]
    odd[5][3] = 71.5  # type: ignore[call-overload]
    train = write(tmp_path / "train.csv", header, rows[:600])
    files = {name: write(tmp_path / f"{name}.csv", header, what) for name, what in
             (("rest", rest), ("low", low), ("odd", odd))}  # fmt: skip
    run = tmp_path / "run"
    gpunet("train", "--data", train, "--target", "label", *FAST, "--out", run)
    found = {name: evaluation(run, "--data", path) for name, path in files.items()}
    assert abs(found["rest"]["accuracy"] - found["odd"]["accuracy"]) <= 0.01
    gpunet("predict", run, files["rest"], "--out", tmp_path / "p.csv")
    with open(tmp_path / "p.csv") as file:
        answers = [row["prediction"] for row in csv.DictReader(file)]
    among = [answer == str(row[0]) for answer, row in zip(answers, rest, strict=True) if max(row[1:]) <= 127]
    assert found["low"]["accuracy"] == pytest.approx(np.mean(among))


@pytest.mark.parametrize("kind", ["sizes and classes in the first line", "no header"])
def test_scikit_learn_s_own_files(tmp_path: Path, kind: str) -> None:
    rows = [[*row[:4], ["rose", "iris", "lily"].index(row[4])] for row in flowers()]
    header = [len(rows), 4, "rose", "iris", "lily"] if kind != "no header" else None
    found = result("--data", write(tmp_path / "a.csv", header, rows), *FAST)
    assert found["test_accuracy"] > 0.9


def test_a_competition_s_folder(tmp_path: Path, digits: Any) -> None:
    pixels = [f"pixel{i}" for i in range(784)]
    images, labels = digits
    folder, run = tmp_path / "8", tmp_path / "run"
    rows = [[int(label), *image.ravel().tolist()] for image, label in zip(images, labels, strict=True)]
    write(folder / "train.csv", ["label", *pixels], rows[:700])
    write(folder / "test.csv", pixels, [row[1:] for row in rows[700:]])
    said = gpunet("train", "--data", folder, *FAST[:-1], "--out", run).stdout
    assert "test.csv, which has no column label" in said
    for suffix in ("csv", "parquet", "jsonl", "npy"):
        out = tmp_path / f"answers.{suffix}"
        assert "200 predictions" in gpunet("predict", run, folder / "test.csv", "--out", out).stdout
        if suffix == "npy":
            given = [str(each) for each in np.load(out)]
        elif suffix == "jsonl":
            given = [json.loads(line)["prediction"] for line in out.read_text().splitlines()]
        else:
            table = read_table(out)["prediction"].as_text()
            given = [table.texts[code] for code in table.values]
        assert len(given) == 200
        assert np.mean([answer == str(row[0]) for answer, row in zip(given, rows[700:], strict=True)]) > 0.75
    gpunet("predict", run, folder / "test.csv", "--out", tmp_path / "a.xlsx", code=2)
    assert not (tmp_path / "a.xlsx").exists()


def test_loose_pictures_in_a_test_folder(tmp_path: Path, digits: Any) -> None:
    images, labels = digits
    data, run = tmp_path / "9", tmp_path / "run"
    pictures(data / "train", images[:300], labels[:300], Image.fromarray)
    (data / "test").mkdir()
    for number in range(30):
        Image.fromarray(images[300 + number]).save(data / "test" / f"{number}.png")
    said = gpunet("train", "--data", data, *FAST[:-1], "--out", run).stdout
    assert "test/, whose 30 pictures have no classes" in said
    assert len(gpunet("predict", run, data / "test").stdout.splitlines()) == 30


def test_a_regression_from_file_to_predictions(tmp_path: Path) -> None:
    x = RNG.normal(0, 1, (300, 3))
    kind = RNG.integers(0, 3, 300)
    y = 5000 + 300 * x[:, 0] + 800 * kind + RNG.normal(0, 20, 300)
    rows = [[*np.round(a, 3), "abc"[k], round(b, 2)] for a, k, b in zip(x, kind, y, strict=True)]
    path = write(tmp_path / "prices.csv", ["a", "b", "c", "kind", "price"], rows)
    assert "--target" in gpunet("train", "--data", path, code=1).stderr
    run = tmp_path / "run"
    found = result("--data", path, "--target", "price", *FAST, "--out", run)
    assert found["test_r2"] > 0.95
    assert 10 < found["test_rmse"] < 150
    judged = evaluation(run)
    assert judged["r2"] == pytest.approx(found["test_r2"])
    assert "r2" in gpunet("evaluate", run).stdout
    new = write(tmp_path / "new.csv", ["kind", "b", "a", "c"], [["a", 0, 0, 0], ["c", 0, 1, ""], ["new", 0, 0, 0]])
    answer = gpunet("predict", run, new, "--json")
    values = [json.loads(line)["value"] for line in answer.stdout.splitlines()]
    assert values[0] == pytest.approx(5000, abs=200)
    assert values[1] == pytest.approx(6900, abs=300)
    assert "kind: new" in answer.stderr
    assert (
        "lacks the columns b, c, kind" in gpunet("predict", run, write(tmp_path / "w.csv", ["a"], [[1]]), code=1).stderr
    )


def test_several_labels_from_file_to_predictions(tmp_path: Path) -> None:
    x = RNG.normal(0, 1, (200, 2))
    rows = [[*np.round(a, 3), int(a[0] > 0), int(a[1] > 0)] for a in x]
    path = write(tmp_path / "a.csv", ["x", "y", "warm", "wet"], rows)
    run = tmp_path / "run"
    gpunet("train", "--data", path, "--target", "warm,wet", *FAST, "--out", run)
    assert "subset" in gpunet("evaluate", run).stdout
    new = write(tmp_path / "n.csv", ["x", "y"], [[2, 2], [-2, 2], [-2, -2]])
    assert [line.split("  ")[1] for line in gpunet("predict", run, new).stdout.splitlines()] == [
        "warm, wet", "wet", "(no label)"
    ]  # fmt: skip
    gpunet("predict", run, new, "--out", tmp_path / "p.csv")
    with open(tmp_path / "p.csv") as file:
        first = next(csv.DictReader(file))
    assert (first["prediction_warm"], first["prediction_wet"]) == ("1", "1")
    assert float(first["probability_warm"]) > 0.5


def test_a_column_of_names_or_an_index_is_never_the_label(tmp_path: Path) -> None:
    rows = [[number + 1, f"name {number}", number * 0.5, number % 7 + 10] for number in range(60)]
    path = write(tmp_path / "a.csv", ["rownames", "who", "x", "z"], rows)
    said = gpunet("train", "--data", path, code=1).stderr
    assert "--target COLUMN" in said
    assert "who, x, z" in said


def test_a_regression_that_is_resumed_ends_bitwise_the_same(tmp_path: Path) -> None:
    options = ("--data", "diabetes", "--recipe", "write-up", "--scale", "robust", "--bins", 8, "--clip", "on")
    gpunet("train", *options, "--optimizer", "adam", "--iterations", 60, "--quiet", "--out", tmp_path / "whole")
    data = gn.load_dataset("diabetes", scale="robust", bins=8, clip=True)

    def trainer() -> gn.Trainer:
        model = gn.MLP([data.features, 50, 30, 1], loss="mse", seed=0)
        return gn.Trainer(model, data, optimizer=gn.Adam(0.001), iterations=60, checkpoint_every=25)

    state: list[Any] = []

    class Stop(gn.Callback):
        def on_checkpoint(self, trainer: gn.Trainer) -> None:
            if not state:
                state.append(trainer.state())
                trainer.stop()

    first = trainer()
    first.callbacks += [Stop()]
    list(first.steps())
    assert first.iteration == 25
    second = trainer()
    second.restore(*state[0])
    list(second.steps())
    kept = gn.MLP.load(tmp_path / "whole")
    np.testing.assert_array_equal(kept.flat, second.model.flat)
    values = kept.predict(data.test.inputs)
    low, high = data.train.targets.min(), data.train.targets.max()
    assert low <= values.min() <= values.max() <= high


def test_very_many_classes_are_said_to_have_no_confusion_matrix_before_they_train(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", x_train=np.eye(4, dtype=np.float32), y_train=[0, 1, 2, 99_999])
    said = gpunet("train", "--data", tmp_path / "many.npz", "--hidden", 1, "--iterations", 1, "--device", "cpu").stdout
    assert "confusions   not counted: of more than 2,000 classes" in said
    assert said.index("confusions") < said.index("iteration 1")
    assert "loss" in said

"""Tables: how text is read, what is taken for what and said of it, and what is refused with the option for it."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.data.columns import as_table
from gpunet.data.fitting import Category, Number
from gpunet.data.load import load_dataset
from gpunet.data.reader import read_parts, read_table
from gpunet.errors import DataError, MissingExtra, UsageError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.host

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 25), dtype=np.uint8)
LABELS = np.arange(40) % 4
NAMES = [f"pixel{number}" for number in range(25)]


def write(path: Path, header: Any, rows: Any, delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        if header is not None:
            writer.writerow(header)
        writer.writerows(rows)
    return path


def refused(what: Any, *words: str, error: type[Exception] = DataError, **options: Any) -> None:
    with pytest.raises(error) as caught:
        load_dataset(what, **options)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def told(data: Any) -> str:
    return "; ".join(f"{label}: {text}" for label, text in data.facts)


# ---- text


def content(raw: bytes, tmp_path: Path, name: str = "a.csv") -> dict[str, list[Any]]:
    path = tmp_path / name
    path.write_bytes(raw)
    return {c.name: [c.texts[v] if v >= 0 else None for v in c.values] if c.texts else c.values.tolist()
            for c in read_table(path).columns}  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("\ufeffa,b\r\n1,2\r\n3,4\r\n\r\n".encode(), {"a": [1, 3], "b": [2, 4]}),
        ("a,b\nä,1\nö,2\n".encode("utf-16"), {"a": ["ä", "ö"], "b": [1, 2]}),
        ("a,b\nä,1\nö,2\n".encode("cp1252"), {"a": ["ä", "ö"], "b": [1, 2]}),
        (b"a;b\n1,5;2,25\n3;4\n", {"a": [1.5, 3], "b": [2.25, 4]}),
        (b"a;b\n1.5;x,y\n3;z\n", {"a": [1.5, 3], "b": ["x,y", "z"]}),
        (b"a\tb\n1\t2\n3\t4\n", {"a": [1, 3], "b": [2, 4]}),
        (b"a|b\n1|2\n3|4\n", {"a": [1, 3], "b": [2, 4]}),
        (b"1.5   2.5\n 3    4\n", {"0": [1.5, 3], "1": [2.5, 4]}),
        (b'a,b\n"x, y",1\n"he said ""hi""",2\n"two\nlines",3\n', {"a": ["x, y", 'he said "hi"', "two\nlines"],
                                                                      "b": [1, 2, 3]}),
        (b"# made by x\na,b\n1,2\n# more\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        (b"#a,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        (gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0), {"a": [1, 3], "b": [2, 4]}),
        (b",b,\n0,1,2\n1,3,4\n", {"": [0, 1], "b": [1, 3], "column 2": [2, 4]}),
        (b",,\n0,1,2\n1,3,4\n", {"0": [0, 1], "1": [1, 3], "2": [2, 4]}),
        (b"a,a\n1,2\n3,4\n", {"a": [1, 3], "a (2)": [2, 4]}),
        (b"a,b\nx,1\ny,2\n", {"a": ["x", "y"], "b": [1, 2]}),
        (b'"x","y"\n"r1",1,2\n"r2",3,4\n', {"": ["r1", "r2"], "x": [1, 3], "y": [2, 4]}),
        (b"5.1,setosa\n4.9,rose\n", {"0": [5.1, 4.9], "1": ["setosa", "rose"]}),
        (b"2,1,no,yes\n1.5,0\n2.5,1\n", {"0": [1.5, 2.5], "1": ["no", "yes"]}),
        (b'a,"sales\r\n (USD)"\r\n1,2\r\n3,4\r\n', {"a": [1, 3], "sales (USD)": [2, 4]}),
    ],
)  # fmt: skip
def test_text_of_any_sort(tmp_path: Path, raw: bytes, expected: dict[str, list[Any]]) -> None:
    assert content(raw, tmp_path) == expected


@pytest.mark.parametrize("late", [False, True])
def test_windows_1252_in_a_large_file(tmp_path: Path, late: bool) -> None:
    """Whether the first cell that is not UTF-8 stands among the bytes that are looked at, or behind them."""
    path, rows = tmp_path / "a.csv", 40_000
    lines = [f"{number},Ulm,," for number in range(rows)]
    lines[-1 if late else 0] = f"{0 if not late else rows - 1},Köln,,"
    path.write_bytes("\n".join(["x,town,none,", *lines, ""]).encode("cp1252"))
    table = read_table(path)
    assert table["x"].values.tolist() == list(range(rows))
    assert sorted(table["town"].texts) == ["Köln", "Ulm"]
    assert "Windows-1252" in str(table.facts)
    parts = [part["town"] for part in read_parts(path, {"x": "number", "town": "text"})]
    assert {text for part in parts for text in part.texts} == {"Köln", "Ulm"}


def test_missing_cells_and_times(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,when,yes\n1,x,2020-01-01,true\nNA,,2020-01-03,false\n?,y,,\n")
    table = read_table(path)
    assert table["a"].missing.tolist() == [False, True, True]
    assert table["b"].missing.tolist() == [False, True, False]
    assert table["when"].kind == "time"
    assert np.diff(table["when"].values)[0] == 2
    assert table["yes"].kind == "boolean"
    assert table["yes"].values[:2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", ["empty"]),
        (b"label,a,b\n", ["no rows"]),
        (b"a,b,c\n1,2,3\n4,5\n6,7,8\n", ["2 cells in line 3", "3 columns"]),
        (b'a,b,c\n"x\ny",2,3\n4,5,6,7\n6,7,8\n', ["4 cells in line 4"]),
        (b"label,a\n0,1\n1,2\n0,oops\n1,4\n", ["'oops'", "column a", "line 4", "--drop a"]),
        (b"label,a\n0,1\n1,inf\n0,1\n1,4\n", ["inf", "column a", "line 3"]),
        (b'label,"a\n\n"\n0,1\n1,oops\n0,1\n1,4\n', ["'oops'", "column a", "line 5"]),
        (b"label,a\n,1\n,2\n", ["no value in the column label"]),
        (b"label,a\n1,1\n1,2\n", ["label is the same in all rows"]),
        (b"\x89PNG\r\n\x1a\n\0\0,1\n", ["no text"]),
        (gzip.compress(b"0,1,2\n1,3,4\n" * 100, mtime=0)[:-9], ["gzip"]),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path, raw: bytes, words: list[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(raw)
    refused(path, "mine.csv", *words)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(write(tmp_path / "a.csv", ["a", "y"], [[1, 2]]), "gpunet[tables]", error=MissingExtra)


@pytest.mark.parametrize("kind", ["parquet", "feather", "csv"])
def test_files_in_parts(tmp_path: Path, kind: str) -> None:
    days = [datetime.date(2020, 1, 1), datetime.date(2020, 1, 3), None]
    columns = {"x": [1.5, 2, None], "k": ["a", None, "b"], "yes": [True, None, False], "day": days, "other": [1, 2, 3]}
    table = pa.table(columns)
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "feather":
        import pyarrow.feather as feather

        feather.write_feather(table, str(path))
    else:
        path.write_text("x,k,yes,day,other\n1.5,a,true,2020-01-01,1\n2,,,2020-01-03,2\n,b,false,,3\n")
    whole = read_table(path)
    parts = list(read_parts(path, {"x": "number", "k": "text", "yes": "number", "day": "number"}))
    for made in (whole, parts[0]):
        assert made["x"].values[:2].tolist() == [1.5, 2]
        assert made["k"].missing.tolist() == [False, True, False]
        assert made["yes"].kind == "boolean"
        assert made["yes"].missing.tolist() == [False, True, False]
        assert np.diff(made["day"].values[:2]) == 2
    assert parts[0].names == ["x", "k", "yes", "day"]
    path.write_bytes(path.read_bytes()[:20])
    if kind != "csv":
        refused(path, "damaged")


def test_frames(tmp_path: Path) -> None:
    columns = {"a": [1.0, 2, 3, 4] * 5, "k": ["x", "y", None, "x"] * 5, "y": [True, False] * 10}
    frames = [columns, pa.table(columns)]
    pandas = pytest.importorskip("pandas")
    frames.append(pandas.DataFrame(columns))
    frames.append(pandas.DataFrame({**columns, "k": pandas.Categorical(columns["k"])}))
    if polars := pytest.importorskip("polars"):
        frames.append(polars.DataFrame(columns))
    made = [load_dataset(frame, test=None) for frame in frames]
    for data in made:
        assert data.class_names == ["False", "True"]
        np.testing.assert_array_equal(data.train.inputs, made[0].train.inputs)
        assert [column.name for column in data.preparation.columns] == ["a", "k"]
    with pytest.raises(DataError, match="list"):
        as_table(pa.table({"a": [[1, 2]]}))


# ---- target and features


def test_the_target_is_a_column_of_a_known_name(tmp_path: Path) -> None:
    rows = [[i % 3 * 1.5, "abc"[i % 3], i % 7] for i in range(30)]
    data = load_dataset(write(tmp_path / "a.csv", ["x", "Species", "z"], rows), test=None)
    assert data.class_names == ["a", "b", "c"]
    assert [column.name for column in data.preparation.columns] == ["x", "z"]
    assert "target: Species, 3 classes" in told(data)
    refused(write(tmp_path / "b.csv", ["y", "class", "z"], rows), "y, class may each be the target", "--target")
    refused(write(tmp_path / "c.csv", ["p", "q", "r"], rows), "--target COLUMN", "p, q, r")


@pytest.mark.parametrize(("target", "name"), [("q", "q"), ("1", "q"), ("-2", "q"), (1, "q"), ("0", "0")])
def test_a_column_by_name_or_by_position(tmp_path: Path, target: Any, name: str) -> None:
    header = ["p", "q", "r"] if name == "q" else ["p", "q", "0"]
    path = write(tmp_path / "a.csv", header, [[i * 0.5, i % 2, i % 2] for i in range(20)])
    data = load_dataset(path, target=target)
    assert data.preparation.target == name
    refused(path, "no column x", error=UsageError, target="x")
    refused(path, "no column 7", error=UsageError, drop="7")
    refused(path, "no features", target="p", features="p")


def test_features_and_drop(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["a", "b", "c", "y"], [[i, -i, i * i, i % 2] for i in range(20)])

    def names(**options: Any) -> list[str]:
        return [column.name for column in load_dataset(path, **options).preparation.columns]

    assert names(features=["c", "a"]) == ["c", "a"]
    assert names(drop="b") == ["a", "c"]


@pytest.mark.parametrize("column", [0, 5])
def test_a_table_without_names_whose_only_end_of_classes_is_the_target(tmp_path: Path, column: int) -> None:
    for header in (None, range(6)):
        rows = [[*np.round(RNG.normal(0, 1, 5), 3)] for _ in range(30)]
        for number, row in enumerate(rows):
            row.insert(column, number % 3)
        data = load_dataset(write(tmp_path / "a.csv", header, rows))
        assert data.preparation.target == str(column)
        assert data.classes == 3
    both = [[i % 2, 0.5 * i, i % 3] for i in range(30)]
    refused(write(tmp_path / "b.csv", None, both), "--target", "0, 1, 2")
    neither = [[0.1 * i, 5 * i, 0.2 * i] for i in range(30)]
    refused(write(tmp_path / "c.csv", None, neither), "--target")


def test_an_index_is_no_feature_and_no_target(tmp_path: Path) -> None:
    for name in ("", "rownames"):
        path = write(tmp_path / "a.csv", [name, "x", "y"], [[i + 1, i * i * 0.5, i % 2] for i in range(30)])
        data = load_dataset(path)
        assert [column.name for column in data.preparation.columns] == ["x"]
        assert "index" in told(data)
    path = write(tmp_path / "b.csv", ["", "x"], [[i, i * 0.5] for i in range(30)])
    refused(path, "--target")
    shuffled = [[i * 7 % 30, i * i * 0.5, i % 2] for i in range(30)]  # as a shuffled frame is written
    data = load_dataset(write(tmp_path / "d.csv", ["", "x", "y"], shuffled))
    assert data.preparation.column_names == ("x",)
    arrow = pa.table({"x": [row[1] for row in shuffled], "y": [row[2] for row in shuffled],
                      "__index_level_0__": [row[0] for row in shuffled]})  # fmt: skip
    parquet.write_table(arrow, tmp_path / "d.parquet")
    data = load_dataset(tmp_path / "d.parquet")
    assert data.preparation.column_names == ("x",)
    assert "index: __index_level_0__" in told(data)
    assert load_dataset(tmp_path / "d.parquet", features="__index_level_0__").features == 1
    ids = write(tmp_path / "c.csv", ["id", "x", "y"], [[i, i * i * 0.5, i % 2] for i in range(30)])
    assert "id, which counts the rows" in told(load_dataset(ids))
    for name, said in (("customerId", True), ("customer id", True), ("paid", False)):
        path = write(tmp_path / "e.csv", ["x", name, "y"], [[i * i * 0.5, i * 7 % 30, i % 2] for i in range(30)])
        assert (f"{name}, which has another number in each row" in told(load_dataset(path))) == said


# ---- tasks


@pytest.mark.parametrize(
    ("targets", "task", "classes"),
    [
        ([i % 3 for i in range(60)], "classification", 3),
        ([i % 3 + 1 for i in range(60)], "classification", 3),
        (["yes", "no"] * 30, "classification", 2),
        (["true", "false"] * 30, "classification", 2),
        ([i * 0.25 for i in range(60)], "regression", 0),
    ],
)
def test_the_task_by_the_target(tmp_path: Path, targets: list[Any], task: str, classes: int) -> None:
    path = write(tmp_path / "a.csv", ["x", "y"], [[i, t] for i, t in enumerate(targets)])
    data = load_dataset(path)
    assert (data.task, data.classes) == (task, classes)


def test_whole_numbers_that_may_be_either_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["x", "y"], [[i, 3 + i % 5] for i in range(60)])
    refused(path, "--task classification or --task regression", "from 3 to 7")
    assert load_dataset(path, task="classification").class_names == ["3", "4", "5", "6", "7"]
    assert load_dataset(path, task="regression").task == "regression"
    many = write(tmp_path / "b.csv", ["x", "y"], [[i, i * 3] for i in range(150)])
    assert load_dataset(many).task == "regression"
    texts = write(tmp_path / "c.csv", ["x", "y"], [[i, "ab"[i % 2]] for i in range(60)])
    refused(texts, "--task", error=UsageError, task="regression")
    unlike = write(tmp_path / "d.csv", ["x", "y"], [[i, f"name {i}"] for i in range(60)])
    refused(unlike, "60 different texts", "--target")


def test_several_targets(tmp_path: Path) -> None:
    rows = [[i * 0.1, i % 2, i // 2 % 2, i * 1.5, "ab"[i % 2]] for i in range(40)]
    path = write(tmp_path / "a.csv", ["x", "p", "q", "r", "t"], rows)
    labels = load_dataset(path, target=["p", "q"], features="x")
    assert (labels.task, labels.class_names) == ("multi-label", ["p", "q"])
    values = load_dataset(path, target=["p", "r"], features="x")
    assert (values.task, values.outputs) == ("regression", 2)
    assert values.preparation.targets.names == ("p", "r")
    refused(path, "texts and numbers", target=["p", "t"], features="x")


# ---- features


def test_what_features_become(tmp_path: Path) -> None:
    rows = [
        [i if i % 5 else "", "rgb"[i % 3] if i % 4 else "", 7, "", f"person {i}", i % 2 == 0, i % 2] for i in range(50)
    ]
    path = write(tmp_path / "a.csv", ["n", "colour", "constant", "empty", "name", "flag", "y"], rows)
    data = load_dataset(path, test=None)
    n, colour, flag = data.preparation.columns
    assert isinstance(n, Number)
    assert n.fill == np.median([i for i in range(50) if i % 5])
    assert isinstance(colour, Category)
    assert colour.values == ("b", "g", "r")
    assert flag.method == "none"
    text = told(data)
    for word in (
        "constant, the same in all rows; empty, without a value in any row",
        "name, 50 different texts",
        "23 values, taken for the median",
    ):
        assert word in text, text
    assert data.features == 1 + 3 + 1
    flagged = load_dataset(path, test=None, missing="flag")
    assert flagged.features == data.features + 2
    forced = load_dataset(path, test=None, features=["name", "n"])
    assert forced.features == 51
    inputs, _ = data.train.next_batch(50)
    assert np.isfinite(inputs).all()
    np.testing.assert_allclose(inputs[:, 0].std(), 1, atol=0.15)


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax", "none"])
def test_scales(tmp_path: Path, scale: str) -> None:
    values = np.round(RNG.normal(100, 20, 60), 2)
    path = write(tmp_path / "a.csv", ["x", "y"], [[v, i % 2] for i, v in enumerate(values)])
    data = load_dataset(path, scale=scale, test=None)
    x = np.sort(data.train.next_batch(60)[0][:, 0])
    expected = {
        "standard": (values - values.mean()) / values.std(),
        "minmax": (values - values.min()) / np.ptp(values),
        "none": values,
    }
    if scale in expected:
        np.testing.assert_allclose(x, np.sort(expected[scale]), rtol=1e-4, atol=1e-5)
    else:
        z = (values - np.median(values)) / np.subtract(*np.quantile(values, (0.75, 0.25)))
        np.testing.assert_allclose(x, np.sort(z / np.sqrt(1 + (z / 3) ** 2)), rtol=1e-4, atol=1e-5)
    refused(path, "scale", error=UsageError, scale="log")


def test_pixels_by_name_by_shape_and_by_size(tmp_path: Path) -> None:
    rows = [[int(label), *map(int, image)] for label, image in zip(LABELS, PIXELS, strict=True)]
    for header in (["label", *NAMES], ["label", *(f"f{i}" for i in range(25))], range(26)):
        data = load_dataset(write(tmp_path / "a.csv", header, rows), test=None)
        assert data.image_shape == (5, 5)
        assert data.scale == 1 / 255
        np.testing.assert_array_equal(data.train.inputs, PIXELS)
    data = load_dataset(tmp_path / "a.csv", test=None, image_size=(5, 5), target="0")
    assert "as asked for" in told(data)
    refused(tmp_path / "a.csv", "--image-size", error=UsageError, image_size=(4, 5))
    few = write(tmp_path / "b.csv", ["label", *NAMES[:24]], [row[:25] for row in rows])
    assert load_dataset(few).image_shape is None
    assert load_dataset(few).scale == 1 / 255
    dark = write(
        tmp_path / "c.csv", ["label", *(f"f{i}" for i in range(25))], [[r[0], *(v // 16 for v in r[1:])] for r in rows]
    )
    assert load_dataset(dark).preparation.columns is not None
    odd = write(tmp_path / "d.csv", ["label", *NAMES], [[r[0], *(v + 0.5 for v in r[1:])] for r in rows])
    assert load_dataset(odd).preparation.columns is not None
    refused(odd, "whole numbers from 0 to 255", scale="pixels")


# ---- splits


def test_a_test_split_is_drawn_from_each_class(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["x", "y"], [[i * 0.5, 0 if i < 80 else 1] for i in range(100)])
    data = load_dataset(path)
    assert data.test.class_counts().tolist() == [16, 4]
    assert data.checksum == load_dataset(path).checksum
    assert "20% of each class" in told(data)
    assert load_dataset(path, test=None).test is None
    assert len(load_dataset(path, test=0.5).test) == 50
    refused(path, "test", error=UsageError, test=1.5)


def test_groups_stay_together(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["who", "x", "y"], [[f"p{i // 5}", i * 0.5, i % 2] for i in range(100)])
    data = load_dataset(path, group="who")
    assert [column.name for column in data.preparation.columns] == ["x"]
    where = [{int(2 * v) // 5 for v in split.inputs[:, 0]} for split in (data.train, data.test)]
    assert not where[0] & where[1]
    assert len(data.test) == 20
    assert "rows of one who stay together" in told(data)
    for held in (data.hold_out(0.2), *data.folds(4)):
        where = [{int(2 * v) // 5 for v in split.inputs[:, 0]} for split in (held.train, held.validation)]
        assert not where[0] & where[1]
        assert len(held.validation) == 20 if len(held.train) == 60 else 15 <= len(held.validation) <= 25


def test_a_column_of_sample_weights(tmp_path: Path) -> None:
    header = ["x", "z", "weight", "species"]
    rows = [[i, i % 7, 1 + i % 3, "ab"[i % 2]] for i in range(60)]
    data = load_dataset(write(tmp_path / "a.csv", header, rows), weight="weight")
    assert "weight, of each row" in told(data)
    assert data.preparation.column_names == ("x", "z")
    for split in (data.train, data.test, data.hold_out(12).validation):
        np.testing.assert_array_equal(split.weights, 1 + split.inputs[:, 0] % 3)
    again = load_dataset(tmp_path / "a.csv", weight="2", preparation=data.preparation)
    np.testing.assert_array_equal(again.test.weights, data.test.weights)
    assert load_dataset(tmp_path / "a.csv", preparation=data.preparation).test.weights is None
    for wrong in (-1, ""):
        rows[30][2] = wrong
        refused(write(tmp_path / "b.csv", header, rows), "values of weight, as weights, must be", weight="weight")
    refused(tmp_path / "a.csv", "--weight", "has no column mass", error=UsageError, weight="mass")


def test_train_and_test_in_two_files(tmp_path: Path) -> None:
    rows = [[i * 0.5, "ab"[i % 2]] for i in range(40)]
    write(tmp_path / "train.csv", ["x", "y"], rows)
    write(tmp_path / "test.csv", ["y", "x"], [row[::-1] for row in rows[:6]])
    (tmp_path / "notes.md").write_text("hello")
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.test)) == (40, 6)
    np.testing.assert_array_equal(data.test.inputs, data.train.inputs[:6])
    assert "left aside: notes.md" in told(data)
    write(tmp_path / "test.csv", ["x"], [row[:1] for row in rows[:6]])
    assert "test.csv, which has no column y" in told(load_dataset(tmp_path))
    write(tmp_path / "test.csv", ["x", "y"], [[1, "c"]])
    refused(tmp_path, "'c'", "line 2", "none of the classes a, b")
    write(tmp_path / "test.csv", ["z", "y"], [[1, "a"]])
    refused(tmp_path, "test.csv lacks the column x")


def test_inputs_and_targets_in_two_files(tmp_path: Path) -> None:
    for split, count in (("train", 40), ("test", 10)):
        write(tmp_path / f"X_{split}.csv", ["a", "b"], [[i * 0.5, i] for i in range(count)])
        write(tmp_path / f"y_{split}.csv", ["y"], [[i % 2] for i in range(count)])
    data = load_dataset(tmp_path)
    assert (len(data.train), len(data.test), data.classes) == (40, 10, 2)
    write(tmp_path / "y_test.csv", ["y"], [[1]])
    refused(tmp_path, "10 rows", "do not fit")


def test_several_tables_without_a_train(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        write(tmp_path / name, ["x", "y"], [[i, i % 2] for i in range(20)])
    refused(tmp_path, "one.csv, two.csv", "none is named train")


def test_rows_without_a_target_are_left_out_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["x", "y"], [[i, i % 2 if i != 7 else ""] for i in range(40)])
    data = load_dataset(path, test=None)
    assert len(data.train) == 39
    assert "1 rows of a.csv without a target, as in line 9" in told(data)


# ---- prepared as a network was trained


def test_other_data_is_prepared_as_in_training(tmp_path: Path) -> None:
    rows = [[i * 1.0, "rgb"[i % 3], i % 2 + 5] for i in range(60)]
    path = write(tmp_path / "a.csv", ["x", "colour", "y"], rows)
    trained = load_dataset(path, task="classification", target="y", test=None).preparation
    others = write(tmp_path / "b.csv", ["extra", "y", "colour", "x"], [["?", 6, "r", 5], ["?", 6, "pink", ""]])
    data = load_dataset(others, preparation=trained, test=None)
    assert data.preparation == trained
    assert data.train.targets.tolist() == [1, 1]
    assert data.train.inputs[0].tolist() == [5, 2]
    assert np.isnan(data.train.inputs[1, 0])
    assert data.train.inputs[1, 1] == -1
    assert "colour: pink" in told(data)
    refused(write(tmp_path / "c.csv", ["x", "y"], [[1, 5]]), "lacks the column colour", preparation=trained)
    refused(write(tmp_path / "d.csv", ["x", "colour"], [[1, "r"]]), "no column y", preparation=trained)
    refused(write(tmp_path / "e.csv", ["x", "colour", "y"], [[1, "r", 5], ["a", "r", 5], ["b", "r", 5]]),
            "'a'", "column x", "line 3", preparation=trained)  # fmt: skip
    refused(write(tmp_path / "f.csv", ["x", "colour", "y"], [[1, "r", 8]]), "'8'", "none of the classes 5, 6",
            preparation=trained)  # fmt: skip


def test_the_test_rows_of_a_run_are_those_it_was_trained_without(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["x", "y"], [[i * 0.5, i % 2] for i in range(50)])
    trained = load_dataset(path)
    again = load_dataset(path, preparation=trained.preparation)
    assert again.checksum == trained.checksum
    whole = load_dataset(path, preparation=trained.preparation, test=None)
    assert (len(whole.train), whole.test) == (50, None)


def test_options_for_tables_are_refused_elsewhere(tmp_path: Path) -> None:
    refused("mnist-5k", "--target", "says itself", error=UsageError, target="x")
    np.savez(tmp_path / "a.npz", x=PIXELS, y=LABELS)
    refused(tmp_path / "a.npz", "--drop", "for tables", error=UsageError, drop="x")
    refused(tmp_path / "a.npz", "no argument", error=UsageError, colour="x")


def test_zip(tmp_path: Path) -> None:
    rows = io.StringIO()
    csv.writer(rows).writerows([["x", "y"], *([i, i % 2] for i in range(40))])
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("data/train.csv", rows.getvalue())
        archive.writestr("__MACOSX/._train.csv", b"junk")
    data = load_dataset(tmp_path / "mine.zip")
    assert (data.name, data.classes) == ("mine", 2)
    (tmp_path / "bad.zip").write_bytes(b"PK junk")
    refused(tmp_path / "bad.zip", "damaged or no .zip")

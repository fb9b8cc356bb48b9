"""Parquet files that are not read whole: the same data sets, to the bit, as from tables in memory."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import parquet
from gpunet.data.stored import StoredRows

arrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
ROWS = 240


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parquet of any size is too large to be read whole, and prepared a few rows at a time."""
    monkeypatch.setattr(parquet, "LARGE", 1)
    monkeypatch.setattr(parquet, "PART", 37)
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "cache"))


def columns(rng: np.random.Generator, **more: Any) -> dict[str, Any]:
    """Numbers, whole numbers, texts and truth values, some of them missing."""
    texts = np.array(["red", "green", "blue", None], object)[rng.integers(0, 4, ROWS)]
    numbers = rng.standard_normal(ROWS) + 1e6
    numbers[rng.random(ROWS) < 0.1] = np.nan
    return {
        "far": numbers, "count": rng.integers(0, 9, ROWS), "colour": texts, "same": np.ones(ROWS),
        "yes": rng.random(ROWS) < 0.5, "target": np.array(["a", "b", "c"])[rng.integers(0, 3, ROWS)], **more,
    }  # fmt: skip


def write(path: Path, table: dict[str, Any], rows: slice = slice(None)) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        arrow.table({k: arrow.array(v[rows], from_pandas=True) for k, v in table.items()}), path, row_group_size=50
    )


def both(path: str | Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[gn.Dataset, gn.Dataset]:
    """The data set in parts, and as it is read whole."""
    parts = gn.load_dataset(path, **options)
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "LARGE", 1 << 60)
        return parts, gn.load_dataset(path, **options)


def same(ours: gn.Dataset, theirs: gn.Dataset) -> None:
    assert ours.preparation == theirs.preparation
    assert ours.facts == theirs.facts
    assert list(ours.splits()) == list(theirs.splits())
    for title, split in ours.splits().items():
        other = theirs.splits()[title]
        assert isinstance(split.inputs, StoredRows)
        assert split.inputs[:].tobytes() == other.inputs.tobytes()
        assert split.targets.tobytes() == other.targets.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"target": "target"},
        {"target": "target", "scale": "robust", "bins": 4, "missing": "flag"},
        {"target": "count", "task": "regression", "scale": "minmax", "group": "colour", "drop": "yes"},
        {"target": "target", "features": ["colour", "yes"], "test": None},
    ],
)
def test_a_file_in_parts_is_the_data_set_that_it_is_whole(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    table = columns(rng)
    table["target"] = table["target"].astype(object)
    table["target"][[3, 100]] = None
    write(tmp_path / "table.parquet", table)
    ours, theirs = both(tmp_path / "table.parquet", monkeypatch, **options)
    same(ours, theirs)
    same(ours.hold_out(40), theirs.hold_out(40))  # where all is fitted anew
    same(ours.hold_out(40).hold_out(0.2, seed=4), theirs.hold_out(40).hold_out(0.2, seed=4))
    np.testing.assert_array_equal(ours.train.inputs[:, 1], theirs.train.inputs[:, 1])
    assert not list((tmp_path / "cache").iterdir())  # what is kept there has no name


def test_training_on_it_gives_the_same_bits(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, backend: gn.Backend
) -> None:
    write(tmp_path / "table.parquet", columns(rng))
    weights = []
    for data in both(tmp_path / "table.parquet", monkeypatch, target="target"):
        model = gn.MLP([data.features, 8, 3], backend=backend)
        gn.train(model, data.hold_out(30), iterations=50, batch_size=20)
        weights.append(backend.to_host(model.flat).tobytes())
    assert weights[0] == weights[1]
    again = gn.load_dataset(tmp_path / "table.parquet", target="target", preparation=model.preparation)
    assert isinstance(again.train.inputs, StoredRows)
    assert gn.evaluate(model, again.test).accuracy == gn.evaluate(model, data.test).accuracy


def test_pixels_are_kept_as_bytes(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = {f"pixel{at}": rng.integers(0, 256, ROWS) for at in range(16)}
    write(tmp_path / "pictures.parquet", {"label": rng.integers(0, 2, ROWS), **pixels})
    ours, theirs = both(tmp_path / "pictures.parquet", monkeypatch)
    same(ours, theirs)
    assert ours.train.inputs.dtype == np.uint8


def test_several_files_by_a_pattern(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    table = columns(rng)
    write(tmp_path / "whole.parquet", table)
    for number, part in enumerate((slice(90), slice(90, 100), slice(100, None))):
        write(tmp_path / f"part-{number}.parquet", table, part)
    ours = gn.load_dataset(str(tmp_path / "part-*.parquet"), target="target")
    theirs = both(tmp_path / "whole.parquet", monkeypatch, target="target")[1]
    ours.facts = [fact for fact in ours.facts if fact[0] != "files"]
    same(ours, theirs)
    write(tmp_path / "train-1.parquet", table, slice(200))
    write(tmp_path / "test-1.parquet", table, slice(200, None))
    ours = gn.load_dataset(str(tmp_path / "t*-1.parquet"), target="target")
    assert (len(ours.train), len(ours.test)) == (200, 40)
    write(tmp_path / "part-1.parquet", {**table, "more": table["count"]})
    with pytest.raises(gn.DataError, match=r"part-1.parquet has other columns than .*part-0.parquet; they do not fit"):
        gn.load_dataset(str(tmp_path / "part-*.parquet"), target="target")
    (tmp_path / "part-2.csv").write_text("a,b\n1,2\n")
    with pytest.raises(gn.DataError, match=r"part-2.csv; of tables, several files have to be Parquet"):
        gn.load_dataset(str(tmp_path / "part-*"), target="target")


def test_what_is_wrong_is_said(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    table = columns(rng)
    path = tmp_path / "table.parquet"
    table["count"] = table["count"].astype(float)
    table["count"][77] = np.inf
    write(path, table)
    with pytest.raises(gn.DataError, match=r"has inf in the column count in row 77"):
        gn.load_dataset(path, target="target")
    write(path, columns(rng))
    told: list[tuple[str, int, int | None]] = []
    data = gn.load_dataset(path, target="target", progress=lambda *each: told.append(each))
    first = [each for each in told if each[0] == "reading the columns of table.parquet"]
    assert first[0] == ("reading the columns of table.parquet", ROWS * 8, 6 * ROWS * 8)
    assert first[-1][1] == first[-1][2]
    assert told[-1] == ("reading table.parquet", ROWS * 4 * 4, ROWS * 4 * 4)
    with pytest.raises(gn.DataError, match="cannot be sent to another process"):
        pickle.dumps(data.train.inputs)
    before = data.checksum
    assert before == gn.load_dataset(path, target="target").checksum
    write(path, columns(rng))
    assert before != gn.load_dataset(path, target="target").checksum
    monkeypatch.setattr(parquet.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(gn.DataError, match=r"takes 3.8 KiB in .*cache while it is in use, where 100 bytes are free"):
        gn.load_dataset(path, target="target")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(gn.DataError, match="is damaged or no parquet file"):
        gn.load_dataset(path, target="target")

"""Arrays that stay in their files: they act as arrays, bring the same data sets, and are told apart by samples."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import folders, stored
from gpunet.data.idx import read_idx, write_idx
from gpunet.data.npy import map_npy
from gpunet.data.stored import StoredRows

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of any size stay in their files."""
    monkeypatch.setattr(stored, "LARGE", 1)


def rows_in(folder: Path, *arrays: np.ndarray, **options: Any) -> StoredRows:
    """Arrays as rows of files."""
    paths = [folder / f"{number}.npy" for number in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        np.save(path, array)
    return StoredRows([map_npy(path) for path in paths], **options)


@pytest.mark.parametrize("dtype", ["u1", "<f4", "<f8", ">f4", "<i2"])
def test_they_are_read_as_an_array_is(tmp_path: Path, rng: np.random.Generator, dtype: str) -> None:
    arrays = [rng.integers(0, 200, (count, 2, 3)).astype(dtype) for count in (4, 1, 6)]
    rows = rows_in(tmp_path, *arrays)
    kind = np.uint8 if dtype == "u1" else np.float32
    expected = np.concatenate(arrays).reshape(11, 6).astype(kind)
    assert (rows.shape, rows.dtype, rows.size, rows.nbytes) == (
        expected.shape,
        expected.dtype,
        expected.size,
        expected.nbytes,
    )
    for key in (slice(None), slice(3, 7), slice(2, 9, 3), slice(9, 2), 4, -1, [10, 0, -2, 0], expected[:, 0] > 90):
        np.testing.assert_array_equal(rows[key], expected[key])
    np.testing.assert_array_equal(np.asarray(rows), expected)
    out = np.empty((3, 6), kind)
    assert rows.take(np.array([9, 4, 0]), 0, out, "clip") is out
    np.testing.assert_array_equal(out, expected[[9, 4, 0]])
    some = rows.select(np.array([1, 4, 5, 10]))
    np.testing.assert_array_equal(some[1:], expected[[4, 5, 10]])
    np.testing.assert_array_equal(some.select(slice(0, 4, 3))[:], expected[[1, 10]])
    for each in (some, pickle.loads(pickle.dumps(some))):
        np.testing.assert_array_equal(each.joined(rows)[:], np.concatenate([expected[[1, 4, 5, 10]], expected]))
    part = rows.select(slice(2, 9))
    for key in (slice(1, 5), slice(None, None, 2), -1, [0, 3]):
        np.testing.assert_array_equal(part[key], expected[2:9][key])
    np.testing.assert_array_equal(part.select(slice(1, -2))[:], expected[3:7])
    np.testing.assert_array_equal(part.select(np.array([4, 0]))[:], expected[[6, 2]])
    np.testing.assert_array_equal(rows[:, 4], expected[:, 4])
    np.testing.assert_array_equal(some[:, 0], expected[[1, 4, 5, 10], 0])
    for each in (rows, some, part, rows.select(np.array([5, 2]))):  # advice changes nothing
        each.expect(0, 2)
        each.release(0, 2)
    np.testing.assert_array_equal(rows[:], expected)


def test_a_folder_of_large_arrays_is_the_data_set_that_it_was(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = rng.integers(0, 256, (60, 28, 28)).astype(np.uint8), rng.integers(0, 3, 60)
    for name, array in {"x_train": images, "y_train": labels, "x_test": images[:9], "y_test": labels[:9]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    there = gn.load_dataset(tmp_path)
    monkeypatch.setattr(stored, "LARGE", 1 << 40)
    read = gn.load_dataset(tmp_path)
    assert isinstance(there.train.inputs, StoredRows)
    assert isinstance(read.train.inputs, np.ndarray)
    assert there.preparation == read.preparation
    for ours, theirs in ((there, read), (there.hold_out(12), read.hold_out(12)),
                         (there.hold_out(12).hold_out(0.5, seed=3), read.hold_out(12).hold_out(0.5, seed=3)),
                         (there.select_classes([2, 0]), read.select_classes([2, 0])),
                         *zip(there.folds(3), read.folds(3), strict=True)):  # fmt: skip
        for title, split in ours.splits().items():
            assert isinstance(split.inputs, StoredRows)
            np.testing.assert_array_equal(split.inputs[:], theirs.splits()[title].inputs)
            np.testing.assert_array_equal(split.targets, theirs.splits()[title].targets)
    np.testing.assert_array_equal(there.train.next_batch(7)[0], read.train.next_batch(7)[0])


def test_plain_idx_and_mapped_arrays_of_python_stay_in_their_files(tmp_path: Path, rng: np.random.Generator) -> None:
    images, labels = rng.standard_normal((20, 5)).astype(np.float32), np.arange(20, dtype=np.uint8) % 2
    write_idx(tmp_path / "train-images.idx", images)
    write_idx(tmp_path / "train-labels.idx", labels)
    data = gn.load_dataset(tmp_path)
    assert isinstance(data.train.inputs, StoredRows)
    np.testing.assert_array_equal(data.train.inputs[:], images)
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = gn.Dataset.from_arrays(mapped, labels)
    assert isinstance(data.train.inputs, StoredRows)
    np.testing.assert_array_equal(data.train.inputs[:], images)
    assert isinstance(gn.Dataset.from_arrays(mapped[3:], labels[3:]).train.inputs, np.ndarray)  # a part of it is read


def test_several_files_by_a_pattern(tmp_path: Path, rng: np.random.Generator) -> None:
    images, labels = rng.integers(0, 256, (33, 4)).astype(np.uint8), np.arange(33) % 3
    for number in range(11):
        part = slice(3 * number, 3 * number + 3)
        np.save(tmp_path / f"X-{number}.npy", images[part])
        np.save(tmp_path / f"y-{number}.npy", labels[part])
        np.save(tmp_path / f"part-{number}.npy", images[part])
    data = gn.load_dataset(str(tmp_path / "[Xy]-*.npy"))
    np.testing.assert_array_equal(data.train.inputs[:], images)  # 2 before 10
    np.testing.assert_array_equal(data.train.targets, labels)
    files = ("files", "22 that [Xy]-*.npy matches, in the order of their names")
    assert data.facts == [("features", "4 bytes, divided by 255"), files]
    same = gn.load_dataset(str(tmp_path / "part-*.npy"), target=str(tmp_path / "y-*.npy"))
    np.testing.assert_array_equal(same.train.inputs[:], images)
    with pytest.raises(gn.DataError, match=r"matches 0 files of train inputs, with 0 of targets to them; call them as"):
        gn.load_dataset(str(tmp_path / "part-*.npy"))
    np.save(tmp_path / "y-4.npy", labels[:4])
    with pytest.raises(gn.DataError, match=r"X-4.npy has 3 rows and .*y-4.npy 4; they do not fit"):
        gn.load_dataset(str(tmp_path / "[Xy]-*.npy"))
    np.save(tmp_path / "X-4.npy", images[:3, :2])
    with pytest.raises(gn.DataError, match=r"holds uint8 of shape \(2,\) and .* uint8 of shape \(4,\)"):
        gn.load_dataset(str(tmp_path / "[Xy]-*.npy"))


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.ones((3, 5)), np.arange(3), r"X-1.npy holds rows of shape \(5,\) and .*X-0.npy of shape \(4,\); they do"),
        (np.array(2.0), np.arange(3), "X-1.npy holds a single number and no rows"),
        (np.ones((3, 4)), np.array(2), "y-1.npy holds a single number and no rows"),
    ],
)
def test_files_of_a_pattern_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: np.ndarray, labels: np.ndarray, said: str
) -> None:
    monkeypatch.setattr(stored, "LARGE", 1 << 28)
    for name, array in {"X-0": np.ones((3, 4)), "y-0": np.arange(3), "X-1": images, "y-1": labels}.items():
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(gn.DataError, match=said):
        gn.load_dataset(str(tmp_path / "*.npy"))


def test_each_file_of_a_pattern_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        write_idx(tmp_path / f"images-{number}-idx2-ubyte.gz", np.ones((3, 4), np.uint8))
        write_idx(tmp_path / f"labels-{number}-idx1-ubyte.gz", np.arange(3, dtype=np.uint8))
    found: list[str] = []
    monkeypatch.setattr(folders, "read_idx", lambda path: found.append(path.name) or read_idx(path))
    assert len(gn.load_dataset(str(tmp_path / "*.gz")).train) == 6
    assert len(found) == len(set(found)) == 4


def test_what_is_wrong_in_a_large_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int | None]] = []
    monkeypatch.setattr(stored, "PIECE", 64)
    numbers = np.ones((40, 8))
    np.save(tmp_path / "X.npy", numbers)
    np.save(tmp_path / "y.npy", np.arange(40) % 2)
    gn.load_dataset(tmp_path, progress=lambda *each: told.append(each))
    assert told[0] == ("reading X.npy", 64, 40 * 32)
    assert told[-1] == ("reading X.npy", 40 * 32, 40 * 32)
    for wrong in (np.nan, 1e300):
        numbers[33, 2] = wrong
        np.save(tmp_path / "X.npy", numbers)
        with pytest.raises(gn.DataError, match="train images hold a number in row 33 that is not finite, or too large"):
            gn.load_dataset(tmp_path)
    np.save(tmp_path / "X.npy", np.asfortranarray(np.ones((40, 8))))
    with pytest.raises(gn.DataError, match="column by column"):
        gn.load_dataset(tmp_path)
    np.save(tmp_path / "X.npy", np.full((40, 8), "a"))
    with pytest.raises(gn.DataError, match="must hold numbers in rows, not <U1"):
        gn.load_dataset(tmp_path)
    np.save(tmp_path / "X.npy", np.ones((40, 8)))
    os.truncate(tmp_path / "X.npy", 2000)
    with pytest.raises(gn.DataError, match="empty or truncated"):
        gn.load_dataset(tmp_path)


def test_a_fingerprint_tells_files_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.integers(0, 256, (500, 400)).astype(np.uint8)
    rows = rows_in(tmp_path, array)
    first = gn.Dataset.from_arrays(rows, np.arange(500) % 2)
    assert first.checksum == gn.Dataset.from_arrays(rows, np.arange(500) % 2).checksum
    path, facts = tmp_path / "0.npy", os.stat(tmp_path / "0.npy")
    same = StoredRows([map_npy(path)]).fingerprint()
    assert same == StoredRows([map_npy(path)]).fingerprint()
    assert same != StoredRows([map_npy(path)]).select(np.arange(499)).fingerprint()
    with open(path, "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, os.stat(path).st_mtime_ns))
    assert StoredRows([map_npy(path)]).fingerprint() != same
    assert first.checksum != gn.Dataset.from_arrays(StoredRows([map_npy(path)]), np.arange(500) % 2).checksum


def test_what_does_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_in(tmp_path, np.ones((4, 1000), np.uint8))
    assert 1 << 20 < stored.memory() < 1 << 62
    assert not stored.thrashes(rows)
    monkeypatch.setattr(stored, "memory", lambda: 5000)
    assert stored.thrashes(rows)
    assert not stored.thrashes(rows[:])

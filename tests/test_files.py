"""Files that are written whole or not at all: what is on the disk when, and what is cleared."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet import files
from gpunet.errors import UnwritableFile
from gpunet.network.prediction import Writer
from gpunet.wording import one_line

pytestmark = pytest.mark.host


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the system, in order: which content is put on the disk, and what is renamed."""
    told: list[str] = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        told.append("folder" if folder else f"file of {os.fstat(descriptor).st_size} bytes")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: told.append("rename") or replace(*paths))
    return told


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synced there")
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, events: list[str]) -> None:
    files.write_atomic(tmp_path / "a", b"12345")
    assert events == ["file of 5 bytes", "rename", "folder"]
    assert (tmp_path / "a").read_bytes() == b"12345"


def test_lines_are_on_the_disk_when_they_are_synced(tmp_path: Path, events: list[str]) -> None:
    with open(tmp_path / "a", "w") as file:
        file.write("buffered")
        files.sync(file)
    assert events == ["file of 8 bytes"]


def test_predictions_are_on_the_disk_before_they_have_their_name(tmp_path: Path, events: list[str]) -> None:
    with Writer(tmp_path / "a.csv", gn.MLP([2, 3])):
        pass
    assert events == ["file of 0 bytes", "rename"]


def test_records_are_on_the_disk_before_a_checkpoint_counts_them(tmp_path: Path, events: list[str]) -> None:
    data = gn.Dataset.from_arrays(np.eye(6, dtype=np.float32), np.arange(6) % 2)
    trainer = gn.Trainer(gn.MLP([6, 2]), data, iterations=10, batch_size=3, log_every=10)
    gn.RunFolder.start(tmp_path / "run", trainer)
    events.clear()
    list(trainer.steps())
    step, _ = (tmp_path / "run" / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    assert events[0] == f"file of {len(step)} bytes"


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableFile, match=r"a cannot be written \(No space left on device\)"):
        files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_keeps_its_permissions_and_a_new_one_has_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o640)
    (tmp_path / "usual").touch()
    for name in ("old", "new"):
        files.write_atomic(tmp_path / name, b"x")
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("old", "new", "usual")}
    assert modes == {"old": 0o640, "new": modes["usual"], "usual": modes["usual"]}


def test_what_is_left_of_a_killed_write_is_cleared(tmp_path: Path) -> None:
    for name in (".a.x1.tmp", "b.tmp", ".lock", "a"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "a", "b.tmp"]


@pytest.mark.parametrize(
    ("value", "told"),
    [(3, "3"), ("a\nb\r\tc\x1b[31m", "a b c [31m"), ("\n", ""), ("x" * 70, "x" * 60), (["a\n"], r"['a\n']")],
)
def test_a_value_out_of_a_file_stays_on_one_line(value: object, told: str) -> None:
    assert one_line(value) == told

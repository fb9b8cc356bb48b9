"""`gpunet data` as a user runs it: its two outputs and its exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import command_line
import numpy as np
import pytest

from gpunet.data.catalog import BUNDLED, DATASETS

pytestmark = pytest.mark.host

FULL = os.environ.get("GPUNET_DATA", "")


@pytest.fixture
def gpunet(tmp_path, monkeypatch):
    """Runs `gpunet data ...` in an empty folder with an empty cache."""
    for name in os.environ:
        if name.startswith("GPUNET_") or "proxy" in name.lower():
            monkeypatch.delenv(name)

    def run(*arguments: object, code: int = 0, **changes: str) -> subprocess.CompletedProcess[str]:
        changes = {"GPUNET_CACHE": str(tmp_path / "cache"), "COLUMNS": "60", **changes}
        done = command_line.gpunet("data", *arguments, code=code, cwd=tmp_path, **changes)
        assert "\x1b" not in done.stdout + done.stderr
        if code:
            assert done.stderr.startswith("Error: ")
            assert done.stderr.count("\n") == 1
        return done

    return run


def test_list(gpunet):
    out = gpunet("list").stdout
    for name, entry in DATASETS.items():
        assert name in out
        assert entry.licence in out
    assert str(BUNDLED / "mnist-5k") in out  # in a pipe no path is broken
    assert out.count("not downloaded") == sum(not entry.bundled for entry in DATASETS.values())
    records = [json.loads(line) for line in gpunet("list", "--json").stdout.splitlines()]
    assert [record["name"] for record in records] == list(DATASETS)
    assert records[0]["images"] == {"train": 4000, "validation": 0, "test": 1000}
    assert records[1]["folder"] is None


def test_info_of_a_name(gpunet):
    out = gpunet("info", "mnist-5k").stdout
    for word in ("4,000 train", "1,000 test", "28 x 28", "uint8", "CC BY-SA 3.0", DATASETS["mnist-5k"].checksum):
        assert word in out
    record = json.loads(gpunet("info", "mnist-5k", "--json").stdout)
    assert record["class_counts"] == {"train": [400] * 10, "test": [100] * 10}
    assert record["checksum"] == DATASETS["mnist-5k"].checksum
    assert record["dtype"] == "uint8"


def test_info_downloads_nothing(gpunet, tmp_path):
    assert "gpunet data get mnist" in gpunet("info", "mnist").stdout
    assert json.loads(gpunet("info", "mnist", "--json").stdout)["folder"] is None
    assert not (tmp_path / "cache").exists()


def test_info_of_a_path(gpunet, tmp_path):
    np.savez(tmp_path / "mine.npz", images=np.zeros((6, 5, 4), np.uint8), labels=[0, 1, 2] * 2)
    record = json.loads(gpunet("info", "mine.npz", "--json").stdout)
    assert record["images"] == {"train": 6, "validation": 0, "test": 0}
    assert record["class_counts"] == {"train": [2, 2, 2]}
    assert record["image_shape"] == [5, 4]
    assert "5 x 4" in gpunet("info", tmp_path / "mine.npz").stdout


def test_get_and_verify_the_bundled_set(gpunet, tmp_path):
    assert gpunet("get", "mnist-5k").stdout.strip() == str(BUNDLED / "mnist-5k")
    assert gpunet("get", "mnist-5k", "--to", "copy").stdout.strip() == "copy"
    assert len(list((tmp_path / "copy").iterdir())) == 4
    assert gpunet("verify", "mnist-5k").stdout.count("ok") == 4
    records = [json.loads(line) for line in gpunet("verify", "mnist-5k", "--json").stdout.splitlines()]
    assert [record["sha256"] for record in records] == [file.sha256 for file in DATASETS["mnist-5k"].files]


def test_verify_finds_damage(gpunet, tmp_path):
    shutil.copytree(BUNDLED / "mnist-5k", tmp_path / "other")  # MNIST's file names, other content
    done = gpunet("verify", "mnist", "--data-dir", "other", code=1)
    assert done.stdout.count("wrong") == 4
    assert done.stderr.endswith("gpunet data get mnist --to other\n")
    assert "not downloaded" in gpunet("verify", "mnist", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["get", "mnits"], 2, ["mnits", "mnist-5k"]),
        (["info", "mnits"], 2, ["mnits", "did you mean mnist"]),
        (["info", "no/folder"], 1, ["no/folder"]),
        (["info", "mnist", "--data-dir", "none"], 1, ["none", "does not exist"]),
        (["verify", "mnist", "--data-dir", "."], 1, ["lacks"]),
        (["verify", "mnist-5k", "--data-dir", "."], 2, ["comes with the package"]),
        (["lost"], 2, ["lost"]),
        (["get", "mnist-5k", "--too", "x"], 2, ["--too"]),
    ],
)
def test_mistakes(gpunet, arguments, code, words):
    error = gpunet(*arguments, code=code).stderr
    for word in words:
        assert word in error


def test_help(gpunet):
    out = gpunet().stdout
    for command in ("list", "get", "info", "verify"):
        assert command in out
    assert "gpunet data get fashion-mnist --to" in gpunet("get", "--help").stdout


@pytest.mark.skipif(not (Path(FULL) / "train-images-idx3-ubyte.gz").is_file(), reason="GPUNET_DATA has no MNIST")
def test_get_mnist_from_a_mirror_of_ones_own(gpunet, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "mnist").symlink_to(Path(FULL).resolve())
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        cwd=tmp_path / "served", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        address = server.stdout.readline().split("(")[1].split("/)")[0]
        done = gpunet("get", "mnist", GPUNET_MIRROR=address)
        assert done.stdout == f"{tmp_path / 'cache' / 'mnist'}\n"
        for file in DATASETS["mnist"].files:
            assert file.name in done.stderr  # the progress
        assert gpunet("get", "mnist", "--quiet", GPUNET_MIRROR=address).stderr == ""
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
    assert gpunet("verify", "mnist").stdout.count("ok") == 4
    assert "55,000 train, 5,000 validation, 10,000 test" in gpunet("info", "mnist").stdout
    assert str(tmp_path / "cache" / "mnist") in gpunet("list").stdout

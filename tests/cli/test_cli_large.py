"""Training on large files by the command line: by patterns, streamed, killed and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet

from gpunet.data import stored
from gpunet.training import batches

pytestmark = pytest.mark.host

ALL_LARGE = """
from gpunet.data import stored
from gpunet.training import batches
stored.LARGE, batches.CHUNK, batches.MIX = 1, 200, 4
from gpunet.__main__ import main
main()
"""


@pytest.fixture
def shards(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that are taken for large ones."""
    for name, value in (("CHUNK", 200), ("MIX", 4)):
        monkeypatch.setattr(batches, name, value)
    monkeypatch.setattr(stored, "LARGE", 1)
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"part-{number}.npy", rng.integers(0, 256, (200, 12)).astype(np.uint8))
        np.save(folder / f"labels-{number}.npy", rng.integers(0, 3, 200))
    return folder


def test_a_killed_run_from_files_is_resumed_to_the_same_end(shards: Path, tmp_path: Path) -> None:
    common = ["train", "--device", "cpu", "--data", "shards/part-*.npy", "--target", "shards/labels-*.npy",
              "--validation", "50", "--shuffle", "chunks", "--iterations", "10000", "--batch-size", "7",
              "--log-every", "2000", "--checkpoint-every", "500"]  # fmt: skip
    whole = gpunet(*common, "--out", "a", cwd=tmp_path)
    rows = dict(line.split(maxsplit=1) for line in whole.stdout.splitlines() if " " in line)
    assert rows["data"] == "part-*.npy: 550 train, 50 validation"
    assert rows["files"] == "3 that part-*.npy matches, in the order of their names"
    assert rows["batches"] == "streamed, up to 199,728 ahead of the steps (6.4 KiB stay in their files)"
    assert rows["order"] == "chunks of 16 rows are shuffled, and then the rows of 4 at a time"
    with subprocess.Popen(
        [sys.executable, "-c", ALL_LARGE, *common, "--out", "b", "--quiet"], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as process:
        while not (tmp_path / "b" / "checkpoint.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    gpunet("train", "--resume", tmp_path / "b")  # from another folder: the patterns were made absolute
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    gpunet("train", *common[1:], "--stream", "off", "--out", "c", cwd=tmp_path)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "c" / "model.safetensors").read_bytes()
    told = gpunet("evaluate", tmp_path / "a", "--split", "validation")
    assert "50" in told.stdout

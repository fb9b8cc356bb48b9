"""Training on several CUDA devices, one process each, with NCCL between them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import environment, gpunet, process

from gpunet.cuda.opening import device_count, import_cupy
from gpunet.errors import DeviceError
from gpunet.runs.folder import RunFolder

DEVICES = "cuda:0,cuda:1"
SMALL = ("train", "--hidden", "8,6", "--dtype", "float64", "--batch-size", "25", "--validation", "200")


@pytest.fixture(autouse=True)
def two_devices() -> None:
    """Two CUDA devices."""
    try:
        if device_count(import_cupy()) < 2:
            pytest.skip("two CUDA devices are needed")
    except DeviceError as error:
        pytest.skip(str(error))


def records(text: str) -> list[dict[str, Any]]:
    """The records without what depends on clocks and devices."""
    without = ("seconds", "train_seconds", "steps_per_second", "device")
    told = [json.loads(line) for line in text.splitlines()]
    return [{name: value for name, value in record.items() if name not in without} for record in told]


def test_two_devices_train_what_one_process_trains(tmp_path: Path) -> None:
    penalties = ("--dropout", "0.2", "--l2", "0.01", "--class-weights", "balanced", "--clip-norm", "0.5")
    options = (*SMALL, "--iterations", 45, "--log-every", 15, *penalties, "--json", "--quiet")
    found = records(process(*options, "--device", DEVICES, "--graph", "on", "--out", tmp_path / "two").stdout)
    expected = records(gpunet(*options, "--device", "cpu", "--out", tmp_path / "one").stdout)
    assert [list(record) for record in found] == [list(record) for record in expected]
    for record, right in zip(found, expected, strict=True):
        for name, value in right.items():
            assert record[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)
    weights = [RunFolder(tmp_path / name).load().flat for name in ("one", "two")]
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-9)


def test_what_is_wrong_is_said_once() -> None:
    done = process(*SMALL, "--iterations", 20, "--device", DEVICES, "--data", "no-such-data", code=2)
    assert done.stderr.count("Error: ") == 1


def test_a_worker_that_is_killed_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    words = (*SMALL, "--iterations", 1_000_000, "--device", DEVICES, "--out", tmp_path, "--checkpoint-every", 20)
    command = [sys.executable, "-m", "gpunet", *map(str, words)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        deadline = time.monotonic() + 300
        while not (tmp_path / "checkpoint.safetensors").exists():
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert len(children) == 2
        os.kill(int(children[1]), signal.SIGKILL)
        _, err = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 1
    assert "the rank on cuda:1 was ended by SIGKILL" in err
    assert "Traceback" not in err
    assert RunFolder(tmp_path).load().layers

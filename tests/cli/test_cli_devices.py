"""`gpunet devices`, as a program."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import command_line
import pytest

import gpunet as gn
from gpunet import devices


def reports(**changes: str) -> dict[str, dict]:
    """What is said of each device; what `changes` the environment is seen when a process starts."""
    run = command_line.process if changes else command_line.gpunet
    done = run("devices", "--json", **changes)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["device"]: line for line in lines}


def test_the_cpu_is_described() -> None:
    cpu = reports()["cpu"]
    assert cpu["works"]
    assert cpu["cores"] >= 1
    assert cpu["blas_threads"] >= 1
    assert cpu["numpy"]


def test_text() -> None:
    done = command_line.gpunet("devices")
    assert done.stderr == ""
    assert done.stdout.startswith("cpu ")
    assert "\x1b" not in done.stdout
    assert "works" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("--device auto takes c")


def test_a_cuda_device_is_described(cuda: gn.Backend) -> None:
    found = reports()["cuda:0"]
    assert found["works"]
    assert 0 < found["memory_free"] <= found["memory"]
    assert float(found["compute_capability"]) >= 5
    assert found["cupy"] == cuda.xp.__version__
    assert found["driver_cuda"]
    assert "fault" not in found
    done = command_line.gpunet("devices")
    assert "cuda:0" in done.stdout
    assert "driver for CUDA" in done.stdout
    assert done.stdout.splitlines()[-1] == "--device auto takes cuda:0"


def test_without_cupy() -> None:
    program = (
        "import sys; sys.modules['cupy'] = None; sys.argv = ['gpunet', 'devices']\n"
        "from gpunet.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "does not work: no CUDA device can be used because CuPy is not installed; install it" in done.stdout
    assert done.stdout.splitlines()[-1] == "--device auto takes cpu"


def test_two_wheels(tmp_path: pathlib.Path) -> None:
    for name in ("cupy-cuda12x", "cupy-cuda13x"):
        place = tmp_path / f"{name.replace('-', '_')}-14.0.0.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.0.0\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    for device, found in reports(PYTHONPATH=path).items():
        if device != "cpu":
            told = [found.get("fault", ""), *found.get("notes", [])]
            assert any("several CuPy packages are installed" in text for text in told)


def test_devices_taken_away(cuda: gn.Backend) -> None:
    pytest.importorskip("cusim", reason="a simulated CUDA device can be taken away")
    found = reports(CUSIM_DEVICES="0")
    assert not found["cuda"]["works"]
    assert "no CUDA device was found" in found["cuda"]["fault"]
    assert sorted(reports(CUSIM_DEVICES="2")) == ["cpu", "cuda:0", "cuda:1"]


def test_memory_taken_away(cuda: gn.Backend) -> None:
    pytest.importorskip("cusim", reason="the memory of a simulated CUDA device can be taken away")
    found = reports(CUSIM_MEMORY="100")["cuda:0"]
    assert not found["works"]
    assert "no free memory" in found["fault"]
    done = command_line.process("train", "--device", "cuda", "--quiet", code=1, CUSIM_MEMORY="2M")
    assert "lower the batch size" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--device", "cuda:77"], 1, "Error: "),
        (["--device", "gpu"], 2, "Error: "),
        (["--device", "cpu", "--graph", "on"], 2, "needs a CUDA device"),
    ],
)
def test_devices_that_cannot_be_had(arguments: list[str], code: int, sentence: str) -> None:
    done = command_line.gpunet("train", *arguments, code=code)
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "accuracy" not in done.stdout


def test_a_wrong_result_is_told(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gn.Backend, "to_host", lambda self, array: __import__("numpy").zeros(2))
    (found, *_) = devices.report_cuda()
    assert not found.works
    assert "cannot be trusted" in found.fault


def test_a_failure_in_between_is_explained(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: gn.Backend, work: object) -> None:
        raise RuntimeError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(gn.Backend, "capture", fail)
    (found, *_) = devices.report_cuda()
    assert not found.works
    assert "a CUDA library cannot be loaded" in found.fault

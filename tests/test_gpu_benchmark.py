"""The GPU benchmark: all of it runs on a device that is there, and whoever computes something else is not timed."""

from __future__ import annotations

import importlib
import json
import pathlib
from types import ModuleType

import pytest

import gpunet as gn


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("gpu")


def run(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["gpu.py", "--quick", *map(str, arguments)])
    return benchmark.main()


def test_it_runs(
    backend: gn.Backend, benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    file, ours = tmp_path / "gpu.json", "gpunet;gpunet, one by one"
    assert run(benchmark, monkeypatch, "--device", backend.name, "--only", ours, "--json", file) == 0
    measured, printed = json.loads(file.read_text()), capsys.readouterr().out
    assert set(measured["steps"]["seconds"]) == set(ours.split(";"))
    assert all(len(times) == 2 and min(times) > 0 for times in measured["steps"]["seconds"].values())
    assert measured["repeat"] == {"auto": True, "off": True}
    if backend.name == "cpu":
        assert measured["device"] == "cpu"
        assert "dry run" in printed
        return
    assert printed.startswith(measured["device"]["name"])
    assert all(f"== {part}" in printed for part in benchmark.PARTS)
    assert measured["kernels"][0]["kernel"] == "copy on the device"
    assert {row["precision"] for row in measured["products"]} <= {"float32", "tf32", "bfloat16"}
    assert [row["batch"] for row in measured["crossover"]] == [1, 16, 160]
    assert [row["networks"] for row in measured["together"]] == [1, 2]
    for rows in ("launches", "operations", "products", "together", "kernels"):
        assert all(row["seconds"] > 0 for row in measured[rows])
    for row in measured["products"]:
        assert row["error"] < {"float32": 1e-5, "tf32": 1e-3, "bfloat16": 1e-2}[row["precision"]]


def test_who_computes_something_else_is_not_timed(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def missing(task: object) -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'")

    monkeypatch.setitem(benchmark.CONTENDERS, "another", lambda task: lambda: 9.0)
    monkeypatch.setitem(benchmark.CONTENDERS, "missing", missing)
    parts = ("--device", "cpu", "--parts", "steps", "--only", "gpunet;another;missing")
    assert run(benchmark, monkeypatch, *parts) == 1
    printed = capsys.readouterr().out
    assert "another                  left out: it computes something else: loss 9.0" in printed
    assert "missing                  left out: ModuleNotFoundError: No module named 'tensorflow'" in printed


@pytest.mark.parametrize("name", ["torch, eager", "jax, scan"])
def test_the_others_train_to_the_same_loss(benchmark: ModuleType, name: str) -> None:
    pytest.importorskip(name.split(",")[0])
    task = benchmark.Task((20, 12, 5), 16, 10, device="cpu", examples=150)
    losses = benchmark.ready(task, ["gpunet", name])[1]
    assert losses[name] == pytest.approx(losses["gpunet"], abs=1e-5)

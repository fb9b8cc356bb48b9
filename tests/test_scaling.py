"""The cost model of several ranks counts what they do."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

import gpunet as gn

pytestmark = pytest.mark.host


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("scaling")


def test_it_counts_the_networks_parameters(scaling: Any) -> None:
    for sizes in ([784, 50, 30, 10], [7, 3]):
        assert scaling.parameter_count(sizes) == gn.MLP(sizes).parameter_count
    assert scaling.reduced_bytes([7, 3], 2) == 4 * 24
    assert scaling.reduced_bytes([7, 3], 4) == 1.5 * 4 * 24


def test_efficiency_falls_with_the_ranks_and_rises_with_the_batch(scaling: Any) -> None:
    def efficiency(batch: int, ranks: int) -> float:
        sizes = [784, 2048, 2048, 10]
        return float(scaling.H100.step(sizes, batch, 1) / scaling.H100.step(sizes, batch, ranks) / ranks)

    assert efficiency(4096, 1) == 1
    assert 1 > efficiency(4096, 2) > efficiency(4096, 8) > efficiency(4096, 64) > 0
    assert efficiency(65536, 8) > efficiency(4096, 8)


def test_it_prints_both_tables(scaling: Any, capsys: pytest.CaptureFixture[str]) -> None:
    scaling.predicted(scaling.H100)
    told = capsys.readouterr().out
    assert "784-2048-2048-10, 5,824,522 parameters, batches of 16,384" in told
    assert "an epoch of a terabyte" in told

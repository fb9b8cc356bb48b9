"""`gpunet runs`: what was kept, sorted and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import gpunet as gn
from gpunet.cli.app import app
from gpunet.runs import listing

pytestmark = pytest.mark.host


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Three runs, one of them deeper and one not ended."""
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", x_train=rng.random((40, 3)).astype("f4"), y_train=np.arange(40) % 2,
             x_test=rng.random((10, 3)).astype("f4"), y_test=np.arange(10) % 2)  # fmt: skip
    runs = tmp_path / "runs"
    for name, changes in (("a", {"lr": 0.5}), ("b", {"hidden": (4,)}), ("deep/c", {"lr": 0.01})):
        settings = gn.Settings(
            data=str(tmp_path / "data.npz"), iterations=20, batch_size=10, log_every=5, device="cpu",
            **{"hidden": (), **changes},
        )  # fmt: skip
        from gpunet.runs.settings import build_dataset, build_model, build_trainer

        data = build_dataset(settings)
        trainer = build_trainer(settings, build_model(settings, data, gn.get_backend("cpu")), data)
        gn.RunFolder.start(runs / name, trainer, settings).release()
        for record in trainer.steps():
            if name == "deep/c" and record.event == "step" and record.iteration == 10:
                trainer.stop()
    return runs


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*arguments: Any) -> str:
        command = ["runs", *map(str, arguments)]
        typer.main.get_command(app).main(command, prog_name="gpunet", standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_runs_are_found_and_what_differs_is_shown(kept: Path, run: Callable[..., str]) -> None:
    header, *rows = run(kept).splitlines()
    assert header.split("  ")[0] == "run"
    assert {"hidden", "lr", "done", "time"} <= set(header.split())
    assert not {"seed", "optimizer", "dropout"} & set(header.split())
    assert [row.split()[0] for row in rows] == [str(kept / name) for name in ("a", "b", "deep/c")]
    assert "10 (not ended)" in rows[2]
    assert rows[0].split()[1:3] == ["none", "0.5"]
    names = run(kept, "--all").splitlines()[0].split()
    assert "optimizer" in names
    assert names.count("iterations") == 1


def test_a_metric_is_sorted_with_the_best_first(kept: Path, run: Callable[..., str]) -> None:
    told = [json.loads(line) for line in run(kept, "--sort", "loss", "--json").splitlines()]
    losses = [each["test_loss"] for each in told if "test_loss" in each]
    assert losses == sorted(losses)
    assert [each["ended"] for each in told] == [True, True, False]  # without a test loss, so it is the last
    told = [json.loads(line) for line in run(kept, "--sort", "accuracy", "--json").splitlines()]
    scores = [each["test_accuracy"] for each in told if "test_accuracy" in each]
    assert scores == sorted(scores, reverse=True)
    rates = [json.loads(line)["settings"]["lr"] for line in run(kept, "--sort", "lr", "--json").splitlines()]
    assert rates == sorted(rates)


def test_what_cannot_be_listed(kept: Path, run: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(gn.UsageError, match=r"did you mean (test_)?accuracy"):
        run(kept, "--sort", "acuracy")
    with pytest.raises(gn.DataError, match="there is no such folder"):
        run(kept / "nothing")
    (kept / "empty").mkdir()
    with pytest.raises(gn.DataError, match="there is no run here"):
        run(kept / "empty")
    (kept / "a" / "config.json").write_text("{")
    assert str(kept / "a") not in run(kept)
    runs, remarks = listing.read([str(kept)])
    assert len(runs) == 2
    assert str(kept / "a") in remarks[0]

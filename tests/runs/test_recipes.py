"""Recipes: which one is taken for which data, and that whatever is asked for stands on top of it."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich.console
from command_line import gpunet

import gpunet as gn
from gpunet.cli import display
from gpunet.data import folders
from gpunet.data.folders import read_once
from gpunet.runs.recipes import BINS, TABLE
from gpunet.runs.settings import build_dataset, build_model, layer_sizes, read_file

pytestmark = pytest.mark.host
WHOLE = {"validation": "none", "early_stopping": None}


def frame(count: int, features: int, label: Any, seed: int = 0) -> dict[str, Any]:
    """A table of even random numbers, whose class is what `label` says of them."""
    rows = np.random.default_rng(seed).uniform(-1, 1, (count, features))
    return {**{f"x{number}": rows[:, number] for number in range(features)}, "target": label(rows)}


def write(path: Path, columns: dict[str, Any]) -> str:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)


def test_tables_and_pixels_have_recipes_of_their_own():
    table = gn.settings_for(data="diabetes")
    assert (table.recipe, table.hidden, table.optimizer, table.init) == (
        "table", TABLE["hidden"], "adamw", "glorot-uniform",
    )  # fmt: skip
    assert (table.validation, table.early_stopping, table.epochs, table.iterations) == (0.2, 16, 256, None)
    assert table.scale in ("robust", "standard")
    assert (table.clip, table.batch_size) == ("on", 16)
    assert table.bins in (0, BINS)
    data = build_dataset(table)
    assert len(data.train) // 24 < 16
    assert (layer_sizes(table, data)[0] > 10) == (table.bins > 0)
    digits = gn.settings_for()
    assert digits == gn.Settings(recipe="write-up")
    assert gn.settings_for(data="diabetes", recipe="write-up") == gn.Settings(data="diabetes", recipe="write-up")


def test_what_is_asked_for_stands_on_top():
    asked = gn.settings_for(
        {"data": "diabetes", "hidden": "20", "optimizer": "sgd"}, bins="0", clip="off", scale="standard", iterations=50,
        batch_size=7, dropout=(0.5,),
    )  # fmt: skip
    assert (asked.hidden, asked.optimizer, asked.learning_rate, asked.dropout) == ((20,), "sgd", 0.1, (0.5,))
    assert (asked.bins, asked.clip, asked.scale) == (0, "off", "standard")
    assert (asked.iterations, asked.epochs, asked.batch_size) == (50, None, 7)
    assert (
        gn.settings_for(data="diabetes", bins=0, scale="robust", weight_decay=0.5).weight_decay == 0.5
    )  # which sgd has not
    whole = gn.settings_for(data="diabetes", validation="none")
    assert (whole.early_stopping, build_dataset(whole).validation) == (None, None)
    with pytest.raises(gn.UsageError, match=r"recipe tables.*choose one of auto, table, write-up"):
        gn.settings_for(recipe="tables")
    with pytest.raises(gn.UsageError, match="did you mean hidden"):
        gn.settings_for(hiden=3)


def test_data_of_ones_own_is_taken_as_it_is():
    table = gn.load_dataset("wine")
    asked = gn.settings_for(data=table)
    assert (asked.recipe, asked.bins, asked.scale, asked.validation) == ("table", 0, "auto", 0.2)
    arrays = gn.Dataset.from_arrays(np.eye(4, dtype=np.float32), [0, 1, 0, 1])
    assert gn.settings_for(data=arrays).recipe == "write-up"
    few = gn.settings_for({"recipe": "table"}, data=arrays)
    assert (few.batch_size, few.hidden) == (3, TABLE["hidden"])
    assert few.scale == "auto"


@pytest.mark.parametrize(("bins", "label"), [
    (BINS, lambda rows: np.floor((rows[:, 0] + 1) * 4).astype(int) % 2),  # eight stripes
    (0, lambda rows: (rows.sum(axis=1) > 0).astype(int)),
    (BINS, lambda rows: np.cos(10 * rows[:, 0])),
    (0, lambda rows: rows.sum(axis=1)),
])  # fmt: skip
def test_validation_decides_on_the_encoding(tmp_path: Path, bins: int, label: Any):
    pytest.importorskip("pyarrow")
    path = write(tmp_path / "a.csv", frame(160, 2 if bins else 10, label))
    assert gn.settings_for(data=path, hidden="32", device="cpu", scale="robust").bins == bins
    assert gn.settings_for(data=path, bins=4).bins == 4
    assert gn.settings_for(data=path, **WHOLE).bins == 0  # there is nothing to judge by


@pytest.mark.parametrize(("tail", "scale"), [(0.0, "robust"), (1.5, "standard")])
def test_validation_decides_on_the_scale(tmp_path: Path, tail: float, scale: str):
    """A few rows far out, which the robust scale bends, carry the target; or what lies in the middle does."""
    pytest.importorskip("pyarrow")
    near = np.random.default_rng(0).standard_normal(160)
    far = near * np.exp(tail * np.random.default_rng(1).standard_normal(160))
    outliers = np.where(np.arange(160) % 20 == 0, 1e4 * near, near)
    columns = {"x": far} if tail else {"x": outliers}
    path = write(tmp_path / "a.csv", {**columns, "target": far if tail else np.tanh(3 * near)})
    assert gn.settings_for(data=path, hidden="32", device="cpu", bins=0).scale == scale
    assert gn.settings_for(data=path, hidden="32", device="cpu", bins=0, scale="minmax").scale == "minmax"


def test_without_numbers_there_is_nothing_to_try(tmp_path: Path):
    pytest.importorskip("pyarrow")
    path = write(tmp_path / "a.csv", {"x": ["red", "green"] * 40, "target": ["a", "b"] * 40})
    told: list[Any] = []
    settings = gn.settings_for(data=path, device="cpu", trials=lambda *each: told.append(each))
    assert (settings.scale, settings.bins, told) == ("robust", 0, [])


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths of the tables that were read, as they are read."""
    found: list[Path] = []
    read_table = folders.read_table
    monkeypatch.setattr(folders, "read_table", lambda path: found.append(path) or read_table(path))
    return found


def stripes(path: Path) -> str:
    return write(path, frame(160, 2, lambda rows: np.floor((rows[:, 0] + 1) * 4).astype(int) % 2))


def test_a_table_is_read_once_and_is_as_if_read_each_time(tmp_path: Path, reads: list[Path]):
    pytest.importorskip("pyarrow")
    path = stripes(tmp_path / "a.csv")
    gn.settings_for(data=path, hidden="8", device="cpu")
    assert len(reads) == 1
    reads.clear()
    asked = [{}, {"bins": 8, "scale": "robust"}, {"scale": "minmax", "test": 0.5}]
    each = [gn.load_dataset(path, **options) for options in asked]
    assert len(reads) == 3
    tables: folders.Tables = {}
    with read_once(tables):
        once = [gn.load_dataset(path, **options) for options in asked[:2]]
    with read_once(tables), read_once():
        once += [gn.load_dataset(path, **options) for options in asked[2:]]
    assert len(reads) == 4
    assert [data.checksum for data in once] == [data.checksum for data in each]
    assert [data.facts for data in once] == [data.facts for data in each]
    assert [data.preparation for data in once] == [data.preparation for data in each]
    write(tmp_path / "a.csv", frame(50, 3, lambda rows: np.arange(50) % 2))
    assert gn.load_dataset(path).features == 3  # nothing is kept beyond the end


def test_a_table_in_a_zip_file_is_read_each_time(tmp_path: Path, reads: list[Path]):
    pytest.importorskip("pyarrow")
    stripes(tmp_path / "a.csv")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.csv", "train.csv")
    with read_once():
        found = [gn.load_dataset(tmp_path / "a.zip", bins=bins).features for bins in (0, 8)]
    assert len(reads) == 2
    assert found[0] == 2 < found[1]


@pytest.mark.parametrize("several", [(), ("--ensemble", "2")])
def test_the_header_says_what_the_trials_found(tmp_path: Path, reads: list[Path], several: tuple[str, ...]):
    pytest.importorskip("pyarrow")
    options = ("train", "--data", stripes(tmp_path / "a.csv"), "--hidden", "32", "--epochs", "1", "--device", "cpu")
    said = gpunet(*options, *several)
    assert len(reads) == 1
    pattern = (
        r"^encoding +(.+), by validation \(mean loss of the trials (\S+), against (\S+) with (.+), (\S+) with (.+)\)$"
    )
    taken, lower, higher, bins, highest, scale = re.findall(pattern, said.stdout, re.M)[0]
    assert len({taken, bins, scale}) == 3
    assert {f"robust scale, {each} bins" for each in ("no", "16")} < {taken, bins, scale}
    assert float(lower) < min(float(higher), float(highest))
    assert "trial" not in said.stderr
    for line in gpunet(*options, *several, "--json").stdout.splitlines():
        json.loads(line)
    assert "encoding" not in gpunet(*options, *several, "--bins", "4", "--scale", "robust", "--dry-run").stdout


def test_trials_are_counted_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, capsys):
    told: list[tuple[int, int, dict[tuple[str, int], float]]] = []
    settings = gn.settings_for(data="wine", hidden=4, device="cpu", trials=lambda *each: told.append(each))
    assert [each[:2] for each in told] == [(done, 3 * 5) for done in range(16)][: len(told)]
    assert not any(losses for *_, losses in told[:-1])
    done, total, losses = told[-1]
    assert done == total == len(told) - 1
    assert (settings.scale, settings.bins) == min(losses, key=losses.get)
    shown = io.StringIO()
    for moving in (False, True):
        monkeypatch.setattr(display, "can_redraw", lambda stream, moving=moving: moving)
        monkeypatch.setattr(display, "console", lambda stderr: rich.console.Console(file=shown, force_terminal=True))
        with display.DownloadBar() as bar:
            for each in told:
                bar.trials(*each)
                if moving:
                    bar("reading a", each[0], total)  # rows of a large table are prepared between trials
        assert bar.losses == losses
        assert ("of 15 trials" in shown.getvalue()) == moving
    assert capsys.readouterr() == ("", "")


def test_a_run_keeps_what_its_recipe_said(tmp_path: Path):
    run = tmp_path / "run"
    options = ("--epochs", 4, "--bins", BINS, "--scale", "robust", "--device", "cpu", "--out", run)
    said = gpunet("train", "--data", "diabetes", *options).stdout
    assert "recipe       table" in said
    settings = json.loads((run / "config.json").read_text())["settings"]
    assert (settings["recipe"], settings["bins"], settings["epochs"]) == ("table", BINS, 4)
    model = gn.MLP.load(run)
    low, high = model.preparation.targets.low, model.preparation.targets.high
    assert np.isin([*low, *high], gn.load_dataset("diabetes").train.targets).all()
    again = gn.settings_for(read_file(run / "config.json"))
    data = build_dataset(again)
    assert data.preparation == model.preparation
    assert build_model(again, data, gn.get_backend("cpu")).sizes == model.sizes
    del settings["recipe"]  # as of an earlier version
    document = json.loads((run / "config.json").read_text())
    del document["settings"]["recipe"]
    (run / "config.json").write_text(json.dumps(document))
    assert read_file(run / "config.json")["recipe"] == "write-up"


def test_folds_ensembles_and_sweeps_of_tables():
    wine = ("--data", "wine", "--epochs", 2, "--bins", 0, "--scale", "robust", "--device", "cpu", "--json", "--quiet")
    folds = json.loads(gpunet("train", *wine, "--folds", 3).stdout.splitlines()[-1])
    assert (folds["networks"], folds["parts"]) == (3, 3)
    ensemble = json.loads(gpunet("train", *wine, "--ensemble", 2).stdout.splitlines()[-1])
    assert ensemble["parts"] == 5
    sweep = gn.Sweep({"data": "wine", "epochs": 1, "bins": 0, "scale": "robust"}, {"lr": [0.001, 0.01]})
    assert {trial.settings.recipe for trial in sweep.trials} == {"table"}
    assert {trial.settings.validation for trial in sweep.trials} == {0.2}
    with pytest.raises(gn.UsageError, match="one recipe"):
        gn.Sweep({"data": "wine"}, {"recipe": ["table", "write-up"]})

"""A run that is opened again has the splits it was trained with: its test rows are those that it never saw."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from command_line import gpunet

from gpunet.cli.opened import open_run
from gpunet.runs.folder import RunFolder

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A table with numbers, categories and gaps, a price and a kind."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "houses.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["area", "rooms", "town", "price", "kind"])
        for _ in range(300):
            area, rooms, town = rng.uniform(30, 250), int(rng.integers(1, 8)), int(rng.integers(3))
            price = 2000 * area + 10000 * rooms + 40000 * town
            known = "" if rng.random() < 0.1 else f"{area:.1f}"
            rows.writerow(
                [known, rooms, ("Aachen", "Bonn", "Köln")[town], round(price), "dear" if price > 3e5 else "cheap"]
            )
    return path


@pytest.mark.parametrize(
    ("target", "options"),
    [("kind", ()), ("price", ("--task", "regression", "--loss", "mse"))],
    ids=["classes", "values"],
)
def test_a_run_of_a_table_is_evaluated_on_its_own_test_rows(houses, tmp_path, target, options):
    run = tmp_path / "run"
    gpunet(
        "train", "--data", houses, "--target", target, "--features", "area,rooms,town", "--validation", "40",
        "--iterations", "40", "--hidden", "6", "--device", "cpu", "-q", "--out", run, *options,
    )  # fmt: skip
    opened = open_run(str(run))
    told = RunFolder(run).config()["data"]["examples"]
    assert {name: len(split) for name, split in opened.data.splits().items()} == told
    result = RunFolder(run).result()
    for name in ("train", "validation", "test"):
        found = opened.evaluate(opened.split(name)[0])
        assert found.loss == result[f"{name}_loss"]
        assert all(result[f"{name}_{key}"] == value for key, value in found.metrics.items())


def test_a_table_that_changed_is_brought_to_the_network(houses, tmp_path):
    run, table = tmp_path / "run", tmp_path / "houses.csv"
    text = houses.read_text(encoding="utf-8")
    table.write_text(text, encoding="utf-8")
    gpunet(
        "train", "--data", table, "--target", "kind", "--features", "area,rooms,town", "--iterations", "10",
        "--hidden", "6", "--device", "cpu", "-q", "--out", run,
    )  # fmt: skip
    head, *rows = text.splitlines()
    kept = [row for row in rows if ",Aachen," not in row]  # fewer categories than the network knows
    table.write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    opened = open_run(str(run))
    assert opened.data.preparation == opened.model.preparation
    assert sum(len(split) for split in opened.data.splits().values()) == len(kept)

"""Several runs are called by what tells them apart."""

from __future__ import annotations

import json

import pytest

from gpunet.runs.config import FORMAT
from gpunet.runs.labels import labels

pytestmark = pytest.mark.host

PLAIN = {"hidden": [50, 30], "lr": 0.1, "optimizer": "sgd", "seed": 0, "device": "cpu", "l1": None}


def folders(tmp_path, *changes):
    """Run folders with these settings changed."""
    for number, change in enumerate(changes):
        (tmp_path / f"run-{number}").mkdir()
        config = {"format": FORMAT, "version": 1, "settings": {**PLAIN, **change}}
        (tmp_path / f"run-{number}" / "config.json").write_text(json.dumps(config))
    return [tmp_path / f"run-{number}" for number in range(len(changes))]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"lr": 0.1}, {"lr": 0.5, "device": "cuda"}], ["lr 0.1", "lr 0.5"]),
        ([{"hidden": []}, {"hidden": [9], "l1": 0.1}], ["hidden none, l1 none", "hidden 9, l1 0.1"]),
        ([{"seed": 1}, {"seed": 2}, {"seed": 3}], ["seed 1", "seed 2", "seed 3"]),
        ([{}, {}], ["run-0", "run-1"]),  # nothing differs
        ([{"lr": 1}, {"lr": 2}, {"lr": 2}], ["run-0", "run-1", "run-2"]),  # it does not say which is which
        ([{"lr": 1, "seed": 3, "optimizer": "adam"}, {}], ["run-0", "run-1"]),  # too much for a label
    ],
)
def test_a_label_is_what_differs_or_the_name(tmp_path, changes, expected):
    assert labels(folders(tmp_path, *changes)) == expected


def test_files_have_their_names(tmp_path):
    (run,) = folders(tmp_path, {})
    (tmp_path / "a.jsonl").write_text("")
    assert labels([run, tmp_path / "a.jsonl"]) == ["run-0", "a"]

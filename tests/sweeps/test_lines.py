"""The files of a sweep: what was written is read, and what was changed is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import given
from hypothesis import strategies as st

import gpunet as gn
from gpunet.sweeps import lines
from gpunet.sweeps.sweep import Sweep

pytestmark = pytest.mark.host

EXAMPLES = tries(80)
DATA = gn.Dataset.from_arrays(np.eye(40, 4), np.arange(40) % 2, np.eye(10, 4), np.arange(10) % 2)
SETTINGS = {"hidden": "2", "iterations": 5, "batch_size": 5, "device": "cpu"}
GRID = {"lr": "0.1,0.2"}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a finished sweep, and what its two files hold."""
    sweep = Sweep(SETTINGS, GRID, data=DATA, out=tmp_path_factory.mktemp("sweep") / "a")
    list(sweep.run())
    sweep.measure([sweep.choose()])
    return sweep.folder


def opened(folder: Path) -> Sweep | str:
    """The sweep, or the sentence that refuses its folder."""
    try:
        sweep = Sweep(SETTINGS, GRID, data=DATA, out=folder)
        if not sweep.missing:
            sweep.choose()
        sweep.csv()
    except gn.DataError as error:
        return str(error)
    return sweep


@EXAMPLES
@given(st.data(), st.sampled_from(["results.jsonl", "tests.jsonl"]))
def test_a_changed_byte_is_found(folder, data, name):
    path = folder / name
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(start + 20, len(whole))))
    content = whole[:start] + data.draw(st.binary(max_size=6)) + whole[end:]
    path.write_bytes(content)
    try:
        found = opened(folder)
    finally:
        path.write_bytes(whole)
    if isinstance(found, str):
        assert f"{path}, line " in found
    else:  # what is left are whole lines of those that were there
        assert {key: result.as_dict() for key, result in found.results.items()}.items() <= {
            record["key"]: {name: value for name, value in record.items() if name not in ("settings", "crc32")}
            for record in map(json.loads, (folder / "results.jsonl").read_text().splitlines())
        }.items()


@EXAMPLES
@given(st.data())
def test_a_changed_line_without_a_checksum_is_a_sentence_or_a_result(folder, data):
    path = folder / "results.jsonl"
    whole = path.read_text()
    record = json.loads(whole.splitlines()[0])
    del record["crc32"]
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from([*record, "surplus", "train_surplus"]))
        if data.draw(st.booleans()):
            record[name] = data.draw(values)
        else:
            record.pop(name, None)
    path.write_text("".join([json.dumps(record) + "\n", *whole.splitlines(keepends=True)[1:]]))
    try:
        found = opened(folder)
    finally:
        path.write_text(whole)
    if not isinstance(found, str):
        shares = [result.value("validation_accuracy") for result in found.results.values()]
        assert all(0 <= share <= 1 for share in shares if share is not None)


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"key": 1}', '{"key": "a"}', "null", '{"key": "a", "iterations": true, "device": "cpu"}',
     '{"key": "a", "iterations": 1, "device": "cpu", "train_accuracy": 1e19}',
     '{"key": "a", "iterations": 1, "device": "cpu", "train_loss": "0.1"}',
     '{"key": "a", "iterations": 1, "device": "cpu", "train_loss": 1' + "0" * 400 + "}",
     '{"key": "a", "iterations": 1, "device": "cpu", "crc32": 5}'],
)  # fmt: skip
def test_lines_that_are_no_results(tmp_path, line):
    (tmp_path / "results.jsonl").write_text(line + "\n")
    with pytest.raises(gn.DataError, match=r"results\.jsonl, line 1: this is no record"):
        lines.read(tmp_path / "results.jsonl", "iterations", "device")


def test_lines_come_back_and_one_that_was_cut_off_does_not(tmp_path):
    path = tmp_path / "lines.jsonl"
    records = [{"key": "a", "train_loss": 0.1 + 0.2}, {"key": "b", "error": "größer \ud800 "}]
    for record in records:
        lines.append(path, record)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "c"')
    assert lines.read(path) == records
    assert path.read_bytes() == whole
    assert lines.read(tmp_path / "nothing.jsonl") == []

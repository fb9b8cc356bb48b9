"""Damaged, foreign and made-up files: whatever a command is given, it answers with one sentence and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet
from fuzzing import tries
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import gpunet as gn
from gpunet.network import container
from gpunet.runs.settings import FIELDS

pytestmark = pytest.mark.host

EXAMPLES = tries(30, suppress_health_check=list(HealthCheck), database=None)
#: A run so small that each example costs little.
OPTIONS = (
    "--data", "mnist-5k", "--device", "cpu", "--hidden", "2", "--iterations", "30", "--batch-size", "10",
    "--log-every", "10", "--validation", "20", "--validate-every", "10", "--quiet",
)  # fmt: skip
SAME = ("metrics.jsonl", "model.safetensors", "best.safetensors")


@contextlib.contextmanager
def quick_data(data: gn.Dataset):
    """The bundled digits, loaded once and cut short."""
    from gpunet.runs import settings as module

    before = module.load_dataset
    module.load_dataset = lambda name, *args, **options: data if name == "mnist-5k" else before(name, *args, **options)
    try:
        yield
    finally:
        module.load_dataset = before


@pytest.fixture(scope="module", autouse=True)
def small_digits(mnist_5k):
    short = gn.Dataset("mnist-5k", mnist_5k.train.take(slice(0, 100)), None, mnist_5k.test.take(slice(0, 40)))
    with quick_data(short):
        yield short


def answer(*arguments: object, codes: tuple[int, ...] = (1, 2)) -> str:
    """What a command says; it has to be one sentence, and no fault of the program's own."""
    done = gpunet(*arguments, code=None)
    error = done.stderr
    assert done.returncode in codes, error
    if done.returncode:
        lines = [line for line in error.splitlines() if not line.startswith("note: ")]
        assert len(lines) == 1, error
        assert lines[0].startswith("Error: ")
        assert lines[0].endswith((".", "?")) or "--" in lines[0], lines[0]
    return error


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run that lacks only its end."""
    folder = tmp_path_factory.mktemp("run") / "a"
    answer("train", *OPTIONS, "--out", folder, "--checkpoint-every", "10", "--keep", "2", codes=(0,))
    return folder


@pytest.fixture(scope="module")
def unfinished(run, tmp_path_factory) -> Path:
    """The run as it was before its last record."""
    folder = tmp_path_factory.mktemp("unfinished") / "a"
    shutil.copytree(run, folder)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory, mnist_5k) -> Path:
    path = tmp_path_factory.mktemp("examples") / "x.npy"
    np.save(path, mnist_5k.test.images[:2])
    return path


def fresh(folder: Path, place: Path) -> Path:
    """A copy to spoil."""
    target = place / "run"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    return target


# --- ways to spoil a file

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def spoiled(draw: Callable, whole: bytes) -> bytes:
    """The bytes of a file, cut, flipped, overwritten, lengthened, or others altogether."""
    way = draw(st.sampled_from(["cut", "flip", "overwrite", "append", "insert", "junk", "header"]))
    place = draw(st.integers(0, max(len(whole) - 1, 0)))
    junk = draw(st.binary(min_size=1, max_size=40))
    if way == "cut":
        return whole[:place]
    if way == "flip":
        return whole[:place] + bytes([whole[place] ^ (1 << draw(st.integers(0, 7)))]) + whole[place + 1 :]
    if way == "overwrite":
        return whole[:place] + junk + whole[place + len(junk) :]
    if way == "append":
        return whole + junk
    if way == "insert":
        return whole[:place] + junk + whole[place:]
    if way == "header":  # the length of a safetensors header, and where tensors lie
        length = draw(st.integers(0, 2**64 - 1) | st.integers(0, 5000))
        return struct.pack("<Q", length) + whole[8:]
    return draw(st.binary(max_size=300))


@st.composite
def changed_json(draw: Callable, document: dict) -> str:
    """A JSON document with some values replaced, left out or added, anywhere in it."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        inside = document
        while True:
            key = draw(st.sampled_from([*inside, "surplus"]))
            if isinstance(inside.get(key), dict) and inside[key] and draw(st.booleans()):
                inside = inside[key]
                continue
            if draw(st.integers(0, 3)) == 0:
                inside.pop(key, None)
            else:
                inside[key] = draw(json_values)
            break
    return json.dumps(document)


DEEP = b"[" * 200_000
JUNK = {
    "empty": b"",
    "binary": bytes(range(256)) * 4,
    "deep": DEEP,
    "deep object": b'{"a":' * 100_000,
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "null": b"null",
    "list": b"[]",
    "wrong version": b'{"format": "gpunet run", "version": 99}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "huge number": b'{"format": "gpunet run", "version": 1' + b"0" * 6000 + b"}",
}


# --- settings


@pytest.mark.parametrize("name", ["settings.json", "settings.toml", "config.json"])
@EXAMPLES
@given(data=st.data())
def test_made_up_settings(name, data, tmp_path_factory):
    """Settings that nobody checked, with the expensive ones replaced on the command line."""
    path = tmp_path_factory.getbasetemp() / name
    if name.endswith("toml"):
        keys = st.sampled_from([*FIELDS, "surplus"]) | st.text(max_size=10)
        lines = data.draw(st.lists(st.tuples(keys, json_values | st.text(max_size=10)), max_size=4))
        path.write_bytes("\n".join(f"{key} = {json.dumps(value)}" for key, value in lines).encode(errors="replace"))
    else:
        document = json.loads(json.dumps({"settings": gn_settings(), "format": "gpunet run", "version": 1}))
        path.write_text(data.draw(changed_json(document) | json_values.map(json.dumps)))
    answer("train", "--config", path, *OPTIONS, codes=(0, 1, 2))


def gn_settings() -> dict:
    from gpunet.runs.settings import Settings

    return Settings().to_dict()


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("name", ["settings.json", "settings.toml", "config.json"])
def test_junk_for_settings(tmp_path, kind, name):
    (tmp_path / name).write_bytes(JUNK[kind])
    answer("train", "--config", tmp_path / name, *OPTIONS, codes=(0, 1, 2))


def test_no_settings_at_all(tmp_path):
    answer("train", "--config", tmp_path / "nothing.json")
    answer("train", "--config", tmp_path)


# --- models


@EXAMPLES
@given(data=st.data())
def test_spoiled_models(data, run, examples, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "spoiled.safetensors"
    whole = (run / "model.safetensors").read_bytes()
    content = data.draw(spoiled(whole))
    path.write_bytes(content)
    code = gpunet("predict", path, examples, code=None).returncode
    assert (code == 0) == (content == whole)
    if code:
        answer("predict", path, examples, codes=(1,))
        answer("evaluate", path, "--data", "mnist-5k", codes=(1,))


@EXAMPLES
@given(data=st.data())
def test_models_of_a_made_up_description(data, run, examples, tmp_path_factory):
    """Files whose checksum is right, so that the description itself has to be checked."""
    path = tmp_path_factory.getbasetemp() / "described.safetensors"
    arrays, facts = container.read(run / "model.safetensors", container.MODEL)
    for name in ("format", "version"):
        facts.pop(name)
    changed = json.loads(data.draw(changed_json(facts)))
    changed.pop("crc32", None)
    try:
        container.write(path, container.MODEL, arrays, changed)
    except UnicodeEncodeError:  # half a surrogate pair
        return
    answer("predict", path, examples, codes=(0, 1, 2))


@pytest.mark.parametrize("kind", JUNK)
def test_junk_for_models(tmp_path, kind, examples):
    (tmp_path / "model").write_bytes(JUNK[kind])
    answer("predict", tmp_path / "model", examples)
    answer("evaluate", tmp_path / "model", "--data", "mnist-5k")


# --- checkpoints and records


@EXAMPLES
@given(data=st.data())
def test_resuming_from_a_spoiled_checkpoint(data, run, unfinished, tmp_path_factory):
    """Either the run goes on from an older one, to the same end, or there is a sentence."""
    folder = fresh(unfinished, tmp_path_factory.getbasetemp())
    path = folder / "checkpoint.safetensors"
    path.write_bytes(data.draw(spoiled(path.read_bytes())))
    older = data.draw(st.booleans())
    if not older:
        for each in folder.glob("checkpoint-*"):
            each.unlink()
    answer("train", "--resume", folder, "--quiet", codes=(0,) if older else (0, 1))
    if older:
        for name in SAME:
            assert (folder / name).read_bytes() == (run / name).read_bytes()


@EXAMPLES
@given(data=st.data())
def test_resuming_with_a_made_up_state(data, unfinished, tmp_path_factory):
    folder = fresh(unfinished, tmp_path_factory.getbasetemp())
    path = folder / "checkpoint.safetensors"
    arrays, facts = container.read(path, container.CHECKPOINT)
    for name in ("format", "version"):
        facts.pop(name)
    changed = json.loads(data.draw(changed_json(facts)))
    changed.pop("crc32", None)
    try:
        container.write(path, container.CHECKPOINT, arrays, changed)
    except UnicodeEncodeError:
        return
    answer("train", "--resume", folder, "--quiet", codes=(0, 1))


@EXAMPLES
@given(data=st.data())
def test_resuming_with_spoiled_records(data, run, unfinished, tmp_path_factory):
    folder = fresh(unfinished, tmp_path_factory.getbasetemp())
    name = data.draw(st.sampled_from(["metrics.jsonl", "timings.jsonl"]))
    path = folder / name
    path.write_bytes(data.draw(spoiled(path.read_bytes())))
    code = 0 if answer("train", "--resume", folder, "--quiet", codes=(0, 1)) == "" else 1
    assert code == 0 or name == "metrics.jsonl"
    if code == 0:
        for name in SAME:
            assert (folder / name).read_bytes() == (run / name).read_bytes()


# --- run folders


@EXAMPLES
@given(data=st.data())
def test_resuming_with_a_made_up_config(data, unfinished, tmp_path_factory):
    folder = fresh(unfinished, tmp_path_factory.getbasetemp())
    document = json.loads((folder / "config.json").read_text())
    changed = json.loads(data.draw(changed_json(document)))
    for name in ("iterations", "epochs", "hidden", "data", "data_dir", "recording"):  # what would cost time or files
        if isinstance(changed.get("settings"), dict) and name in document["settings"]:
            changed["settings"][name] = document["settings"][name]
    if isinstance(changed.get("recording"), dict):
        changed["recording"]["log"] = []
    (folder / "config.json").write_text(json.dumps(changed))
    answer("train", "--resume", folder, "--quiet", codes=(0, 1, 2))


FILES = (
    "config.json",
    "metrics.jsonl",
    "timings.jsonl",
    "checkpoint.safetensors",
    "best.safetensors",
    "model.safetensors",
)


@pytest.mark.parametrize("kind", ["missing", "folder", "of another run", *JUNK])
@pytest.mark.parametrize("name", FILES)
def test_run_folders_with_a_file_that_is_wrong(tmp_path, run, unfinished, examples, name, kind):
    for source in (run, unfinished):
        folder = fresh(source, tmp_path)
        path = folder / name
        path.unlink(missing_ok=True)
        if kind == "folder":
            path.mkdir()
        elif kind == "of another run":
            other = tmp_path / "other"
            if not other.exists():
                answer("train", *OPTIONS, "--hidden", "3", "--out", other, codes=(0,))
            shutil.copy(other / name, path)
        elif kind != "missing":
            path.write_bytes(JUNK[kind])
        for arguments in (
            ["predict", folder, examples],
            ["evaluate", folder],
            ["train", "--resume", folder, "--quiet"],
        ):
            answer(*arguments, codes=(0, 1, 2))


@pytest.mark.parametrize("kind", ["missing", "a file", "empty", "unreadable"])
def test_run_folders_that_are_none(tmp_path, examples, kind):
    folder = tmp_path / "run"
    if kind == "a file":
        folder.write_text("no folder")
    elif kind != "missing":
        folder.mkdir()
    if kind == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        folder.chmod(0)
    for arguments in (["predict", folder, examples], ["evaluate", folder], ["train", "--resume", folder]):
        answer(*arguments)
    if kind == "a file":
        answer("train", *OPTIONS, "--out", folder)

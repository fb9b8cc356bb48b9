"""NumPy's files: what is right is read, and whatever the damage, there is one sentence."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import given
from hypothesis import strategies as st

import gpunet as gn
from gpunet.data import npy

pytestmark = pytest.mark.host

#: How often hypothesis tries; each takes milliseconds.
EXAMPLES = tries(150)
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
#: What a header may hold instead of what it should; most of these once left the loader as errors of their own.
ODD = [
    "True", "-1", "10**9", "9" * 30, "9" * 4000, "(", "(" * 300, "[", "'", "'''", "\\", "\n", "{", "}", "None", "#",
    "<M8[D]", "<m8[s]", "|O", "|S0", "<U3", "|V0", "<c8", "<f16", "[('a', '<f4')]", "(True, 3)", "(-3, -20)", "(0, 3)",
    "(2.0, 3)", "()", "\x00", "\xff",
]  # fmt: skip


def packed(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0))
    return file.getvalue()


ARRAYS = {
    "x_train.npy": packed(np.arange(60, dtype=np.float32).reshape(20, 3)),
    "y_train.npy": packed(np.arange(20) % 3),
    "x_test.npy": packed(np.zeros((2, 3))),
    "y_test.npy": packed(np.array([0, 1], np.uint8)),
}


def archive(members: dict[str, bytes], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as whole:
        for name, content in members.items():
            whole.writestr(name, content)
    return file.getvalue()


@st.composite
def odd_headers(draw) -> bytes:
    """A .npy file whose header has odd texts in it, or ends in the middle."""
    whole = ARRAYS[draw(st.sampled_from(sorted(ARRAYS)))]
    length = int.from_bytes(whole[8:10], "little")
    text = whole[10 : 10 + length].decode("latin1")
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 12, len(text))))
        text = text[:start] + draw(st.sampled_from(["", *ODD])) + text[end:]
    header = text.encode("latin1")[: draw(st.sampled_from([None, 10, 30]))]
    version = draw(st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x07\x01"]))
    size = len(header).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + header + whole[10 + length :]


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """Bytes overwritten, left out or put in."""
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(whole)))
        end = draw(st.integers(start, min(start + 20, len(whole))))
        whole = whole[:start] + draw(st.binary(max_size=8) | st.just(b"\xff" * 4)) + whole[end:]
    return whole


def assert_a_sentence(read, path) -> None:
    """It is read, or refused in one sentence."""
    said = "."
    try:
        read(path)
    except gn.GpunetError as error:
        said = str(error)
    assert "\n" not in said
    assert said.endswith((".", "?"))


@EXAMPLES
@given(st.data(), st.sampled_from(METHODS))
def test_archives_with_odd_headers(tmp_path_factory, data, method):
    path = tmp_path_factory.getbasetemp() / "odd.npz"
    name = data.draw(st.sampled_from(sorted(ARRAYS)))
    path.write_bytes(archive({**ARRAYS, name: data.draw(odd_headers())}, method))
    assert_a_sentence(gn.load_dataset, path)


@EXAMPLES
@given(st.data(), st.sampled_from(METHODS))
def test_damaged_archives(tmp_path_factory, data, method):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data.draw(damaged(archive(ARRAYS, method))))
    assert_a_sentence(gn.load_dataset, path)


@EXAMPLES
@given(st.data())
def test_single_arrays(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "array.npy"
    path.write_bytes(data.draw(odd_headers() | damaged(ARRAYS["x_test.npy"]) | st.just(archive(ARRAYS, 0))))
    assert_a_sentence(npy.read_npy, path)


def test_what_is_right_is_read(tmp_path):
    for method in METHODS:
        path = tmp_path / f"{method}.npz"
        path.write_bytes(archive(ARRAYS, method))
        assert npy.npz_names(path) == ["x_train", "y_train", "x_test", "y_test"]
        labels, examples = npy.read_npz(path, ["y_train", "x_train"])
        np.testing.assert_array_equal(labels, np.arange(20) % 3)
        np.testing.assert_array_equal(examples, np.arange(60).reshape(20, 3))
    np.save(tmp_path / "one.npy", np.eye(3))
    np.testing.assert_array_equal(npy.read_npy(tmp_path / "one.npy"), np.eye(3))


def test_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "objects.npz", x_train=np.array([{}, []], object), y_train=np.arange(2))
    with pytest.raises(gn.DataError, match="holds pickled objects in x_train"):
        gn.load_dataset(tmp_path / "objects.npz")
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(gn.DataError, match="is damaged or holds pickled objects"):
        npy.read_npy(tmp_path / "object.npy")
    with pytest.raises(gn.DataError, match="cannot be read: No such file"):
        npy.read_npy(tmp_path / "nothing.npy")


def test_a_claim_larger_than_the_file_is_refused_before_the_memory_is_asked_for(tmp_path):
    header = packed(np.zeros((2, 3))).replace(b"(2, 3), }  ", b"(2, 300), }")
    (tmp_path / "large.npz").write_bytes(archive({**ARRAYS, "x_test.npy": header}, zipfile.ZIP_STORED))
    with pytest.raises(gn.DataError, match="claims more data than it has"):
        gn.load_dataset(tmp_path / "large.npz")


def test_an_unknown_home_folder_is_a_sentence():
    with pytest.raises(gn.UsageError, match="the home folder is not known; write the whole path"):
        gn.load_dataset("~nobody-of-this-name/data.npz")

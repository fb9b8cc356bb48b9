"""The idx reader and writer: every element type there and back, and every way a file can be damaged."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpunet.data.idx import ELEMENT_TYPES, read_idx, read_idx_header, write_idx
from gpunet.errors import DataError, UsageError

pytestmark = pytest.mark.host

TYPES = [dtype.newbyteorder("=") for dtype in ELEMENT_TYPES.values()]
QUICK = tries(60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
IMAGES = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + bytes(range(24))


def put(tmp_path: Path, content: bytes, name: str = "x-idx3-ubyte") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def refused(path: Path, *words: str, **options) -> str:
    with pytest.raises(DataError) as caught:
        read_idx(path, **options)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text


def read_or_sentence(path: Path) -> tuple[np.ndarray | None, str]:
    try:
        return read_idx(path), ""
    except DataError as error:
        return None, str(error)


@QUICK
@given(st.data(), st.sampled_from(TYPES), st.sampled_from(["a.idx", "a.gz"]))
def test_round_trip(tmp_path, data, dtype, name):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=5))
    array = data.draw(hnp.arrays(dtype, shape))
    path = write_idx(tmp_path / name, array)
    again = read_idx(path)
    assert again.dtype == dtype
    assert again.dtype.isnative
    assert again.flags.c_contiguous
    np.testing.assert_array_equal(again, array)
    assert read_idx_header(path) == (dtype, shape)


@QUICK
@given(st.binary(max_size=64))
def test_noise_is_read_or_refused(tmp_path, content):
    array, sentence = read_or_sentence(put(tmp_path, content))
    assert array is not None or sentence


@QUICK
@given(st.integers(0, 200), st.integers(0, 255))
def test_one_byte_changed_in_gzip(tmp_path, position, value):
    packed = bytearray(gzip.compress(IMAGES, mtime=0))
    position %= len(packed)
    packed[position] = value
    array, sentence = read_or_sentence(put(tmp_path, bytes(packed)))
    # What is read after all passed gzip's own checksum.
    assert sentence if array is None else array.tobytes() == IMAGES[16:]


def test_the_format_is_the_published_one(tmp_path):
    array = np.array([[1, -2], [300, 4]], np.int16)
    assert write_idx(tmp_path / "a", array).read_bytes() == bytes.fromhex(
        "00000b02 00000002 00000002 0001 fffe 012c 0004"
    )
    np.testing.assert_array_equal(read_idx(put(tmp_path, IMAGES)), np.arange(24).reshape(2, 3, 4))


def test_gzip_is_told_by_content_and_repeats_bit_for_bit(tmp_path):
    np.testing.assert_array_equal(read_idx(put(tmp_path, gzip.compress(IMAGES))), np.arange(24).reshape(2, 3, 4))
    array = np.arange(100, dtype=np.uint8)
    first = write_idx(tmp_path / "a.gz", array).read_bytes()
    assert write_idx(tmp_path / "b.gz", array).read_bytes() == first


def test_array_in_any_memory_order_is_written(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for given_array in (array.T, array[::2, ::-1], array.astype(">f4")):
        np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "a", given_array)), given_array)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["truncated"]),
        (b"\0\0\x08", ["truncated"]),
        (IMAGES[:9], ["truncated", "header"]),
        (IMAGES[:-1], ["truncated"]),
        (IMAGES[:16], ["truncated"]),
        (IMAGES + b"\0", ["left over"]),
        (b"\x01" + IMAGES[1:], ["no idx file", "01 00 08 03"]),
        (IMAGES[:1] + b"\x01" + IMAGES[2:], ["no idx file"]),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), ["no idx file"]),
        (IMAGES[:2] + b"\x0a" + IMAGES[3:], ["element type 0a"]),
        (b"\0\0\x08\0", ["0 dimensions"]),
        (b"\0\0\x08\xff" + bytes(2000), ["255 dimensions"]),
    ],
)
def test_damaged(tmp_path, content, words, packed):
    refused(put(tmp_path, gzip.compress(content) if packed else content), *words)


def test_damaged_gzip(tmp_path):
    packed = gzip.compress(IMAGES)
    refused(put(tmp_path, packed[:-9]), "truncated")
    refused(put(tmp_path, packed[:6]), "truncated")
    refused(put(tmp_path, packed[:-8] + b"\0\0\0\0" + packed[-4:]), "damaged")  # checksum
    refused(put(tmp_path, packed + b"garbage"), "damaged")
    refused(put(tmp_path, packed[:10] + b"\xff" * 20), "damaged")


def test_absurd_claims_are_refused_before_memory_is_taken(tmp_path, monkeypatch):
    def no_memory(*_, **__):
        raise AssertionError("memory was asked for")

    monkeypatch.setattr(np, "empty", no_memory)
    huge = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    refused(put(tmp_path, huge), "claims")
    refused(put(tmp_path, gzip.compress(huge)), "claims")
    large = struct.pack(">BBBBI", 0, 0, 8, 1, 2**30)
    refused(put(tmp_path, large), "truncated")
    refused(put(tmp_path, gzip.compress(large)), "gzip can hold")
    refused(put(tmp_path, IMAGES), "more than", max_bytes=23)


def test_a_gzip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """50 MB of zeros behind a header that claims 24 bytes: little more than that is ever unpacked."""
    read = 0
    original = gzip._GzipReader.read

    def counting(self, size=-1):
        nonlocal read
        block = original(self, size)
        read += len(block)
        return block

    path = put(tmp_path, gzip.compress(IMAGES + bytes(50_000_000), 1))
    monkeypatch.setattr(gzip._GzipReader, "read", counting)
    refused(path, "left over")
    assert 0 < read < 1_000_000


def test_paths_that_are_no_files(tmp_path):
    refused(tmp_path, "folder")
    refused(tmp_path / "none", "no file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(tmp_path / "pipe", "no regular file")


@pytest.mark.parametrize("array", [np.zeros(3, np.int64), np.zeros(3, bool), np.array(["a"]), np.float32(1)])
def test_what_idx_cannot_hold_is_refused(tmp_path, array):
    with pytest.raises(UsageError):
        write_idx(tmp_path / "a", array)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_idx(tmp_path / "none" / "a", np.zeros(3, np.uint8))
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_idx(tmp_path / "taken", np.zeros(3, np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]

"""Data of one's own: each form that a file or folder may have, and what is said of damaged ones."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import given
from hypothesis import strategies as st

import gpunet as gn
from gpunet.data.folders import may_be_tables
from gpunet.data.idx import write_idx
from gpunet.data.load import load_dataset
from gpunet.data.photos import load_picture
from gpunet.errors import DataError, MissingExtra

pytestmark = pytest.mark.host

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 3


def refused(path, *words, error=DataError, **options):
    with pytest.raises(error) as caught:
        load_dataset(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


def check(data, test=False):
    np.testing.assert_array_equal(data.train.images, PIXELS.reshape(12, 20))
    np.testing.assert_array_equal(data.train.labels, LABELS)
    assert data.train.images.dtype == np.uint8
    assert (data.test is not None) == test


# ---- idx


@pytest.mark.parametrize("names", [("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
                                   ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
                                   ("train_images", "train_labels.gz"), ("images.idx", "labels.idx")])  # fmt: skip
def test_idx(tmp_path, names):
    write_idx(tmp_path / names[0], PIXELS)
    write_idx(tmp_path / names[1], LABELS)
    data = load_dataset(str(tmp_path))
    check(data)
    assert data.image_shape == (5, 4)
    assert data.name == tmp_path.name


@pytest.mark.parametrize("prefix", ["t10k", "test"])
def test_idx_with_test_and_validation(tmp_path, prefix):
    for split in ("train", prefix, "val"):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", PIXELS)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", LABELS)
    data = load_dataset(tmp_path)
    check(data, test=True)
    assert len(data.validation) == 12


def test_idx_refused(tmp_path):
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    write_idx(images, PIXELS)
    refused(tmp_path, "no train-labels")
    refused(images, "give the folder")
    write_idx(labels, LABELS[:-1])
    refused(tmp_path, "12 images", "11 labels")
    write_idx(labels, LABELS.astype(np.float32) + 0.5)
    refused(tmp_path, "train labels", "whole", task="classification")
    assert load_dataset(tmp_path).task == "regression"
    labels.write_bytes(b"not idx")
    refused(tmp_path, str(labels), "no idx file")
    write_idx(labels, LABELS)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", PIXELS[:, 1:])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", LABELS)
    refused(tmp_path, "16 features")
    images.unlink()
    labels.unlink()
    refused(tmp_path, "no train-images")


# ---- npz


@pytest.mark.parametrize("keys", ["x_train y_train", "images labels", "train_images train_labels", "X y"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, keys, save):
    images, labels = keys.split()
    save(tmp_path / "mine.npz", **{images: PIXELS, labels: LABELS}, x_test=PIXELS, y_test=LABELS)
    check(load_dataset(tmp_path / "mine.npz"), test=True)
    check(load_dataset(tmp_path), test=True)


def npy(shape: tuple[int, ...], content: bytes) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def test_npz_refused(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, a=PIXELS, b=LABELS)
    refused(path, "a, b", "images and labels")
    np.savez(path, images=PIXELS, labels=np.array([{}] * 12, dtype=object))
    refused(path, "pickled")
    np.savez(path, images=PIXELS, labels=LABELS[1:])
    refused(path, "11 train labels")
    np.savez(path, images=PIXELS, labels=np.zeros((12, 2), "V3"))
    refused(path, "train labels must be")
    np.savez(path, images=PIXELS, labels=LABELS)
    whole = path.read_bytes()
    for content in (b"", b"PK\x03\x04", whole[:-30], whole[: len(whole) // 2], whole.replace(b"NUMPY", b"NUMBY")):
        path.write_bytes(content)
        refused(path, "mine.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", npy((1 << 40, 28), b"\0" * 10))
        archive.writestr("labels.npy", npy((1 << 40,), b"\0" * 10))
    refused(path, "claims more data than it has")


# ---- folders of images


def test_emnist_is_turned_upright_and_counted_from_one(tmp_path):
    for split in ("train", "test"):
        write_idx(tmp_path / f"emnist-letters-{split}-images-idx3-ubyte.gz", PIXELS.swapaxes(1, 2))
        write_idx(tmp_path / f"emnist-letters-{split}-labels-idx1-ubyte.gz", LABELS + 1)
    data = load_dataset(tmp_path)
    check(data, test=True)
    assert data.image_shape == (5, 4)
    assert data.class_names == ["1", "2", "3"]
    assert ("pictures", "turned upright: EMNIST's files hold them transposed") in data.facts


def test_kmnist_has_a_file_for_each_array(tmp_path):
    for split in ("train", "test"):
        np.savez_compressed(tmp_path / f"kmnist-{split}-imgs.npz", PIXELS)
        np.savez_compressed(tmp_path / f"kmnist-{split}-labels.npz", LABELS)
    data = load_dataset(tmp_path)
    check(data, test=True)
    assert data.image_shape == (5, 4)


def test_pictures_of_different_sizes_are_brought_to_one(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for number, (height, width) in enumerate([(5, 4), (10, 8), (20, 16), (15, 12)]):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        grey = np.full((height, width), 40 * (number + 1), np.uint8)
        image.fromarray(grey).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    refused(tmp_path, "--image-size")
    data = load_dataset(tmp_path, image_size=(5, 4))
    assert data.image_shape == (5, 4)
    assert data.train.inputs.shape == (4, 20)
    assert [set(row.tolist()) for row in data.train.inputs] == [{40}, {120}, {80}, {160}]
    np.save(tmp_path / "X.npy", PIXELS.reshape(12, 20))
    np.save(tmp_path / "y.npy", LABELS)
    assert load_dataset(tmp_path, image_size=(4, 5)).image_shape == (4, 5)
    refused(tmp_path, "--image-size", "6 x 4", error=gn.UsageError, image_size=(6, 4))


@pytest.fixture
def image_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split in ("train", "test"):
        for number, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
            folder = tmp_path / split / ["9", "10", "cat"][label]
            folder.mkdir(parents=True, exist_ok=True)
            image.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path


def test_images(image_folder):
    for path, test in ((image_folder, True), (image_folder / "train", False)):
        data = load_dataset(path)
        assert data.class_names == ["9", "10", "cat"]
        assert data.image_shape == (5, 4)
        order = np.argsort(LABELS, kind="stable")
        np.testing.assert_array_equal(data.train.images, PIXELS[order].reshape(12, 20))
        np.testing.assert_array_equal(data.train.labels, LABELS[order])
        assert (data.test is not None) == test


def test_what_pictures_have_in_common_is_that_of_training(tmp_path):
    """Colours and a light ground of test pictures change nothing, and what is prepared so is told."""
    image = pytest.importorskip("PIL.Image")
    dark = np.zeros((9, 9), np.uint8)
    dark[3:6, 3:6] = 250
    for split, count in (("train", 3), ("test", 40)):
        for number in range(count):
            folder = tmp_path / split / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = dark if split == "train" else np.dstack([255 - dark, 255 - dark, np.full_like(dark, 90)])
            image.fromarray(pixels).save(folder / f"{number:02}.png")
    data = load_dataset(tmp_path)
    assert data.image_shape == (9, 9)
    assert (data.preparation.pictures.colour, data.preparation.pictures.inverted) == (False, False)
    assert data.test.inputs[0, 0] > 200
    assert ("pictures", "9 x 9, grey, divided by 255") in data.facts
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS, dates=LABELS)
    facts = load_dataset(tmp_path / "a.npz").facts
    assert facts == [("features", "20 bytes, divided by 255"), ("left aside", "dates")]


def test_all_that_is_left_aside_is_named(image_folder, tmp_path):
    for name in ("notes.md", "train/list.csv", "train/cat/more/a.png", "test/9/about.txt", "train/9/Thumbs.db"):
        path = image_folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    left = dict(load_dataset(image_folder).facts)["left aside"].split(", ")
    assert sorted(left) == ["notes.md", "test/9/about.txt", "train/cat/more/", "train/list.csv"]
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    (outer / "licence.txt").write_text("x")
    np.savez(outer / "inner" / "a.npz", images=PIXELS, labels=LABELS)
    (outer / "inner" / "read me").write_text("x")
    data = load_dataset(outer)
    assert [text for label, text in data.facts if label == "left aside"] == ["licence.txt", "read me"]


def test_images_of_any_mode(tmp_path):
    image = pytest.importorskip("PIL.Image")
    grey = image.fromarray(PIXELS[0])
    (tmp_path / "a").mkdir()
    grey.save(tmp_path / "a" / "1.png")
    grey.convert("RGB").save(tmp_path / "a" / "2.png")
    grey.convert("RGBA").save(tmp_path / "a" / "3.png")
    image.fromarray(PIXELS[0].astype(np.uint16) * 257).save(tmp_path / "a" / "4.png")
    grey.save(tmp_path / "a" / "5.JPEG", quality=100, subsampling=0)
    data = load_dataset(tmp_path)
    for row in data.train.images[:4]:
        np.testing.assert_array_equal(row, PIXELS[0].reshape(-1))
    assert np.abs(data.train.images[4].astype(int) - PIXELS[0].reshape(-1)).max() <= 8


def test_images_refused(image_folder):
    image = pytest.importorskip("PIL.Image")
    extra = image_folder / "train" / "9" / "zz.png"
    image.fromarray(PIXELS[0, 1:]).save(extra)
    refused(image_folder, "zz.png", "one size")
    good = (image_folder / "train" / "9" / "00.png").read_bytes()
    for content in (b"", b"GIF89a", good[:20], good[:50], good[:-30]):
        extra.write_bytes(content)
        refused(image_folder, "zz.png", "damaged")
    extra.unlink()
    (image_folder / "train" / "empty").mkdir()
    refused(image_folder, "empty")
    (image_folder / "train" / "empty").rmdir()
    (image_folder / "test" / "dog").mkdir()
    (image_folder / "test" / "dog" / "1.png").write_bytes(good)
    refused(image_folder, "dog")


def test_images_without_pillow(image_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused(image_folder, "gpunet[images]", error=MissingExtra)


def test_folders_that_hold_nothing(tmp_path):
    refused(tmp_path, "no data set")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path, "no data set")
    refused(tmp_path / "notes.txt", "no rows under its header")
    (tmp_path / "sub").mkdir()
    refused(tmp_path, "sub")
    assert Path(tmp_path, "sub").is_dir()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> tuple[Path, bytes]:
    """A folder of two classes of PNG images, and the content of one of them."""
    image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(2):
            image.effect_noise((20, 20), 50).save(folder / name / f"{number}.png")
    return folder, (folder / "a" / "0.png").read_bytes()


def test_a_wrong_checksum_in_a_picture_is_damage(pictures):
    folder, whole = pictures
    spoiled = folder / "a" / "0.png"
    sum_of_pixels = whole.index(b"IEND") - 8
    spoiled.write_bytes(whole[:sum_of_pixels] + bytes([whole[sum_of_pixels] ^ 1]) + whole[sum_of_pixels + 1 :])
    try:
        with pytest.raises(gn.DataError, match="it is damaged"):
            gn.load_dataset(folder)
        with pytest.raises(gn.DataError, match="it is damaged"):
            load_picture(spoiled, (28, 28))
    finally:
        spoiled.write_bytes(whole)
    assert len(gn.load_dataset(folder).train) == 4


@tries(100)
@given(st.data())
def test_damaged_pictures_are_a_sentence_or_the_same_pixels(pictures, data):
    folder, whole = pictures
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(start + 20, len(whole))))
    content = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]
    (folder / "a" / "0.png").write_bytes(whole)
    before = gn.load_dataset(folder).train.images
    (folder / "a" / "0.png").write_bytes(content)
    try:
        after = gn.load_dataset(folder).train.images
    except gn.DataError:
        return
    np.testing.assert_array_equal(after, before)


def test_what_may_be_tables_is_told_by_names(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    assert not any(may_be_tables(path) for path in (tmp_path, tmp_path / "a", tmp_path / "nowhere"))
    (tmp_path / "a" / "train.csv.gz").write_bytes(b"")
    assert all(may_be_tables(path) for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "train.csv.gz"))
    for name, held, tables in (("pictures", "a/1.png", False), ("tables", "a/b.parquet", True)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr(held, b"")
        assert may_be_tables(tmp_path / f"{name}.zip") == tables
    (tmp_path / "broken.zip").write_bytes(b"PK")
    assert not may_be_tables(tmp_path / "broken.zip")

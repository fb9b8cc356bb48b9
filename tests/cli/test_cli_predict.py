"""`gpunet predict`: pictures of every kind become what MNIST's digits are, arrays are taken as they are."""

from __future__ import annotations

import gzip
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet

import gpunet as gn
from gpunet.data import idx, reader
from gpunet.data.fitting import Pictures
from gpunet.network.prediction import Writer, answer, parts_of

pytestmark = pytest.mark.host

Image = pytest.importorskip("PIL.Image", reason="the extra images is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory, mnist_5k) -> Path:
    """A network that knows its digits."""
    model = gn.MLP([784, 40, 10], seed=1)
    gn.train(model, mnist_5k, iterations=1200)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(path)
    return path


DIGIT = Pictures(28, 28, centred=True)


def digit(mnist_5k, index: int) -> np.ndarray:
    return mnist_5k.test.images[index].reshape(28, 28)


def drawn(
    image: np.ndarray, *, light: bool = False, size: int = 300, corner: tuple[int, int] = (10, 60)
) -> Image.Image:
    """A digit as someone would draw it: dark on light, large, and not in the middle."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    part = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    part = part.resize((part.width * 8, part.height * 8), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (size, size), 0)
    canvas.paste(part, corner)
    return canvas if light else Image.eval(canvas, lambda value: 255 - value)


def test_pictures_look_to_the_network_like_the_digits_they_show(tmp_path, model, mnist_5k):
    from gpunet.data.photos import load_picture

    network = gn.MLP.load(model)
    count = 60
    pictures = []
    for index in range(count):
        drawn(digit(mnist_5k, index), light=index % 2 == 0, corner=(5 + index, 100 - index)).save(tmp_path / "a.png")
        pictures.append(load_picture(tmp_path / "a.png", DIGIT))
    originals = mnist_5k.test.images[:count]
    same = (network.predict(np.array(pictures)) == network.predict(originals)).mean()
    assert same >= 0.95
    # The frame is MNIST's: the ink fills 20 pixels, and its centre of mass is in the middle.
    for picture in pictures:
        frame = picture.reshape(28, 28).astype(float)
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        down, across = frame.sum(axis=1) @ np.arange(28), frame.sum(axis=0) @ np.arange(28)
        assert abs(down / frame.sum() - 14) <= 0.75
        assert abs(across / frame.sum() - 14) <= 0.75
        assert frame.max() == 255


def test_a_digit_that_is_ready_stays_as_it_is(tmp_path, mnist_5k):
    from gpunet.data.photos import load_picture

    for index in range(20):
        image = digit(mnist_5k, index)
        Image.fromarray(image).save(tmp_path / "a.png")
        ready = load_picture(tmp_path / "a.png", DIGIT).reshape(28, 28)
        assert (ready == image).all()
        Image.fromarray(255 - image).save(tmp_path / "a.png")
        assert (load_picture(tmp_path / "a.png", DIGIT).reshape(28, 28) == image).all()


def modes(image: Image.Image) -> dict[str, Image.Image]:
    """One picture in every mode that files come in."""
    inverted = Image.eval(image, lambda value: 255 - value)
    clear = Image.merge("LA", (Image.new("L", image.size, 0), inverted))
    light = Image.merge("LA", (Image.new("L", image.size, 255), inverted))
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    return {
        "L": image, "RGB": image.convert("RGB"), "RGBA": image.convert("RGBA"), "P": image.convert("P"),
        "1": image.convert("1", dither=Image.Dither.NONE), "CMYK": image.convert("CMYK"),
        "ink on nothing": clear, "ink on nothing, RGBA": clear.convert("RGBA"), "light on nothing": light,
        "16 bits": deep, "32 bits": image.convert("I"), "floats": image.convert("F"),
    }  # fmt: skip


def test_every_mode_gives_the_same_digit(tmp_path, mnist_5k):
    from gpunet.data.photos import load_picture

    picture = drawn(digit(mnist_5k, 3))
    picture.save(tmp_path / "plain.png")
    wanted = load_picture(tmp_path / "plain.png", DIGIT).astype(int)
    for name, image in modes(picture).items():
        suffix = "tif" if name in ("CMYK", "32 bits", "floats") else "png"
        image.save(tmp_path / f"mode.{suffix}")
        got = load_picture(tmp_path / f"mode.{suffix}", DIGIT).astype(int)
        assert np.abs(got - wanted).mean() < (12 if name == "1" else 1.5), name
    picture.convert("RGB").save(tmp_path / "a.jpg", quality=60)
    assert np.abs(load_picture(tmp_path / "a.jpg", DIGIT).astype(int) - wanted).mean() < 4
    turned = picture.rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert np.abs(load_picture(tmp_path / "turned.jpg", DIGIT).astype(int) - wanted).mean() < 4


def test_lines_keep_their_shape_and_stay_in_the_frame(tmp_path):
    from gpunet.data.photos import load_picture

    for size, box in [((400, 4), (20, 1)), ((4, 400), (1, 20)), ((1, 1), (20, 20))]:
        canvas = np.full((500, 500), 255, np.uint8)
        canvas[20 : 20 + size[0], 30 : 30 + size[1]] = 0
        Image.fromarray(canvas).save(tmp_path / "line.png")
        frame = load_picture(tmp_path / "line.png", DIGIT).reshape(28, 28)
        assert (frame.any(axis=1).sum(), frame.any(axis=0).sum()) == box
        assert frame.max() == 255


def test_a_colour_network_gets_colours(tmp_path):
    from gpunet.data.photos import load_picture

    Image.new("RGB", (50, 40), (200, 100, 50)).save(tmp_path / "a.png")
    picture = load_picture(tmp_path / "a.png", Pictures(4, 5, colour=True))
    assert picture.reshape(4, 5, 3)[2, 2].tolist() == [200, 100, 50]


def test_predictions_of_pictures_and_arrays(tmp_path, model, mnist_5k):
    images, labels = mnist_5k.test.images[:5], mnist_5k.test.labels[:5]
    network = gn.MLP.load(model)
    shares = network.predict_proba(images)
    drawn(digit(mnist_5k, 0)).save(tmp_path / "a.png")
    np.save(tmp_path / "flat.npy", images)
    np.save(tmp_path / "square.npy", images.reshape(-1, 28, 28))
    np.save(tmp_path / "one.npy", images[0].reshape(28, 28))
    np.save(tmp_path / "float.npy", images.astype(np.float32) / 255)
    idx.write_idx(tmp_path / "images-idx3-ubyte", images.reshape(-1, 28, 28))
    (tmp_path / "images.gz").write_bytes(gzip.compress((tmp_path / "images-idx3-ubyte").read_bytes()))
    names = ["a.png", "flat.npy", "square.npy", "one.npy", "float.npy", "images-idx3-ubyte", "images.gz"]
    lines = gpunet("predict", model, *[tmp_path / name for name in names], "--json").stdout.splitlines()
    found: dict[str, list[dict]] = {}
    for line in lines:
        record = json.loads(line)
        assert record["event"] == "prediction"
        found.setdefault(Path(record["file"]).name, []).append(record)
    assert {name: len(rows) for name, rows in found.items()} == {
        "a.png": 1, "flat.npy": 5, "square.npy": 5, "one.npy": 1, "float.npy": 5, "images-idx3-ubyte": 5,
        "images.gz": 5,
    }  # fmt: skip
    assert found["a.png"][0]["class"] == str(labels[0])
    for name in ("flat.npy", "square.npy", "images-idx3-ubyte", "images.gz"):
        for index, record in enumerate(found[name]):
            assert record["index"] == index
            best = np.argsort(-shares[index])[:3]
            assert [each["class"] for each in record["top"]] == [str(each) for each in best]
            assert record["probability"] == pytest.approx(float(shares[index].max()))
    text = gpunet("predict", model, tmp_path / "flat.npy", "--top", "1").stdout.splitlines()
    assert text[0].startswith(f"{tmp_path / 'flat.npy'}[0]  {found['flat.npy'][0]['class']}  (")


def test_a_network_without_probabilities_names_the_class(tmp_path, rng):
    network = gn.MLP([4, 1], loss="hinge" if "hinge" in gn.LOSSES else "binary-cross-entropy")
    network.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", rng.random((2, 4)))
    lines = gpunet("predict", tmp_path / "model", tmp_path / "x.npy", "--json").stdout.splitlines()
    assert [json.loads(line)["class"] for line in lines] == [
        str(each) for each in network.predict(np.load(tmp_path / "x.npy"))
    ]


def bomb(path: Path, side: int) -> None:
    """A small file that says it is a very large picture."""
    Image.new("L", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


REFUSED = {
    "missing.png": (lambda path: None, "there is no such file"),
    "missing.npy": (lambda path: None, "No such file"),
    "text.png": (lambda path: path.write_text("no picture"), "cannot be read"),
    "empty.jpg": (lambda path: path.write_bytes(b""), "cannot be read"),
    "folder.png": (lambda path: path.mkdir(), "this is a folder; name pictures"),
    "cut.png": (lambda path: (Image.effect_noise((90, 90), 50).save(path), cut(path, 900)), "cannot be read"),
    "blank.png": (lambda path: Image.new("L", (30, 30), 200).save(path), "nothing to see"),
    "clear.png": (lambda path: Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(path), "nothing to see"),
    "large.png": (lambda path: bomb(path, 8000), "make it smaller"),
    "bomb.png": (lambda path: bomb(path, 60000), "make it smaller"),
    "wide.npy": (lambda path: np.save(path, np.zeros((3, 785))), "785 features, and the network takes 784 (28 x 28)"),
    "empty.npy": (lambda path: np.save(path, np.zeros((0, 784))), "no example"),
    "words.npy": (lambda path: np.save(path, np.array(["a", "b"])), "no array of numbers"),
    "object.npy": (lambda path: np.save(path, np.array([{}, 1], dtype=object)), "objects"),
    "scalar.npy": (lambda path: np.save(path, np.float32(1)), "no array of numbers"),
    "nan.npy": (lambda path: np.save(path, np.full((1, 784), np.nan)), "not finite"),
    "huge.npy": (lambda path: np.save(path, np.full((1, 784), 1e300)), "too large for float32"),
    "large.npy": (lambda path: np.save(path, np.full((1, 784), 3e38)), "the network's answer is not finite"),
    "cut.npy": (lambda path: (np.save(path, np.zeros((9, 784))), cut(path, 300)), "no .npy file"),
    "several.npy": (lambda path: np.savez(path.open("wb"), a=np.zeros(3)), "an archive of arrays and no single one"),
    "labels": (lambda path: idx.write_idx(path, np.zeros(10, np.uint8)), "the examples have 10 features"),
    "some.npz": (lambda path: np.savez(path, x_train=np.zeros((3, 784))), "save the one that is meant as a .npy file"),
    "junk": (lambda path: path.write_bytes(b"\x07" * 100), "idx"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(tmp_path, model, name):
    make, sentence = REFUSED[name]
    make(tmp_path / name)
    said = gpunet("predict", model, tmp_path / name, code=1).stderr
    assert sentence in said
    assert said.startswith("Error: ")
    assert said.count("\n") == 1


def test_arguments_that_are_refused(tmp_path, model):
    gpunet("predict", code=2)
    gpunet("predict", model, code=2)
    assert "there is" in gpunet("predict", tmp_path, "x.png", code=1).stderr
    assert "there is no such run" in gpunet("predict", tmp_path / "nothing", "x.png", code=1).stderr
    network = gn.MLP([4, 2])
    network.save(tmp_path / "features")
    drawn(np.eye(28, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    said = gpunet("predict", tmp_path / "features", tmp_path / "a.png", code=1).stderr
    assert "not trained on images of a known shape" in said


def test_without_pillow_there_is_a_sentence(monkeypatch, tmp_path):
    from gpunet.data.photos import load_picture

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(gn.MissingExtra, match=r"gpunet\[images\]"):
        load_picture(tmp_path / "a.png", DIGIT)


def test_a_file_of_any_size_is_answered_in_the_memory_of_some_parts(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    monkeypatch.setattr(reader, "PART", 1 << 15)
    names = [f"x{number}" for number in range(100)]
    rows = np.random.default_rng(0).normal(size=(500, 100)).round(6)
    data = gn.load_dataset({**dict(zip(names, rows.T, strict=True)), "target": rows[:, 0]}, test=None)
    model = gn.MLP([100, 1], loss="mse", preparation=data.preparation)
    text = "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
    with open(tmp_path / "new.csv", "w") as file:  # of 9 MB
        file.write(",".join(names) + "\n")
        file.writelines(text for _ in range(20))
    before, most, count = arrow.total_allocated_bytes(), 0, 0
    with Writer(tmp_path / "out.csv", model) as writer:
        for part in parts_of(tmp_path / "new.csv", model):
            writer.write(part, answer(model, part))
            most, count = max(most, arrow.total_allocated_bytes() - before), count + len(part.inputs)
    assert count == 10_000
    assert most < 4 << 20
    found = np.loadtxt(tmp_path / "out.csv", skiprows=1)
    np.testing.assert_allclose(found.reshape(20, 500), np.tile(model.predict(data.train.inputs), (20, 1)), atol=1e-4)

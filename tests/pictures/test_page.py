"""The network as a page: in a real browser it answers what the library answers, and asks for nothing from outside."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys

import browser
import numpy as np
import pytest
from examples_of_tables import table

import gpunet as gn
from gpunet.data.photos import centred, ink, load_picture
from gpunet.kernels.activations import BUILT_IN
from gpunet.pictures.mistakes import is_wrong, worst_mistakes
from gpunet.pictures.page import activations, page

pytestmark = pytest.mark.host
in_chromium = pytest.mark.skipif(browser.chromium() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def digits(mnist_5k):
    """The default network, a little trained."""
    model = gn.MLP([784, 50, 30, 10], seed=1)
    gn.train(model, mnist_5k, iterations=150)
    return model


def trained(task, loss, outputs, **options):
    """A network for a small table, and the table."""
    data = table(task)
    model = gn.MLP([data.features, 12, outputs], loss=loss, seed=1, **options)
    gn.train(model, data, iterations=60, batch_size=50)
    return model, data


# --- what the page is ------------------------------------------------------------------------------------


def test_the_page_holds_everything_and_is_small(digits, mnist_5k):
    text = page(digits, mnist_5k, name="mine <b>")
    assert len(text) < 1_000_000
    assert not re.search(r"https?://|url\(|@import|<link|src=", text)
    assert "{{" not in text
    assert "<h1>mine &lt;b&gt;</h1>" in text
    found = gn.evaluate(digits, mnist_5k.test)
    assert f"On the 1,000 test examples of mnist-5k: accuracy {found.accuracy:.4f}." in text
    wrong = int((found.predictions != found.truth).sum())
    assert f"24 of the {wrong} that are answered wrong" in text


def test_every_activation_has_a_form_and_others_are_refused_in_a_sentence(mnist_5k):
    assert set(activations()) == set(BUILT_IN)
    square = gn.activation("square", lambda x: x * x, lambda x: 2 * x, "x * x", "ACC(2) * x")
    with pytest.raises(gn.UsageError, match=r"'square' has no form in a page; those that have one are identity, relu"):
        page(gn.MLP([784, 5, 10], activation=square), mnist_5k)


def test_a_name_that_is_no_page_and_a_split_that_is_not_there_are_refused(digits, mnist_5k, tmp_path):
    with pytest.raises(gn.UsageError, match=r"a page is written as \.html"):
        gn.export_page(digits, tmp_path / "a.txt", mnist_5k)
    with pytest.raises(gn.UsageError, match="has no split 'dev'"):
        gn.export_page(digits, tmp_path / "a.html", mnist_5k, split="dev")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_page(digits, tmp_path):
    digits.save(tmp_path / "model.safetensors")

    def gpunet(*arguments):
        command = [sys.executable, "-m", "gpunet", "export", "model.safetensors", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    done = gpunet("page.html", "--data", "mnist-5k")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "accuracy" in text
    assert gpunet("alone.html").returncode == 0
    assert "made without examples" in (tmp_path / "alone.html").read_text(encoding="utf-8")
    for arguments, said in (
        (("page.html", "--pixels"), "--pixels is for an ONNX graph"),
        (("model.npz", "--data", "mnist-5k"), "only a page (.html) shows examples"),
        (("page.txt",), "a model is written as .onnx, .npz, .html, .htm"),
    ):
        done = gpunet(*arguments)
        assert done.returncode == 2
        assert said in done.stderr


# --- what it computes ------------------------------------------------------------------------------------


@in_chromium
def test_digits_are_answered_as_predict_answers_them(digits, mnist_5k, tmp_path):
    examples = mnist_5k.test.inputs[:200]
    digits.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "digits.npy", examples)
    command = [sys.executable, "-m", "gpunet", "predict", "model.safetensors", "digits.npy", "--json", "--top", "10"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    predicted = [json.loads(line) for line in done.stdout.splitlines()]
    script = (
        f"return {json.dumps(examples.tolist())}.map((pixels) => network.answer(Uint8Array.from(pixels)))"
        ".map(({ probabilities, best }) => [probabilities, className(best)]);"
    )
    found = browser.ask(page(digits, mnist_5k), script, tmp_path)
    assert len(predicted) == 200
    for (probabilities, best), record in zip(found, predicted, strict=True):
        assert best == record["class"]
        for each in record["top"]:
            assert probabilities[int(each["class"])] == pytest.approx(each["probability"], abs=1e-5)


@in_chromium
@pytest.mark.parametrize(
    ("task", "loss", "outputs", "options"),
    [
        ("classification", "softmax-cross-entropy", 3, {}),
        ("classification", "hinge", 3, {"activation": "gelu"}),
        ("regression", "mse", 2, {"activation": "tanh"}),
        ("regression", "mse", 2, {"activation": "elu", "dtype": "float64"}),
    ],
)
def test_tables_are_answered_as_the_library_answers_them(task, loss, outputs, options, tmp_path):
    model, data = trained(task, loss, outputs, **options)
    rows = np.concatenate((data.train.inputs[:100], data.test.inputs))[:200]
    rows[0] = np.nan
    rows[1, -1] = -1  # a category that training never saw
    told = json.dumps([[None if np.isnan(value) else float(value) for value in row] for row in rows])
    script = (
        f"return {told}.map((row) => network.answer(Float32Array.from(row, (value) => value ?? NaN)))"
        ".map(({ probabilities, values, logits, best }) => ({ probabilities, values, logits, best }));"
    )
    found = browser.ask(page(model, data), script, tmp_path)
    if task == "regression":
        predicted = model.predict(rows)
        scale = np.abs(predicted).max()
        np.testing.assert_allclose([each["values"] for each in found], predicted, atol=1e-5 * scale, rtol=0)
        return
    assert [each["best"] for each in found] == model.predict(rows).tolist()
    np.testing.assert_allclose([each["logits"] for each in found], model.forward(rows), atol=2e-5, rtol=1e-5)
    if model.loss.gives_probabilities:
        probabilities = [each["probabilities"] for each in found]
        np.testing.assert_allclose(probabilities, model.predict_proba(rows), atol=1e-5, rtol=0)


@in_chromium
def test_activations_are_those_of_the_library(digits, tmp_path):
    x = np.concatenate((np.linspace(-12, 12, 241), [-90.0, 90.0, 0.0, 1e-6]))
    script = (
        f"const points = {json.dumps(x.tolist())}; return Object.fromEntries(Object.entries(ACTIVATIONS)"
        ".map(([name, of]) => [name, points.map(of)]));"
    )
    found = browser.ask(page(digits), script, tmp_path)
    for name, activation in BUILT_IN.items():
        expected = np.empty_like(x)
        activation.forward(x.copy(), expected)
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)


@in_chromium
def test_a_drawing_is_prepared_as_predict_prepares_it(digits, tmp_path):
    image, draw = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageDraw")
    rng = np.random.default_rng(3)
    drawings, expected = [], []
    for number, (width, height) in enumerate([(280, 280), (100, 60), (40, 40), (300, 200), (64, 128), (280, 280)]):
        light = number % 2
        picture = image.new("L", (width, height), 0 if light else 255)
        corners = [tuple(place) for place in rng.uniform(0.1, 0.9, (5, 2)) * (width, height)]
        draw.Draw(picture).line(corners, fill=255 if light else 0, width=max(2, width // 14))
        pixels = np.asarray(picture, np.float32)
        drawings.append([pixels.astype(int).ravel().tolist(), height, width])
        expected.append(centred(ink(pixels), (28, 28)).ravel().astype(int))
    script = (
        f"return {json.dumps(drawings)}.map(([pixels, rows, columns]) => "
        "Array.from(prepared(Float32Array.from(pixels), rows, columns, [28, 28])));"
    )
    found = browser.ask(page(digits), script, tmp_path)
    # In which order Pillow makes lines and columns smaller is its own affair: a grey level, or two when brightened.
    for made, wanted in zip(found, expected, strict=True):
        assert np.abs(np.array(made) - wanted).max() <= 2


# --- what one does with it -------------------------------------------------------------------------------


@in_chromium
def test_strokes_are_answered_by_mouse_and_by_keyboard(digits, mnist_5k, tmp_path):
    script = """
    const said = () => document.getElementById('answer').textContent;
    const box = easel.getBoundingClientRect();
    const point = (kind, x, y) => easel.dispatchEvent(new PointerEvent(kind, {
      clientX: box.left + x * box.width, clientY: box.top + y * box.height, button: 0, pointerId: 1, bubbles: true }));
    const told = [said()];
    point('pointerdown', 0.5, 0.2);
    for (let step = 0; step <= 20; step += 1) point('pointermove', 0.5, 0.2 + 0.03 * step);
    point('pointerup', 0.5, 0.8);
    await until(() => !waiting);
    told.push(said(), document.querySelectorAll('#chances li').length, Array.from(current));
    document.getElementById('clear').click();
    told.push(said());
    const press = (key) => easel.dispatchEvent(new KeyboardEvent('keydown', { key }));
    press(' ');
    for (let step = 0; step < 14; step += 1) press('ArrowDown');
    await until(() => !waiting);
    told.push(said(), Array.from(current));
    document.querySelector('#tries button').click();
    told.push(said());
    document.querySelector('.layer canvas').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
    told.push(document.getElementById('which').textContent, document.getElementById('weights').width);
    return told;
    """
    before, drawn, bars, pixels, cleared, typed, typed_pixels, tried, which, width = browser.ask(
        page(digits, mnist_5k), script, tmp_path
    )
    assert before == cleared == "Draw something, or try a picture below."
    assert bars == 10
    for said, example in ((drawn, pixels), (typed, typed_pixels)):
        assert sum(example) > 0
        shares = digits.predict_proba(np.array([example], np.uint8))[0]
        assert said.startswith(f"{shares.argmax()}, ")
    found = gn.evaluate(digits, mnist_5k.test)
    worst = int(np.argmax(found.losses * (found.predictions != found.truth)))
    assert tried.startswith(f"{found.predictions[worst]}, ")
    assert which.startswith("Neuron 2 of layer 1 gives ")
    assert width == 28


def of_pictures(kind, mnist_5k):
    """A network of pictures of some kind, a little trained, and its data."""
    rng = np.random.default_rng(5)
    if kind == "two classes":
        data = mnist_5k.select_classes([3, 8])
        model = gn.MLP([784, 12, 1], loss="binary-cross-entropy", seed=1)
    elif kind == "labels":
        digits = mnist_5k.train.targets[:500]
        labels = np.stack([digits % 2 == 0, digits > 4], axis=1).astype(np.uint8)
        images = mnist_5k.train.inputs[:500]
        data = gn.Dataset.from_arrays(
            images[:400], labels[:400], images[400:], labels[400:],
            task="multi-label", class_names=["even", "large <5>"], image_shape=(28, 28),
        )  # fmt: skip
        model = gn.MLP([784, 12, 2], loss="binary-cross-entropy", seed=1)
    else:  # shades of a colour, or of grey on black
        shape = (12, 16, 3) if kind == "colours" else (12, 16)
        images, classes = rng.integers(0, 256, (300, *shape)).astype(np.uint8), rng.integers(0, 3, 300)
        for which in range(3):
            images[classes == which, ..., 5 * which : 5 * which + 5, :] //= 4
        images[:, [0, -1]] = 0
        images[:, :, [0, -1]] = 0
        data = gn.Dataset.from_arrays(images[:200], classes[:200], images[200:], classes[200:])
        model = gn.MLP([data.features, 8, 3], seed=1)
    gn.train(model, data, iterations=100)
    return model, data


@in_chromium
@pytest.mark.parametrize("kind", ["two classes", "labels", "colours", "greys"])
def test_pictures_of_every_kind_are_opened_drawn_and_answered(kind, mnist_5k, tmp_path):
    image, draw = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageDraw")
    model, data = of_pictures(kind, mnist_5k)
    files = []
    # Dark on light, light on a dark colour, and light on what is transparent.
    for mode, ground, light in (("L", 255, 0), ("RGB", (0, 0, 90), (250, 240, 80)), ("RGBA", (0, 0, 0, 0), (240,) * 4)):
        drawing = image.new(mode, (60, 44), ground)
        draw.Draw(drawing).line([(10, 10), (45, 12), (20, 35)], fill=light, width=7)
        files.append(tmp_path / f"{mode}.png")
        drawing.save(files[-1])
    script = """
    const nothing = element('answer').textContent;
    const answered = () => until(() => element('answer').textContent !== nothing);
    const told = [facts.examples.told.map((_, index) => network.answer(exampleOf(index)))
      .map(({ probabilities, labels, best }) => ({ probabilities, labels, best }))];
    document.querySelector('#tries button').click();
    told.push(element('answer').textContent);
    told.push([...document.querySelectorAll('#chances .first .name')].map((name) => name.textContent));
    const opened = [];
    for (const bytes of %s) {
      const files = new DataTransfer();
      files.items.add(new File([typeof bytes === 'string' ? bytesOf(bytes) : 'no picture'], 'some.png'));
      element('file').files = files.files;
      clear();
      element('file').dispatchEvent(new Event('change'));
      await answered();
      opened.push(current === null ? element('answer').textContent : Array.from(current));
    }
    clear();
    const ground = pen.getImageData(1, 1, 1, 1).data[0];
    stroke([60, 30], [60, 90]);
    await answered();
    told.push(opened, Array.from(current), ground, pen.getImageData(60, 60, 1, 1).data[0]);
    return told;
    """
    assert "however sure it seems" in page(model, data)
    held = json.dumps([*(base64.b64encode(file.read_bytes()).decode() for file in files), None])
    answers, said, first, opened, drawn, ground, stroke = browser.ask(page(model, data), script % held, tmp_path)
    rows = shown_rows(model, data.test)
    shares = model.predict_proba(data.test.inputs[rows])
    np.testing.assert_allclose([each["probabilities"] for each in answers], shares, atol=1e-5, rtol=0)
    predicted = model.predict(data.test.inputs[rows])
    names = [model.class_names[index] for index in range(shares.shape[1])] if model.class_names else list("012")
    if kind == "labels":
        assert [each["labels"] for each in answers] == predicted.astype(bool).tolist()
        given = [name for name, each in zip(names, predicted[0], strict=True) if each]
        assert said == (", ".join(given) or "none")
        assert first == given
    else:
        assert [each["best"] for each in answers] == predicted.tolist()
        assert said.startswith(f"{names[predicted[0]]}, ")
        assert first == [names[predicted[0]]]
    for file, found in zip(files, opened, strict=False):
        assert np.abs(np.array(found) - load_picture(file, model.preparation.pictures)).max() <= 2
    assert opened[-1] == "some.png is no picture that this browser reads."
    assert len(drawn) == data.features
    assert (ground, stroke) == ((0, 255) if kind in ("colours", "greys") else (255, 0))


def shown_rows(model, split):
    """The examples that a page of pictures shows: the worst, then others."""
    found = gn.evaluate(model, split)
    wrong = is_wrong(found)
    worst = [one.index for one in worst_mistakes(model, split, found, 24)]
    right = np.flatnonzero(~wrong)
    spread = np.unique(np.linspace(0, len(right) - 1, min(48 - len(worst), len(right))).astype(int))
    return [*worst, *right[spread]]


@in_chromium
def test_a_page_without_data_is_drawn_on_and_answers(digits, tmp_path):
    script = """
    stroke([140, 60], [140, 220]);
    await until(() => current !== null);
    return [element('answer').textContent, document.querySelectorAll('.layer').length, Array.from(current)];
    """
    said, layers, pixels = browser.ask(page(digits), script, tmp_path)
    assert said.startswith(f"{digits.predict(np.array([pixels], np.uint8))[0]}, ")
    assert layers == 3


@in_chromium
def test_fields_are_answered_and_drawn_over_their_range(tmp_path):
    model, data = trained("classification", "softmax-cross-entropy", 3)
    script = """
    const set = (id, value, kind) => {
      const control = document.getElementById(id);
      control.value = value;
      control.dispatchEvent(new Event(kind, { bubbles: true }));
    };
    const told = [Array.from(exampleFrom(row))];
    set('field-0', '30', 'input');
    set('field-6', '2', 'change');
    told.push(Array.from(exampleFrom(row)), document.getElementById('answer').textContent);
    set('field-0', '', 'input');
    told.push(Number.isNaN(exampleFrom(row)[0]), document.getElementById('hand').textContent);
    told.push(document.querySelectorAll('#plot path').length, document.querySelector('#plot svg').ariaLabel);
    told.push(curve().lines.map(({ name, values }) => [name, values]));
    set('try', '0', 'change');
    told.push(Array.from(exampleFrom(row)).map((value) => Number.isNaN(value) ? null : value));
    told.push([...document.querySelectorAll('label')].map((label) => label.textContent));
    return told;
    """
    start, row, said, missing, hand, paths, label, lines, tried, labels = browser.ask(
        page(model, data), script, tmp_path
    )
    inputs = data.train.inputs
    for place in range(6):  # numbers start at their medians, to the digits of a slider
        known = inputs[:, place][~np.isnan(inputs[:, place])]
        assert abs(start[place] - np.median(known)) <= np.ptp(known) / 100 + 0.5 * (place in (0, 3))
    assert start[6] == 1  # the most frequent, as the preparation says
    assert (row[0], row[6]) == (30, 2)
    assert said.startswith(("low", "middle", "high")[int(model.predict(np.array([row], np.float32))[0])])
    assert missing
    assert hand == "age"
    assert paths == 3
    assert label.startswith("Over age: ")
    ages = np.linspace(17, np.nanmax(inputs[:, 0]), 61)
    over = np.repeat(np.array([row], np.float32), 61, axis=0)
    over[:, 0] = ages
    expected = dict(zip(("low", "middle", "high"), model.predict_proba(over).T, strict=True))
    for name, values in lines:
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    found = gn.evaluate(model, data.test)
    wrong = np.flatnonzero(found.predictions != found.truth)
    first = wrong[np.argmax(found.losses[wrong])] if len(wrong) else 0
    np.testing.assert_allclose(np.array(tried, np.float32), data.test.inputs[first], rtol=1e-6)
    assert "income <b>" in labels

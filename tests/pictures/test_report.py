"""The HTML report: a page that holds everything, says what the run says, and is drawn without a network."""

from __future__ import annotations

import base64
import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import chromium, command

import gpunet as gn
from gpunet.runs.history import History

pytest.importorskip("matplotlib", reason="the extra plot")

from gpunet.pictures import report
from gpunet.pictures.picture import metric_text

pytestmark = pytest.mark.host

VOID = {"meta", "img", "br", "link", "input", "hr", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """Checks that every element is closed, and collects texts and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


@pytest.fixture(scope="module")
def run():
    """A trained model, its history and its data."""
    data = gn.load_dataset("mnist-5k").hold_out(500)
    model = gn.MLP([784, 20, 10], seed=1)
    result = gn.train(model, data, iterations=120, log_every=10)
    return model, History.of(result, "first <b>&"), data


@pytest.fixture(scope="module")
def page(run):
    """The report of the run."""
    model, history, data = run
    config = {
        "command": ["gpunet", "train", "--hidden", "20"],
        "started": "2017-05-16T10:00:00+00:00",
        "settings": {"hidden": [20], "lr": 0.1, "l2": None},
        "versions": {"numpy": np.__version__},
        "data": {"name": "mnist-5k", "checksum": data.checksum},
        "device": "cpu",
    }
    return report.html(history, model, data.test, config=config)


def test_the_page_is_whole_and_says_what_the_run_says(run, page):
    model, history, data = run
    texts = Page(page).texts
    result = gn.evaluate(model, data.test)
    assert f"{result.accuracy:.4f}" in texts
    assert f"{history.final('validation_accuracy'):.4f}" in texts
    assert "784-20-10 relu" in texts
    assert "gpunet train --hidden 20" in texts
    assert data.checksum in texts
    assert "first <b>&" in texts  # escaped
    assert "l2" not in texts  # a setting that is not set
    for count in np.unique(result.confusion[result.confusion > 0]).tolist():
        assert f"{count:,}" in texts


def test_the_page_asks_for_nothing_from_outside(page):
    parsed = Page(page)
    assert "<script" not in page
    assert not [tag for tag, _, _ in parsed.attributes if tag in ("link", "iframe", "object", "script")]
    addresses = [value for _, name, value in parsed.attributes if name in ("src", "href", "xlink:href")]
    assert addresses
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert not re.search(r"url\((?!#)|@import|https?://", page)


def test_the_pictures_are_the_mistakes_and_the_weights(run, page):
    from matplotlib.image import imread

    model, _, data = run
    pictures = re.findall(r'<img( class="ink")? alt="([^"]*)" src="data:image/png;base64,([^"]*)"', page)
    wrong = int((model.predict(data.test.images) != data.test.labels).sum())
    assert len([kind for kind, _, _ in pictures if kind]) == min(32, wrong)
    assert len([alt for _, alt, _ in pictures if alt.startswith("weights into neuron")]) == 20
    import io

    assert imread(io.BytesIO(base64.b64decode(pictures[0][2]))).shape[:2] == (28, 28)


def test_the_curves_take_the_colours_of_the_page(page):
    svg = page[page.index("<svg") : page.index("</svg>")]
    for variable in ("--blue", "--vermilion", "--muted", "--grid"):
        assert f"var({variable})" in svg
    assert "#0072b2" not in svg
    assert "#ffffff" not in svg.lower()
    assert "training" in svg
    assert "validation" in svg


def test_a_run_without_config_classes_or_shape_has_a_page(rng):
    images = rng.normal(0, 1, (40, 7)).astype(np.float32)
    data = gn.Dataset.from_arrays(images, (images[:, 0] > 0).astype(np.int32))
    model = gn.MLP([7, 1], loss="binary-cross-entropy")
    result = gn.train(model, data, iterations=20, batch_size=10, log_every=5)
    page = report.html(History.of(result), model, data.train, split_name="train")
    Page(page)
    assert "train accuracy" in page


@pytest.mark.parametrize("task", ["regression", "multi-label"])
def test_every_task_has_a_page(rng, task):
    inputs = rng.normal(0, 1, (60, 4, 4)).astype(np.float32)
    targets = inputs.reshape(60, 16)[:, :3] * 10
    if task == "multi-label":
        targets, loss = (targets > 0).astype(np.float32), "binary-cross-entropy"
    else:
        loss = "mse"
    data = gn.Dataset.from_arrays(inputs, targets, task=task).hold_out(20)
    model = gn.MLP([16, 3], loss=loss)
    result = gn.train(model, data, iterations=20, batch_size=10, log_every=5)
    page = report.html(History.of(result), model, data.validation, split_name="validation")
    texts = Page(page).texts
    found = gn.evaluate(model, data.validation)
    for value in found.metrics.values():
        assert metric_text(value) in texts
    assert "What is taken for what" not in texts
    assert "Mistakes" in texts
    worst = int(np.argmax(found.losses))
    answered = (
        [f"{value:.4g}" for value in found.predictions[worst]] if task == "regression" else ["nothing", "0", "1", "2"]
    )
    assert any(word in text for text in texts for word in answered if "read as" in text)


def test_an_unfinished_run_says_so(run):
    model, history, data = run
    page = report.html(History("a", history.steps), model, data.test)
    assert "has not come to its end" in page


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
def test_a_browser_draws_it_without_a_network(page, tmp_path):
    from matplotlib.image import imread

    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    colours = {}
    for scheme, setting in (("light", "1"), ("dark", "0")):
        shot = tmp_path / f"{scheme}.png"
        options = (f"--blink-settings=preferredColorScheme={setting}", "--window-size=900,1400", f"--screenshot={shot}")
        done = subprocess.run(
            command(tmp_path / scheme, *options, (tmp_path / "report.html").as_uri()),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert shot.exists(), done.stderr
        pixels = imread(shot)[:, :, :3]
        assert pixels.shape[:2] == (1400, 900)
        colours[scheme] = float(np.median(pixels))
        # The curves: something blue of theirs is there, right under the numbers.
        blue = (pixels[:, :, 2] > pixels[:, :, 0] + 0.4).sum()
        assert blue > 300
    assert colours["light"] > 0.95
    assert colours["dark"] < 0.2

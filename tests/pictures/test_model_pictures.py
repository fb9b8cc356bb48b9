"""Pictures of a model: what it confuses, its weights, and where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import assert_apart, texts, written

import gpunet as gn
from gpunet.pictures.mistakes import worst_mistakes
from gpunet.pictures.picture import percent
from gpunet.pictures.pixels import picture
from gpunet.pictures.weights import Weights

pytest.importorskip("matplotlib", reason="the extra plot")

from gpunet.pictures import plots

pytestmark = pytest.mark.host


def test_the_confusion_matrix_shows_every_count():
    matrix = np.array([[8, 2, 0], [0, 0, 0], [1, 3, 1234]])
    figure = plots.confusion(matrix, ["cat", "dog", "owl"])
    assert {"8", "2", "1", "3", "1,234", "cat", "dog", "owl", "80%", "99.7%"} <= set(texts(figure))
    assert "99.5% of 1,248 right" in texts(figure)
    assert len(plots.confusion(np.eye(50, dtype=int)).axes) == 1  # too many classes for numbers


@pytest.mark.parametrize("classes", [2, 5, 20, 30, 40])
def test_long_names_of_classes_do_not_overlap(classes):
    names = [f"a rather long name of a class {index}" for index in range(classes)]
    figure = plots.confusion(np.eye(classes, dtype=int), names, title="a run: 25.0% of 100 validation examples right")
    axes = figure.axes[0]
    assert_apart(axes.get_yticklabels())
    assert_apart([text for text in written(figure) if text.get_text() == axes.get_title("left")])  # ends on the page
    if classes > 20:  # the boxes of texts aslant overlap
        assert_apart(axes.get_xticklabels())
    else:
        assert {label.get_rotation() for label in axes.get_xticklabels()} == {45}


def test_long_captions_do_not_overlap(rng):
    data = gn.Dataset.from_arrays(rng.random((40, 4, 4), np.float32), rng.integers(0, 4, 40).astype(np.int32))
    model = gn.MLP([16, 4], seed=1)
    model.image_shape = (4, 4)
    model.class_names = [f"{place} is a long name of a class" for place in ("here", "there", "nowhere", "somewhere")]
    for figure in (plots.mistakes(model, data.train), plots.weights(model)):
        assert_apart([axes.title for axes in figure.axes if axes.get_title()])


def test_the_tiles_are_the_first_layers_weights():
    model = gn.MLP([12, 5, 3], seed=4)
    model.image_shape = (3, 4)
    sheet = Weights(model)
    tiles = sheet.tiles(64)
    assert [tile.caption for tile in tiles] == ["1", "2", "3", "4", "5"]
    np.testing.assert_allclose(tiles[2].pixels * sheet.limit, model.parameters[0][:, 2].reshape(3, 4), rtol=1e-6)
    assert 0 < sheet.limit <= np.abs(model.parameters[0]).max()
    model.parameters[0][:, 3] = 9
    assert [tile.caption for tile in Weights(model).tiles(1)] == ["4"]
    assert any(
        "Weights into 2 of 5 neurons of the first layer" in text for text in texts(plots.weights(model, units=2))
    )
    softmax_regression = gn.MLP([12, 3])
    softmax_regression.image_shape = (3, 4)
    softmax_regression.class_names = ["cat", "dog", "owl"]
    written = texts(plots.weights(softmax_regression))
    assert {"cat", "dog", "owl"} <= set(written)
    assert any("Weights into 3 outputs" in text for text in written)


@pytest.mark.parametrize(
    ("shape", "features", "expected"),
    [
        ((28, 28), 784, (28, 28)),
        ((4, 4, 3), 48, (4, 4, 3)),
        ((4, 3, 1), 12, (4, 3)),
    ],
)
def test_a_picture_has_the_shape_of_its_data(shape, features, expected):
    found = picture(np.arange(features, dtype=np.uint8), shape)
    assert found.shape == expected
    np.testing.assert_allclose(found.ravel(), np.arange(features, dtype=np.uint8) / 255, rtol=1e-6)


def test_numbers_that_are_no_pixels_are_drawn_from_the_least_to_the_greatest():
    np.testing.assert_allclose(picture(np.array([-1.0, 0.0, 1.0, 3.0]), (2, 2)).ravel(), [0, 0.25, 0.5, 1])


def test_what_has_no_shape_is_not_drawn_as_a_picture(rng):
    data = gn.Dataset.from_arrays(rng.random((40, 16), np.float32), rng.integers(0, 4, 40).astype(np.int32))
    model = gn.MLP([16, 4])
    for draw in (lambda: plots.mistakes(model, data.train), lambda: plots.weights(model), lambda: plots.examples(data)):
        with pytest.raises(gn.DataError, match=r"are no pictures.*image_shape"):
            draw()


def test_the_worst_mistakes_come_first(mnist_5k):
    model = gn.MLP([784, 10], seed=1)
    gn.train(model, mnist_5k, iterations=100)
    found = worst_mistakes(model, mnist_5k.test, count=10)
    wrong = np.flatnonzero(model.predict(mnist_5k.test.images) != mnist_5k.test.labels)
    assert {one.index for one in found} <= set(wrong.tolist())
    labels, shares = mnist_5k.test.labels, model.predict_proba(mnist_5k.test.images)
    losses = -np.log(shares[np.arange(len(labels)), labels])
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:10]
    assert [one.index for one in found] == worst.tolist()
    np.testing.assert_allclose([one.loss for one in found], losses[worst], rtol=1e-3)
    for one in found:
        assert (one.truth, one.answer) == (labels[one.index], shares[one.index].argmax())
        assert one.probability == pytest.approx(shares[one.index].max(), rel=1e-5)
    one = found[0]
    written = texts(plots.mistakes(model, mnist_5k.test))
    assert f"{one.truth}, read as {one.answer}\n{percent(one.probability)} sure" in written
    assert f"{len(wrong)} of 1,000 examples are answered wrong, 24 shown" in written


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1.0, "100%"),
        (0.9996, "over 99.9%"),
        (0.9961, "99.6%"),
        (0.873, "87%"),
        (0.004, "0.4%"),
        (1e-5, "under 0.1%"),
        (0, "0%"),
    ],
)
def test_only_what_is_certain_is_a_hundred_percent(share, said):
    assert percent(share) == said


def test_a_model_without_mistakes_says_so(rng):
    images = rng.random((4, 2, 3), np.float32)
    model = gn.MLP([6, 3])
    model.image_shape = (2, 3)
    data = gn.Dataset.from_arrays(images, model.predict(images.reshape(4, 6)).astype(np.int32), task="classification")
    with pytest.raises(gn.DataError, match="all 4 examples are answered right; there is nothing to draw"):
        plots.mistakes(model, data.train)

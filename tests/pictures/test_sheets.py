"""Contact sheets: what stands in the characters, the half-blocks and the image."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gpunet as gn
from gpunet.pictures import sheets as pictures
from gpunet.pictures.picture import Canvas
from gpunet.pictures.sheets import Tile

pytestmark = pytest.mark.host

PLAIN = re.compile(r"\x1b\[[0-9;]*m")


class Steps(pictures.Sheet):
    """Grey steps, as many as are asked for."""

    arrow = ""

    def tiles(self, count: int) -> list[Tile]:
        self.title = "five steps"
        return [Tile(tile.pixels, f"{tile.caption}{self.arrow}") for tile in tiles(self.count or 0)]


def tiles(count: int, size: int = 28) -> list[Tile]:
    return [Tile(np.full((size, size), i / max(count - 1, 1), np.float32), str(i)) for i in range(count)]


@pytest.mark.parametrize("colour", [None, "256", "truecolor"])
@pytest.mark.parametrize("width", [10, 28, 60, 80, 200])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_no_line_is_wider_than_it_may_be(colour: str | None, width: int, count: int) -> None:
    lines = pictures.terminal(tiles(count), width, colour)
    assert max(len(PLAIN.sub("", line)) for line in lines) <= width
    assert all(line == line.rstrip() for line in lines)
    assert (colour is None) == ("\x1b" not in "".join(lines))
    words = " ".join(PLAIN.sub("", line) for line in lines).split()
    assert [word for word in words if word.isdigit()] == [str(i) for i in range(count)]


def test_a_half_block_is_two_pixels() -> None:
    pixels = np.zeros((2, 2), np.float32)
    pixels[0, 0], pixels[1, 1] = 1, 0.5
    (line,) = pictures.terminal([Tile(pixels)], 80, "truecolor", 1)
    assert line == "\x1b[38;2;255;255;255;48;2;0;0;0m▀\x1b[38;2;0;0;0;48;2;128;128;128m▀\x1b[0m"
    (line,) = pictures.terminal([Tile(pixels)], 80, "256", 1)
    assert line == "\x1b[38;5;231;48;5;16m▀\x1b[38;5;16;48;5;244m▀\x1b[0m"


def test_every_line_ends_without_colours() -> None:
    lines = pictures.terminal(tiles(4), 80, "256")
    assert all(line.endswith("\x1b[0m") for line in lines if "\x1b" in line)


def test_more_ink_is_a_darker_character() -> None:
    lines = pictures.terminal([Tile(np.tile(np.linspace(0, 1, 10, dtype=np.float32), (2, 1)))], 80, None, 1)
    order = [pictures.INK.index(character) for character in f"{lines[0]:>10}"]
    assert order == sorted(order)
    assert order[-1] == len(pictures.INK) - 1


def test_weights_have_a_sign() -> None:
    pixels = np.array([[-1, 0, 1], [-1, 0, 1]], np.float32)
    (line,) = pictures.terminal([Tile(pixels, signed=True)], 80, None, 1)
    assert line == "#.@"
    negative, nothing, positive = pictures.colours(Tile(pixels, signed=True), paper=True)[0].tolist()
    assert nothing == [255, 255, 255]
    assert negative[2] > negative[0]
    assert positive[0] > positive[2]


def test_shrinking_keeps_the_mean_and_fills_up_the_edge() -> None:
    pixels = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert np.array_equal(pictures.shrink(pixels, 2), [[2.5, 4.5], [10.5, 12.5]])
    assert pictures.shrink(np.ones((5, 3), np.float32), 2).shape == (3, 2)
    assert pictures.shrink(np.ones((4, 4, 3), np.float32), 4).shape == (1, 1, 3)


def test_an_odd_number_of_rows_and_colours_are_drawn() -> None:
    pixels = np.ones((3, 4, 3), np.float32) * [1, 0, 0]
    first, second = pictures.terminal([Tile(pixels)], 80, "truecolor", 1)
    assert "38;2;255;0;0;48;2;255;0;0" in first
    assert "38;2;255;0;0;48;2;0;0;0" in second
    assert len(pictures.terminal([Tile(pixels)], 80, None, 1)) == 2


def test_a_figure_has_every_picture_in_its_place_and_a_page_as_well() -> None:
    pytest.importorskip("matplotlib", reason="the extra plot")
    sheet = Steps(5)
    figure = sheet.figure()
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert [array.max() for array in drawn] == [0, 0.25, 0.5, 0.75, 1]
    assert [axes.get_title() for axes in figure.axes] == ["0", "1", "2", "3", "4"]
    assert len({tuple(axes.get_position().bounds) for axes in figure.axes}) == 5
    page = sheet.html()
    assert page.count("<img") == 5
    assert 'alt="4"' in page
    assert "five steps" in page


def test_a_sheet_of_no_pictures_says_why() -> None:
    pytest.importorskip("matplotlib", reason="the extra plot")
    with pytest.raises(gn.DataError, match="five steps; there is nothing to draw"):
        Steps(None).figure()
    with pytest.raises(gn.UsageError, match="a sheet of 0 pictures"):
        Steps(0)
    assert Steps(None).terminal(Canvas()) == ["five steps"]


def test_a_stream_of_ascii_gets_ascii() -> None:
    sheet = Steps(2)
    sheet.arrow = "→"
    assert all(line.isascii() for line in sheet.terminal(Canvas(80, "256", "ascii")))
    assert "1>" in sheet.terminal(Canvas(80, None, "ascii"))[-1]

"""The streams of random numbers are what they were: a run of an earlier version goes on with the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.kernels.random import PURPOSES, Stream, generator, purpose
from gpunet.training import batches
from gpunet.training.batches import ChunkOrder, Order

#: (seed, purpose, index, counter) and the first 64-bit numbers of that stream.
STREAMS = {
    (0, "weights", 0, 0): [15003734204198539638, 13859618513508960101, 12389738016430293093],
    (7, "weights", 2, 0): [11344517096287266369, 10431816060334261002, 15858630507337149891],
    (0, "order", 0, 0): [15023647771317767168, 8110679283269960230, 5528858672019317250],
    (3, "order", 0, 41): [12122463535012474514, 6728830364129812108, 3146242370851188358],
}
#: (seed, layer, step) and the first 32-bit numbers that decide about dropout there.
DROPOUT = {
    (5, 1, 41): [2732099685, 940306652, 667568831, 2045841444, 2786461678],
    (2**64 - 1, 0, 12345678901): [90987147, 512662403, 222395360, 1868129632, 3121989829],
}


def philox(seed: int, word: int, counter: int) -> np.random.Philox:
    """NumPy's generator with the key and the counter spelt out."""
    return np.random.Philox(key=np.array([seed, word], np.uint64), counter=np.array([0, 0, counter, 0], np.uint64))


@pytest.mark.parametrize("place", STREAMS, ids=str)
def test_streams_are_keyed_and_counted_as_ever(place: tuple[int, str, int, int]) -> None:
    seed, name, index, counter = place
    word = {"weights": 1, "order": 2}[name] + 256 * index
    assert generator(seed, name, index, counter).bit_generator.random_raw(3).tolist() == STREAMS[place]
    assert philox(seed, word, counter).random_raw(3).tolist() == STREAMS[place]


@pytest.mark.parametrize("place", DROPOUT, ids=str)
def test_dropout_draws_what_it_always_drew(place: tuple[int, int, int]) -> None:
    seed, layer, step = place
    drawn = Stream(seed, purpose("dropout", layer)).draw(step, 5)
    assert drawn.tolist() == DROPOUT[place]
    words = philox(seed, 3 + 256 * layer, step).random_raw(3)
    low_and_high = np.column_stack((words & 0xFFFFFFFF, words >> np.uint64(32))).ravel()
    assert drawn.tolist() == low_and_high[:5].tolist()


def test_what_is_drawn_for_weights_and_orders() -> None:
    assert generator(0, "weights", 1).standard_normal(3).tolist() == [
        -1.1081026442484219, 0.17216198318778417, -0.9612156565774612,
    ]  # fmt: skip
    assert generator(0, "weights", 1).uniform(-1, 1, 2).tolist() == [0.8943174714196178, -0.15716715225438738]
    assert generator(0, "order", counter=1).permutation(12).tolist() == [2, 7, 3, 1, 6, 5, 0, 8, 11, 4, 9, 10]


def test_the_order_in_chunks_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MIX", 2)
    order = ChunkOrder(12, 0, 2)
    assert order.permutation(1).tolist() == [10, 11, 9, 8, 0, 6, 7, 1, 4, 3, 5, 2]
    assert order.permutation(2).tolist() == [6, 7, 3, 2, 8, 10, 9, 11, 1, 5, 0, 4]


def test_no_two_purposes_share_a_stream(backend: object) -> None:
    words = [purpose(name, index) for name in PURPOSES for index in range(5)]
    assert len(set(words)) == len(words)
    order = Order(12, seed=0)
    assert order.permutation(1).tolist() == [2, 7, 3, 1, 6, 5, 0, 8, 11, 4, 9, 10]

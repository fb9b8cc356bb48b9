"""Grids out of texts: values, combinations, and draws among them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet as gn
from gpunet.sweeps import grids


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("hidden", "10;50;50,30;200,100", ["10", "50", "50,30", "200,100"]),
        ("hidden", "50,30", ["50,30"]),
        ("hidden", "none;10", ["none", "10"]),
        ("activation", "relu,tanh, sigmoid", ["relu", "tanh", "sigmoid"]),
        ("activation", "relu,tanh;", ["relu,tanh"]),
        ("classes", "3,8;4,9", ["3,8", "4,9"]),
        ("optimizer", "sgd,adam:beta1=0.8,beta2=0.99,lion", ["sgd", "adam:beta1=0.8,beta2=0.99", "lion"]),
        ("data_dir", "../data", ["../data"]),
    ],
)
def test_values_in_a_text(name: str, text: str, values: list[str]) -> None:
    assert grids.parse(name, text) == values


@pytest.mark.parametrize("text", ["relu,,tanh", ";", "", "a;;b", "0.1,"])
def test_a_missing_value_is_refused(text: str) -> None:
    with pytest.raises(gn.UsageError, match="a value is missing"):
        grids.parse("activation", text)


@pytest.mark.parametrize("text", ["1..0", "a..b", "0.1..", "1..1", "nan..1", "0..inf"])
def test_a_bad_range_is_refused(text: str) -> None:
    with pytest.raises(gn.UsageError, match="range"):
        grids.parse("lr", text)


def test_combinations_are_the_whole_product() -> None:
    found = list(grids.combinations(grids.check({"lr": "0.1,0.2", "hidden": "5;7,7"})))
    assert found == [{"lr": a, "hidden": b} for a in ("0.1", "0.2") for b in ("5", "7,7")]


def test_combinations_refuse_a_range() -> None:
    with pytest.raises(gn.UsageError, match="--search random --trials N"):
        list(grids.combinations(grids.check({"lr": "0.1..1"})))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
def test_more_draws_begin_with_the_same_draws(seed: int, few: int, more: int) -> None:
    grid = grids.check({"lr": "0.001..1", "hidden": "2;3;4", "batch_size": "10..20"})
    short, long = (list(grids.draws(grid, count, seed)) for count in sorted((few, few + more)))
    assert long[: len(short)] == short
    assert all(0.001 <= draw["lr"] <= 1 and 10 <= draw["batch_size"] <= 20 for draw in long)
    assert all(isinstance(draw["batch_size"], int) for draw in long)


def test_draws_are_different_and_end_with_the_grid() -> None:
    found = list(grids.draws(grids.check({"hidden": "2;3;4", "lr": "0.1,0.2"}), 50, 0))
    assert len(found) == 6
    assert len({json.dumps(draw) for draw in found}) == 6


def test_a_wide_range_is_drawn_on_the_scale_of_logarithms() -> None:
    draws = [grids.Range(1e-4, 1).draw(np.random.default_rng(i)) for i in range(400)]
    assert 0.4 < np.mean(np.array(draws) < 1e-2) < 0.6

"""Layers and parameters that learn at a rate of their own, or not at all: factors on the learning rate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gpunet.readers as read
from gpunet.errors import UsageError

_EXAMPLE = "0,0,1 (one for each layer), or 1=0,b3=10 (layers and parameters by name)"


class Span(NamedTuple):
    """A stretch of the flat buffers that learns at one rate.

    Attributes:
        place: where it lies.
        weights: how many elements at its front are weights; the rest are biases.
        factor: on the learning rate; 0 where nothing is learned.
    """

    place: slice
    weights: int
    factor: float


def reader(option: str, value: Any) -> tuple[float, ...] | str | None:
    """A factor for each layer, as a tuple, or those of some layers and parameters by name, as a text "1=0,b3=10"."""
    if value is None or value == "none":
        return None
    number = read.number(0, example="0.1")
    if isinstance(value, str) and "=" in value:
        value = {name: factor for name, _, factor in (part.partition("=") for part in value.split(","))}
    if not isinstance(value, Mapping):
        return read.listing(number, _EXAMPLE)(option, value)
    named = {str(name).strip(): number(f"{option} {name}", factor) for name, factor in value.items()}
    for name in named:
        if not re.fullmatch(r"[Wb]?[1-9]\d{0,5}", name):
            read.refuse(option, name, f"this is no layer and no parameter; write it like {_EXAMPLE}.")
    return ",".join(f"{name}={factor!r}" for name, factor in named.items()) or None


def factors(model: Any, given: Sequence[float] | str | Any) -> list[tuple[float, float]]:
    """The factors of the weights and of the biases of each layer.

    Args:
        model: an `MLP`.
        given: as `reader` gives it: None, a factor for each layer, or a text.

    Raises:
        UsageError: there are other layers, or nothing would be learned.
    """
    layers = len(model.layers)
    there = f"the network has {layers} layer{'s' if layers > 1 else ''}"
    if isinstance(given, str):
        found = [[1.0, 1.0] for _ in range(layers)]
        for part in given.split(","):
            name, factor = part.split("=")
            number = int(name.lstrip("Wb"))
            if number > layers:
                raise UsageError(f"layer rates: there is no {name}; {there}.")
            for kind in range(2):
                if name[0] != "bW"[kind]:
                    found[number - 1][kind] = float(factor)
    else:
        each = (1.0,) * layers if given is None else given
        if len(each) != layers:
            raise UsageError(f"layer rates: there are {len(each)} factors, and {there}; give one for each layer.")
        found = [[factor, factor] for factor in each]
    if not any(map(any, found)):
        raise UsageError("layer rates: with 0 for every layer nothing would be learned; leave one to learn.")
    return [(weights, biases) for weights, biases in found]


def spans(model: Any, factors: Sequence[tuple[float, float]]) -> list[Span]:
    """The flat buffers of a model, cut where the rate changes.

    Args:
        model: an `MLP`.
        factors: as `factors` gives them.
    """
    found: list[Span] = []
    each = [factor[kind] for kind in range(2) for factor in factors]
    for (start, stop), factor in zip(model.places, each, strict=True):
        weights = max(min(model.weight_count, stop) - start, 0)
        if found and found[-1].factor == factor:
            before = found.pop()
            start, weights = before.place.start, before.weights + weights
        found.append(Span(slice(start, stop), weights, factor))
    return found

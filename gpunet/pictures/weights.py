"""Weights: what the neurons of the first layer look for, as pictures of the input's shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.network.ensemble import single
from gpunet.pictures.picture import Options, Subject
from gpunet.pictures.pixels import picture_shape
from gpunet.pictures.sheets import LONGEST, Sheet, Tile
from gpunet.pictures.style import legible_names


class Weights(Sheet):
    """The weights into each neuron of the first layer, all on one scale; of many those with the longest vectors.

    Blue weights speak against the neuron, orange ones for it. Of several colours of a pixel the mean is taken.
    """

    name = "weights"
    help = "The weights into each neuron of the first layer."
    needs = "model"
    heading = "What the first layer looks for"
    inch, size = 0.9, 7.0
    counts = (64, 12, 64)

    def __init__(self, model: Any, count: int | None = None, title: str | None = None) -> None:
        super().__init__(count)
        self.shape = picture_shape(single(model).image_shape, "the network's inputs")
        self.model, self._title = model, title

    @classmethod
    def of(cls, subject: Subject, options: Options) -> Weights:
        """Of a subject's model."""
        return cls(subject.model, options.count)

    def tiles(self, count: int) -> list[Tile]:
        """The neurons in their order."""
        model = self.model
        matrix = np.asarray(model.backend.to_host(model.parameters[0]), np.float32)
        chosen = np.sort(np.argsort(-np.linalg.norm(matrix, axis=0), kind="stable")[:count])
        pixels = matrix.T[chosen].reshape(len(chosen), *self.shape).mean(axis=3)
        self.limit = float(np.quantile(np.abs(pixels), 0.995)) or 1.0
        self.title = self._title or self._told(len(chosen))
        names = legible_names([self._neuron(number) for number in chosen.tolist()], LONGEST)
        return [
            Tile(each / self.limit, name, signed=True, what=f"weights into neuron {name}")
            for each, name in zip(pixels, names, strict=True)
        ]

    def _neuron(self, number: int) -> str:
        """What to call a neuron (0-based): its class, if the first layer is the last too, else 1, 2 ..."""
        names = self.model.class_names
        last = len(self.model.sizes) == 2 and names and len(names) == self.model.outputs
        return names[number] if last else str(number + 1)

    def _told(self, shown: int) -> str:
        """What the sheet shows."""
        sizes = self.model.sizes
        one, where = ("neuron", " of the first layer") if len(sizes) > 2 else ("output", "")
        some = f"{shown} of {sizes[1]:,}" if shown < sizes[1] else f"{sizes[1]:,}"
        longest = ", those with the longest weight vectors" if shown < sizes[1] else ""
        return f"Weights into {some} {one}{'s' if sizes[1] != 1 else ''}{where}{longest}: orange for it, blue against"

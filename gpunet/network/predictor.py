"""What answers: the base of a network and of an ensemble, which makes answers of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Backend
from gpunet.data.preparation import Preparation
from gpunet.errors import UsageError
from gpunet.kernels.losses import Loss
from gpunet.network.metrics import Answers


class Predictor:
    """Base of what computes logits of examples, and answers by them.

    Attributes:
        backend: the device.
        dtype: of the logits.
        loss: what says how logits become answers.
        sizes: the widths from input to output.
    """

    backend: Backend
    dtype: np.dtype[Any]
    loss: Loss
    sizes: list[int]

    @property
    def preparation(self) -> Preparation:
        """How data becomes network input, and outputs answers."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """The width of the last layer."""
        return self.sizes[-1]

    @property
    def class_names(self) -> list[str] | None:
        """The classes (or labels) of the data that it was trained on, or None."""
        names = self.preparation.class_names
        return None if names is None else list(names)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """The shape of the images that it was trained on, or None."""
        return self.preparation.image_shape

    @property
    def input_scale(self) -> float:
        """What inputs of an integer dtype are multiplied with on the way in."""
        return self.preparation.input_scale

    def forward(self, x: Any) -> Any:
        """The logits (n, outputs) of examples (n, features), on the device."""
        raise NotImplementedError

    def predict_proba(self, x: Any) -> Any:
        """Probabilities (n, classes), on the model's device; with a single output, of class 0 and class 1.

        Args:
            x: examples as of `Split.inputs`, or a table with the columns that the model was trained on.

        Raises:
            UsageError: the loss that the model is trained with gives no probabilities.
        """
        logits = self.forward(x)
        with self.backend.use():
            if not self.loss.gives_probabilities:
                what = "values" if self.preparation.task == "regression" else "classes"
                raise UsageError(f"a model trained with {self.loss.name} gives no probabilities, only {what}.")
            likely = self.loss.probabilities(logits, self.backend.xp)
            single = self.outputs == 1 and self.preparation.task == "classification"
            return self.backend.xp.hstack((1 - likely, likely)) if single else likely

    def predict(self, x: Any) -> Any:
        """What the model answers for each example, on its device.

        Args:
            x: examples as of `Split.inputs`, or a table with the columns that the model was trained on.

        Returns:
            The class (n,) int64; of several labels (n, labels) int64, 0 or 1; of a regression the value in the
            target's units, (n,) or, of several targets, (n, targets).
        """
        logits = self.forward(x)
        with self.backend.use():
            return Answers(logits, None, self.loss, self.preparation, self.backend.xp).predicted

"""Ensembles: several networks of the same task that answer together, by the mean of their answers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import Backend, get_backend
from gpunet.data.preparation import Preparation
from gpunet.errors import CheckpointError, UsageError
from gpunet.kernels.activations import Activation
from gpunet.keywords import checked
from gpunet.network import container, model_file
from gpunet.network.mlp import MLP
from gpunet.network.predictor import Predictor
from gpunet.version import __version__


@checked
class Ensemble(Predictor):
    """Several networks that answer together: by the mean of their probabilities, or of their values.

    It is evaluated, asked for predictions, saved and exported like a network. Its logits are those whose probabilities
    are the mean of the members' probabilities (Lakshminarayanan et al. 2017, "Simple and scalable predictive
    uncertainty estimation using deep ensembles"); of a loss that gives none they are the mean of the members' outputs.
    Each member prepares its inputs as it was trained.

    Args:
        models: the members, at least one, on one device; of any shapes, but of one task, loss and number of outputs.

    Attributes:
        models: the members.
        backend: their device.
        dtype: float64 if one of them has it.
        sizes: the widths of the first.

    Raises:
        UsageError: there is no member, or two do not go together.
    """

    def __init__(self, models: Sequence[MLP]) -> None:
        self.models = list(models)
        if not self.models:
            raise UsageError("an ensemble needs at least one model.")
        first = self.models[0]
        for number, model in enumerate(self.models[1:], 2):
            for what, own, other in (
                ("device", first.backend.device, model.backend.device),
                ("outputs", first.outputs, model.outputs),
                ("task", first.preparation.task, model.preparation.task),
                ("loss", first.loss.name, model.loss.name),
                ("class names", first.class_names, model.class_names),
                ("columns", first.preparation.column_names, model.preparation.column_names),
            ):
                if own != other:
                    raise UsageError(
                        f"the models of an ensemble answer the same question; model 1 has the {what} {own}, and model "
                        f"{number} has {other}."
                    )
        self.backend, self.loss, self.sizes = first.backend, first.loss, first.sizes
        self.dtype = np.result_type(*(model.dtype for model in self.models))
        self._preparation = first.preparation
        targets = [model.preparation.targets for model in self.models]
        limited = [each for each in targets if each is not None and each.low]
        if len(limited) == len(targets):
            low = np.min([each.low for each in limited], axis=0)
            high = np.max([each.high for each in limited], axis=0)
            wide = dataclasses.replace(limited[0], low=tuple(low.tolist()), high=tuple(high.tolist()))
            self._preparation = first.preparation.with_changes(targets=wide)

    def __repr__(self) -> str:
        return f"<Ensemble {self.description} on {self.backend.device}>"

    @property
    def preparation(self) -> Preparation:
        """How outputs become answers, and what the inputs are; as of the first member."""
        return self._preparation

    @property
    def parameter_count(self) -> int:
        """How many numbers were trained."""
        return sum(model.parameter_count for model in self.models)

    @property
    def description(self) -> str:
        """The members in a few words."""
        kinds = list(dict.fromkeys(model.description for model in self.models))
        return f"{len(self.models)} networks {', '.join(kinds)}"

    def forward(self, x: Any) -> Any:
        """The logits (n, outputs) whose probabilities are the mean of the members' probabilities, on the device.

        Args:
            x: examples as of `Split.inputs`.

        Raises:
            UsageError: the number of features is not the members'.
        """
        logits = [model.forward(x) for model in self.models]
        with self.backend.use():
            xp = self.backend.xp
            return _JOINED[self.loss.output](self, xp.stack([each.astype(self.dtype) for each in logits]), xp)

    def spread(self, x: Any) -> Any:
        """How far the members are apart: the standard deviation of their probabilities (n, classes), or of a
        regression of their values (n, targets) in the targets' units; on the device.

        Args:
            x: examples as of `Split.inputs`.

        Raises:
            UsageError: the loss that they are trained with gives neither.
        """
        with self.backend.use():
            if self.preparation.task == "regression":
                found = [
                    model.preparation.in_units(model.forward(x), self.backend.xp).astype(self.dtype)
                    for model in self.models
                ]
            else:
                found = [model.predict_proba(x).astype(self.dtype) for model in self.models]
            return self.backend.xp.stack(found).std(axis=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members to one safetensors file.

        Args:
            path: the file, by custom with the suffix .safetensors.

        Raises:
            CheckpointError: the file cannot be written, or its folder does not exist.
        """
        arrays = {
            f"{number}.{name}": model.backend.to_host(array)
            for number, model in enumerate(self.models, 1)
            for name, array in zip(model.parameter_names, model.parameters, strict=True)
        }
        facts = {"gpunet": __version__, "members": [model_file.describe(model) for model in self.models]}
        container.write(path, container.ENSEMBLE, arrays, facts)

    @classmethod
    @checked
    def load(
        cls,
        path: str | os.PathLike[str],
        backend: Backend | str | None = None,
        activations: Mapping[str, Activation] | None = None,
    ) -> Ensemble:
        """The ensemble of a file that `save` wrote.

        Args:
            path: the file.
            backend: a `Backend`, or the name of a device; the CPU by default.
            activations: activations of one's own that members use, by their names.

        Raises:
            CheckpointError: the file is missing, damaged or no ensemble, or uses an activation that is not known.
        """
        path = Path(path)
        arrays, facts = container.read(path, container.ENSEMBLE)
        described = facts.get("members")
        if not isinstance(described, list) or not all(isinstance(each, dict) for each in described):
            raise CheckpointError(f"{path}: the ensemble's description is not complete; it is damaged.")
        device = get_backend("cpu" if backend is None else backend)
        models = []
        for number, each in enumerate(described, 1):
            before = f"{number}."
            own = {name.removeprefix(before): array for name, array in arrays.items() if name.startswith(before)}
            models.append(MLP.from_description(path, each, own, device, activations))
        try:
            return cls(models)
        except UsageError as error:
            raise CheckpointError(f"{path}: {error}") from None


@checked
def load_model(
    path: str | os.PathLike[str],
    backend: Backend | str | None = None,
    activations: Mapping[str, Activation] | None = None,
) -> MLP | Ensemble:
    """The network or the ensemble of a file or a run folder; see `MLP.load` and `Ensemble.load`.

    Raises:
        CheckpointError: the file is missing, damaged or neither, or uses an activation that is not known.
    """
    file = Path(path) / "model.safetensors" if Path(path).is_dir() else path
    if container.kind_of(file) == container.ENSEMBLE:
        return Ensemble.load(file, backend, activations)
    return MLP.load(path, backend, activations)


def single(model: Any) -> Any:
    """A model that is one network, for what shows its weights.

    Raises:
        UsageError: it is an ensemble.
    """
    if isinstance(model, Ensemble):
        raise UsageError(
            f"the weights of one network are shown, and this is an ensemble of {len(model.models)}; take one of its "
            "members, such as networks/1 in the folder of its run, or ensemble.models[0]."
        )
    return model


def _log_mean_exp(x: Any, xp: Any) -> Any:
    """log of the mean of exp(x) over the first axis."""
    top = x.max(axis=0)
    return top + xp.log(xp.exp(x - top).mean(axis=0))


def _of_softmax(ensemble: Ensemble, logits: Any, xp: Any) -> Any:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return _log_mean_exp(shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True)), xp)


def _of_sigmoid(ensemble: Ensemble, logits: Any, xp: Any) -> Any:
    zero = xp.zeros_like(logits)  # log p = -log(1 + exp(-z)), and log(1 - p) = -log(1 + exp(z))
    return _log_mean_exp(-xp.logaddexp(zero, -logits), xp) - _log_mean_exp(-xp.logaddexp(zero, logits), xp)


def _of_values(ensemble: Ensemble, outputs: Any, xp: Any) -> Any:
    if (targets := ensemble.preparation.targets) is None:
        return outputs.mean(axis=0)
    pairs = zip(ensemble.models, outputs, strict=True)
    values = xp.stack([model.preparation.in_units(each, xp) for model, each in pairs]).mean(axis=0)
    shift, scale = (xp.asarray(np.array(each), values.dtype) for each in (targets.shift, targets.scale))
    return (values - shift) / scale


#: How members' logits (members, n, outputs) become those of the ensemble, by what makes a probability of a logit.
_JOINED = {"softmax": _of_softmax, "sigmoid": _of_sigmoid, "identity": _of_values}

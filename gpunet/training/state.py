"""The state of a training run: what a checkpoint holds, and what it has to agree with to be taken up again.

The order of the examples, the dropout masks and the coefficients are functions of (seed, step), so that the
number of the step stands for all of them. What is left are the weights, the optimizer's vectors, the best
weights so far and what a schedule or early stopping has seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.errors import CheckpointError, GpunetError
from gpunet.network.container import plain
from gpunet.training.recipe import Recipe
from gpunet.wording import one_line


def identity(trainer: Any) -> dict[str, Any]:
    """What the numbers of a run depend on, by the name that a sentence about a difference uses."""
    model, data = trainer.model, trainer.data
    return {
        "layer sizes": list(model.sizes),
        "activations": [activation.name for activation in model.activations],
        "dropout": list(model.dropout),
        "number type": model.dtype.name,
        "seed of the model": model.seed,
        "data": data.checksum,
        "loss": _described(trainer.loss),
        "optimizer": _described(trainer.optimizer),
        "learning rate": _described(trainer.schedule),
        **trainer.recipe.identity(),
    }


def _described(entry: Any) -> list[Any]:
    """The name and the hyperparameters of a loss, an optimizer or a schedule."""
    return [entry.name, {key: plain(value) for key, value in sorted(entry.settings().items()) if key[0] != "_"}]


def state_dict(trainer: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The state of a trainer between two steps: vectors on the host, and facts that JSON can hold."""
    backend = trainer.backend
    # Copies, because on the CPU `to_host` hands out the very buffers that training goes on in.
    arrays = {"parameters": np.array(backend.to_host(trainer.model.flat))}
    for name, vector in zip(trainer.optimizer.state_names, trainer.step.optimizer_state, strict=True):
        arrays[f"optimizer.{name}"] = np.array(backend.to_host(vector))
    if trainer.early_stopping.weights is not None:
        arrays["best"] = np.array(backend.to_host(trainer.early_stopping.weights))
    facts = {
        "identity": identity(trainer),
        "iteration": trainer.iteration,
        "stopped": trainer.stopped,
        "seconds": trainer.seconds,
        "best": trainer.early_stopping.state(),
        "schedule": trainer.schedule.state(),
    }
    if trainer.step.coefficients.before:
        facts["before"] = trainer.step.coefficients.before
    return arrays, facts


def load_state_dict(trainer: Any, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Bring a fresh trainer to the state that `state_dict` took; see `Trainer.restore`."""
    _check_identity(facts.get("identity"), identity(trainer))
    targets = {"parameters": trainer.model.flat}
    for name, vector in zip(trainer.optimizer.state_names, trainer.step.optimizer_state, strict=True):
        targets[f"optimizer.{name}"] = vector
    for name, target in targets.items():
        _check_vector(name, arrays.get(name), target)
    if "best" in arrays:
        _check_vector("best", arrays["best"], trainer.model.flat)
    try:
        iteration, seconds, stopped = int(facts["iteration"]), float(facts["seconds"]), facts["stopped"]
        trainer.step.coefficients.before = int(facts.get("before", 0))
        fits = 0 <= iteration <= trainer.iterations and (stopped is None or isinstance(stopped, str))
        trainer.schedule.restore(facts["schedule"])
        trainer.early_stopping.restore(facts["best"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, GpunetError):
        fits = False
    if not fits:
        raise CheckpointError("the checkpoint does not say where training stood; it is damaged.")
    backend = trainer.backend
    with backend.use():
        for name, target in targets.items():
            target[...] = backend.to_device(arrays[name], target.dtype)
        if "best" in arrays:
            trainer.early_stopping.weights = backend.to_device(arrays["best"], trainer.model.dtype).copy()
    trainer.seconds, trainer.stopped = seconds, stopped
    trainer.step.resume_at(iteration)


def _check_identity(theirs: Any, ours: dict[str, Any]) -> None:
    if not isinstance(theirs, dict):
        raise CheckpointError("the checkpoint does not say what it belongs to; it is damaged.")
    # An option that came later than the checkpoint had its default.
    theirs = {**Recipe().identity(), **theirs}
    for name, value in ours.items():
        if name not in theirs or theirs[name] != value:
            if name == "data":
                raise CheckpointError("the checkpoint was made with other data than are given now.")
            raise CheckpointError(
                f"the checkpoint was made with another setting of {name}: {_shown(theirs.get(name))} there, "
                f"{_shown(value)} here."
            )


def _shown(value: Any) -> str:
    text = one_line(value, 61)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_vector(name: str, given: Any, target: Any) -> None:
    if given is None or given.shape != target.shape or given.dtype != np.dtype(target.dtype):
        raise CheckpointError(f"the checkpoint's {name} do not fit the network and the optimizer; it is damaged.")

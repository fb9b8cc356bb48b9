"""gpunet: multi-layer perceptrons by array programming, on a GPU through CuPy or on a CPU through NumPy.

The names below are imported when they are first used, so that `import gpunet` costs next to nothing. They are listed
here alone: `__init__.pyi`, which tells them to type checkers, is written by `scripts/make_stub.py`.
"""

from __future__ import annotations

import importlib
import os.path
from typing import Any

from gpunet.version import __version__ as __version__

# In a checkout the packages gpunet.cli and gpunet.kernels are the folders beside this one; an install that is
# not editable would otherwise be shadowed by a gpunet without them.
if not os.path.isdir(os.path.join(os.path.dirname(__file__), "kernels")):
    __path__.append(os.path.dirname(os.path.dirname(__file__)))

#: Where each public name is found; "name=other" is `other` of that module under another name.
_NAMES = {
    "gpunet.backend": "Backend get_backend",
    "gpunet.data.catalog": "DATASETS",
    "gpunet.data.dataset": "Dataset",
    "gpunet.data.load": "load_dataset",
    "gpunet.data.split": "Split",
    "gpunet.errors": "GpunetError TrainingDiverged UsageError",
    "gpunet.kernels.activations": "ACTIVATIONS Activation activation=from_functions",
    "gpunet.kernels.check": "check_activation check_loss",
    "gpunet.kernels.losses": "LOSSES softmax_cross_entropy",
    "gpunet.kernels.optimizers": "OPTIMIZERS SGD Adagrad Adam AdamW Lion Momentum Nesterov RMSprop",
    "gpunet.network.ensemble": "Ensemble load_model",
    "gpunet.network.evaluation": "Evaluation evaluate",
    "gpunet.network.gradients": "loss_and_gradients",
    "gpunet.network.initializers": "INITIALIZERS",
    "gpunet.network.metrics": "METRICS",
    "gpunet.network.mlp": "MLP",
    "gpunet.pictures.page": "export_page",
    "gpunet.pictures.plots": "plot_history=curves plot_confusion=confusion show=examples",
    "gpunet.runs.checkpoint": "load_checkpoint save_checkpoint",
    "gpunet.runs.folder": "Recorder RunFolder",
    "gpunet.runs.logs": "CsvLog JsonLinesLog TensorBoardLog",
    "gpunet.runs.recipes": "settings_for",
    "gpunet.runs.settings": "Settings",
    "gpunet.sweeps.sweep": "Sweep sweep",
    "gpunet.training.callbacks": "Callback",
    "gpunet.training.rate_finder": "find_learning_rate",
    "gpunet.training.recipe": "Recipe",
    "gpunet.training.folds": "CrossValidation EnsembleTraining cross_validate train_ensemble",
    "gpunet.training.progress": "ProgressBar",
    "gpunet.training.records": "Record ResultRecord StepRecord TrainingResult",
    "gpunet.training.schedules": "SCHEDULES",
    "gpunet.training.together": "steps_together train_together",
    "gpunet.training.trainer": "Trainer train training_steps",
}
#: Modules under the name that they have here, with what only some need: gpunet.schedules.Cosine.
_MODULES = {
    "activations": "gpunet.kernels.activations",
    "errors": "gpunet.errors",
    "export": "gpunet.network.export",
    "history": "gpunet.runs.history",
    "initializers": "gpunet.network.initializers",
    "metrics": "gpunet.network.metrics",
    "losses": "gpunet.kernels.losses",
    "optimizers": "gpunet.kernels.optimizers",
    "plots": "gpunet.pictures.plots",
    "report": "gpunet.pictures.report",
    "schedules": "gpunet.training.schedules",
}
#: Names that stood here once and still work; they are in the modules above.
_EARLIER = {
    "gpunet.errors": "CheckpointError DataError DeviceError MissingExtra OutOfMemory",
    "gpunet.kernels.losses": (
        "BinaryCrossEntropy Hinge Huber Loss MeanAbsoluteError MeanSquaredError Perceptron SoftmaxCrossEntropy "
        "SquaredHinge"
    ),
    "gpunet.kernels.optimizers": "Optimizer",
    "gpunet.network.initializers": (
        "Fill GlorotNormal GlorotUniform HeNormal HeUniform Initializer LeCunNormal LeCunUniform Normal Orthogonal "
        "TruncatedNormal Uniform Zeros"
    ),
    "gpunet.training.schedules": (
        "Constant Cosine Exponential InverseTime Polynomial ReduceOnPlateau Schedule Step"
    ),
}  # fmt: skip


def _homes(table: dict[str, str]) -> dict[str, tuple[str, str]]:
    return {
        name.partition("=")[0]: (module, name.rpartition("=")[2])
        for module, names in table.items()
        for name in names.split()
    }


_PUBLIC = _homes(_NAMES)
_HOMES = {**_homes(_EARLIER), **_PUBLIC}

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, original = _HOMES[name]
        value = getattr(importlib.import_module(module), original)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'gpunet' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""gpunet: multi-layer perceptrons by array programming, on a GPU through CuPy or on a CPU through NumPy.

The names below are imported when they are first used, so that `import gpunet` costs next to nothing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from gpunet.version import __version__ as __version__

# In a checkout the packages gpunet.cli and gpunet.kernels are the folders beside this one; an install that is
# not editable would otherwise be shadowed by a gpunet without them.
if not (Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

#: Where each public name is found; "name=other" is `other` of that module under another name.
_NAMES = {
    "gpunet.backend": "Backend get_backend",
    "gpunet.training.callbacks": "Callback",
    "gpunet.runs.checkpoint": "load_checkpoint save_checkpoint",
    "gpunet.data.catalog": "DATASETS",
    "gpunet.data.dataset": "Dataset Split",
    "gpunet.data.load": "load_dataset",
    "gpunet.errors": (
        "CheckpointError DataError DeviceError GpunetError MissingExtra OutOfMemory TrainingDiverged UsageError"
    ),
    "gpunet.network.initializers": (
        "INITIALIZERS Fill GlorotNormal GlorotUniform HeNormal HeUniform Initializer LeCunNormal LeCunUniform "
        "Normal Orthogonal TruncatedNormal Uniform Zeros"
    ),
    "gpunet.kernels.activations": "ACTIVATIONS Activation activation=from_functions",
    "gpunet.kernels.check": "check_activation",
    "gpunet.kernels.losses": (
        "LOSSES BinaryCrossEntropy Hinge Huber Loss MeanAbsoluteError MeanSquaredError Perceptron "
        "SoftmaxCrossEntropy SquaredHinge softmax_cross_entropy"
    ),
    "gpunet.kernels.optimizers": "OPTIMIZERS SGD Adagrad Adam AdamW Lion Momentum Nesterov Optimizer RMSprop",
    "gpunet.runs.logs": "CsvLog JsonLinesLog TensorBoardLog",
    "gpunet.network.evaluation": "Evaluation evaluate",
    "gpunet.network.mlp": "MLP",
    "gpunet.training.records": "ResultRecord StepRecord TrainingResult",
    "gpunet.runs.folder": "Recorder RunFolder",
    "gpunet.training.schedules": (
        "SCHEDULES Constant Cosine Exponential InverseTime Polynomial ReduceOnPlateau Schedule Step"
    ),
    "gpunet.runs.settings": "Settings",
    "gpunet.sweeps.sweep": "Sweep sweep",
    "gpunet.training.trainer": "Trainer train training_steps",
}
_HOMES = {
    name.partition("=")[0]: (module, name.rpartition("=")[2])
    for module, names in _NAMES.items()
    for name in names.split()
}

#: Modules that had their place in the package itself.
_MODULES = {
    "export": "gpunet.network.export",
    "history": "gpunet.runs.history",
    "plots": "gpunet.pictures.curves",
    "report": "gpunet.pictures.report",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOMES:
        raise AttributeError(f"module 'gpunet' has no attribute {name!r}")
    module, original = _HOMES[name]
    value = globals()[name] = getattr(importlib.import_module(module), original)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

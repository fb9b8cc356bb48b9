"""gpunet: multi-layer perceptrons by array programming, on a GPU through CuPy or on a CPU through NumPy."""

from __future__ import annotations

from pathlib import Path as _Path

# In a checkout the packages gpunet.cli and gpunet.kernels are the folders beside this one; an install that is
# not editable would otherwise be shadowed by a gpunet without them.
if not (_Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(_Path(__file__).parent.parent))

from gpunet.version import __version__

from gpunet.backend import Backend, get_backend
from gpunet.callbacks import Callback
from gpunet.checkpoint import load_checkpoint, save_checkpoint
from gpunet.data import DATASETS, Dataset, Split, load_dataset
from gpunet.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    GpunetError,
    MissingExtra,
    TrainingDiverged,
    UsageError,
)
from gpunet.initializers import (
    INITIALIZERS,
    Fill,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from gpunet.kernels.activations import ACTIVATIONS, Activation
from gpunet.kernels.activations import from_functions as activation
from gpunet.kernels.check import check_activation
from gpunet.kernels.losses import (
    LOSSES,
    BinaryCrossEntropy,
    Hinge,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Perceptron,
    SoftmaxCrossEntropy,
    SquaredHinge,
    softmax_cross_entropy,
)
from gpunet.kernels.optimizers import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
)
from gpunet.logs import CsvLog, JsonLinesLog, TensorBoardLog
from gpunet.metrics import Evaluation, evaluate
from gpunet.model import MLP
from gpunet.records import ResultRecord, StepRecord, TrainingResult
from gpunet.runs import Recorder, RunFolder
from gpunet.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Step,
)
from gpunet.training import Trainer, train, training_steps

__all__ = [name for name in dir() if not name.startswith("_")]

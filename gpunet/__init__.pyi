"""The names of gpunet, for type checkers; `__init__.py` imports them when they are first used."""

from gpunet.backend import Backend as Backend, get_backend as get_backend
from gpunet.training.callbacks import Callback as Callback
from gpunet.runs.checkpoint import load_checkpoint as load_checkpoint, save_checkpoint as save_checkpoint
from gpunet.data.catalog import DATASETS as DATASETS
from gpunet.data.dataset import Dataset as Dataset, Split as Split
from gpunet.data.load import load_dataset as load_dataset
from gpunet.errors import (
    CheckpointError as CheckpointError,
    DataError as DataError,
    DeviceError as DeviceError,
    GpunetError as GpunetError,
    MissingExtra as MissingExtra,
    OutOfMemory as OutOfMemory,
    TrainingDiverged as TrainingDiverged,
    UsageError as UsageError,
)
from gpunet.network.initializers import (
    INITIALIZERS as INITIALIZERS,
    Fill as Fill,
    GlorotNormal as GlorotNormal,
    GlorotUniform as GlorotUniform,
    HeNormal as HeNormal,
    HeUniform as HeUniform,
    Initializer as Initializer,
    LeCunNormal as LeCunNormal,
    LeCunUniform as LeCunUniform,
    Normal as Normal,
    Orthogonal as Orthogonal,
    TruncatedNormal as TruncatedNormal,
    Uniform as Uniform,
    Zeros as Zeros,
)
from gpunet.kernels.activations import (
    ACTIVATIONS as ACTIVATIONS,
    Activation as Activation,
    from_functions as activation,  # noqa: F401
)
from gpunet.kernels.check import check_activation as check_activation
from gpunet.kernels.losses import (
    LOSSES as LOSSES,
    BinaryCrossEntropy as BinaryCrossEntropy,
    Hinge as Hinge,
    Huber as Huber,
    Loss as Loss,
    MeanAbsoluteError as MeanAbsoluteError,
    MeanSquaredError as MeanSquaredError,
    Perceptron as Perceptron,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
    SquaredHinge as SquaredHinge,
    softmax_cross_entropy as softmax_cross_entropy,
)
from gpunet.kernels.optimizers import (
    OPTIMIZERS as OPTIMIZERS,
    SGD as SGD,
    Adagrad as Adagrad,
    Adam as Adam,
    AdamW as AdamW,
    Lion as Lion,
    Momentum as Momentum,
    Nesterov as Nesterov,
    Optimizer as Optimizer,
    RMSprop as RMSprop,
)
from gpunet.runs.logs import CsvLog as CsvLog, JsonLinesLog as JsonLinesLog, TensorBoardLog as TensorBoardLog
from gpunet.network.evaluation import Evaluation as Evaluation, evaluate as evaluate
from gpunet.network.mlp import MLP as MLP
from gpunet.training.records import (
    ResultRecord as ResultRecord,
    StepRecord as StepRecord,
    TrainingResult as TrainingResult,
)
from gpunet.runs.folder import Recorder as Recorder, RunFolder as RunFolder
from gpunet.training.schedules import (
    SCHEDULES as SCHEDULES,
    Constant as Constant,
    Cosine as Cosine,
    Exponential as Exponential,
    InverseTime as InverseTime,
    Polynomial as Polynomial,
    ReduceOnPlateau as ReduceOnPlateau,
    Schedule as Schedule,
    Step as Step,
)
from gpunet.runs.settings import Settings as Settings
from gpunet.sweeps.sweep import Sweep as Sweep, sweep as sweep
from gpunet.training.trainer import Trainer as Trainer, train as train, training_steps as training_steps
from gpunet.version import __version__ as __version__

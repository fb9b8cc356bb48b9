"""The names of gpunet, for type checkers; written by scripts/make_stub.py from `__init__.py`."""

from gpunet.backend import Backend as Backend
from gpunet.backend import get_backend as get_backend
from gpunet.data.catalog import DATASETS as DATASETS
from gpunet.data.dataset import Dataset as Dataset
from gpunet.data.load import load_dataset as load_dataset
from gpunet.data.split import Split as Split
from gpunet.errors import CheckpointError as CheckpointError
from gpunet.errors import DataError as DataError
from gpunet.errors import DeviceError as DeviceError
from gpunet.errors import GpunetError as GpunetError
from gpunet.errors import MissingExtra as MissingExtra
from gpunet.errors import OutOfMemory as OutOfMemory
from gpunet.errors import TrainingDiverged as TrainingDiverged
from gpunet.errors import UsageError as UsageError
from gpunet.kernels.activations import ACTIVATIONS as ACTIVATIONS
from gpunet.kernels.activations import Activation as Activation
from gpunet.kernels.activations import from_functions as activation
from gpunet.kernels.check import check_activation as check_activation
from gpunet.kernels.check import check_loss as check_loss
from gpunet.kernels.losses import BinaryCrossEntropy as BinaryCrossEntropy
from gpunet.kernels.losses import Hinge as Hinge
from gpunet.kernels.losses import Huber as Huber
from gpunet.kernels.losses import LOSSES as LOSSES
from gpunet.kernels.losses import Loss as Loss
from gpunet.kernels.losses import MeanAbsoluteError as MeanAbsoluteError
from gpunet.kernels.losses import MeanSquaredError as MeanSquaredError
from gpunet.kernels.losses import Perceptron as Perceptron
from gpunet.kernels.losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
from gpunet.kernels.losses import SquaredHinge as SquaredHinge
from gpunet.kernels.losses import softmax_cross_entropy as softmax_cross_entropy
from gpunet.kernels.optimizers import Adagrad as Adagrad
from gpunet.kernels.optimizers import Adam as Adam
from gpunet.kernels.optimizers import AdamW as AdamW
from gpunet.kernels.optimizers import Lion as Lion
from gpunet.kernels.optimizers import Momentum as Momentum
from gpunet.kernels.optimizers import Nesterov as Nesterov
from gpunet.kernels.optimizers import OPTIMIZERS as OPTIMIZERS
from gpunet.kernels.optimizers import Optimizer as Optimizer
from gpunet.kernels.optimizers import RMSprop as RMSprop
from gpunet.kernels.optimizers import SGD as SGD
from gpunet.network.ensemble import Ensemble as Ensemble
from gpunet.network.ensemble import load_model as load_model
from gpunet.network.evaluation import Evaluation as Evaluation
from gpunet.network.evaluation import evaluate as evaluate
from gpunet.network.gradients import loss_and_gradients as loss_and_gradients
from gpunet.network.initializers import Fill as Fill
from gpunet.network.initializers import GlorotNormal as GlorotNormal
from gpunet.network.initializers import GlorotUniform as GlorotUniform
from gpunet.network.initializers import HeNormal as HeNormal
from gpunet.network.initializers import HeUniform as HeUniform
from gpunet.network.initializers import INITIALIZERS as INITIALIZERS
from gpunet.network.initializers import Initializer as Initializer
from gpunet.network.initializers import LeCunNormal as LeCunNormal
from gpunet.network.initializers import LeCunUniform as LeCunUniform
from gpunet.network.initializers import Normal as Normal
from gpunet.network.initializers import Orthogonal as Orthogonal
from gpunet.network.initializers import TruncatedNormal as TruncatedNormal
from gpunet.network.initializers import Uniform as Uniform
from gpunet.network.initializers import Zeros as Zeros
from gpunet.network.metrics import METRICS as METRICS
from gpunet.network.mlp import MLP as MLP
from gpunet.pictures.page import export_page as export_page
from gpunet.pictures.plots import confusion as plot_confusion
from gpunet.pictures.plots import curves as plot_history
from gpunet.pictures.plots import examples as show
from gpunet.runs.checkpoint import load_checkpoint as load_checkpoint
from gpunet.runs.checkpoint import save_checkpoint as save_checkpoint
from gpunet.runs.folder import Recorder as Recorder
from gpunet.runs.folder import RunFolder as RunFolder
from gpunet.runs.logs import CsvLog as CsvLog
from gpunet.runs.logs import JsonLinesLog as JsonLinesLog
from gpunet.runs.logs import TensorBoardLog as TensorBoardLog
from gpunet.runs.recipes import settings_for as settings_for
from gpunet.runs.settings import Settings as Settings
from gpunet.sweeps.sweep import Sweep as Sweep
from gpunet.sweeps.sweep import sweep as sweep
from gpunet.training.callbacks import Callback as Callback
from gpunet.training.folds import CrossValidation as CrossValidation
from gpunet.training.folds import EnsembleTraining as EnsembleTraining
from gpunet.training.folds import cross_validate as cross_validate
from gpunet.training.folds import train_ensemble as train_ensemble
from gpunet.training.progress import ProgressBar as ProgressBar
from gpunet.training.rate_finder import find_learning_rate as find_learning_rate
from gpunet.training.recipe import Recipe as Recipe
from gpunet.training.records import Record as Record
from gpunet.training.records import ResultRecord as ResultRecord
from gpunet.training.records import StepRecord as StepRecord
from gpunet.training.records import TrainingResult as TrainingResult
from gpunet.training.schedules import Constant as Constant
from gpunet.training.schedules import Cosine as Cosine
from gpunet.training.schedules import Exponential as Exponential
from gpunet.training.schedules import InverseTime as InverseTime
from gpunet.training.schedules import Polynomial as Polynomial
from gpunet.training.schedules import ReduceOnPlateau as ReduceOnPlateau
from gpunet.training.schedules import SCHEDULES as SCHEDULES
from gpunet.training.schedules import Schedule as Schedule
from gpunet.training.schedules import Step as Step
from gpunet.training.together import steps_together as steps_together
from gpunet.training.together import train_together as train_together
from gpunet.training.trainer import Trainer as Trainer
from gpunet.training.trainer import train as train
from gpunet.training.trainer import training_steps as training_steps
from gpunet.kernels import activations as activations
from gpunet import errors as errors
from gpunet.network import export as export
from gpunet.runs import history as history
from gpunet.network import initializers as initializers
from gpunet.network import metrics as metrics
from gpunet.kernels import losses as losses
from gpunet.kernels import optimizers as optimizers
from gpunet.pictures import plots as plots
from gpunet.pictures import report as report
from gpunet.training import schedules as schedules
from gpunet.version import __version__ as __version__

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Backend",
    "Callback",
    "CrossValidation",
    "CsvLog",
    "DATASETS",
    "Dataset",
    "Ensemble",
    "EnsembleTraining",
    "Evaluation",
    "GpunetError",
    "INITIALIZERS",
    "JsonLinesLog",
    "LOSSES",
    "Lion",
    "METRICS",
    "MLP",
    "Momentum",
    "Nesterov",
    "OPTIMIZERS",
    "ProgressBar",
    "RMSprop",
    "Recipe",
    "Record",
    "Recorder",
    "ResultRecord",
    "RunFolder",
    "SCHEDULES",
    "SGD",
    "Settings",
    "Split",
    "StepRecord",
    "Sweep",
    "TensorBoardLog",
    "Trainer",
    "TrainingDiverged",
    "TrainingResult",
    "UsageError",
    "__version__",
    "activation",
    "activations",
    "check_activation",
    "check_loss",
    "cross_validate",
    "errors",
    "evaluate",
    "export",
    "export_page",
    "find_learning_rate",
    "get_backend",
    "history",
    "initializers",
    "load_checkpoint",
    "load_dataset",
    "load_model",
    "loss_and_gradients",
    "losses",
    "metrics",
    "optimizers",
    "plot_confusion",
    "plot_history",
    "plots",
    "report",
    "save_checkpoint",
    "schedules",
    "settings_for",
    "show",
    "softmax_cross_entropy",
    "steps_together",
    "sweep",
    "train",
    "train_ensemble",
    "train_together",
    "training_steps",
]

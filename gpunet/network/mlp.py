"""The multi-layer perceptron: sizes, flat parameters, and the forward pass.

All weights, then all biases, lie in one flat buffer; layers hold views of it, and so do the gradients. An
optimizer therefore updates one vector, and weight decay knows the weights by their place.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import Backend, get_backend
from gpunet.checks import number
from gpunet.checks import seed as check_seed
from gpunet.data.preparation import Preparation
from gpunet.errors import CheckpointError, GpunetError, UsageError
from gpunet.kernels.activations import ACTIVATIONS, Activation
from gpunet.kernels.build import Ready
from gpunet.kernels.encoding import Encoding, encode
from gpunet.kernels.losses import LOSSES, Loss
from gpunet.kernels.random import Stream, generator, purpose
from gpunet.kernels.threads import Threads
from gpunet.keywords import checked
from gpunet.network import container, model_file
from gpunet.network.initializers import INITIALIZERS, Initializer, TruncatedNormal
from gpunet.network.layers import Dense
from gpunet.network.predictor import Predictor
from gpunet.network.torch_bridge import read_module, read_weights, to_module
from gpunet.notebook import Table
from gpunet.wording import shown

#: Examples per forward pass of `predict` and `evaluate`, on CUDA at least; bounds the memory that inference takes.
CHUNK = 500
#: Each matrix starts at a multiple of this many elements, so that vector loads are aligned.
ALIGNMENT = 16


@checked
class MLP(Predictor):
    """A multi-layer perceptron with any number of hidden layers.

    Args:
        sizes: the widths from input to output, at least two: [784, 50, 30, 10]. [784, 10] is softmax
            regression; a single output is a binary classifier.
        activation: the activation of the hidden layers: a name, an `Activation`, or one for each.
        initializer: the initial weights: a name, an `Initializer`, or one for each layer; truncated normal
            with deviation 0.1 by default.
        bias: the initial value of the biases.
        dropout: the rate of dropout behind each hidden layer, or one for each.
        seed: of the initial weights and the dropout masks; a number of at most 64 bits.
        dtype: "float32" or "float64".
        backend: a `Backend`, or the name of a device; the CPU by default.
        loss: the loss it is trained with, which also says what turns logits into probabilities.
        preparation: how data becomes network input; training sets that of its data.

    Attributes:
        parameters: views W1, b1, W2, b2 …; W is (fan in, fan out), b is (fan out,).
        preparation: how data becomes network input, fitted on the data that it was trained on.
        input_scale, class_names, image_shape: the preparation's.

    Raises:
        UsageError: sizes, names or rates that cannot be used.
    """

    _encoding: Encoding | None

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Activation | Sequence[str | Activation] = "relu",
        *,
        initializer: str | Initializer | Sequence[str | Initializer] | None = None,
        bias: float = 0.1,
        dropout: float | Sequence[float] = 0.0,
        seed: int = 0,
        dtype: Any = "float32",
        backend: Backend | str | None = None,
        loss: str | Loss = "softmax-cross-entropy",
        preparation: Preparation | None = None,
    ) -> None:
        if isinstance(sizes, (str, bytes)) or not hasattr(sizes, "__iter__"):
            raise UsageError(f"sizes must be a list of widths such as [784, 50, 10], not {sizes!r}.")
        self.sizes = [_width(size) for size in sizes]
        if len(self.sizes) < 2:
            raise UsageError("an MLP needs at least two sizes, its inputs and its outputs.")
        hidden = len(self.sizes) - 2
        self.activations = [ACTIVATIONS.make(a) for a in _one_each(activation, hidden, "activation")]
        self.dropout = [_rate(rate) for rate in _one_each(dropout, hidden, "dropout rate")]
        self.seed = check_seed(seed)
        self.dtype = _dtype(dtype)
        self.backend = get_backend("cpu" if backend is None else backend)
        self.loss = LOSSES.make(loss)
        self.preparation = Preparation(input_scale=1 / 255) if preparation is None else preparation
        self._places = _layout(self.sizes)
        #: How many elements at the front of the flat buffer are weights (and padding); the rest are biases.
        self.weight_count = self._places[hidden][2]
        self.flat = self.backend.zeros(self._places[-1][2], self.dtype)
        self.flat_gradients = self.backend.zeros(self._places[-1][2], self.dtype)
        self.layers = self._make_layers()
        if initializer is None:
            initializer = TruncatedNormal()
        makers = [INITIALIZERS.make(one) for one in _one_each(initializer, hidden + 1, "initializer")]
        self._initialize(makers, number("the model", "bias", bias, -np.inf))

    def __getstate__(self) -> dict[str, Any]:
        # The layers' arrays are views of the flat buffers, and a copy's have to be so too: they are made anew.
        state = {key: value for key, value in self.__dict__.items() if key not in ("layers", "_encoding")}
        return {**state, **{name: self.backend.to_host(state[name]) for name in ("flat", "flat_gradients")}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._encoding = None
        for name in ("flat", "flat_gradients"):
            vector = self.backend.zeros(state[name].shape, self.dtype)
            with self.backend.use():
                vector[...] = self.backend.to_device(state[name])
            setattr(self, name, vector)
        self.layers = self._make_layers()

    def _make_layers(self) -> list[Dense]:
        parameters, gradients = self._views(self.flat), self._views(self.flat_gradients)
        layers = []
        for index in range(len(self.sizes) - 1):
            last = index == len(self.sizes) - 2
            layers.append(
                Dense(
                    weights=parameters[2 * index],
                    bias=parameters[2 * index + 1],
                    grad_weights=gradients[2 * index],
                    grad_bias=gradients[2 * index + 1],
                    activation=ACTIVATIONS["identity"] if last else self.activations[index],
                    rate=0.0 if last else self.dropout[index],
                    stream=Stream(self.seed, purpose("dropout", index)),
                    last=last,
                )
            )
        return layers

    def _initialize(self, makers: list[Initializer], bias: float) -> None:
        for index, (layer, maker) in enumerate(zip(self.layers, makers, strict=True)):
            drawn = maker.draw(generator(self.seed, "weights", index), *layer.weights.shape)
            self.set_parameter(2 * index, drawn)
            self.set_parameter(2 * index + 1, np.full(layer.bias.shape, bias))

    def _views(self, flat: Any) -> list[Any]:
        """W1, b1, W2, b2 … as views of a flat buffer."""
        return [flat[start:stop].reshape(shape) for start, stop, _, shape in self._places_in_order()]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Where each array lies in the flat buffers with its padding, start and stop: all weights, then all biases."""
        return [(start, stop) for start, _, stop, _ in self._places]

    def _places_in_order(self) -> list[tuple[int, int, int, tuple[int, ...]]]:
        weights, biases = self._places[: len(self.sizes) - 1], self._places[len(self.sizes) - 1 :]
        return [place for pair in zip(weights, biases, strict=True) for place in pair]

    def __repr__(self) -> str:
        return f"<MLP {self.description} on {self.backend.device}>"

    def summary(self) -> Table:
        """The layers as a table: print it, or let a notebook show it."""
        rows: list[list[Any]] = []
        for index, layer in enumerate(self.layers, 1):
            shape = f"{layer.weights.shape[0]:,} x {layer.weights.shape[1]:,}"
            activation = layer.activation.name if index < len(self.layers) else self.loss.output
            rows.append([str(index), shape, activation, layer.dropout or None, layer.weights.size + layer.bias.size])
        rows.append(["total", "", "", None, self.parameter_count])
        title = f"MLP {self.description}, {self.dtype.name} on {self.backend.device}, loss {self.loss.name}"
        return Table(title, ["layer", "weights", "activation", "dropout", "parameters"], rows)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    @property
    def description(self) -> str:
        """The network in a few words: widths and activations."""
        names = [activation.name for activation in self.activations]
        told = names[0] if len(set(names)) == 1 else ", ".join(names)
        return "-".join(map(str, self.sizes)) + (f" {told}" if names else "")

    @property
    def parameters(self) -> list[Any]:
        """Views of the weights and biases: W1, b1, W2, b2 …"""
        return [array for layer in self.layers for array in (layer.weights, layer.bias)]

    @property
    def gradients(self) -> list[Any]:
        """Views of the gradients, in the order of `parameters`."""
        return [array for layer in self.layers for array in (layer.grad_weights, layer.grad_bias)]

    @property
    def parameter_names(self) -> list[str]:
        """W1, b1, W2, b2 …"""
        return [f"{kind}{index}" for index in range(1, len(self.sizes)) for kind in "Wb"]

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return sum(int(array.size) for array in self.parameters)

    def set_parameter(self, index: int | str, values: Any) -> None:
        """Overwrite a parameter, by its place among W1, b1 … or by its name, with values of its shape, from the host or
        the device.

        Raises:
            UsageError: there is no such parameter, or its shape is another.
        """
        names = self.parameter_names
        name = names[index] if isinstance(index, int) and -len(names) <= index < len(names) else index
        if name not in names:
            raise UsageError(f"there is no parameter {shown(index)}; the model has {', '.join(names)}.")
        target = self.parameters[names.index(name)]
        if tuple(np.shape(values)) != target.shape:
            raise UsageError(f"parameter {name} is of shape {target.shape}, not {tuple(np.shape(values))}.")
        with self.backend.use():
            target[...] = self.backend.to_device(values, self.dtype)

    @property
    def preparation(self) -> Preparation:
        """How data becomes network input, and outputs answers."""
        return self._preparation

    @preparation.setter
    def preparation(self, preparation: Preparation) -> None:
        self._preparation, self._encoding = preparation, None

    @property
    def input_scale(self) -> float:
        """What inputs of an integer dtype are multiplied with on the way in."""
        return super().input_scale

    @input_scale.setter
    def input_scale(self, scale: float) -> None:
        self.preparation = self.preparation.with_changes(input_scale=float(scale))

    @property
    def class_names(self) -> list[str] | Any:
        """The classes (or labels) of the data that it was trained on, or None."""
        return super().class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        names = None if names is None else tuple(map(str, names))
        self.preparation = self.preparation.with_changes(class_names=names)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """The shape of the images that it was trained on, or None."""
        return super().image_shape

    @image_shape.setter
    def image_shape(self, shape: tuple[int, ...] | None) -> None:
        self.preparation = self.preparation.with_changes(image_shape=shape)

    @property
    def encoding(self) -> Encoding | None:
        """How rows become network input, with its arrays on the device; None where they are only scaled."""
        if self._encoding is None and (plan := self.preparation.encoding()) is not None:
            with self.backend.use():
                self._encoding = plan.on(self.backend.to_device, self.dtype)
        return self._encoding

    def as_inputs(self, x: Any, room: Any = None) -> Any:
        """What the first layer reads of examples: a C-contiguous (n, features) array of the model's dtype.

        Integers are multiplied with `input_scale`, the columns of a table are encoded (see `Preparation`), other
        floating-point numbers are taken as they are.

        Args:
            x: the examples, (n, columns) or (n, rows, columns), as of `Split.inputs`.
            room: an array (at least n, features) of the model's dtype to put them into; a new one by default.

        Raises:
            UsageError: the number of columns is not the model's.
        """
        with self.backend.use():
            rows = self.backend.to_device(x)
            rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
            encoding = self.encoding
            columns = self.sizes[0] if encoding is None else encoding.columns
            if rows.shape[1] != columns:
                raise UsageError(f"the model takes {columns} features per example, and the data has {rows.shape[1]}.")
            ready = self.backend.empty((len(rows), self.sizes[0]), self.dtype) if room is None else room[: len(rows)]
            if encoding is not None:
                encode(self.backend.xp.ascontiguousarray(rows, self.dtype), encoding, ready)
                return ready
            ready[...] = rows
            if rows.dtype.kind in "iub" and self.input_scale != 1.0:
                ready *= self.dtype.type(self.input_scale)
            return ready

    #: The earlier name of `as_inputs`.
    prepare = as_inputs

    def forward(self, x: Any) -> Any:
        """The logits (n, outputs) of images (n, features), on the model's device.

        Raises:
            UsageError: the number of features is not the model's.
        """
        x = self.preparation.rows(x)
        if x.ndim == 1:
            x = x[None, :]
        with self.backend.use(), Threads(self.backend).held():
            out = self.backend.empty((len(x), self.outputs), self.dtype)
            chunk = self.backend.rows_at_once(CHUNK, max(self.sizes))
            room = self.backend.empty((min(len(x), chunk), self.sizes[0]), self.dtype)
            passes: list[Ready] = []
            for start in range(0, len(x), chunk):
                part = out[start : start + chunk]
                h = self.as_inputs(x[start : start + chunk], room)
                if start == 0 or len(part) < chunk:
                    passes, logits = self._passes(h)
                for layer_pass in passes:
                    layer_pass()
                self.backend.xp.add(logits, self.layers[-1].bias, out=part)
            return out

    def _passes(self, x: Any) -> tuple[list[Ready], Any]:
        """The forward pass of each layer in turn for inputs (n, features), made ready, and where x W of the last is."""
        passes = []
        for layer in self.layers:
            workspace = layer.workspace(self.backend, len(x), training=False)
            passes.append(layer.forward(x, workspace))
            x = workspace.kept
        return passes, x

    def save(self, path: str | os.PathLike[str], parameters: np.ndarray | None = None) -> None:
        """Write the model to a safetensors file: parameters, architecture and preprocessing.

        Args:
            path: the file, by custom with the suffix .safetensors.
            parameters: another flat vector of parameters (of the layout of `flat`) to write in place of the model's.

        Raises:
            CheckpointError: the file cannot be written, or its folder does not exist.
        """
        host = self.backend.to_host(self.flat) if parameters is None else parameters
        arrays = dict(zip(self.parameter_names, self._views(host), strict=True))
        container.write(path, container.MODEL, arrays, model_file.describe(self))

    @classmethod
    @checked
    def load(
        cls,
        path: str | os.PathLike[str],
        backend: Backend | str | None = None,
        activations: Mapping[str, Activation] | None = None,
    ) -> MLP:
        """The model of a file that `save` wrote, or of a run folder.

        Args:
            path: the file or the folder.
            backend: a `Backend`, or the name of a device; the CPU by default.
            activations: activations of one's own that the model uses, by their names.

        Raises:
            CheckpointError: the file is missing, damaged or not a model, or uses an activation that is not known.
        """
        path = Path(path)
        if path.is_dir():
            folder, path = path, path / "model.safetensors"
            if not path.exists():
                raise CheckpointError(f"{folder}: there is no model in this folder; a run that has ended leaves one.")
        if not path.exists():
            advice = f"one is kept with: gpunet train --out {path}"
            raise CheckpointError(f"{path}: there is no such run or model; {advice}")
        arrays, facts = container.read(path, container.MODEL)
        device = get_backend("cpu" if backend is None else backend)
        return cls.from_description(path, facts, arrays, device, activations)

    @classmethod
    @checked
    def from_torch(cls, module: Any, **options: Any) -> MLP:
        """The network of a `torch.nn.Sequential` of Linear, activation and Dropout modules, with copies of its weights.

        Args:
            module: the module; its inputs are (n, features), its outputs logits.
            options: further arguments of `MLP`, such as backend and loss.

        Raises:
            UsageError: there is something else in the module, or in another order.
        """
        arguments, arrays = read_module(module)
        return cls._of(arrays, {**arguments, **options})

    def to_torch(self) -> Any:
        """The network as a `torch.nn.Sequential` with copies of the weights, in evaluation mode.

        Its inputs are what the first layer reads, of pixels those times `input_scale`; its outputs are logits.

        Raises:
            MissingExtra: torch is not installed.
            UsageError: torch has no such activation.
        """
        with self.backend.use():
            return to_module(self)

    @classmethod
    @checked
    def from_weights(
        cls,
        weights: Mapping[str, Any],
        activation: str | Activation | Sequence[str | Activation] = "relu",
        **options: Any,
    ) -> MLP:
        """A network of given weights, whose shapes say its sizes.

        Args:
            weights: arrays by the names W1, b1, W2, b2 …, W (inputs, outputs); or as a `state_dict` of torch has them,
                0.weight, 0.bias, 2.weight …, weight (outputs, inputs). A bias that is missing is zero.
            activation: the activation of the hidden layers, or one for each.
            options: further arguments of `MLP`.

        Raises:
            UsageError: a name is neither, or the shapes do not follow each other.
        """
        return cls._of(read_weights(weights), {"activation": activation, **options})

    @classmethod
    def _of(cls, arrays: Sequence[np.ndarray], options: dict[str, Any]) -> MLP:
        """A network with the parameters W1, b1, W2, b2 …; of float64 if one of them is."""
        sizes = [arrays[0].shape[0], *(matrix.shape[1] for matrix in arrays[::2])]
        model = cls(sizes, **{"initializer": "zeros", "dtype": np.result_type(*arrays).name, **options})
        for index, array in enumerate(arrays):
            model.set_parameter(index, array)
        return model

    @classmethod
    def from_description(
        cls,
        path: Path,
        facts: dict[str, Any],
        arrays: dict[str, np.ndarray] | None,
        backend: Backend,
        activations: Mapping[str, Activation] | None = None,
    ) -> MLP:
        """The model that a file describes (see `model_file.parse`); its parameters are those of `arrays`, if given."""
        description = model_file.parse(path, facts, arrays, activations)
        try:
            model = cls(**description.arguments, backend=backend)
        except (GpunetError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise CheckpointError(f"{path}: the model cannot be built as it is described: {error}") from None
        if arrays is not None:
            for index, name in enumerate(model.parameter_names):
                model.set_parameter(index, arrays[name])
        return model


def _layout(sizes: list[int]) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """(start, stop, aligned stop, shape) of all weights, then all biases, in the flat buffer."""
    pairs = list(pairwise(sizes))
    places, start = [], 0
    for shape in [*pairs, *((fan_out,) for _, fan_out in pairs)]:
        stop = start + int(np.prod(shape))
        aligned = -(-stop // ALIGNMENT) * ALIGNMENT
        places.append((start, stop, aligned, shape))
        start = aligned
    return places


def _width(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise UsageError(f"layer sizes must be whole numbers of at least 1, not {size!r}.")
    return int(size)


def _dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise UsageError(f"dtype must be float32 or float64, not {dtype!r}.") from None
    if found.name not in ("float32", "float64"):
        raise UsageError(f"dtype must be float32 or float64, not {found}.")
    return found


def _rate(rate: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not 0 <= rate < 1:
        raise UsageError(f"a dropout rate must be at least 0 and below 1, not {rate!r}.")
    return float(rate)


def _one_each(value: Any, count: int, what: str) -> list[Any]:
    """A single value `count` times, or a sequence that has `count` of them."""
    try:
        values = [value] * count if isinstance(value, (str, Activation, Initializer, type)) else list(value)
    except TypeError:  # which says what it is where it is used
        return [value] * count
    if len(values) != count:
        raise UsageError(f"there are {len(values)} {what}s for {count} layers; give one, or one for each.")
    return values

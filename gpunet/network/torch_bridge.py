"""Networks to and from PyTorch, and weights from a plain dict.

Only `to_module` imports torch, which is the extra `torch`: a module is read by the names of its classes. Arrays need no
bridge: `torch.from_dlpack(model.parameters[0])` shares the memory of the parameter, on the CPU and on CUDA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.errors import MissingExtra, UsageError
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.wording import one_line


def to_module(model: Any) -> Any:
    """An `MLP` as a `torch.nn.Sequential` on its device, in evaluation mode: inputs (n, features) to logits.

    The module has copies of the parameters; it is on the CPU where torch itself knows no CUDA.
    Inputs are what the first layer reads: pixels times `input_scale`.

    Raises:
        MissingExtra: torch is not installed.
        UsageError: torch has no such activation.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch", "a network for PyTorch") from None
    modules: list[Any] = []
    shared = model.backend.name == "cpu" or torch.cuda.is_available()
    for index, layer in enumerate(model.layers):
        pair = (layer.weights, layer.bias)
        weights, bias = (torch.from_dlpack(array if shared else model.backend.to_host(array)) for array in pair)
        linear = torch.nn.Linear(*weights.shape, device=weights.device, dtype=weights.dtype)
        with torch.no_grad():
            linear.weight.copy_(weights.T)
            linear.bias.copy_(bias)
        modules.append(linear)
        if index == len(model.layers) - 1:
            break
        if layer.activation.torch is None:
            raise UsageError(f"torch has no activation {layer.activation.name}; write a module of your own for it.")
        name, arguments = layer.activation.torch
        modules.append(getattr(torch.nn, name)(**arguments))
        if layer.dropout:
            modules.append(torch.nn.Dropout(layer.dropout))
    return torch.nn.Sequential(*modules).eval()


def read_module(module: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The network in a `torch.nn.Sequential` of Linear, activation and Dropout modules.

    Returns:
        Arguments of `MLP`: activation, dropout. And its parameters W1, b1, W2, b2 …, on the host.

    Raises:
        UsageError: there is something else in it, or in another order.
    """
    arrays: list[np.ndarray] = []
    activations: list[str | None] = []
    dropout: list[float] = []
    for each in _flat(module):
        kind = type(each).__name__
        if kind == "Flatten" and not arrays:
            continue
        if kind == "Linear":
            weights = _array(each.weight).T
            arrays += [weights, np.zeros(weights.shape[1], weights.dtype) if each.bias is None else _array(each.bias)]
            activations.append(None)
            dropout.append(0.0)
        elif not arrays:
            raise UsageError(
                f"the module begins with {one_line(each, 90)}; an MLP begins with a Linear layer, in a Sequential. Of "
                "another module take the weights alone: MLP.from_weights(module.state_dict(), activation=...)."
            )
        elif kind == "Dropout" and not dropout[-1]:
            activations[-1] = activations[-1] or "identity"
            dropout[-1] = float(each.p)
        elif activations[-1] is None:
            activations[-1] = _activation(each)
        elif kind != "Identity":
            raise UsageError(
                f"the module has {one_line(each, 90)} behind a layer that has its {activations[-1]} already."
            )
    if not arrays:
        raise UsageError("the module has no Linear layer.")
    if activations[-1] not in (None, "identity") or dropout[-1]:
        raise UsageError(
            f"the module ends with {activations[-1]}; an MLP ends with a Linear layer, and its loss makes "
            "probabilities of the logits. Take it off, as in module[:-1]."
        )
    names = [name or "identity" for name in activations[:-1]]
    return {"activation": names, "dropout": dropout[:-1]}, arrays


def read_weights(weights: Mapping[str, Any]) -> list[np.ndarray]:
    """The parameters W1, b1, W2, b2 … in a dict, on the host.

    Args:
        weights: arrays by the names W1, b1, W2, b2 …, W (inputs, outputs); or, as a module of torch names them,
            0.weight, 0.bias, 2.weight, 2.bias …, weight (outputs, inputs). A bias that is missing is zero.

    Raises:
        UsageError: a name is neither, or the shapes do not follow each other.
    """
    layers: dict[tuple[Any, ...], dict[str, np.ndarray]] = {}
    for name, value in weights.items():
        ours, theirs = re.fullmatch(r"([Wb])(\d+)", name), re.fullmatch(r"(.*?)\.?(weight|bias)", name)
        place: tuple[Any, ...]
        if ours is not None:
            place, what, array = (int(ours[2]),), ours[1], _array(value)
        elif theirs is not None:
            # The digits in a name say the order: layers.10 is behind layers.9.
            place = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in theirs[1].split("."))
            what, array = theirs[2][0].replace("w", "W"), _array(value).T
        else:
            raise UsageError(f"there is no parameter {name}; the names are W1, b1 … or 0.weight, 0.bias ….")
        layers.setdefault(place, {})[what] = array
    arrays: list[np.ndarray] = []
    for place in sorted(layers):
        if "W" not in layers[place] or layers[place]["W"].ndim != 2:
            raise UsageError(f"the weights of layer {len(arrays) // 2 + 1} are missing, or are no matrix.")
        matrix = layers[place]["W"]
        if arrays and arrays[-2].shape[1] != matrix.shape[0]:
            raise UsageError(
                f"layer {len(arrays) // 2 + 1} takes {matrix.shape[0]} inputs, and the layer before it has "
                f"{arrays[-2].shape[1]} outputs."
            )
        arrays += [matrix, layers[place].get("b", np.zeros(matrix.shape[1], matrix.dtype))]
    if not arrays:
        raise UsageError("there are no weights in the dict.")
    return arrays


def _flat(module: Any) -> Iterator[Any]:
    """The modules in a Sequential and those in it, in turn."""
    if type(module).__name__ != "Sequential":
        yield module
        return
    for each in module:  # `children` leaves out a module that is there a second time, as a shared activation is
        yield from _flat(each)


def _activation(module: Any) -> str:
    """The name of the activation that a module is."""
    forms = {name: entry.torch for name, entry in ACTIVATIONS.items() if entry.torch is not None}
    found = [(name, arguments) for name, (kind, arguments) in forms.items() if kind == type(module).__name__]
    for name, arguments in found:
        # A threshold further out is only closer to the function.
        given = {key: getattr(module, key) for key in arguments}
        if all(given[key] == value or (key == "threshold" and given[key] >= 20) for key, value in arguments.items()):
            return name
    known = ", ".join(sorted({kind for kind, _ in forms.values()}))
    reason = f"only {found[0][1]} has a form here" if found else f"there are Linear, Dropout and {known}"
    raise UsageError(f"the module has {one_line(module, 90)}, which is no layer of an MLP; {reason}.")


def _array(value: Any) -> np.ndarray:
    """An array of float32 or float64 on the host."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.numpy() if str(value.dtype) in ("torch.float32", "torch.float64") else value.float().numpy()
    value = value.get() if hasattr(value, "get") else np.asarray(value)
    return value if value.dtype in (np.float32, np.float64) else value.astype(np.float32)

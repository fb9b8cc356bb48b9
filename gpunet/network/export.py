"""A trained model in formats of others: ONNX for any runtime, .npz for NumPy alone.

ONNX needs the extra `onnx`. The graph is of operator set 17, which every current runtime knows; what has no operator of
its own there, as Gelu and Mish, is put together of those that have. Dropout is not part of it: it only trains.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.data.fitting import Targets
from gpunet.errors import MissingExtra, UsageError
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.encoding import EQUAL, MISSING, SMOOTH, Encoding
from gpunet.network.ensemble import Ensemble
from gpunet.version import __version__

#: Version of the ONNX operators, and of the file format that goes with it.
OPSET, IR_VERSION = 17, 8


class Graph:
    """An ONNX graph while it is written: every call adds an operator and gives the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator; `inputs` and the answer are names of tensors."""
        from onnx import helper

        result = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [result], **attributes))
        return result

    def constant(self, value: Any, name: str | None = None) -> str:
        """Add a float32 array or number; gives its name."""
        from onnx import numpy_helper

        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name


def to_onnx(model: Any, *, pixels: bool = False) -> Any:
    """The model, an `MLP` or an `Ensemble`, as an `onnx.ModelProto`.

    Its input is `images` (n, features): float32 as the network takes them (pixels from 0 to 1), or with `pixels` uint8
    from 0 to 255, which the graph scales itself. Of a network trained on a table they are its columns as
    `Preparation.apply` gives them, with NaN for what is missing; their encoding is part of the graph. Its outputs are
    `logits` (n, outputs) float32, `probabilities` (n, classes) float32 if the model's loss gives any, and by its task
    `class` (n,) int64, `labels` (n, labels) int64, or `values` (n, targets) float32 in the units of the targets. The
    number n is free. A float64 model is written in float32. Class names, image shape, scale and the whole preparation
    are in the metadata, as JSON.

    Raises:
        MissingExtra: onnx is not installed.
        UsageError: an activation has no ONNX form, or `pixels` are asked of a network of a table.
    """
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        raise MissingExtra("onnx", "onnx", "writing an ONNX file") from None
    graph = Graph()
    encoding = model.preparation.encoding()
    if isinstance(model, Ensemble):
        _joined(graph, model, [_logits(graph, member, pixels, f"{i}.") for i, member in enumerate(model.models, 1)])
    else:
        _logits(graph, model, pixels, name="logits")
    outputs = [helper.make_tensor_value_info(name, kind, ["n", *shape]) for name, kind, shape in _answers(graph, model)]
    kind = TensorProto.UINT8 if pixels else TensorProto.FLOAT
    body = helper.make_graph(
        graph.nodes,
        "gpunet",
        [helper.make_tensor_value_info("images", kind, ["n", encoding.columns if encoding else model.sizes[0]])],
        outputs,
        graph.constants,
        doc_string=model.description,
    )
    proto = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gpunet",
        producer_version=__version__,
    )
    helper.set_model_props(proto, {name: json.dumps(value) for name, value in facts(model).items()})
    checker.check_model(proto)
    return proto


def _logits(graph: Graph, model: Any, pixels: bool, before: str = "", name: str | None = None) -> str:
    """The logits of a network; `before` stands before the names of its arrays."""
    from onnx import TensorProto

    for activation in model.activations:
        if activation.onnx is None:
            able = ", ".join(name for name, entry in ACTIVATIONS.items() if entry.onnx is not None)
            raise UsageError(f"the activation {activation.name!r} has no ONNX form; those that have one are {able}.")
    x = "images"
    encoding = model.preparation.encoding()
    if encoding is not None and pixels:
        raise UsageError("the network was trained on the columns of a table, which are no pixels; leave pixels out.")
    if encoding is not None:
        x = _encoded(graph, encoding, x, before)
    if pixels:
        x = graph("Mul", graph("Cast", x, to=TensorProto.FLOAT), graph.constant(model.input_scale, f"{before}scale"))
    parameters = [np.asarray(model.backend.to_host(array)) for array in model.parameters]
    last = len(model.sizes) - 2
    for index in range(last + 1):
        weights = graph.constant(parameters[2 * index], f"{before}W{index + 1}")
        bias = graph.constant(parameters[2 * index + 1], f"{before}b{index + 1}")
        x = graph("Gemm", x, weights, bias, name=name if index == last else None)
        if index < last:
            x = model.activations[index].onnx(graph, x)
    return x


def _answers(graph: Graph, model: Any) -> Iterator[tuple[str, int, list[int]]]:
    """What the logits mean: name, type and shape (behind n) of each output."""
    from onnx import TensorProto

    task, outputs = model.preparation.task, [model.outputs]
    yield "logits", TensorProto.FLOAT, outputs
    if model.loss.gives_probabilities and task != "regression":
        _probabilities(graph, model)
        yield "probabilities", TensorProto.FLOAT, [2] if task == "classification" and model.outputs == 1 else outputs
    if task == "regression":
        graph("Identity", _in_units(graph, "logits", model.preparation.targets), name="values")
        yield "values", TensorProto.FLOAT, outputs
    elif task == "multi-label":
        above = graph("Greater", "logits", graph.constant(model.loss.threshold))
        graph("Cast", above, to=TensorProto.INT64, name="labels")
        yield "labels", TensorProto.INT64, outputs
    else:
        if model.outputs == 1:
            above = graph("Greater", "logits", graph.constant(model.loss.threshold))
            graph("Squeeze", graph("Cast", above, to=TensorProto.INT64), _axis(graph), name="class")
        else:
            graph("ArgMax", "logits", axis=1, keepdims=0, name="class")
        yield "class", TensorProto.INT64, []


def _joined(graph: Graph, ensemble: Ensemble, logits: list[str]) -> None:
    """The logits of an ensemble out of those of its members (see `Ensemble.forward`)."""
    output = ensemble.loss.output
    if output == "softmax":
        graph("Log", graph("Mean", *(graph("Softmax", each, axis=1) for each in logits)), name="logits")
    elif output == "sigmoid":
        likely = graph("Mean", *(graph("Sigmoid", each) for each in logits))
        graph("Sub", graph("Log", likely), graph("Log", graph("Sub", graph.constant(1.0), likely)), name="logits")
    else:
        own = ensemble.preparation.targets
        pairs = zip(ensemble.models, logits, strict=True)
        values = graph("Mean", *(_in_units(graph, each, member.preparation.targets) for member, each in pairs))
        if own is not None:
            shifted = graph("Sub", values, graph.constant(np.array(own.shift)))
            values = graph("Div", shifted, graph.constant(np.array(own.scale)))
        graph("Identity", values, name="logits")


def _encoded(graph: Graph, encoding: Encoding, x: str, before: str) -> str:
    """The features of a table's columns, a block of each kind after the other (see `kernels/encoding.py`)."""
    from onnx import TensorProto, numpy_helper

    parts = []
    for kind, (first, after) in enumerate(itertools.pairwise(encoding.blocks)):
        if first == after:
            continue
        part = slice(first, after)
        columns = f"{before}columns_{kind}"
        graph.constants.append(numpy_helper.from_array(encoding.source[part].astype(np.int64), columns))
        v = graph("Gather", x, columns, axis=1)
        if kind == MISSING:
            parts.append(graph("Cast", graph("IsNaN", v), to=TensorProto.FLOAT))
            continue
        v = graph("Where", graph("IsNaN", v), graph.constant(encoding.fill[part]), v)
        z = graph("Sub", v, graph.constant(encoding.shift[part]))
        if kind == EQUAL:
            parts.append(graph("Cast", graph("Equal", z, graph.constant(0.0)), to=TensorProto.FLOAT))
            continue
        z = graph("Mul", z, graph.constant(encoding.factor[part]))
        if kind == SMOOTH:
            root = graph("Add", graph("Mul", graph("Mul", z, z), graph.constant(1 / 9)), graph.constant(1.0))
            parts.append(graph("Div", z, graph("Sqrt", root)))
        else:
            limits = (np.clip(each[part], *_FLOATS) for each in (encoding.low, encoding.high))
            low, high = map(graph.constant, limits)
            parts.append(graph("Min", graph("Max", z, low), high))
    return graph("Concat", *parts, axis=1)


#: The numbers of float32, in the place of infinities, which not every runtime takes as constants.
_FLOATS = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


def _in_units(graph: Graph, logits: str, targets: Targets | None) -> str:
    """The values that logits stand for, in the units of the targets."""
    if targets is None:
        return logits
    scaled = graph("Mul", logits, graph.constant(np.array(targets.scale)))
    values = graph("Add", scaled, graph.constant(np.array(targets.shift)))
    if targets.low:
        above = graph("Max", values, graph.constant(np.array(targets.low)))
        values = graph("Min", above, graph.constant(np.array(targets.high)))
    return values


def _axis(graph: Graph) -> str:
    from onnx import numpy_helper

    graph.constants.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    return "axis"


def _probabilities(graph: Graph, model: Any) -> None:
    if model.loss.compares:
        graph("Softmax", "logits", axis=1, name="probabilities")
    elif model.outputs > 1 or model.preparation.task == "multi-label":
        graph("Sigmoid", "logits", name="probabilities")
    else:
        one = graph("Sigmoid", "logits")
        graph("Concat", graph("Sub", graph.constant(1.0), one), one, axis=1, name="probabilities")


def facts(model: Any) -> dict[str, Any]:
    """What a program that uses the model has to know beside its weights."""
    return {
        **({} if isinstance(model, Ensemble) else {"activations": [each.name for each in model.activations]}),
        "output": model.loss.output,
        "input_scale": model.input_scale,
        "image_shape": None if model.image_shape is None else list(model.image_shape),
        "class_names": model.class_names,
        "preparation": model.preparation.to_dict(),
    }


def to_arrays(model: Any) -> dict[str, np.ndarray]:
    """The model as arrays without pickles.

    W1, b1, W2, b2 …, `activations`, `input_scale` and `class_names`; `output`, what turns logits into probabilities
    ("softmax", "sigmoid", or "identity" for nothing); and `threshold`, above which a single output means class 1. Of a
    network trained on a table also `encoding_source`, `encoding_kind`, `encoding_fill`, `encoding_shift`,
    `encoding_factor`, `encoding_low` and `encoding_high` (see `kernels/encoding.py`), and of a regression
    `target_shift`, `target_scale`, `target_low` and `target_high`; `preparation` is the whole of it as JSON.
    """
    host = [np.asarray(model.backend.to_host(array)) for array in model.parameters]
    arrays = dict(zip(model.parameter_names, host, strict=True))
    told = facts(model)
    arrays["activations"] = np.array(told["activations"], np.str_)
    arrays["input_scale"] = np.array(told["input_scale"], np.float64)
    arrays["output"] = np.array(told["output"], np.str_)
    arrays["threshold"] = np.array(model.loss.threshold, np.float64)
    arrays["class_names"] = np.array(told["class_names"] or [], np.str_)
    arrays["preparation"] = np.array(json.dumps(told["preparation"]), np.str_)
    if (encoding := model.preparation.encoding()) is not None:
        for name in ("source", "kind", "fill", "shift", "factor", "low", "high"):
            arrays[f"encoding_{name}"] = getattr(encoding, name)
    if (targets := model.preparation.targets) is not None:
        for name in ("shift", "scale", "low", "high"):
            arrays[f"target_{name}"] = np.array(getattr(targets, name), np.float64)
    return arrays


#: Kinds of files that `export` writes.
FORMATS = (".onnx", ".npz")


def check_format(path: str | os.PathLike[str]) -> str:
    """The suffix of a file's name, in lower case.

    Raises:
        UsageError: it is none of `FORMATS`.
    """
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind not in FORMATS:
        raise UsageError(
            f"{os.fspath(path)}: a model is exported as {' or '.join(FORMATS)}; end its name in one of them."
        )
    return kind


def export(model: Any, path: str | os.PathLike[str], *, pixels: bool = False) -> None:
    """Write a model as .onnx or .npz, whichever the name ends in; never half a file.

    Args:
        pixels: whether an ONNX graph takes uint8 pixels and scales them itself; see `to_onnx`.

    Raises:
        MissingExtra: onnx is not installed.
        UsageError: the name ends in something else, or an activation has no ONNX form.
    """
    import io

    from gpunet.files import write_atomic

    if check_format(path) == ".npz":
        if isinstance(model, Ensemble):
            raise UsageError(f"{os.fspath(path)}: an ensemble is exported as .onnx; a .npz file holds one network.")
        if pixels:
            raise UsageError(f"{os.fspath(path)}: only an ONNX graph can scale pixels; an .npz file holds no graph.")
        stream = io.BytesIO()
        np.savez(stream, **to_arrays(model))  # type: ignore[arg-type]
        write_atomic(path, stream.getvalue())
    else:
        write_atomic(path, to_onnx(model, pixels=pixels).SerializeToString())

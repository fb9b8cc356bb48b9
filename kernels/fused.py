"""The fused way of a training step on CUDA: three launches for a small network, or for many of equal sizes at once.

For a network as small as 784-50-30-10 the number of kernels is what a step costs, so these do as much at once as the
dependences allow: `fused_first.cu` brings the batch and multiplies it with the first layer's weights, a share of the
features a block; `fused_head.cu` takes some rows of the batch through all that is left, forward, loss and backward;
`fused_gradients.cu` sums the gradients of all layers and updates the parameters.

The kernels find everything in two tables on the device, one of networks and one of their layers (`NETWORK`, `LAYER`).
So networks of equal sizes can share the launches: each is a slice of the grid, and does what it does alone, to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.kernels.activations import ACTIVATIONS, Activation
from gpunet.kernels.build import one_line, raw, types
from gpunet.kernels.dropout import threshold
from gpunet.kernels.launches import Launch, launch
from gpunet.kernels.losses import group_size

#: What the kernels know of the encoding of tables (see encoding.py), by the C type.
ENCODING = {
    "source": "const int*", "kind": "const int*", "fill": "const REAL*", "shift": "const REAL*",
    "factor": "const REAL*", "low": "const REAL*", "high": "const REAL*",
}  # fmt: skip
#: And of a network. `sums` are the partial sums of the first product; `ring`, `columns` and `label_columns` the lengths
#: of `order` and of the rows of `images` and `labels`; `size` the number of parameters.
NETWORK = {
    "images": "const IMAGE*", "labels": "const LABEL*", "weights": "const REAL*", "order": "const int*",
    "ring": "int64", "columns": "int64", "label_columns": "int64", "scale": "double", "control": "int64*",
    "targets": "LABEL*", "batch_weights": "REAL*", "total_weight": "REAL*", "sums": "REAL*", "losses": "REAL*",
    "parameters": "REAL*", "gradients": "REAL*", "state": "REAL*", "size": "int64",
    "l2": "double", "l1": "double", **ENCODING,
}  # fmt: skip
#: And of a layer: `weights` and `bias` are places in the parameters, the tables their coefficients or none where they
#: are frozen, `kind` the number of the activation among those of the network; then dropout, and `first`, which of the
#: step's random numbers is that of the first element.
LAYER = {
    "kept": "REAL*", "delta": "REAL*", "weights": "int64", "bias": "int64", "weights_table": "const REAL*",
    "bias_table": "const REAL*", "inputs": "int64", "outputs": "int64", "kind": "int64", "seed": "uint64",
    "word": "uint64", "limit": "uint64", "factor": "double", "first": "int64",
}  # fmt: skip
#: The same as CUDA source.
STRUCTURES = "".join(
    f"struct {name} {{ {' '.join(f'{kind} {field};' for field, kind in fields.items())} }}; "
    for name, fields in (("Network", NETWORK), ("Layer", LAYER))
)

THREADS, TILE, SLICE = 256, 16, 64
#: Blocks that the first product is shared out to, about: two for each multiprocessor of a large GPU.
BLOCKS = 256
#: Threads of a block of the head, rows of the batch in it at most, and the blocks there should be before there is more
#: than one: two for each multiprocessor of a large GPU. On an H200 half or twice the threads and half the blocks were
#: slower.
HEAD_THREADS, ROWS, HEAD_BLOCKS = 256, 8, 264
#: Bytes of shared memory that a block of the head may take; every GPU has 48 KiB, less what is fixed.
SHARED = 47 << 10
#: Weights behind the first layer, at most: every block of the head reads them all. An estimate of where the library's
#: way, which reads them once, takes as long.
HEAD_WEIGHTS = 1 << 17


def fits(sizes: Sequence[int], itemsize: int) -> bool:
    """Whether the head can take a network of these sizes: a row of it has room, and its weights are few."""
    weights = sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes[1:]))
    return _head_bytes(sizes, itemsize, 1, 8 * sizes[-1]) <= SHARED and weights <= HEAD_WEIGHTS


def _head_bytes(sizes: Sequence[int], itemsize: int, rows: int, target: int, held: int = 0) -> int:
    """Bytes of shared memory of a block of the head: the layers, `target` bytes for each of its rows, the parameters
    that it holds, and what it keeps of the rows."""
    layers, targets = 8 * len(LAYER) * (len(sizes) - 1), -(-rows * target // 16) * 16
    return layers + targets + (held + 2 * rows * sum(sizes[1:])) * itemsize


def _head_rows(sizes: Sequence[int], itemsize: int, batch: int, target: int) -> int:
    """How many rows a block of the head takes."""
    rows = min(max(batch // HEAD_BLOCKS, 1), ROWS)
    return next(some for some in range(rows, 0, -1) if _head_bytes(sizes, itemsize, some, target) <= SHARED)


def _tiles(rows: int, columns: int) -> int:
    return -(-rows // TILE) * -(-columns // TILE)


def _share(batch: int, inputs: int, outputs: int) -> int:
    """How many features a block of the first product takes; all blocks of a tile leave a partial sum each."""
    slices = -(-inputs // SLICE)
    most = min(max(BLOCKS // _tiles(batch, outputs), 1), slices)
    return -(-slices // most) * SLICE


def splits(batch: int, inputs: int, outputs: int) -> int:
    """How many partial sums there are of an element of the first product."""
    return -(-inputs // _share(batch, inputs, outputs))


class Network:
    """A network as the fused kernels know it, and the kernels for it.

    Args:
        layers: the fields of `LAYER` for each layer, arrays or numbers; `weights` and `bias` are views of `parameters`.
            `kind`, `limit` and `factor` are made of `activations` and `dropout`.
        activations: those of the hidden layers.
        dropout: the rates behind them.
        loss, optimizer: entries of the tables.
        batch: examples per step.
        updates: whether the optimizer's update is part of it; else the gradients are left for whoever goes on.
        penalises: whether the penalties `l2` and `l1` are.
        encoding: that of a table's rows, or None.
        fields: the arrays of `NETWORK`, None for one that is not there, and `scale`.

    Attributes:
        key: equal for networks that can share launches.
    """

    def __init__(
        self,
        layers: Sequence[dict[str, Any]],
        activations: Sequence[Activation],
        dropout: Sequence[float],
        loss: Any,
        optimizer: Any,
        batch: int,
        *,
        updates: bool,
        penalises: bool,
        l2: float,
        l1: float,
        encoding: Any,
        **fields: Any,
    ) -> None:
        self.updates, self.penalises = updates, penalises
        self.batch, self.sizes = batch, [layers[0]["inputs"], *(layer["outputs"] for layer in layers)]
        images, labels, parameters = fields["images"], fields["labels"], fields["parameters"]
        tables = [layer[name] for layer in layers for name in ("weights_table", "bias_table")]
        width = next(table.shape[1] for table in tables if table is not None)
        fields |= {
            "ring": len(fields["order"]), "columns": images.shape[1],
            "label_columns": 1 if labels.ndim == 1 else labels.shape[1], "size": len(parameters),
            "l2": l2 if penalises else 0.0, "l1": l1 if penalises else 0.0,
            **{name: getattr(encoding, name, None) for name in ENCODING},
        }  # fmt: skip
        self.arrays = fields, layers  # they live as long as their addresses are in use
        self.record, self.itemsize = _packed(NETWORK, fields), parameters.dtype.itemsize
        kinds = list(dict.fromkeys(activations)) or [ACTIVATIONS["identity"]]
        self.layers, self.start = _described(layers, [*activations, kinds[0]], [*dropout, 0.0], kinds, parameters)
        target = labels.itemsize * fields["label_columns"]
        self.rows = _head_rows(self.sizes, self.itemsize, batch, target)
        held = len(parameters) - self.start
        self.held = held if _head_bytes(self.sizes, self.itemsize, self.rows, target, held) <= SHARED else 0
        self.shared = _head_bytes(self.sizes, self.itemsize, self.rows, target, self.held)
        types_of = types(IMAGE=images.dtype, LABEL=labels.dtype, REAL=parameters.dtype)
        common = (*types_of, ("STRUCTURES", STRUCTURES), ("ENCODED", str(int(encoding is not None))))
        states = range(len(optimizer.state_names))
        self.kernels = (
            raw("fused_first.cu", "fused_first", *common),
            raw(
                (loss.cuda_file, "fused_head.cu"), "fused_head", *common, ("FUNCTIONS", functions(kinds)),
                ("SOFT", str(int(labels.ndim == 2))), ("GROUP", str(group_size(self.sizes[-1]))),
                ("THREADS", str(HEAD_THREADS)), ("HELD", str(int(self.held > 0))), *loss.cuda_defines,
            ),
            raw(
                "fused_gradients.cu", "fused_gradients", *common, ("UPDATES", str(int(updates))),
                ("COEFFICIENTS", str(width)), ("STATES", "".join(f"ACC s{k}; " for k in states)),
                ("FETCH", "".join(f"s{k} = load(state + {k} * net.size); " for k in states)),
                ("RULE", one_line(optimizer.cuda)),
                ("KEEP", "".join(f"store(state + {k} * net.size, s{k}); " for k in states)),
            ),
        )  # fmt: skip
        self.key = (self.kernels, batch, tuple(self.sizes))


def _described(
    layers: Sequence[dict[str, Any]], activations: Sequence[Activation], dropout: Sequence[float],
    kinds: Sequence[Activation], parameters: Any,
) -> tuple[list[np.ndarray], int]:  # fmt: skip
    """The rows of the table of layers, and where the parameters begin that every block of the head reads: all but the
    first layer's weights, which lie in front."""
    rows, starts = list[np.ndarray](), list[int]()
    for layer, activation, rate in zip(layers, activations, dropout, strict=True):
        places = {
            name: (layer[name].data.ptr - parameters.data.ptr) // parameters.dtype.itemsize
            for name in ("weights", "bias")
        }
        dropped = {"limit": threshold(rate), "factor": 1 / (1 - rate), "kind": kinds.index(activation)}
        rows.append(_packed(LAYER, {**layer, **places, **dropped}))
        starts += places.values()
    return rows, min(starts[1:])


def _packed(kinds: Mapping[str, str], fields: Mapping[str, Any]) -> np.ndarray:
    """One row of a table; an array is its address, and None none."""
    numpy = {"int64": "i8", "double": "f8"}
    row = np.zeros(1, [(name, numpy.get(kind, "u8")) for name, kind in kinds.items()])
    for name in kinds:
        value = fields[name]
        row[name] = 0 if value is None else getattr(getattr(value, "data", None), "ptr", value)
    return row


def functions(kinds: Sequence[Activation]) -> str:
    """`activate` and `derivative` of activation number `kind`."""
    text = "".join(activation.cuda_functions(f"_{number}") for number, activation in enumerate(kinds))
    saved = ["y" if activation.saves == "output" else "x" for activation in kinds]
    forward = "".join(f"if (kind == {k}) return activate_{k}(x); " for k in range(1, len(kinds)))
    backward = "".join(f"if (kind == {k}) return derivative_{k}({saved[k]}); " for k in range(1, len(kinds)))
    text += f"__device__ __forceinline__ ACC activate(int kind, ACC x) {{ {forward}return activate_0(x); }} "
    text += "__device__ __forceinline__ ACC derivative(int kind, ACC x, ACC y) "
    return text + f"{{ {backward}return derivative_0({saved[0]}); }}"


class Part:
    """One of the three launches of a step of networks that have the same `key`, ready to be run.

    Attributes:
        alike: equal for launches that can be one (see `launches.py`); the kernels have the networks as a dimension of
            the grid by themselves, so that it is theirs and no other that is launched.
        name: the kernel's.
    """

    def __init__(self, networks: Sequence[Network], number: int, run: Launch) -> None:
        self._networks, self._number, self._run = networks, number, run
        self.alike: Hashable = (networks[0].key, number)
        self.name = run.name

    def __call__(self) -> None:
        self._run()

    def together(self, others: Sequence[Part]) -> Part:
        """This launch and others that are alike as one."""
        networks = [network for part in (self, *others) for network in part._networks]
        return Part(networks, self._number, _launches(networks)[self._number])


def bind(network: Network) -> list[Part]:
    """The three launches of a step, ready to be run."""
    return [Part([network], number, run) for number, run in enumerate(_launches([network]))]


def _launches(networks: Sequence[Network]) -> list[Launch]:
    import cupy

    one = networks[0]
    batch, sizes, count = one.batch, one.sizes, len(networks)
    first, head, gradients = one.kernels
    tables = (
        cupy.asarray(np.concatenate([network.record for network in networks]).view(np.uint8)),
        cupy.asarray(np.concatenate([layer for network in networks for layer in network.layers]).view(np.uint8)),
        np.int32(len(sizes) - 1),
        np.int32(batch),
    )
    share, parts = _share(batch, *sizes[:2]), splits(batch, *sizes[:2])
    tiles = sum(_tiles(*shape) for shape in itertools.pairwise(sizes))
    return [
        launch(first, (_tiles(batch, sizes[1]) * parts, count), THREADS, *tables, np.int32(share)),
        launch(
            head, (-(-batch // one.rows), count), HEAD_THREADS, *tables, np.int32(one.rows), np.int32(parts),
            np.int64(one.start), np.int32(one.held), shared=one.shared,
        ),
        launch(gradients, (tiles, count), THREADS, *tables),
    ]  # fmt: skip

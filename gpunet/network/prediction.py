"""Predictions for files: their examples, prepared as in training and a part at a time, and tables of the answers.

A file of any size is read, answered and written in parts, so that only one of them is in memory.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.columns import import_arrow
from gpunet.data.fitting import Number, Pictures
from gpunet.data.idx import read_idx
from gpunet.data.npy import read_npy
from gpunet.data.photos import load_picture
from gpunet.data.reader import is_table_file, read_parts
from gpunet.errors import DataError, UnwritableFile, UsageError
from gpunet.network.predictor import Predictor

#: Suffixes of files that are pictures and not arrays.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
#: Suffixes of files that predictions are written to.
OUTPUTS = (".csv", ".parquet", ".jsonl", ".npy")
#: Examples that are answered at a time.
PART = 10_000


@dataclass
class Part:
    """Some examples of a file or folder.

    Attributes:
        file: the file, or the folder.
        names: what each example is called: the picture's path, or none for rows.
        first: the number of the first row in its file.
        inputs: (n, columns), as of `Split.inputs`.
        remarks: what is to be said of them.
    """

    file: str
    names: list[str] | None
    first: int
    inputs: np.ndarray
    remarks: list[str]


@dataclass
class Answers:
    """What a network answers for some examples.

    Attributes:
        predictions: (n,) classes or values, or (n, k) of several labels or targets.
        probabilities: (n, k) of each class or label, or None.
    """

    predictions: np.ndarray
    probabilities: np.ndarray | None


def parts_of(path: Path, model: Predictor, center: bool = False) -> Iterator[Part]:
    """The examples in a file, or the pictures in a folder, a part at a time.

    Args:
        path: a picture, a folder of pictures, a table, an idx or a .npy file.
        model: the network that they are for.
        center: whether pictures are centred as in MNIST, whatever was done in training.

    Raises:
        DataError: the file cannot be read, or its examples are not what the network takes.
        MissingExtra: a package is needed that is not installed.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and not p.name.startswith("."))
        if not found:
            raise DataError(f"{path}: this is a folder; name pictures (PNG, JPEG ...), tables, idx or .npy files.")
        yield from _pictures(str(path), found, model, center)
    elif path.suffix.lower() in PICTURES:
        yield from _pictures(str(path), [path], model, center)
    elif is_table_file(path):
        yield from _rows(path, model)
    else:
        yield from _array(path, model)


def answer(model: Predictor, part: Part) -> Answers:
    """What a network answers for some examples.

    Raises:
        DataError: what the network computes is not finite.
    """
    likely = model.loss.gives_probabilities and model.preparation.task != "regression"
    to_host = model.backend.to_host
    with np.errstate(all="ignore"):  # what overflows shows in the numbers
        predictions = np.asarray(to_host(model.predict(part.inputs)))
        numbers = np.asarray(to_host((model.predict_proba if likely else model.forward)(part.inputs)))
    if not np.isfinite(numbers).all():
        raise DataError(f"{part.file}: the network's answer is not finite; there are too large numbers in the file.")
    return Answers(predictions, numbers if likely else None)


def class_names(model: Predictor) -> list[str]:
    """A name for each class, label or target."""
    targets = model.preparation.targets
    if targets is not None:
        return list(targets.names)
    fewest = 2 if model.preparation.task == "classification" else 1
    return model.class_names or [str(index) for index in range(max(model.outputs, fewest))]


def pictures_of(model: Predictor) -> Pictures | None:
    """What pictures are made into for a network; None if it was not trained on images of a known shape."""
    made, shape = model.preparation.pictures, model.image_shape
    if made is None and shape is not None and len(shape) in (2, 3):
        # A network of an earlier version, which took any picture for a digit.
        return Pictures(shape[0], shape[1], shape[2:] == (3,), len(shape) == 2)
    return made


def _pictures(file: str, paths: Sequence[Path], model: Predictor, center: bool) -> Iterator[Part]:
    made = pictures_of(model)
    if made is None:
        raise DataError(f"{file}: the network was not trained on images of a known shape; give a .npy file.")
    if center:
        made = Pictures(made.rows, made.columns, made.colour, not made.colour)
    for start in range(0, len(paths), PART):
        some = paths[start : start + PART]
        images = np.stack([load_picture(path, made) for path in some])
        # A network that was trained on features and not on pixels takes numbers from 0 to 1.
        inputs = images if model.input_scale != 1 else images.astype(np.float32) / 255
        yield Part(file, [str(path) for path in some], start, inputs, [])


def _rows(path: Path, model: Predictor) -> Iterator[Part]:
    preparation = model.preparation
    names = preparation.column_names
    if names is None:
        raise DataError(f"{path}: the network was not trained on a table with named columns; give a .npy file.")
    columns = preparation.columns or ()
    texts = {column.name for column in columns if not isinstance(column, Number)}
    done = 0
    for table in read_parts(path, {name: "text" if name in texts else "number" for name in names}):
        for start in range(0, len(table), PART):
            some = table.take(np.arange(start, min(start + PART, len(table))))
            remarks = [f"{path}: new to the network: {remark}" for remark in preparation.known(some)]
            yield Part(str(path), None, done, preparation.apply(some), remarks)
            done += len(some)
    if not done:
        raise DataError(f"{path}: there is no example in it.")


def _array(path: Path, model: Predictor) -> Iterator[Part]:
    if path.suffix.lower() == ".npz":
        raise DataError(f"{path}: it may hold several arrays; save the one that is meant as a .npy file, with np.save.")
    array = read_npy(path, mapped=True) if path.suffix.lower() == ".npy" else read_idx(path)
    encoding = model.preparation.encoding()
    features = model.sizes[0] if encoding is None else encoding.columns
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(f"{path}: this is no array of numbers with an example in each row.")
    if array.ndim == 1 or (array.shape == model.image_shape and array.size == features):
        array = array.reshape(1, -1)
    if len(array) == 0:
        raise DataError(f"{path}: there is no example in it.")
    array = array.reshape(len(array), -1)
    if array.shape[1] != features:
        shaped = "" if model.image_shape is None else f" ({' x '.join(map(str, model.image_shape))})"
        raise DataError(
            f"{path}: the examples have {array.shape[1]} features, and the network takes {features}{shaped}; give what "
            "it was trained on."
        )
    for start in range(0, len(array), PART):
        some = np.asarray(array[start : start + PART])
        missing = encoding is not None  # where NaN is a missing value
        if (
            some.dtype.kind == "f"
            and not ((np.abs(some) <= np.finfo(model.dtype).max) | (missing & np.isnan(some))).all()
        ):
            raise DataError(f"{path}: there are numbers in it that are not finite, or too large for {model.dtype}.")
        yield Part(str(path), None, start, some, [])


# ---- tables of answers


class Writer:
    """A table of predictions, written a part at a time; the file appears whole or not at all.

    Args:
        path: where to; its suffix is one of `OUTPUTS`.
        model: the network whose answers are written.

    Raises:
        UsageError: the name ends in something else.
        UnwritableFile: the file cannot be written.
        MissingExtra: pyarrow is needed, for Parquet, and not installed.
    """

    def __init__(self, path: str | os.PathLike[str], model: Predictor) -> None:
        self.path = Path(path)
        self.kind = self.path.suffix.lower()
        if self.kind not in OUTPUTS:
            raise UsageError(f"--out {self.path}: predictions are written as {', '.join(OUTPUTS)}; end its name so.")
        self.names = class_names(model)
        self.task = model.preparation.task
        if self.kind == ".parquet":
            import_arrow("writing Parquet")
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._arrow: Any = None
        self._arrays: list[np.ndarray] = []
        self._begun = False
        try:
            self._file: Any = open(self._temporary, "wb")  # noqa: SIM115 - closed in `__exit__`
        except OSError as error:
            raise UnwritableFile(error.errno, error.strerror, str(self.path)) from None
        self._text = io.TextIOWrapper(self._file, encoding="utf-8", newline="", write_through=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if kind is None:
                if self.kind == ".npy":
                    np.save(self._file, np.concatenate(self._arrays))
                if self._arrow is not None:
                    self._arrow.close()
                self._text.flush()
                os.fsync(self._file.fileno())
            self._text.close()
            if kind is None:
                os.replace(self._temporary, self.path)
        except OSError as error:
            raise UnwritableFile(error.errno, error.strerror, str(self.path)) from None
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def columns(self, part: Part, answers: Answers) -> dict[str, list[Any]]:
        """The table of some answers: the file of pictures, prediction(s) by name, and a probability for each class."""
        made: dict[str, list[Any]] = {} if part.names is None else {"file": part.names}
        predictions = answers.predictions
        if self.task == "classification":
            made["prediction"] = [self.names[index] for index in predictions.tolist()]
        elif predictions.ndim == 1:
            made["prediction"] = predictions.tolist()
        else:
            for name, values in zip(self.names, predictions.T, strict=True):
                made[f"prediction_{name}"] = values.tolist()
        if answers.probabilities is not None:
            for name, values in zip(self.names, answers.probabilities.T, strict=True):
                made[f"probability_{name}"] = values.tolist()
        return made

    def write(self, part: Part, answers: Answers) -> None:
        """Add the answers for some examples."""
        try:
            if self.kind == ".npy":
                self._arrays.append(answers.predictions)
                return
            made = self.columns(part, answers)
            if self.kind == ".parquet":
                self._write_arrow(made)
                return
            rows = zip(*made.values(), strict=True)
            if self.kind == ".csv":
                writer = csv.writer(self._text)
                if not self._begun:
                    writer.writerow(made)
                writer.writerows(rows)
            else:
                for row in rows:
                    self._text.write(json.dumps(dict(zip(made, row, strict=True)), allow_nan=False) + "\n")
            self._begun = True
        except OSError as error:
            raise UnwritableFile(error.errno, error.strerror, str(self.path)) from None

    def _write_arrow(self, made: dict[str, list[Any]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        table = pa.table(made)
        if self._arrow is None:
            self._arrow = parquet.ParquetWriter(self._file, table.schema)
        self._arrow.write_table(table)

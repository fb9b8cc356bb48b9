"""`load_dataset`: a data set by its name in `DATASETS`, or from a file or folder of one's own."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from gpunet.data.catalog import DATASETS, TableEntry
from gpunet.data.columns import as_table, is_table
from gpunet.data.dataset import Dataset
from gpunet.data.download import Progress
from gpunet.data.filenames import matching
from gpunet.data.folders import load_path
from gpunet.data.options import DataOptions
from gpunet.data.preparation import Preparation
from gpunet.data.tables import apply_tables, load_tables
from gpunet.errors import DataError, UsageError
from gpunet.files import expand
from gpunet.keywords import unknown


def load_dataset(
    name_or_path: Any,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    *,
    preparation: Preparation | None = None,
    **options: Any,
) -> Dataset:
    """A data set by its name in DATASETS, from a file or folder of one's own, or of a frame.

    Args:
        name_or_path: a name, a path, a pattern such as shards/*.npy, or a frame of pandas or polars (an Arrow table, or
            a dict of columns). What is found under a name is that data set, by its sha256; for one's own data see
            `gpunet.data.folders`.
        data_dir: the folder that holds a named set's files; without it they are looked for in $GPUNET_DATA,
            ./MNIST_data and the cache, and downloaded to the cache if they are nowhere.
        progress: called as progress(file name, bytes done, bytes total or None) while a file is fetched, or all of it
            is looked at.
        preparation: what was fitted when a network was trained (`model.preparation`), to which the data is brought.
        options: how data of one's own is to be read, by the names of `DataOptions`: target, features, drop, task,
            scale, test, group, weight, image_size, missing, bins, clip.

    Raises:
        UsageError: the name is unknown, or an option does not fit the data.
        DataError: files are missing, damaged, not what they should be, or may be read in two ways.
        MissingExtra: a package is needed that is not installed.
    """
    known = [each.name for each in dataclasses.fields(DataOptions)]
    for option in options:
        if option not in known:
            raise UsageError(unknown(option, known))
    how = DataOptions(**options)
    if is_table(name_or_path):
        tables = {"train": as_table(name_or_path)}
        if preparation is None:
            return load_tables("table", tables, how)
        return apply_tables("table", tables, preparation, how)
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        entry = DATASETS[name_or_path]
        if isinstance(entry, TableEntry):
            return entry.load_with(how, preparation, data_dir)
        if how.given and preparation is None:
            option = "--" + how.given[0].replace("_", "-")
            raise UsageError(f"{option}: the data set {text} says itself how it is read; leave the option out.")
        data = entry.load(data_dir, progress)
        return data if preparation is None else _matched(data, preparation)
    if data_dir is not None:
        if (Path(data_dir) / text).exists():
            raise UsageError(
                f"A data folder belongs to a named data set; to load {text} give its whole path as the data."
            )
        raise _unknown(text)
    path = expand(text)
    if path.exists() or matching(path):
        data = load_path(path, how, preparation, progress)
        return data if preparation is None else _matched(data, preparation)
    if isinstance(name_or_path, str) and not _looks_like_path(text):
        raise _unknown(text)
    raise DataError(f"There is no file or folder {text}; check the path of the data set.")


def _matched(data: Dataset, preparation: Preparation) -> Dataset:
    """Data with its classes numbered as those of a network, by their names."""
    names = preparation.class_names
    if names is None or data.task != "classification" or data.class_names is None:
        return data
    # A network of some of the data's classes is asked about those alone.
    return data.select_classes(names) if set(names) < set(data.class_names) else data.with_classes(names)


def _looks_like_path(text: str) -> bool:
    return text.startswith((".", "~")) or "/" in text or os.sep in text or bool(Path(text).suffix)


def _unknown(text: str) -> UsageError:
    return UsageError(f"{DATASETS.unknown(text)[:-1]}, or give the path of a file or folder of your own.")

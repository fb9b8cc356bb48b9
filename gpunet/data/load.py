"""`load_dataset`: a data set by its name in `DATASETS`, or from a file or folder of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from gpunet.data.catalog import DATASETS
from gpunet.data.dataset import Dataset
from gpunet.data.download import Progress
from gpunet.data.folders import load_path
from gpunet.errors import DataError, UsageError
from gpunet.files import expand


def load_dataset(
    name_or_path: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """A data set by its name in DATASETS, or from a file or folder of one's own.

    Args:
        name_or_path: a name, or a path. What is found under a name is that data set, by its sha256; for one's own
            data see `gpunet.data.folders`.
        data_dir: the folder that holds a named set's files; without it they are looked for in $GPUNET_DATA,
            ./MNIST_data and the cache, and downloaded to the cache if they are nowhere.
        progress: called as progress(file name, bytes done, bytes total or None) while a file is fetched.

    Raises:
        UsageError: the name is unknown.
        DataError: files are missing, damaged or not what they should be.
    """
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        return DATASETS[name_or_path].load(data_dir, progress)
    if data_dir is not None:
        if (Path(data_dir) / text).exists():
            raise UsageError(
                f"A data folder belongs to a named data set; to load {text} give its whole path as the data."
            )
        raise _unknown(text)
    path = expand(text)
    if path.exists():
        return load_path(path)
    if isinstance(name_or_path, str) and not _looks_like_path(text):
        raise _unknown(text)
    raise DataError(f"There is no file or folder {text}; check the path of the data set.")


def _looks_like_path(text: str) -> bool:
    return text.startswith((".", "~")) or "/" in text or os.sep in text or bool(Path(text).suffix)


def _unknown(text: str) -> UsageError:
    return UsageError(f"{DATASETS.unknown(text)[:-1]}, or give the path of a file or folder of your own.")

"""Data of one's own, from a file or a folder: what is in it, and which of its files are training and which test.

What is looked for in a folder, in this order:
    idx     images and labels, as of MNIST and its relatives (plain or .gz), also of EMNIST
    .npy    pairs of inputs and targets, such as X_train.npy and y_train.npy
    .npz    a single file with the arrays, or one for each array as of KMNIST
    tables  train.csv with, if there, test.csv and validation.csv; X_train.csv with y_train.csv; or a single file
    images  train/, test/, validation/ with one folder of pictures per class, or the class folders alone
    folder  a single folder with one of these in it
A file that is left aside is named in `Dataset.facts`. Large arrays in .npy and plain idx files stay there and are
mapped into memory; large Parquet files are read in parts (see `parquet.py`). Of a pattern such as shards/*.npy the
arrays in all files that it matches follow each other, and so do Parquet files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data import filenames, parquet, stored
from gpunet.data.arrays import natural
from gpunet.data.columns import Table, as_table, is_table, some
from gpunet.data.dataset import Dataset, assemble
from gpunet.data.download import Progress
from gpunet.data.idx import map_idx, read_idx
from gpunet.data.npy import map_npy, npz_names, read_npy, read_npz
from gpunet.data.options import DataOptions
from gpunet.data.photos import MAX_BYTES, fit_pictures, read_pictures
from gpunet.data.preparation import Preparation
from gpunet.data.reader import BINARIES, PARQUET, TEXTS, is_table_file, read_table, suffix_of
from gpunet.data.tables import apply_tables, load_tables
from gpunet.errors import DataError, UsageError
from gpunet.files import expand
from gpunet.registry import Registry

#: The tables that were read, by where they were found: a name, a table for each split, and what was left aside.
Tables = dict[Path, tuple[str, dict[str, Table], list[tuple[str, str]]]]
_READ: ContextVar[Tables | None] = ContextVar("read", default=None)

#: Readers of further kinds of files, by the suffix: a function of the path that gives a Dataset or a table (a frame, an
#: Arrow table, or a dict of columns).
READERS: Registry[Callable[[Path], Any], Callable[[Path], Any]] = Registry(
    "reader",
    Callable,  # type: ignore[arg-type]
    group="gpunet.readers",
)


def load_path(
    path: Path,
    options: DataOptions | None = None,
    preparation: Preparation | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The data set in a file or folder, see above; Dataset.name is the file's or folder's own name.

    Args:
        path: the file or folder.
        options: how it is to be read.
        preparation: what was fitted when a network was trained, to which the data is brought; by default it is fitted
            to the data's own training split.
        progress: called as progress(file name, bytes done, bytes total) while all of a large file is looked at.

    Raises:
        DataError: what is there cannot be read, does not fit together, or may be read in two ways.
        UsageError: an option does not fit what is there.
        MissingExtra: a package is needed that is not installed.
    """
    finder, read = _Finder(options or DataOptions(), preparation, progress), _READ.get()
    try:
        if read is not None and path in read:
            return finder.tables(*read[path])
        if not path.exists():
            data = finder.pattern(path)
        else:
            data = finder.file(path) if path.is_file() else finder.folder(path, path.resolve().name)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from error
    if read is not None and finder.found is not None:
        read[path] = finder.found
    return data


@contextlib.contextmanager
def read_once(tables: Tables | None = None) -> Iterator[None]:
    """While this lasts the tables at a path are read once, and prepared anew where they are asked for again.

    Args:
        tables: where they are kept, to go on with them in another `with`; by default where an outer one keeps them, or
            until the end of this one.
    """
    if tables is None:
        tables = _READ.get()
    token = _READ.set({} if tables is None else tables)
    try:
        yield
    finally:
        _READ.reset(token)


def may_be_tables(path: Path) -> bool:
    """Whether what is at a path may be tables, by the names of its files."""
    if path.suffix.lower() == ".zip":
        import zipfile

        try:
            with zipfile.ZipFile(path) as archive:
                return any(suffix_of(Path(name)) in (*TEXTS, *BINARIES) for name in archive.namelist())
        except (OSError, zipfile.BadZipFile):
            return False  # reading it says what is wrong
    if not path.is_dir():
        return any(map(is_table_file, filenames.matching(path) or [path]))
    names = filenames.entries(path)
    if len(names) == 1 and names[0].is_dir():
        return may_be_tables(names[0])
    return any(is_table_file(p) for p in names)


class _Finder:
    """What a file or folder holds, read with these options."""

    def __init__(self, options: DataOptions, preparation: Preparation | None, progress: Progress | None) -> None:
        self.options, self.preparation, self.progress = options, preparation, progress
        #: What `tables` was given, where it can be used again.
        self.found: tuple[str, dict[str, Table], list[tuple[str, str]]] | None = None

    # ---- files and folders

    def file(self, path: Path) -> Dataset:
        kind = path.suffix.lower()
        if kind == ".npz":
            return self.npz(path)
        if kind == ".zip":
            return self.zip(path)
        if is_table_file(path):
            return self.tables(path.name, {"train": self.table([path])}, [])
        if kind in filenames.PICKLES:
            raise _pickled(path)
        if kind.removeprefix(".") in READERS:
            return self.read(path, READERS[kind.removeprefix(".")])
        if kind == ".npy":
            raise DataError(
                f"{path} is one array; give the folder that holds the inputs and the targets, as X.npy and y.npy."
            )
        if filenames.role_of(path.name)[1] or "idx" in path.name:
            raise DataError(f"{path} is one idx file of a data set; give the folder that holds its images and labels.")
        raise DataError(
            f"{path} is no data set: give a table (.csv, .tsv, .parquet, .feather), .npz or .zip, or a folder with idx "
            "files or images."
        )

    def folder(self, path: Path, name: str, beside: Sequence[tuple[str, str]] = ()) -> Dataset:
        """What is in a folder; `beside` is told of what lies beside it."""

        def aside(used: filenames.Pairs) -> list[tuple[str, str]]:
            return [*beside, *filenames.left_aside(names, used)]

        names = filenames.entries(path)
        files, folders = [p for p in names if p.is_file()], [p for p in names if p.is_dir()]
        idx = [p for p in files if not p.name.lower().removesuffix(".gz").endswith(filenames.NO_IDX)]
        ways = (
            (filenames.pairs_among(idx), self.idx),
            (filenames.pairs_among([p for p in files if p.suffix.lower() == ".npy"]), self.npy),
            (filenames.pairs_among([p for p in files if p.suffix.lower() == ".npz"]), self.npy),
        )
        for pairs, read in ways:
            if pairs:
                return read(name, path, pairs, aside(pairs))
        if len(archives := [p for p in files if p.suffix.lower() == ".npz"]) == 1:
            return self.npz(archives[0], aside({"train": {"file": archives[0]}}))
        if tables := filenames.tables_among(files):
            joined = {split: _joined([self.table([p]) for p in parts]) for split, parts in tables.items()}
            used = {split: dict(enumerate(parts)) for split, parts in tables.items()}
            return self.tables(name, joined, aside(used))
        if len(folders) == 1 and not any(filenames.pictures_in(folders[0])) and any(folders[0].iterdir()):
            return self.folder(folders[0], name, aside({"": {"": folders[0]}}))
        if folders:
            return self.pictures(path, name, folders, files, beside)
        if pickles := [p for p in files if p.suffix.lower() in filenames.PICKLES]:
            raise _pickled(pickles[0])
        if len(archives := [p for p in files if p.suffix.lower() == ".zip"]) == 1:
            return self.zip(archives[0], aside({"": {"": archives[0]}}))
        several = [p.name for p in files if is_table_file(p)]
        if len(several) > 1:
            raise DataError(
                f"{path} holds the tables {some(several)}, and none is named train; name it so, or give one file."
            )
        raise DataError(
            f"{path} holds no data set: looked for train-images and train-labels idx files, .npy pairs, one .npz, "
            "train.csv, or one folder of images per class."
        )

    def zip(self, path: Path, beside: Sequence[tuple[str, str]] = ()) -> Dataset:
        """A folder or file packed as .zip; unpacked into a temporary folder while it is read."""
        import zipfile
        import zlib

        with tempfile.TemporaryDirectory(prefix="gpunet-") as folder:
            try:
                with zipfile.ZipFile(path) as archive:
                    total = sum(member.file_size for member in archive.infolist())
                    if total > MAX_BYTES:
                        raise DataError(f"{path} claims {total:,} bytes, more than the {MAX_BYTES:,} that are read.")
                    archive.extractall(folder)  # which keeps to the folder whatever the names in it say
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
                raise DataError(f"{path} is damaged or no .zip file: {str(error).rstrip('.')}.") from None
            try:
                return self.folder(Path(folder), path.stem, beside)
            except DataError as error:
                raise DataError(str(error).replace(f"{folder}", str(path))) from None
            finally:
                self.found = None  # its files are gone

    # ---- tables

    def table(self, paths: list[Path], several: bool = False) -> Table:
        """The table in a file, or in `several` Parquet files behind each other; what is large stays there."""
        if several or parquet.is_large(paths):
            return parquet.StoredTable(parquet.ParquetFiles(paths, self.progress))
        return read_table(paths[0])

    def tables(self, name: str, tables: dict[str, Table], aside: list[tuple[str, str]]) -> Dataset:
        self.found = name, tables, aside
        if self.preparation is not None and self.preparation.column_names is not None:
            data = apply_tables(name, tables, self.preparation, self.options)
        else:
            options = self.options
            if self.preparation is not None:  # of an earlier version, which took tables as they stand
                scale = "none" if self.preparation.input_scale == 1 else "pixels"
                options = dataclasses.replace(options, scale=scale, test=None)
            data = load_tables(name, tables, options)
        data.facts += aside
        return data

    # ---- arrays

    def idx(self, name: str, folder: Path, found: filenames.Pairs, aside: list[tuple[str, str]]) -> Dataset:
        pairs = {}
        if "train" not in found:
            raise DataError(f"{folder} has {some(filenames.names_of(found))} but no train-images file to go with it.")
        for split, files in found.items():
            inputs, targets = filenames.both_of(folder, split, files)
            images, labels = self.behind([inputs], self.arrays_in([inputs])), read_idx(targets)
            if len(images) != len(labels):
                raise DataError(
                    f"{inputs} has {len(images):,} images but {targets.name} {len(labels):,} labels; they belong to "
                    "different data sets or one is damaged."
                )
            if "emnist" in inputs.name.lower() and images.ndim == 3:
                images = images.swapaxes(1, 2)
            pairs[split] = (images, labels)
        if "emnist" in str(next(iter(found.values()))).lower():
            aside = [*aside, ("pictures", "turned upright: EMNIST's files hold them transposed")]
        return self.arrays(name, pairs, aside, folder)

    def npy(self, name: str, folder: Path, found: filenames.Pairs, aside: list[tuple[str, str]]) -> Dataset:
        pairs = {}
        if "train" not in found:
            raise DataError(
                f"{folder} has {some(filenames.names_of(found))} but no training arrays, such as X_train.npy."
            )
        for split, files in found.items():
            inputs, targets = filenames.both_of(folder, split, files)
            pairs[split] = (self.behind([inputs], self.arrays_in([inputs])), _read_array(targets))
        return self.arrays(name, pairs, aside, folder)

    def arrays_in(self, paths: list[Path]) -> list[Any]:
        """The arrays in some files; large ones stay there (`MappedArray`)."""
        if sum(path.stat().st_size for path in paths) >= stored.LARGE:
            mapped = [_map_array(path) for path in paths]
            if all(array is not None for array in mapped):
                return mapped
        return [_read_array(path) for path in paths]

    def behind(self, paths: list[Path], arrays: list[Any]) -> Any:
        """The arrays in these files behind each other, as one."""
        first = arrays[0]
        if isinstance(first, stored.MappedArray):
            return stored.StoredRows(arrays, progress=self.progress)
        if len(arrays) == 1:
            return first
        for path, array in zip(paths, arrays, strict=True):
            if array.shape[1:] != first.shape[1:]:
                raise DataError(
                    f"{path} holds rows of shape {array.shape[1:]} and {paths[0]} of shape {first.shape[1:]}; they do "
                    "not fit."
                )
        return np.concatenate(arrays)

    def pattern(self, pattern: Path) -> Dataset:
        """The arrays in the files that a pattern matches, and the targets to them: in files of those names, or in
        those that the option target matches."""
        files = filenames.matching(pattern)
        facts = [("files", f"{len(files)} that {pattern.name} matches, in the order of their names")]
        if all(map(is_table_file, files)):
            return self.tables(pattern.name, self.parquet(pattern, files), facts)
        others = [filenames.matching(expand(each)) for each in self.options.target or ()]
        found: dict[str, dict[str, list[Path]]] = {}
        for path in files:
            split, role = filenames.role_of(path.name)
            found.setdefault(split, {}).setdefault("inputs" if others else role or "", []).append(path)
        for path in itertools.chain(*others):
            found.setdefault(filenames.role_of(path.name)[0], {}).setdefault("targets", []).append(path)
        pairs = {}
        for split, roles in found.items():
            inputs, targets = roles.get("inputs", []), roles.get("targets", [])
            if not inputs or len(inputs) != len(targets):
                raise DataError(
                    f"{pattern} matches {len(inputs)} files of {split} inputs, with {len(targets)} of targets to them; "
                    "call them as in X-0.npy and y-0.npy, or say --target 'labels-*.npy'."
                )
            labels, arrays = [_read_array(path) for path in targets], self.arrays_in(inputs)
            for path, array in zip((*inputs, *targets), (*arrays, *labels), strict=True):
                if not array.shape:
                    raise DataError(f"{path} holds a single number and no rows.")
            pairs[split] = (self.behind(inputs, arrays), self.behind(targets, labels))
            for path, array, given, label in zip(inputs, arrays, targets, labels, strict=True):
                if len(array) != len(label):
                    raise DataError(f"{path} has {len(array):,} rows and {given} {len(label):,}; they do not fit.")
        if "train" not in pairs:
            raise DataError(f"{pattern} matches no training arrays, such as X-train-0.npy.")
        self.options = dataclasses.replace(self.options, target=None)
        return self.arrays(pattern.name, pairs, facts, pattern)

    def parquet(self, pattern: Path, files: list[Path]) -> dict[str, Table]:
        """The tables in the files that a pattern matches, by split."""
        if others := [path for path in files if suffix_of(path) not in PARQUET]:
            raise DataError(f"{pattern} matches {others[0].name}; of tables, several files have to be Parquet.")
        splits: dict[str, list[Path]] = {}
        for path in files:
            splits.setdefault(filenames.role_of(path.name)[0], []).append(path)
        if "train" not in splits:
            raise DataError(f"{pattern} matches no training tables, such as train-0.parquet.")
        return {split: self.table(paths, several=True) for split, paths in splits.items()}

    def npz(self, path: Path, aside: Sequence[tuple[str, str]] = ()) -> Dataset:
        keys = npz_names(path)
        found = filenames.pairs_among(keys)
        if not all(set(roles) == {"inputs", "targets"} for roles in found.values()) or "train" not in found:
            raise DataError(
                f"{path} has the arrays {', '.join(keys) or '(none)'}; needed are images and labels, or x_train, "
                "y_train (and x_test, y_test)."
            )
        pairs = {split: tuple(read_npz(path, [roles["inputs"], roles["targets"]])) for split, roles in found.items()}
        used = {key for roles in found.values() for key in roles.values()}
        left = filenames.unread([key for key in keys if key not in used])
        return self.arrays(path.name, pairs, [*aside, *left], path)

    def arrays(self, name: str, pairs: dict[str, Any], aside: list[tuple[str, str]], path: Path) -> Dataset:
        """The data set in arrays; classes numbered from 1 keep their numbers as names."""
        options = self.options
        self.refuse(f"{path} holds arrays", ("task", "image_size"))
        train = np.asarray(pairs["train"][1])
        given = self.preparation
        task = given.task if given is not None else options.task
        if task == "auto":
            # Files of arrays have types: whole numbers are classes, whatever numbers are missing among them.
            task = "regression" if train.dtype.kind == "f" and (train != np.floor(train)).any() else "classification"
            rows = train.ndim == 2 and train.shape[1] > 1 and train.dtype.kind in "buif"
            if rows and not (train.sum(axis=1) == 1).all():
                task = "multi-label" if np.isin(train, (0, 1)).all() else task
        class_names = None
        flat = train.reshape(-1) if train.ndim == 2 and train.shape[1] == 1 else train
        if task == "classification" and flat.ndim == 1 and flat.dtype.kind in "iuf" and len(flat) and flat.min() == 1:
            class_names = [str(number) for number in range(1, int(flat.max()) + 1)]
            pairs = {split: (images, np.asarray(labels, np.int64) - 1) for split, (images, labels) in pairs.items()}
            aside = [*aside, ("classes", f"numbered from 1 to {len(class_names)}, as in the file")]
        if options.image_size is not None:
            pairs = {s: (_in_shape(path, images, options.image_size), labels) for s, (images, labels) in pairs.items()}
        data = assemble(name, pairs, class_names=class_names, task=task, facts=aside)
        how = "bytes, divided by 255" if data.train.scale != 1 else "numbers, as they are"
        data.facts.insert(0, ("features", f"{data.features} {how}"))
        return data

    def read(self, path: Path, reader: Callable[[Path], Any]) -> Dataset:
        """What a reader of `READERS` makes of a file."""
        found = reader(path)
        if is_table(found):
            return self.tables(path.name, {"train": as_table(found)}, [])
        if not isinstance(found, Dataset):
            raise DataError(f"{path}: its reader gave {type(found).__name__}, and neither a Dataset nor a table.")
        self.refuse(f"the reader of {path} makes a data set")
        return found

    def refuse(self, why: str, but: tuple[str, ...] = ()) -> None:
        """Refuse options that are for tables, all `but` those of these names."""
        wrong = [each for each in self.options.given if each not in but]
        if wrong and self.preparation is None:
            option = "--" + wrong[0].replace("_", "-")
            raise UsageError(f"{option} is for tables, and {why}; leave it out.")

    # ---- pictures

    def pictures(
        self, root: Path, name: str, folders: list[Path], files: list[Path], beside: Sequence[tuple[str, str]]
    ) -> Dataset:
        aside, left = list(beside), list(files)
        named = {filenames.SPLIT_NAMES[p.name.lower()]: p for p in folders if p.name.lower() in filenames.SPLIT_NAMES}
        if "train" in named:
            left += [p for p in folders if p not in named.values()]
        else:
            named = {"train": root}
        by_class: dict[str, dict[str, list[Path]]] = {}
        for split, folder in named.items():
            if (
                split != "train"
                and (loose := list(filenames.pictures_in(folder)))
                and not filenames.has_folders(folder)
            ):
                aside.append(("left aside", f"{folder.name}/, whose {len(loose):,} pictures have no classes"))
                continue
            by_class[split], others = filenames.images_by_class(folder)
            left += [p for p in others if p not in left]
        given = self.preparation
        names = sorted(by_class["train"], key=natural)
        if given is not None and given.class_names is not None:
            names = list(given.class_names)
        if not by_class["train"]:
            raise DataError(f"{named['train']} has no folders of images, one per class.")
        paths: dict[str, list[tuple[Path, int]]] = {}
        for split, classes in by_class.items():
            if unknown := sorted(set(classes) - set(names)):
                where = named["train"] if given is None else "the network"
                raise DataError(f"{named[split] / unknown[0]} is a class that {where} does not have.")
            paths[split] = [(path, names.index(each)) for each in names for path in classes.get(each, [])]
        made = None if given is None else given.pictures
        if made is None:
            trained = [path for path, _ in paths["train"]]
            held = [path for split, members in paths.items() if split != "train" for path, _ in members]
            made = fit_pictures(trained, self.options.image_size, held)
        pairs = {}
        for split, members in paths.items():
            images = read_pictures([path for path, _ in members], made)
            pairs[split] = (images, np.array([label for _, label in members], np.int32))
        shape = (made.rows, made.columns, *((3,) if made.colour else ()))
        told = f"{made.rows} x {made.columns}, {'in colour' if made.colour else 'grey'}, divided by 255"
        told += ", dark on light and turned light on dark" if made.inverted else ""
        return assemble(
            name,
            pairs,
            classes=len(names),
            class_names=names,
            image_shape=shape,
            preparation=Preparation(input_scale=1 / 255, pictures=made),
            facts=[("pictures", told), *aside, *filenames.left_aside(left, {}, root)],
        )


def _joined(tables: list[Table]) -> Table:
    """Tables of the same rows side by side, such as X_train.csv and y_train.csv."""
    first = tables[0]
    for other in tables[1:]:
        if len(other) != len(first):
            raise DataError(f"{first.name} has {len(first):,} rows and {other.name} {len(other):,}; they do not fit.")
        if both := set(first.names) & set(other.names):
            other = other.without(
                [name for name in both if other[name].values.tobytes() == first[name].values.tobytes()]
            )
            if both := set(first.names) & set(other.names):
                raise DataError(f"{first.name} and {other.name} both have a column {sorted(both)[0]}; drop one.")
        first = Table(
            first.name, [*first.columns, *other.columns], first.line, first.facts, first.header and other.header
        )
    return first


# ---- arrays in files


def _pickled(path: Path) -> DataError:
    return DataError(
        f"{path} is a pickle, which can run any program when it is opened, and is never read; write its arrays with "
        "numpy.savez(file, images=..., labels=...) where you trust it."
    )


def _in_shape(path: Path, images: Any, size: tuple[int, int]) -> Any:
    array = images if isinstance(images, stored.StoredRows) else np.asarray(images)
    if array[0].size != size[0] * size[1]:
        raise UsageError(
            f"--image-size: {path} has {array[0].size} numbers an example, and {size[0]} x {size[1]} pixels are others."
        )
    if isinstance(array, stored.StoredRows):
        array.item_shape = size
        return array
    return array.reshape(len(array), *size)


def _map_array(path: Path) -> stored.MappedArray | None:
    """The array of a file, which stays there; None where it has to be read."""
    if path.suffix.lower() == ".npy":
        return map_npy(path)
    # Pictures of EMNIST are turned when they are read.
    return None if path.suffix.lower() == ".npz" or "emnist" in path.name.lower() else map_idx(path)


def _read_array(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    if path.suffix.lower() != ".npz":
        return read_idx(path)
    names = npz_names(path)
    if len(names) != 1:
        raise DataError(f"{path} has the arrays {some(names)}; needed is one.")
    return read_npz(path, names)[0]

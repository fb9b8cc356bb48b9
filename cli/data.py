"""`gpunet data`: which data sets there are, fetching them, looking into them, proving them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import typer

from gpunet.cli.app import Command, Group
from gpunet.cli.options import setting_options
from gpunet.errors import DataError
from gpunet.runs.settings import DATA_OPTIONS, Settings

if TYPE_CHECKING:
    from gpunet.data.catalog import DatasetEntry
    from gpunet.data.dataset import Dataset

app = typer.Typer(
    cls=Group,
    help="List, fetch, inspect and verify data sets.",
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def start(context: typer.Context) -> None:
    """List, fetch, inspect and verify data sets.

    \b
    Examples:
      gpunet data list
      gpunet data get mnist
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _names(incomplete: str) -> list[str]:
    from gpunet.data.catalog import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


_NAME = typer.Argument(..., metavar="NAME", help="A data set that `gpunet data list` names.", autocompletion=_names)
_DATA_DIR = typer.Option(
    None,
    "--data-dir",
    metavar="DIR",
    help="Folder with the files. [default: $GPUNET_DATA, ./MNIST_data, the cache]",
)
_TO = typer.Option(None, "--to", metavar="DIR", help="Where to put the files. [default: the cache, $GPUNET_CACHE]")
_JSON = typer.Option(False, "--json", help="JSON lines on standard output, for programs.")
_QUIET = typer.Option(False, "--quiet", "-q", help="No progress.")


def data_options(function: Any) -> Any:
    """Give a command the options that say how data of one's own is read, as texts in `given`."""
    return setting_options(function, DATA_OPTIONS)


@app.command("list", cls=Command)
def list_command(json: bool = _JSON) -> None:
    """List the data sets known by name, how large they are and where they are.

    \b
    Example:
      gpunet data list
    """
    from gpunet.cli import display
    from gpunet.data.catalog import DATASETS

    if json:
        for entry in DATASETS.values():
            _print_json({**_facts(entry), "summary": entry.summary})
        return
    rows = [
        [
            e.name,
            f"{e.train + e.validation + e.test:,}",
            str(e.classes or ""),
            display.size(e.size),
            e.licence,
        ]
        for e in DATASETS.values()
    ]
    display.table(["data set", "examples", "classes", "size", "licence"], rows)
    display.line()
    display.pairs([(entry.name, _place(entry)) for entry in DATASETS.values()])


@app.command("get", cls=Command)
def get_command(
    name: str = _NAME,
    to: Optional[str] = _TO,
    quiet: bool = _QUIET,
) -> None:
    """Fetch a data set and print the folder where it is; what is there already is kept.

    A download that was cut off is gone on with, each file is proven by its sha256, and a mirror
    that fails is followed by the next. GPUNET_MIRROR names a server of your own, asked first.

    \b
    Examples:
      gpunet data get mnist
      gpunet data get fashion-mnist --to data/fashion
    """
    from gpunet.cli import display

    entry = _entry(name)
    with display.DownloadBar(quiet=quiet) as progress:
        folder = entry.fetch(to, progress)
    display.line(str(folder))


@app.command("info", cls=Command)
@data_options
def info_command(
    given: dict[str, str],
    data: str = typer.Argument(
        ...,
        metavar="NAME|PATH",
        help="A data set by name, or a file or folder of your own.",
        autocompletion=_names,
    ),
    data_dir: Optional[str] = _DATA_DIR,
    json: bool = _JSON,
) -> None:
    """Show what is in a data set: sizes of the splits, classes and their counts, checksum, licence.

    \b
    Examples:
      gpunet data info mnist-5k
      gpunet data info my-digits/ --json
      gpunet data info houses.csv --target price --drop id
    """
    from gpunet.cli import display
    from gpunet.data.catalog import DATASETS
    from gpunet.data.load import load_dataset

    entry = DATASETS.get(data)
    if entry is not None and entry.locate(data_dir) is None:
        # Looking at a data set is no reason to download it.
        facts = _facts(entry)
        rows = _catalogue_rows(entry)
        counts: list[list[str]] = []
    else:
        dataset = load_dataset(data, data_dir, **Settings.from_dict(given).data_options)
        facts = _contents(dataset)
        if entry is not None:
            facts = {**_facts(entry, data_dir), **facts}
        rows = [*(_catalogue_rows(entry, data_dir) if entry is not None else [("name", dataset.name)])]
        rows += _content_rows(dataset)
        counts = _count_rows(dataset)
    if json:
        _print_json(facts)
        return
    display.pairs(rows)
    if counts:
        display.line()
        display.table(counts[0], counts[1:])


@app.command("verify", cls=Command)
def verify_command(
    name: str = _NAME,
    data_dir: Optional[str] = _DATA_DIR,
    json: bool = _JSON,
) -> None:
    """Compare the sha256 of each file of a data set with the published one; exit code 1 if one
    differs.

    \b
    Examples:
      gpunet data verify mnist
      gpunet data verify mnist --data-dir MNIST_data
    """
    from gpunet.cli import display

    entry = _entry(name)
    states = entry.verify(data_dir)
    if all(state.state == "missing" for state in states):
        raise DataError(f"{name} is not downloaded; get it with: gpunet data get {name}")
    for state in states:
        if json:
            _print_json({"file": str(state.path), "state": state.state, "sha256": state.sha256})
    if not json:
        display.table(["file", "state"], [[state.name, state.state] for state in states])
    if bad := [f"{state.path} is {state.state}" for state in states if state.state != "ok"]:
        folder = states[0].path.parent
        to = "" if folder == entry.cache_folder() else f" --to {folder}"
        remedy = "install gpunet anew" if entry.bundled else f"fetch it again with: gpunet data get {name}{to}"
        raise DataError(f"{', '.join(bad)}; {remedy}")


def _entry(name: str) -> DatasetEntry:
    from gpunet.data.catalog import DATASETS

    return DATASETS.make(name)


def _place(entry: DatasetEntry) -> str:
    folder = entry.locate()
    if folder is None:
        return "not downloaded"
    return f"in the package, {folder}" if entry.bundled else str(folder)


def _facts(entry: DatasetEntry, data_dir: str | None = None) -> dict[str, Any]:
    folder = entry.locate(data_dir)
    return {
        "name": entry.name,
        "images": {"train": entry.train, "validation": entry.validation, "test": entry.test},
        "classes": entry.classes,
        "image_shape": None if entry.image_shape is None else list(entry.image_shape),
        "bytes": entry.size,
        "folder": None if folder is None else str(folder),
        "authors": entry.authors,
        "licence": entry.licence,
        "origin": entry.origin,
    }


def _contents(dataset: Dataset) -> dict[str, Any]:
    splits = dataset.splits()
    return {
        "name": dataset.name,
        "images": {title: len(splits[title]) if title in splits else 0 for title in ("train", "validation", "test")},
        "task": dataset.task,
        "classes": dataset.classes,
        "class_names": dataset.class_names,
        "features": dataset.features,
        "image_shape": None if dataset.image_shape is None else list(dataset.image_shape),
        "dtype": str(dataset.train.images.dtype),
        "class_counts": {title: split.class_counts().tolist() for title, split in splits.items()},
        "taken": [{"what": label, "as": text} for label, text in dataset.facts],
        "checksum": dataset.checksum,
    }


def _catalogue_rows(entry: DatasetEntry, data_dir: str | None = None) -> list[tuple[str, str]]:
    from gpunet.cli import display

    folder = entry.locate(data_dir)
    missing = f"not downloaded ({display.size(entry.size)}): gpunet data get {entry.name}"
    return [
        ("name", entry.name),
        ("what", entry.summary),
        ("where", missing if folder is None else str(folder)),
        ("authors", entry.authors),
        ("licence", entry.licence),
        ("origin", entry.origin),
    ]


def _content_rows(dataset: Dataset) -> list[tuple[str, str]]:
    shape = " x ".join(map(str, dataset.image_shape)) if dataset.image_shape else f"{dataset.features} features"
    sizes = ", ".join(f"{len(split):,} {title}" for title, split in dataset.splits().items())
    kind = f"{dataset.train.images.dtype}, {shape}"
    return [
        ("images" if dataset.image_shape else "examples", sizes),
        ("each", kind),
        ("targets" if dataset.task == "regression" else "classes", _told_targets(dataset)),
        *dataset.facts,
        ("checksum", dataset.checksum),
    ]


def _told_targets(dataset: Dataset) -> str:
    if dataset.task == "regression":
        return f"{dataset.outputs} to be predicted"
    return f"{dataset.classes} labels, several of an example" if dataset.task == "multi-label" else str(dataset.classes)


def _count_rows(dataset: Dataset) -> list[list[str]]:
    """A table of the examples of each class in each split, for at most a hundred classes."""
    if dataset.task == "regression":
        return []
    splits = dataset.splits()
    names = dataset.class_names or [str(number) for number in range(dataset.classes)]
    counts = [split.class_counts() for split in splits.values()]
    rows = [["class", *splits]]
    rows += [[name, *(f"{count[number]:,}" for count in counts)] for number, name in enumerate(names[:100])]
    if len(names) > 100:
        rows.append([f"and {len(names) - 100:,} more", *("" for _ in counts)])
    return rows


def _print_json(record: dict[str, Any]) -> None:
    import json
    import sys

    sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")

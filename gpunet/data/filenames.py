"""What the names of files and arrays say: which split they belong to, and whether they are inputs or targets."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpunet.data.arrays import natural
from gpunet.data.columns import some
from gpunet.data.reader import is_table_file, suffix_of
from gpunet.errors import DataError

SPLIT_NAMES = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip
#: Suffixes of pictures.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
#: Suffixes of files that hold pickles, which can run any program when they are opened.
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".p")
#: What systems leave in folders and archives, beside names that begin with a point.
LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")
#: Suffixes of what is no idx file, whose names may end in anything else.
NO_IDX = (".npz", ".npy", ".csv", ".tsv", ".txt", ".part", ".md", ".json", ".parquet", ".zip", *PICTURES, *PICKLES)
_INPUTS = ("x", "images", "image", "imgs", "inputs", "features", "data")
_TARGETS = ("y", "labels", "label", "targets", "target", "classes")

#: Split -> role -> file (or the name of an array).
Pairs = dict[str, dict[Any, Any]]


def role_of(name: str) -> tuple[str, str | None]:
    """The split that a file's (or an array's) name says, train unless another, and "inputs", "targets" or None."""
    stem = re.sub(r"(\.gz|\.npy|\.npz|\.csv|\.tsv|\.parquet|[-_.]?idx\d?([-_.]ubyte)?)+$", "", name.lower())
    words = re.split(r"[-_. ]+", re.sub(r"^([xy])(train|test|val|valid|validation)$", r"\1_\2", stem))
    split = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "train")
    roles = ["inputs" if word in _INPUTS else "targets" for word in words if word in (*_INPUTS, *_TARGETS)]
    return split, roles[-1] if roles else None


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without hidden files and what systems leave there."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in LITTER)


def matching(pattern: Path) -> list[Path]:
    """The files that a pattern such as shards/*.npy matches, in the natural order of their names; none without one."""
    if not glob.has_magic(str(pattern)):
        return []
    found = [Path(name) for name in glob.glob(str(pattern), recursive=True)]
    return sorted(
        (path for path in found if path.is_file()), key=lambda path: [*map(natural, re.split(r"(\d+)", str(path)))]
    )


def pairs_among(names: list[Any]) -> Pairs:
    """Split -> role -> file (or array), of those whose names say their role; {} where nothing does."""
    found: Pairs = {}
    for each in names:
        split, role = role_of(each if isinstance(each, str) else each.name)
        if role is not None:
            # A file beside its .gz: the names are sorted, so the unpacked one comes first and counts.
            found.setdefault(split, {}).setdefault(role, each)
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def names_of(found: Pairs) -> list[str]:
    """The names of the files that were found."""
    return [path.name for roles in found.values() for path in roles.values()]


def both_of(folder: Path, split: str, files: dict[str, Path]) -> tuple[Path, Path]:
    """The files with the inputs and the targets of a split.

    Raises:
        DataError: one of them is missing.
    """
    if len(files) < 2:
        there = next(iter(files.values())).name
        lacking = "labels" if "inputs" in files else "images"
        raise DataError(f"{folder} has {there} but no {split}-{lacking} file to go with it.")
    return files["inputs"], files["targets"]


def left_aside(names: list[Path], used: Pairs, root: Path | None = None) -> list[tuple[str, str]]:
    """The fact that names what of a folder was not read, as seen from `root` where that is another one."""
    taken = {str(path) for roles in used.values() for path in roles.values()}
    left = [
        (p.name if root is None else p.relative_to(root).as_posix()) + ("/" if p.is_dir() else "")
        for p in names
        if str(p) not in taken
    ]
    return unread(left)


def unread(names: list[str]) -> list[tuple[str, str]]:
    """The fact that names what was not read, where there is something."""
    return [("left aside", some(names))] if names else []


def tables_among(files: list[Path]) -> dict[str, list[Path]]:
    """The tables among files by split, inputs before targets, or {} where there is no telling which is which."""
    tables = [path for path in files if is_table_file(path)]
    found: dict[str, list[Path]] = {}
    for path in tables:
        words = re.split(r"[-_. ]", path.name.lower())
        named = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
        split, role = role_of(path.name)
        if named is None and role is None:
            continue
        found.setdefault(split, [])
        if role == "targets":
            found[split].append(path)
        elif not any(role_of(p.name)[1] != "targets" for p in found[split]):
            found[split].insert(0, path)
    found = {split: parts for split, parts in found.items() if role_of(parts[0].name)[1] != "targets"}
    if "train" in found:
        return {split: found[split] for split in ("train", "validation", "test") if split in found}
    sure = [path for path in tables if suffix_of(path) not in (".txt", ".data")]  # which may be anything
    return {"train": sure} if len(sure) == 1 else {}


def pictures_in(folder: Path) -> Iterator[Path]:
    """The pictures in a folder, in no order."""
    return (p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith("."))


def has_folders(folder: Path) -> bool:
    """Whether a folder has others in it."""
    return any(p.is_dir() and not p.name.startswith(".") for p in folder.iterdir())


def images_by_class(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The pictures in each folder of a folder, which is named as their class, and what else there is.

    Raises:
        DataError: a folder has none.
    """
    classes: dict[str, list[Path]] = {}
    others: list[Path] = []
    for sub in entries(folder):
        if not sub.is_dir():
            others.append(sub)
            continue
        classes[sub.name] = sorted(pictures_in(sub))
        seen = set(classes[sub.name])
        others += [p for p in entries(sub) if p not in seen]
        if not seen:
            raise DataError(f"The class folder {sub} has no images ({', '.join(PICTURES)}).")
    return classes, others

"""What the columns of a table are, target or feature, and of what task the target is.

Where two readings are possible the table is refused with the option that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpunet.data.arrays import choose_task
from gpunet.data.columns import BOOLEAN, NUMBER, TEXT, TIME, Column, Table, some
from gpunet.data.options import DataOptions
from gpunet.data.preparation import numbers_of
from gpunet.errors import DataError, UsageError

#: Names by which a column is known as the target, in lower case.
TARGET_NAMES = (
    "target", "targets", "label", "labels", "class", "classes", "y", "species", "outcome", "response", "diagnosis",
    "digit",
)  # fmt: skip
#: Names of a first column that tells the rows apart, beside none at all.
INDEX_NAMES = ("", "unnamed: 0", "rownames", "index")
#: What pandas calls the index of a frame in Parquet and Feather, where it has no name.
FRAME_INDEX = re.compile(r"__index_level_\d+__")
#: What the names of columns look like that tell the rows apart.
IDENTIFIER = re.compile(r"(.*[-_. ])?(id|Id|ID)|.*[a-z]I[dD]")
#: What the names of pixels look like.
PIXEL = re.compile(r"(pixel|px|pix)[-_. ]?\d+|\d+x\d+", re.IGNORECASE)


@dataclass
class Roles:
    """What the columns of a table are.

    Attributes:
        targets: names of the target columns.
        features: names of the features.
        group: the name of the group column, or None.
        weight: the name of the column of sample weights, or None.
        facts: what was taken for what, as labels and texts.
    """

    targets: list[str]
    features: list[str]
    group: str | None = None
    weight: str | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)


def find_columns(option: str, given: Sequence[str], table: Table) -> list[str]:
    """The names of columns given by name or by position; a column of that name wins.

    Raises:
        UsageError: there is no such column.
    """
    found = []
    for each in given:
        names = table.names
        if each in names:
            found.append(each)
        elif re.fullmatch(r"-?\d+", each) and -len(names) <= int(each) < len(names):
            found.append(names[int(each)])
        else:
            raise UsageError(f"{option}: {table.name} has no column {each}; it has {some(names)}.")
    return list(dict.fromkeys(found))


def choose_roles(table: Table, options: DataOptions) -> Roles:
    """Which columns are target and features.

    Raises:
        DataError: there is no telling; the columns are listed.
        UsageError: an option names a column that is not there.
    """
    facts: list[tuple[str, str]] = []
    if not table.header:
        facts.append(("header", "none; columns are named by their position, from 0"))
    drop = find_columns("--drop", options.drop, table)
    group = one_column("--group", options.group, table)
    weight = one_column("--weight", options.weight, table)
    apart = [name for name in (group, weight) if name is not None]
    wanted = find_columns("--features", options.features, table) if options.features is not None else None
    if wanted is None:
        index = [name for name in _indices(table) if name not in (*drop, *(options.target or ()))]
        drop += index
        facts += [
            ("index", f"{name or 'the first column'}, which counts or names the rows, is no feature") for name in index
        ]
    if options.target is not None:
        targets = find_columns("--target", options.target, table)
    else:
        targets = [_find_target(table.without([*drop, *apart]), table)]
    names = wanted if wanted is not None else [n for n in table.names if n not in drop]
    features = [name for name in names if name not in (*targets, *apart, *drop)]
    for column in (table[name] for name in features):
        if column.kind in (NUMBER, TIME):
            numbers_of(table, column)  # which refuses what is not finite
        elif column.kind == TEXT and (~column.not_numbers() & ~column.missing).sum() * 2 > (~column.missing).sum():
            numbers_of(table, column)  # nearly all are numbers: the sentence says which one is not
        if column.kind == NUMBER and (does := _tells_rows_apart(column)):
            facts.append(("look at", f"{column.name}, which {does}; --drop {column.name} leaves it out"))
    if not features:
        raise DataError(f"{table.name} has no features beside the target {some(targets)}.")
    if weight is not None:
        facts.append(("weights", f"{weight}, of each row"))
    return Roles(targets, features, group, weight, facts)


def one_column(option: str, given: str | None, table: Table) -> str | None:
    """The name of a column given by name or by position, or None where none is.

    Raises:
        UsageError: there is no such column.
    """
    return None if given is None else find_columns(option, [given], table)[0]


def _find_target(candidates: Table, table: Table) -> str:
    named = [column.name for column in candidates.columns if column.name.lower() in TARGET_NAMES]
    if len(named) != 1:  # beside columns that are named as pixels, a single other one is the target
        others = [name for name in candidates.names if not PIXEL.fullmatch(name)]
        named = others if len(others) == 1 and len(candidates.columns) > 2 else named
    if len(named) == 1:
        return named[0]
    if not named and table.classes is not None:
        return table.names[-1]
    if not named and not table.header and candidates.columns:
        ends = {column.name: column for column in (candidates.columns[0], candidates.columns[-1])}
        fitting = [name for name, column in ends.items() if _can_be_classes(column)]
        if len(fitting) == 1:
            return fitting[0]
    why = f"{some(named)} may each be the target" if named else "which column is the target is not said"
    raise DataError(
        f"{table.name}: {why}; name it with --target COLUMN. The columns are {some(candidates.names or table.names)}."
    )


def _can_be_classes(column: Column) -> bool:
    """Whether an end column of a table without names can only be one of classes."""
    if column.kind in (TEXT, BOOLEAN):
        return column.kind == BOOLEAN or 1 < len(column.texts) <= len(column) // 2
    if column.kind != NUMBER or column.missing.any() or len(np.unique(column.values[:10_000])) < 2:
        return False
    try:
        return choose_task(column.values, several=True) == "classification"
    except DataError:
        return False


def _tells_rows_apart(column: Column) -> str:
    """How a column of numbers tells the rows apart instead of saying something of them, or "" where it does not."""
    if len(column) > 1 and (np.diff(column.values) == 1).all():
        return "counts the rows"
    return "has another number in each row" if IDENTIFIER.fullmatch(column.name) and _all_different(column) else ""


def _indices(table: Table) -> list[str]:
    """The columns that are the index of a frame, or the names of its rows: each row has a text or number of its own."""
    first = table.columns[0]
    index = [first.name] if first.name.lower() in INDEX_NAMES and _all_different(first) else []
    return index + [name for name in table.names if FRAME_INDEX.fullmatch(name)]


def _all_different(column: Column) -> bool:
    if column.kind == NUMBER:
        values = np.unique(column.values)
        return len(values) == len(column) and bool((values == np.floor(values)).all())
    return column.kind == TEXT and len(column.texts) == len(column) and not column.missing.any()


def task_of_targets(table: Table, roles: Roles, options: DataOptions) -> tuple[str, str]:
    """The task, and how the target was read, in a few words."""
    columns = [table[name] for name in roles.targets]
    names = some(roles.targets)
    task = options.task
    texts = [column.name for column in columns if column.kind in (TEXT, BOOLEAN)]
    if task == "auto":
        if len(columns) == 1:
            task = _task_of_one(table, columns[0])
        elif all(_is_flag(column) for column in columns):
            task = "multi-label"
        elif not texts:
            task = "regression"
        else:
            raise DataError(
                f"{table.name}: the targets {names} are texts and numbers together; several targets are all 0 or 1, or "
                "all numbers."
            )
    if task == "classification":
        if len(columns) > 1:
            raise UsageError(f"--target: classes are in a single column, and {names} are {len(columns)}.")
        if columns[0].kind == TIME:
            raise UsageError(f"--task: the target {names} is a time, which is no class.")
        count = len(np.unique(columns[0].as_text().values))
        if count < 2:
            raise DataError(f"{table.name}: the target {names} is the same in all rows.")
        return task, f", {count} classes"
    if task == "multi-label":
        if wrong := [column.name for column in columns if not _is_flag(column)]:
            raise UsageError(f"--task: several labels are 0 or 1 in each row, and {some(wrong)} is not.")
        return task, f", {len(columns)} labels"
    for column in columns:
        if column.kind == BOOLEAN or column.not_numbers().any():
            raise UsageError(f"--task: the target {column.name} is no number in all rows, so there is no regression.")
        if len(np.unique(column.as_numbers())) < 2:
            raise DataError(f"{table.name}: the target {column.name} is the same in all rows.")
    return task, ", a number to be predicted" if len(columns) == 1 else ", numbers to be predicted"


def _task_of_one(table: Table, column: Column) -> str:
    if column.kind in (TEXT, BOOLEAN):
        if column.kind == TEXT and len(column.texts) > len(column) / 2 and len(column) > 20:
            raise DataError(
                f"{table.name}: the target {column.name} has {len(column.texts):,} different texts in {len(column):,} "
                "rows, which are no classes; name another one with --target."
            )
        return "classification"
    if column.kind == TIME:
        return "regression"
    try:
        return choose_task(column.values, f"the target {column.name}", several=True)
    except DataError as error:
        reason = str(error).split("; say which")[0]
        raise DataError(f"{table.name}: {reason}; say which with --task classification or --task regression.") from None


def _is_flag(column: Column) -> bool:
    return column.kind != TEXT and bool(np.isin(column.values, (0, 1)).all())

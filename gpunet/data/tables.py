"""Tables as data sets: which column is the target, which are features, of what task they are, and how they are split.

Nothing is guessed in silence: what was taken for what is said in `Dataset.facts`, and where two readings are possible
the table is refused with the option that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from gpunet.data.arrays import as_weights, choose_task, natural
from gpunet.data.columns import BOOLEAN, NUMBER, TEXT, TIME, Column, Table, some
from gpunet.data.dataset import Dataset
from gpunet.data.parquet import StoredTable
from gpunet.data.preparation import (
    Category,
    Number,
    Preparation,
    are_bytes,
    check_scale,
    fit_category,
    fit_number,
    fit_targets,
    numbers_of,
)
from gpunet.data.split import Split, check_task
from gpunet.data.stored import StoredRows
from gpunet.errors import DataError, UsageError

#: Names by which a column is known as the target, in lower case.
TARGET_NAMES = (
    "target", "targets", "label", "labels", "class", "classes", "y", "species", "outcome", "response", "diagnosis",
    "digit",
)  # fmt: skip
#: Names of a first column that counts the rows, beside none at all.
INDEX_NAMES = ("", "unnamed: 0", "rownames", "index")
#: The share of a table without a test split that is kept for testing.
TEST = 0.2
#: Texts of more different values than this are no categories.
MOST_CATEGORIES = 1000
#: Columns that hold a square picture of at least this side are pixels, where they are bytes that reach the upper half.
SMALLEST_SIDE = 5

_PIXEL = re.compile(r"(pixel|px|pix)[-_. ]?\d+|\d+x\d+", re.IGNORECASE)


@dataclass(frozen=True)
class DataOptions:
    """How data of one's own is to be read.

    Attributes:
        target: the target columns, by name or by position from 0 (negative from the end); None to find it.
        features: the columns that are inputs, the same way; None for all others.
        drop: columns to leave out.
        task: "auto", "classification", "multi-label" or "regression".
        scale: "auto", "standard", "robust", "minmax", "none" or "pixels".
        test: the share of the rows that is kept for testing where there is no test split; None for none.
        group: a column; rows of one value of it go to the same split, and it is no feature.
        weight: a column with a sample weight for each row, which is no feature.
        image_size: (rows, columns) of pictures, or of the pixels in a row.
        missing: "impute", or "flag" for one more feature where values are missing.
        bins: of the piecewise-linear encoding of numbers; 0 for none.
        clip: whether ("on", "off") predictions of a regression are clipped to the range of the training targets.
    """

    target: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    task: str = "auto"
    scale: str = "auto"
    test: float | None = TEST
    group: str | None = None
    weight: str | None = None
    image_size: tuple[int, int] | None = None
    missing: str = "impute"
    bins: int = 0
    clip: bool | str = False

    def __post_init__(self) -> None:
        if self.task != "auto":
            check_task(self.task)
        check_scale(self.scale)
        if self.missing not in ("impute", "flag"):
            raise UsageError(f'missing must be "impute" or "flag", not {self.missing!r}.')
        if self.test is not None and not 0 < self.test < 1:
            raise UsageError(f"test is a fraction above 0 and below 1, or None, not {self.test!r}.")
        if self.clip in ("on", "off"):
            object.__setattr__(self, "clip", self.clip == "on")
        for name in ("target", "features", "drop"):
            value = getattr(self, name)
            if isinstance(value, (str, int)):
                object.__setattr__(self, name, (str(value),))
            elif value is not None:
                object.__setattr__(self, name, tuple(map(str, value)))

    @property
    def given(self) -> list[str]:
        """The names of those that are not as they are by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]


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


def load_tables(name: str, tables: dict[str, Table], options: DataOptions) -> Dataset:
    """The data set in tables, split name -> table; "train" is among them.

    Raises:
        DataError: the tables are not what they should be, or may be read in two ways.
        UsageError: an option does not fit them.
    """
    train = tables["train"]
    if len(train.columns) < 2:
        raise DataError(
            f"{train.name} is no data set: it has a single column, and a table needs a target and features."
        )
    roles = choose_roles(train, options)
    facts = [*train.facts, *roles.facts]
    parts = _with_targets(tables, roles.targets, facts)
    task, how = _task(parts["train"], roles, options)
    facts.append(("target", f"{some(roles.targets)}{how}"))
    if "test" not in parts and options.test is not None:
        parts.update(_with_test(parts["train"], roles, task, options.test, facts))
    preparation, more = fit(parts["train"], roles, task, options)
    return _dataset(name, parts, preparation, roles, [*facts, *more])


def apply_tables(
    name: str, tables: dict[str, Table], preparation: Preparation, options: DataOptions | None = None
) -> Dataset:
    """The data set in tables, prepared as a network was trained; split name -> table.

    With `options` the test rows are drawn as they were for training; without them the table is left whole.

    Raises:
        DataError: the tables lack a column, or hold something else than training saw.
    """
    targets = list(preparation.target_names)
    facts: list[tuple[str, str]] = []
    parts = _with_targets(tables, targets, facts)
    options = options or DataOptions(test=None)
    group, weight = (
        _one_column(option, column, parts["train"])
        for option, column in (("--group", options.group), ("--weight", options.weight))
    )
    roles = Roles(targets, [], group, weight)
    if options.test is not None and "test" not in parts:
        parts.update(_with_test(parts["train"], roles, preparation.task, options.test, facts))
    for table in parts.values():
        facts += [("new to the network", remark) for remark in preparation.known(table)]
    return _dataset(name, parts, preparation, roles, facts)


def _dataset(
    name: str, parts: dict[str, Table], preparation: Preparation, roles: Roles, facts: list[tuple[str, str]]
) -> Dataset:
    """The data set of prepared tables; split name -> table."""
    splits = {split: split_of(table, preparation, roles.targets, roles.weight) for split, table in parts.items()}
    if roles.group is not None:
        _group(splits, parts, roles.group)
        facts.append(("groups", f"rows of one {roles.group} stay together, whatever is held out"))
    if preparation.columns is None:
        _as_one_dtype(splits, preparation)
    return Dataset(
        name,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        class_names=preparation.class_names,
        image_shape=preparation.image_shape,
        preparation=preparation,
        facts=facts,
    )


def _group(splits: dict[str, Split], parts: dict[str, Table], column: str) -> None:
    """Number the groups of the rows that may be held out: texts by their first appearance, and what is missing last."""
    numbers: dict[str | None, int] = {}
    for name in ("train", "validation"):
        if name in parts and column in parts[name]:
            known = parts[name][column].as_text()
            found = [numbers.setdefault(text, len(numbers)) for text in (*known.texts, None)]
            splits[name].groups = np.array(found, np.int64)[known.values]


def split_of(table: Table, preparation: Preparation, targets: Sequence[str], weight: str | None = None) -> Split:
    """The rows of a table as a split.

    Args:
        table: the rows.
        preparation: what was fitted on the training rows.
        targets: the target columns.
        weight: the column of sample weights; where the table has none of that name all weigh alike.

    Raises:
        DataError: a column is missing or holds something else than training saw.
    """
    inputs = table.inputs(preparation) if isinstance(table, StoredTable) else preparation.apply(table)
    values: np.ndarray
    if preparation.task == "regression":
        values, classes = np.stack([numbers_of(table, table[name]) for name in targets], axis=1), 0
    elif preparation.task == "multi-label":
        flags = np.stack([numbers_of(table, table[name]) for name in targets], axis=1)
        values, classes = flags.astype(np.float32), len(targets)
    else:
        values, classes = preparation.classes_of(table[targets[0]], table), len(preparation.class_names or ())
    weights = None
    if weight is not None and weight in table:
        weights = as_weights(
            numbers_of(table, table[weight]), len(table), f"{table.name}: values of {weight}, as weights,"
        )
    return Split.trusted(inputs, values, classes, preparation, weights, preparation.image_shape)


def _as_one_dtype(splits: dict[str, Split], preparation: Preparation) -> None:
    """Bytes of one split become numbers where another split has a number that is no byte."""
    if len({split.inputs.dtype for split in splits.values()}) > 1:
        for title, split in splits.items():
            if isinstance(split.inputs, StoredRows):
                raise DataError(f"The {title} examples are pixels from 0 to 255, and those of another split are not.")
            if split.inputs.dtype == np.uint8:
                split.inputs = split.inputs.astype(np.float32) * np.float32(preparation.input_scale)


# ---- what the columns are


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
    group = _one_column("--group", options.group, table)
    weight = _one_column("--weight", options.weight, table)
    apart = [name for name in (group, weight) if name is not None]
    wanted = find_columns("--features", options.features, table) if options.features is not None else None
    first = table.columns[0]
    counts = first.kind == NUMBER and _counts_rows(first)
    asked = first.name in (*drop, *(options.target or ()))
    if wanted is None and not asked and first.name.lower() in INDEX_NAMES and (counts or _all_different(first)):
        drop.append(first.name)
        facts.append(("index", "the first column, which counts or names the rows, is no feature"))
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
        if column.kind == NUMBER and _counts_rows(column):
            facts.append(("look at", f"{column.name}, which counts the rows; --drop {column.name} leaves it out"))
    if not features:
        raise DataError(f"{table.name} has no features beside the target {some(targets)}.")
    if weight is not None:
        facts.append(("weights", f"{weight}, of each row"))
    return Roles(targets, features, group, weight, facts)


def _one_column(option: str, given: str | None, table: Table) -> str | None:
    return None if given is None else find_columns(option, [given], table)[0]


def _find_target(candidates: Table, table: Table) -> str:
    named = [column.name for column in candidates.columns if column.name.lower() in TARGET_NAMES]
    if len(named) != 1:  # beside columns that are named as pixels, a single other one is the target
        others = [name for name in candidates.names if not _PIXEL.fullmatch(name)]
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


def _counts_rows(column: Column) -> bool:
    """Whether a column of numbers counts the rows, from any number on."""
    values = column.values
    return len(values) > 1 and bool((np.diff(values) == 1).all())


def _all_different(column: Column) -> bool:
    return column.kind == TEXT and len(column.texts) == len(column) and not column.missing.any()


# ---- rows and splits


def _with_targets(tables: dict[str, Table], targets: Sequence[str], facts: list[tuple[str, str]]) -> dict[str, Table]:
    """The tables that have the target columns, with the rows that have a target; split name -> table."""
    parts = {}
    for split, table in tables.items():
        if absent := [target for target in targets if target not in table]:
            if split == "train":
                raise DataError(f"{table.name} has no column {some(absent)}, so there is nothing to compare with.")
            facts.append(("left aside", f"{Path(table.name).name}, which has no column {some(absent)}"))
            continue
        parts[split] = _labelled(table, targets, facts)
    return parts


def _labelled(table: Table, targets: Sequence[str], facts: list[tuple[str, str]]) -> Table:
    """The rows that have a target."""
    missing = np.zeros(len(table), bool)
    for name in targets:
        missing |= table[name].missing
    if not missing.any():
        return table
    if missing.all():
        raise DataError(f"{table.name} has no value in the column {some(targets)}.")
    where = table.place(int(np.argmax(missing)))
    facts.append(("left out", f"{missing.sum():,} rows of {Path(table.name).name} without a target, as in {where}"))
    return table.take(np.flatnonzero(~missing))


def _with_test(table: Table, roles: Roles, task: str, share: float, facts: list[tuple[str, str]]) -> dict[str, Table]:
    """A table parted into training and test rows, always the same ones."""
    generator = np.random.default_rng(0)
    count = len(table)
    held = np.zeros(count, bool)
    if roles.group is not None:
        groups = table[roles.group].as_text()
        numbers = np.where(groups.values < 0, len(groups.texts), groups.values)
        for group in generator.permutation(np.unique(numbers)):
            if held.sum() >= share * count:
                break
            held |= numbers == group
        how = f"by groups of {roles.group}"
    elif task == "classification":
        codes = table[roles.targets[0]].as_text().values
        for code in np.unique(codes):
            rows = np.flatnonzero(codes == code)
            held[generator.permutation(rows)[: round(share * len(rows))]] = True
        how = "of each class"
    else:
        held[generator.permutation(count)[: round(share * count)]] = True
        how = "of the rows"
    if (held.all() or not held.any()) and share == TEST:  # nobody asked for it
        facts.append(("test", "none, for there are too few rows; --test gives a share"))
        return {"train": table}
    if held.all() or not held.any():
        raise DataError(
            f"{table.name} has too few rows ({count:,}) or groups to keep {share:.0%} of them for testing; give "
            "another --test FRACTION, or none."
        )
    facts.append(("test", f"{share:.0%} {how}, drawn at random; --test gives another share, or none"))
    return {"train": table.take(np.flatnonzero(~held)), "test": table.take(np.flatnonzero(held))}


def _task(table: Table, roles: Roles, options: DataOptions) -> tuple[str, str]:
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


# ---- what is fitted


def fit(table: Table, roles: Roles, task: str, options: DataOptions) -> tuple[Preparation, list[tuple[str, str]]]:
    """What is fitted on the training rows, and the facts about it.

    Raises:
        DataError: a column cannot be a feature.
        UsageError: an option does not fit the columns.
    """
    facts: list[tuple[str, str]] = []
    columns = [table[name] for name in roles.features]
    class_names: tuple[str, ...] | None = None
    targets = None
    if task == "classification":
        given = table[roles.targets[0]]
        texts = given.as_text()
        seen = sorted({texts.texts[code] for code in np.unique(texts.values)}, key=natural)
        class_names = tuple(seen)
    elif task == "multi-label":
        class_names = tuple(roles.targets)
    else:
        values = np.stack([table[name].as_numbers() for name in roles.targets], axis=1)
        targets = fit_targets(roles.targets, values, clip=bool(options.clip))
    base = Preparation(
        task=task,
        class_names=class_names,
        target=roles.targets[0] if task == "classification" else None,
        targets=targets,
    )
    if shape := _pixels(table.name, columns, options):
        side, reason = shape
        names = tuple(roles.features)
        facts.append(("features", f"{len(names)} columns of bytes as pixels, divided by 255: {reason}"))
        return base.with_changes(input_scale=1 / 255, names=names, image_shape=side), facts
    method = "standard" if options.scale == "auto" else options.scale
    fitted: list[Number | Category] = []
    told: dict[str, list[str]] = {}
    explicit = options.features is not None
    for column in columns:
        kept, group, remark = _fit_column(column, method, explicit, options)
        told.setdefault(group, []).append(remark or column.name)
        if kept is not None:
            fitted.append(kept)
    if not fitted:
        raise DataError(f"{table.name}: no column is left as a feature ({'; '.join(told.get('left out', []))}).")
    numbers = [column for column in fitted if isinstance(column, Number)]
    categories = [column for column in fitted if isinstance(column, Category)]
    facts.append(("features", _told_features(numbers, categories, method, options)))
    if told.get("left out"):
        facts.append(("left out", "; ".join(told["left out"])))
    absent = sum(int(column.missing.sum()) for column in columns)
    if absent:
        how = "the median or most frequent value" + (" and a flag" if options.missing == "flag" else "")
        facts.append(("missing", f"{absent:,} values, taken for {how}"))
    return base.with_changes(columns=tuple(fitted)), facts


def _told_features(numbers: Sequence[Number], categories: Sequence[Category], method: str, options: DataOptions) -> str:
    parts = []
    ways = {"standard": "standardised", "robust": "scaled by median and quartiles", "minmax": "scaled to 0 and 1"}
    if numbers:
        bins = f", and in up to {options.bins} bins each" if options.bins else ""
        parts.append(f"{len(numbers)} numbers, {ways.get(method, 'as they are')}{bins}")
    if categories:
        width = sum(len(column.values) for column in categories)
        parts.append(f"{len(categories)} categories as {width} columns of 0 and 1")
    return "; ".join(parts)


def _fit_column(
    column: Column, method: str, explicit: bool, options: DataOptions
) -> tuple[Number | Category | None, str, str]:
    """A column as it is fitted or None, where it is told of, and what is said of it."""
    flag, name, count = options.missing == "flag", column.name, len(column)
    known = column.values[~column.missing]
    different = len(np.unique(known))
    if different < 2 and not (flag and column.missing.any()):
        return None, "left out", f"{name}, the same in all rows"
    if column.kind == TEXT:
        if not explicit and (different > MOST_CATEGORIES or (count > 20 and different > count / 2)):
            return None, "left out", f"{name}, {different:,} different texts in {count:,} rows"
        category, _ = fit_category(name, column.values, column.texts, flag=flag)
        return category, "category", ""
    if column.kind == BOOLEAN:
        return fit_number(name, column.values, "none", flag=flag), "number", ""
    return fit_number(name, column.values, method, flag=flag, bins=options.bins), "number", ""


def _pixels(name: str, columns: Sequence[Column], options: DataOptions) -> tuple[tuple[int, ...] | None, str] | None:
    """The shape of the picture (or None) that the columns hold, and why they are pixels; None where they are not."""
    if options.scale not in ("auto", "pixels"):
        return None
    numbers = [column for column in columns if column.kind == NUMBER and not column.missing.any()]
    fitting = len(numbers) == len(columns) and all(are_bytes(column.values) for column in numbers)
    size = options.image_size
    if size is not None and size[0] * size[1] != len(columns):
        raise UsageError(
            f"--image-size: {name} has {len(columns)} features, and {size[0]} x {size[1]} pixels are more."
        )
    if not fitting:
        if options.scale == "pixels":
            raise DataError(f"{name}: pixels are whole numbers from 0 to 255, and the features are others.")
        return None
    side = round(len(columns) ** 0.5)
    square = (side, side) if side * side == len(columns) and side >= SMALLEST_SIDE else None
    shape = size or square
    if options.scale == "pixels" or size is not None:
        return shape, "as asked for"
    if all(_PIXEL.fullmatch(column.name) for column in columns):
        return shape, "by their names"
    if square and max(column.values.max() for column in columns) > 127:
        return shape, f"they form a square of {side} x {side}"
    return None

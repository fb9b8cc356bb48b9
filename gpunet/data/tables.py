"""Tables as data sets: how they are split, and what is fitted on their training rows.

Nothing is guessed in silence: what was taken for what (see `roles.py`) is said in `Dataset.facts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpunet.data.arrays import as_weights, natural
from gpunet.data.columns import BOOLEAN, NUMBER, TEXT, Column, Table, some
from gpunet.data.dataset import Dataset
from gpunet.data.fitting import Category, Number, fit_category, fit_number, fit_targets
from gpunet.data.options import TEST, DataOptions
from gpunet.data.parquet import StoredTable
from gpunet.data.preparation import Preparation, are_bytes, numbers_of
from gpunet.data.roles import PIXEL, Roles, choose_roles, one_column, task_of_targets
from gpunet.data.split import Split
from gpunet.data.stored import StoredRows
from gpunet.errors import DataError, UsageError

#: Texts of more different values than this are no categories.
MOST_CATEGORIES = 1000
#: Columns that hold a square picture of at least this side are pixels, where they are bytes that reach the upper half.
SMALLEST_SIDE = 5


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
    task, how = task_of_targets(parts["train"], roles, options)
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
        one_column(option, column, parts["train"])
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
    kept_names = {column.name for column in fitted}
    absent = sum(int(column.missing.sum()) for column in columns if column.name in kept_names)
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
    if different == 0 or (different == 1 and not (flag and column.missing.any())):
        return None, "left out", f"{name}, {'the same in all rows' if different else 'without a value in any row'}"
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
    if all(PIXEL.fullmatch(column.name) for column in columns):
        return shape, "by their names"
    if square and max(column.values.max() for column in columns) > 127:
        return shape, f"they form a square of {side} x {side}"
    return None

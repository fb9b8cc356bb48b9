"""Recipes: named sets of options for a kind of data, below whatever else is asked for.

`write-up` is what every option has by default. `table` is for tables: scaled by median and quartiles, in an encoding
over quantile bins (see `gpunet/data/fitting.py`), a network of three wide layers, stopped where its validation loss
is lowest. Whether the encoding helps, and whether numbers do better with a plain standard scale, which leaves a long
tail as it is, is told by validation, in short trials before the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from gpunet.backend import get_backend
from gpunet.data.catalog import DATASETS, TableEntry
from gpunet.data.dataset import Dataset
from gpunet.data.fitting import Number
from gpunet.data.folders import may_be_tables, read_once
from gpunet.errors import TrainingDiverged
from gpunet.files import expand
from gpunet.runs.settings import (
    DATA_OPTIONS,
    Settings,
    build_dataset,
    build_model,
    build_trainer,
    check_keys,
    layered,
)
from gpunet.training.records import ResultRecord

#: What the recipe for tables says beside batch size and bins, and that predictions of numbers are clipped.
TABLE: dict[str, Any] = {
    "hidden": (256, 256, 256), "init": "glorot-uniform", "optimizer": "adamw", "epochs": 256, "early_stopping": 16,
    "validation": 0.2, "scale": "robust",
}  # fmt: skip
#: Quantile bins of each number, where validation finds that they help.
BINS = 16
#: What is tried in the place of what the recipe says, one after the other, each beside the best so far.
ALTERNATIVES: dict[str, Any] = {"bins": BINS, "scale": "standard"}
#: Batches in a training set (of 16 to 256 examples each).
BATCHES = 24
#: How long a trial of an encoding is at most, in epochs and in iterations, and after how many epochs that are not
#: better than the best it is over.
TRIAL_EPOCHS, TRIAL_ITERATIONS, TRIAL_PATIENCE = 24, 4000, 4
#: Of how many parts of the data a trial holds one out, and how many validation examples are enough to judge by.
PARTS, JUDGES = 5, 250
#: Mean validation losses of trials, by scale and number of bins.
Losses = Mapping[tuple[str, int], float]
#: Settings that say which data there is.
_ABOUT_DATA = ("data", "data_dir", "classes", "validation", *DATA_OPTIONS)


def settings_for(
    values: Mapping[str, Any] | None = None,
    *,
    data: str | Dataset | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
    trials: Callable[[int, int, Losses], None] | None = None,
    **more: Any,
) -> Settings:
    """The settings of a run: what is asked for, on top of the recipe for the data.

    Args:
        values: settings by name, `recipe` among them; "auto" takes table for a table with columns of its own, and
            write-up for pixels and arrays.
        data: the setting of that name, or a data set of one's own, which is taken as it is scaled and encoded.
        progress: called while a file is fetched, see `load_dataset`.
        trials: called as trials(trials done, trials in all, losses) before each short trial of an encoding and after
            the last, when losses holds the mean validation loss by scale and number of bins (0 for none).
        more: further settings by name.

    Returns:
        Settings in which `recipe` is the name of the recipe that was taken.

    Raises:
        UsageError: a setting is unknown, or its value cannot be used.
        DataError: the data cannot be had.
    """
    own = data if isinstance(data, Dataset) else None
    named = {"data": data} if isinstance(data, str) else {}
    asked = check_keys({**(values or {}), **more, **named})
    about = Settings(**{name: asked[name] for name in ("recipe", *_ABOUT_DATA) if name in asked})
    if about.recipe == "write-up" or (about.recipe == "auto" and own is None and not _may_be_tables(about)):
        return Settings(**{**asked, "recipe": "write-up"})
    with read_once():
        found = build_dataset(about, progress) if own is None else own
        encoded = found.preparation.columns is not None
        if about.recipe == "auto" and not encoded:
            return Settings(**{**asked, "recipe": "write-up"})
        settings, judged = _for_tables(asked, found, as_it_is=own is not None or not encoded)
        numbers = any(isinstance(column, Number) for column in found.preparation.columns or ())
        free = [name for name in ALTERNATIVES if judged and numbers and name not in asked]
        del found  # before the trials hold the data otherwise prepared
        return _by_validation(settings, free, trials or (lambda *_: None)) if free else settings


def _may_be_tables(about: Settings) -> bool:
    """Whether the data may be tables, without reading it."""
    if about.data in DATASETS:
        return isinstance(DATASETS[about.data], TableEntry)
    return may_be_tables(expand(about.data))


def _for_tables(asked: dict[str, Any], data: Dataset, as_it_is: bool) -> tuple[Settings, bool]:
    """The settings with the recipe for tables below, and whether validation may decide on the encoding.

    Args:
        asked: what is asked for.
        data: the data, read without the recipe.
        as_it_is: whether it is taken as it is scaled and encoded.
    """
    recipe: dict[str, Any] = {**TABLE, "recipe": "table"}
    count = len(data.train)
    if data.validation is not None or "validation" in asked or not 1 <= round(TABLE["validation"] * count) < count:
        del recipe["validation"]
        if data.validation is None:
            del recipe["early_stopping"]
    else:
        count -= round(TABLE["validation"] * count)
    recipe["batch_size"] = min(max(count // BATCHES, 16), 256, count)
    if data.task == "regression":
        recipe["clip"] = "on"
    if as_it_is:
        for name in DATA_OPTIONS:
            recipe.pop(name, None)
    settings = Settings(**layered(recipe, {**asked, "recipe": "table"}))
    judged = data.validation is not None or settings.validation not in ("auto", "none")
    return settings, judged and not as_it_is


def _by_validation(settings: Settings, free: list[str], tell: Callable[[int, int, Losses], None]) -> Settings:
    """The settings with those `ALTERNATIVES` with which networks have a lower validation loss, in the mean over parts
    of the training examples that are held out in turn: of a small table all, of a large one the first.

    Args:
        settings: with what the recipe says.
        free: the names of the alternatives that are tried.
        tell: see `settings_for`.
    """
    best, losses, done, total = settings, dict[tuple[str, int], float](), 0, 0
    for change in ({}, *({name: ALTERNATIVES[name]} for name in free)):
        tried = best.with_changes(**change)
        whole = build_dataset(tried.with_changes(validation="none", early_stopping=None))
        parts = min(PARTS, len(whole.train))
        count = min(parts, math.ceil(JUDGES * parts / len(whole.train)))
        total, loss = (1 + len(free)) * count, 0.0
        for number in range(1, count + 1):
            tell(done, total, {})
            loss += _trial_loss(tried, whole.fold(number, parts, settings.seed)) / count
            done += 1
        losses[tried.scale, tried.bins] = loss
        if loss < losses[best.scale, best.bins]:
            best = tried
    tell(done, total, losses)
    return best


def _trial_loss(settings: Settings, data: Dataset) -> float:
    """The validation loss that a network of these settings comes to on data."""
    recipe = settings.fitted(data, settings.seed)
    length = min(
        int(recipe.iterations or 0),
        math.ceil(TRIAL_EPOCHS * len(data.train) / int(recipe.batch_size)),
        TRIAL_ITERATIONS,
    )
    alone = {"distributed": None, "log_every": length}  # where several processes train, each tries it by itself
    trial = settings.with_changes(iterations=length, early_stopping=TRIAL_PATIENCE, **alone)
    trainer = build_trainer(trial, build_model(trial, data, get_backend(settings.device)), data)
    try:
        *_, end = trainer.steps()
    except TrainingDiverged:
        return math.inf
    assert isinstance(end, ResultRecord)
    return math.inf if end.validation_loss is None else end.validation_loss

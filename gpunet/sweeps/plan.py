"""The plan of a sweep: its trials, one per combination of settings and seed, each known by a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gpunet.checks import whole
from gpunet.data.dataset import Dataset
from gpunet.errors import UsageError
from gpunet.runs.recipes import settings_for
from gpunet.runs.settings import FIELDS, Settings, build_dataset, check_keys, layered
from gpunet.sweeps import grids
from gpunet.sweeps.running import OF_THE_DATA, data_text, dataset, fit
from gpunet.sweeps.trials import Trial
from gpunet.wording import typed

#: The share of the training examples that is held out to choose by, where the data has no validation split.
HELD_OUT = 0.1
#: Settings that say where and how a run is done and not what comes out of it (but for rounding).
_ELSEWHERE = ("data_dir", "device", "graph", "threads", "distributed", "log_every", "recipe")
#: Settings that `build_dataset` holds against the data.
_CHECKED_WITH_DATA = ("batch_size", "class_weights", "loss", "label_smoothing", "early_stopping", "validate_every")


class Plan:
    """What the trials of a sweep are made of.

    Args:
        settings: what they have in common, as of a `Sweep`.
        grid: the settings that vary, as they were given.
        seeds: how many seeds each combination is run with, or a list of them.
        own_data: a data set of one's own, or None for that of the settings.
        progress: called while data is fetched.

    Attributes:
        base: what the trials have in common.
        grid: the settings that vary, checked, each with its values.
        seeds: those of each combination.
        varying: the settings of which there are several values.

    Raises:
        UsageError: settings that cannot be used, or a grid without values.
        DataError: the data cannot be had.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any] | None,
        grid: Mapping[str, Any] | None,
        seeds: int | Iterable[int],
        own_data: Dataset | None,
        progress: Any = None,
    ) -> None:
        checked = grids.check(check_keys(dict(grid or {})))
        base = settings if isinstance(settings, Settings) else _with_recipe(settings or {}, checked, own_data, progress)
        if base.distributed is not None or "distributed" in checked:
            raise UsageError("distributed: each run of a sweep is trained by one process; leave it out.")
        if "seed" in checked:
            if seeds != 1:
                raise UsageError("the grid names the seeds; leave out the number of seeds.")
            seeds = checked.pop("seed")  # type: ignore[assignment]
        if isinstance(seeds, grids.Range):
            raise UsageError("the seeds cannot be a range; say how many, or list them.")
        self.base, self.grid, self.own_data = base, checked, own_data
        self.seeds = _seeds(base.seed, seeds)
        self.varying = [name for name, values in checked.items() if isinstance(values, grids.Range) or len(values) > 1]
        self._known: dict[Any, tuple[Settings, str, str]] = {}

    @property
    def checksum(self) -> str:
        """That of the data of the first trial."""
        return next(iter(self._known.values()))[1]

    @property
    def task(self) -> str:
        """The task of the data of the first trial."""
        return next(iter(self._known.values()))[2]

    def each_value(self) -> list[dict[str, Any]]:
        """Combinations of settings in which each value occurs, and of a range its ends."""
        members = {
            name: [values.low, values.high] if isinstance(values, grids.Range) else values
            for name, values in self.grid.items()
        }
        first = {name: values[0] for name, values in members.items()}
        return [first, *({**first, name: value} for name in self.varying for value in members[name])]

    def trials(self, combinations: Iterable[dict[str, Any]], progress: Any = None) -> list[Trial]:
        """The trials of some combinations of settings, each once.

        Raises:
            UsageError: settings that cannot be used, or do not fit their data.
            DataError: the data cannot be had.
        """
        trials: dict[str, Trial] = {}
        for combination in combinations:
            changed = self.base.with_changes(**combination)
            # Whether settings fit their data is asked once for each data set, before anything runs.
            about = tuple(getattr(changed, name) for name in (*OF_THE_DATA, *_CHECKED_WITH_DATA))
            if about not in self._known:
                self._known[about] = self._with_validation(changed, progress)
            of_data, checksum, _ = self._known[about]
            changed = changed.with_changes(validation=of_data.validation).resolved()
            varied = {name: typed(getattr(changed, name)) for name in self.varying}
            for seed in self.seeds:
                seeded = changed.with_changes(seed=seed)
                key = self._key(seeded, checksum)
                trials.setdefault(key, Trial(seeded, varied, key))
        return list(trials.values())

    def _with_validation(self, settings: Settings, progress: Any) -> tuple[Settings, str, str]:
        """The settings with examples held out to choose by, and the checksum and the task of their data."""
        if settings.validation == "none":
            raise UsageError("a sweep chooses by its validation examples; leave out --validation none.")
        data = self._read(settings, progress, check=False)
        if data.validation is None:
            settings = settings.with_changes(validation=HELD_OUT)
        data = self._read(settings, progress)
        return settings, data.checksum, data.task

    def _read(self, settings: Settings, progress: Any = None, check: bool = True) -> Dataset:
        if self.own_data is not None:
            return fit(self.own_data, settings)
        if not check:  # early stopping needs the validation examples that are still to be held out
            settings = settings.with_changes(early_stopping=None, validate_every=None)
        return build_dataset(settings, progress)

    def data(self, settings: Settings) -> Dataset:
        """The data of some settings, as a trial has it, but with the test set."""
        return fit(self.own_data, settings) if self.own_data is not None else dataset(data_text(settings))

    def _key(self, settings: Settings, checksum: str) -> str:
        text = json.dumps([self.told(settings), checksum], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def told(self, settings: Settings, without: Collection[str] = ()) -> dict[str, Any]:
        """The settings that say what comes out of a run, as JSON can hold them; only what differs from the defaults,
        so that an option that a later version brings changes no key."""
        return {
            name: value
            for name, value in settings.to_dict().items()
            if getattr(settings, name) != FIELDS[name].default
            and (name not in _ELSEWHERE or name in self.varying)
            and name not in without
        }


def _with_recipe(given: Mapping[str, Any], grid: Mapping[str, Any], data: Dataset | None, progress: Any) -> Settings:
    """What the runs have in common, on top of the recipe for their data."""
    if "recipe" in grid and len(grid["recipe"]) > 1:
        raise UsageError("recipe: the runs of a sweep have one recipe in common; make a sweep of each.")
    alike = {name: each[0] for name, each in grid.items() if not isinstance(each, grids.Range) and len(each) == 1}
    return settings_for(layered(given, alike), data=data, progress=progress)


def _seeds(first: int, seeds: int | Iterable[int]) -> list[int]:
    if isinstance(seeds, int):
        return [first + i for i in range(whole("seeds", seeds))]
    read = FIELDS["seed"].metadata["reader"]
    return [read("--seed", seed) for seed in seeds]

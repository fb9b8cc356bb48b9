"""A run or a model file opened again: its model, and the data that it was trained on or other data that fits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunet.backend import get_backend
from gpunet.cli import display
from gpunet.data.dataset import Dataset
from gpunet.data.load import load_dataset
from gpunet.data.split import Split
from gpunet.errors import DataError, UsageError
from gpunet.network.ensemble import Ensemble, load_model
from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.network.mlp import MLP
from gpunet.runs.folder import RunFolder
from gpunet.runs.history import path_name
from gpunet.runs.settings import Settings, build_dataset, hold_out, load_whole
from gpunet.runs.several import Several


@dataclass
class Opened:
    """A model with its data.

    Attributes:
        name: the run's folder or the file's name.
        config: the run's config.json, or {} for a model file and where no data was asked for.
    """

    name: str
    model: MLP | Ensemble
    data: Dataset | None
    config: dict[str, Any]

    @property
    def class_names(self) -> list[str]:
        """A name for each class."""
        return self.model.class_names or [str(index) for index in range(max(self.model.outputs, 2))]

    def split(self, name: str | None) -> tuple[Split, str]:
        """A split of the data and its name; by default the test split or, without one, validation or train.

        Raises:
            UsageError: there is no such split.
        """
        assert self.data is not None
        splits = self.data.splits()
        if name is None:
            name = next(each for each in ("test", "validation", "train") if each in splits)
        if name not in splits:
            raise UsageError(f"{self.data.name} has no split {name!r}; it has {', '.join(splits)}.")
        return splits[name], name

    def evaluate(self, part: Split) -> Evaluation:
        """The model on a split."""
        return evaluate(self.model, part)


def open_run(
    path: str, data: str | None = None, data_dir: str | None = None, device: str = "cpu", with_data: bool = True
) -> Opened:
    """Open a run folder, with its own data unless other data is named, or a model file.

    Raises:
        CheckpointError: there is no run or model, or it is damaged.
        DataError: the data cannot be had or does not fit.
        UsageError: a model file without a name of data.
    """
    backend = get_backend(device)
    config: dict[str, Any] = {}
    settings = None
    if os.path.isdir(path):
        folder = RunFolder(path)
        if with_data:
            config = folder.config()
            settings = folder.settings() if "settings" in config else None
        model: MLP | Ensemble = folder.load(backend)
        if not folder.model.exists():
            of = "the network is that of its" if folder.checkpoints() else "the networks are those of their"
            display.note(f"{path}: the run has not ended; {of} newest checkpoint.")
    else:
        model = load_model(path, backend)
    name = path_name(Path(path))
    if not with_data:
        return Opened(name, model, None, config)
    with display.DownloadBar() as progress:
        if settings is not None and data is None:
            if data_dir is not None:
                settings = settings.with_changes(data_dir=data_dir)
            # As in training, so that no row of the test split was trained on; brought to the network where it changed.
            whole = _own_data(settings, config, progress)
            if whole.preparation != model.preparation:
                whole = _own_data(settings, config, progress, model.preparation)
        elif data is not None:
            whole = load_dataset(data, data_dir, progress, preparation=model.preparation, test=None)
        else:
            raise UsageError(f"{path} does not say which data to take; name it with --data.")
    if whole.features != model.sizes[0]:
        raise DataError(
            f"the network takes {model.sizes[0]} features per example and {whole.name} has {whole.features}; name the "
            "data it was trained on with --data."
        )
    return Opened(name, model, whole, config)


def _own_data(settings: Settings, config: dict[str, Any], progress: Any, preparation: Any = None) -> Dataset:
    """The data of a run; of several networks that held out different parts, all train examples are train examples."""
    networks = Several.of(config, "config.json")
    if networks is None:
        return build_dataset(settings, progress, preparation)
    whole = load_whole(settings, progress, preparation)
    whole = whole.hold_out(0) if networks.parts(settings, whole) else hold_out(settings, whole)
    return whole if preparation is None else whole.with_preparation(preparation)

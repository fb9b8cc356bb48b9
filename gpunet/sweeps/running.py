"""How a trial is run, in this process or a worker's: its data, its trainer, and what is told of it.

`engines.py` and `clusters.py` have trials run elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import operator
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gpunet.backend import get_backend
from gpunet.data.catalog import DATASETS
from gpunet.data.dataset import Dataset
from gpunet.errors import GpunetError, TrainingDiverged
from gpunet.kernels.activations import ACTIVATIONS
from gpunet.kernels.losses import LOSSES
from gpunet.kernels.optimizers import OPTIMIZERS
from gpunet.network.initializers import INITIALIZERS
from gpunet.registry import Registry
from gpunet.runs.initial import begin_from
from gpunet.runs.logs import as_json
from gpunet.runs.settings import DATA_OPTIONS, Settings, build_dataset, build_model, build_trainer, hold_out
from gpunet.sweeps.search import Reporter
from gpunet.sweeps.shared import Shared
from gpunet.sweeps.trials import Trial
from gpunet.training.graph import launch_mode
from gpunet.training.memory import training_bytes
from gpunet.training.records import Record, ResultRecord
from gpunet.training.schedules import SCHEDULES
from gpunet.training.together import steps_together
from gpunet.training.trainer import Trainer

#: Settings that make the data of a run.
OF_THE_DATA = ("data", "data_dir", "classes", "validation", *DATA_OPTIONS)
#: The tables that settings name entries of.
TABLES: tuple[Registry[Any, Any], ...] = (ACTIVATIONS, LOSSES, OPTIMIZERS, SCHEDULES, INITIALIZERS, DATASETS)
#: Settings that make no other launches of a step, as numbers that lie in tables on the device.
RATES = ("lr", "schedule")


@dataclasses.dataclass(frozen=True)
class Call:
    """A trial to be run, here or in another process.

    Attributes:
        key: of the trial.
        given: its settings as a dict.
        device: where it runs.
        data: a data set of one's own, or what a trial sees of its data, in a file; None for that of the settings.
        reporter: what looks at it while it is trained, and may stop it, or None.
    """

    key: str
    given: dict[str, Any]
    device: str
    data: Dataset | Shared | None
    reporter: Reporter | None = None


def in_turn(calls: Iterable[Call]) -> Iterator[Any]:
    """Run trials in this process, one after the other."""
    for call in calls:
        yield run_trial(call)


def side_by_side(calls: Iterable[Call], at_once: int) -> Iterator[Any]:
    """Run trials in this process, several networks at a time; what is done first comes first."""
    datasets: dict[str, Dataset] = {}  # one object for all trials of the same data, which lies on a device once
    under_way: dict[int, Call] = {}
    unmade: list[Any] = []

    def trainers() -> Iterator[Trainer]:
        for call in calls:
            settings = Settings.from_dict(call.given)
            about = data_text(settings)
            try:
                if about not in datasets:
                    datasets[about] = seen(settings, call.data)
                trainer = made(settings, call, datasets[about])
            except (GpunetError, MemoryError) as error:
                unmade.append((call.key, failed(error), []))
                continue
            under_way[id(trainer)] = call
            yield trainer

    for trainer, found in steps_together(trainers(), at_once):
        call = under_way[id(trainer)]
        if isinstance(found, Exception):
            yield call.key, failed(found), []
        elif isinstance(found, ResultRecord):
            yield call.key, *outcome(trainer, found)
        elif call.reporter is not None and call.reporter.pruned is found:
            yield call.key, *stopped(trainer, found)
        while unmade:
            yield unmade.pop()
    yield from unmade


def run_trial(call: Call, own_process: bool = False, entries: Any = ()) -> tuple[str, dict[str, Any], list[np.ndarray]]:
    """Train one trial; its key, what came out, and the parameters on the host.

    What goes wrong comes back as a text, since not every exception survives the way between processes: a
    diverged run as "error", anything that every other trial would meet as well as "fatal".
    """
    if own_process:
        import signal

        # Ctrl-C reaches the whole process group; this process is ended by the one that started it.
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with_parent(call.data.folder if isinstance(call.data, Shared) else None)
    for table, sent in zip(TABLES, entries, strict=False):
        table.update(sent)
    try:
        settings = Settings.from_dict(call.given)
        trainer = made(settings, call, seen(settings, call.data))
        *_, end = trainer.steps()
    except (GpunetError, MemoryError) as error:
        return call.key, failed(error), []
    pruned = call.reporter is not None and call.reporter.pruned is end
    return call.key, *(stopped if pruned else outcome)(trainer, end)


def made(settings: Settings, call: Call, data: Dataset) -> Trainer:
    """The trainer of a trial; with one thread, as there are other trials for the other cores."""
    model = build_model(settings, data, get_backend(call.device))
    trainer = build_trainer(settings.with_changes(threads=settings.threads or 1), model, data)
    if settings.init_from is not None:
        begin_from(trainer, settings.init_from)
    trainer.callbacks += [] if call.reporter is None else [call.reporter]
    return trainer


def outcome(trainer: Trainer, end: Record) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What came out of a trial, and its parameters on the host."""
    parameters = [trainer.backend.to_host(array).copy() for array in trainer.model.parameters]
    # As JSON holds it: a loss that has grown beyond all numbers is None.
    return json.loads(as_json(end.as_dict())), parameters


def stopped(trainer: Trainer, record: Record) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What is told of a trial that was stopped early, after its last record; its parameters are of no use."""
    told = {name: value for name, value in record.as_dict().items() if name.startswith("validation_")}
    about = {"iterations": trainer.iteration, "train_seconds": trainer.seconds, "device": trainer.backend.device}
    return json.loads(as_json({**told, **about, "pruned": True})), []


def failed(error: Exception) -> dict[str, Any]:
    """What is told of a trial that failed; any exception that a trial does not raise by itself goes on."""
    if isinstance(error, TrainingDiverged):
        return {"error": str(error)}
    if isinstance(error, MemoryError):
        return {"error": "not enough memory."}
    if isinstance(error, GpunetError):
        return {"fatal": str(error)}
    raise error


def entries_of(settings: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Of each table the entries that settings name: a worker in another process may not have them, or others."""
    texts = [text for value in settings.values() for text in (value if isinstance(value, (list, tuple)) else [value])]
    names = {text.partition(":")[0] for text in texts if isinstance(text, str)}
    return tuple({name: table[name] for name in names & table.keys()} for table in TABLES)


@functools.cache
def end_with_parent(folder: str | None) -> None:
    """Have this process end when the one that started it is gone, killed for one, and can end it no more.

    Args:
        folder: one of files that the other would have removed, or None.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, name="gpunet parent watch", daemon=True).start()


def seen(settings: Settings, data: Dataset | Shared | None) -> Dataset:
    """The data of a trial, without the test set, so that nothing can look at it."""
    if isinstance(data, Shared):
        return data.open()
    whole = fit(data, settings) if data is not None else dataset(data_text(settings))
    return Dataset(
        whole.name, whole.train, whole.validation, class_names=whole.class_names, image_shape=whole.image_shape
    )


def sharing(calls: Iterable[Call], folder: str) -> Iterator[Call]:
    """The same trials for processes of this machine, which map their data from files in a folder: it is in memory once.

    Data that lies in files already, of which only what is asked for is read, stays there.
    """
    files: dict[str, Shared | None] = {}
    for call in calls:
        settings = Settings.from_dict(call.given)
        about = data_text(settings)
        if about not in files:
            data = seen(settings, call.data)
            files[about] = Shared.of(data, folder) if isinstance(data.train.inputs, np.ndarray) else None
        yield dataclasses.replace(call, data=files[about] or call.data)


def fit(data: Dataset, settings: Settings) -> Dataset:
    """A data set of one's own with the classes and the validation examples that the settings ask for."""
    if settings.classes is not None:
        data = data.select_classes(list(settings.classes))
    return hold_out(settings, data)


def data_text(settings: Settings) -> str:
    """The settings that make the data, as a text that can be a key."""
    return json.dumps({name: settings.to_dict()[name] for name in OF_THE_DATA})


@functools.lru_cache(maxsize=2)
def dataset(about: str) -> Dataset:
    """The data set of some settings, kept, because a worker runs one trial after the other on it."""
    return build_dataset(Settings.from_dict({**json.loads(about), "batch_size": 1}))


def room(trials: list[Trial], device: str, data: Dataset | None, most_trials: int) -> int:
    """How many trials like these can be trained at a time on a CUDA device, of `most_trials`; 1 on the CPU.

    As many of the largest as fit into half of its free memory, beside the data, and at most one for every four of its
    multiprocessors: a step of a small network keeps no more than that busy. Those that share their launches share
    cuBLAS's workspace too.
    """
    backend = get_backend(device)
    if backend.name == "cpu" or not trials:
        return 1
    most, shared, workspace = 1, 0, 0
    sized = operator.attrgetter("hidden", "optimizer", "batch_size", "dropout", "precision")
    shapes = {sized(trial.settings): trial for trial in trials}
    for trial in shapes.values():
        settings = trial.settings
        whole = seen(settings, data)
        model = build_model(settings.with_changes(init="zeros"), whole, get_backend("cpu"))
        batch = len(whole.train) if settings.batch_size == "all" else int(settings.batch_size)
        mode = launch_mode("auto", backend, model.sizes, batch, settings.precision, model.dtype)
        parts = training_bytes(model, whole, settings.make_optimizer(), batch, mode)
        shared, workspace = max(shared, parts.pop("inputs")), max(workspace, parts.pop("products"))
        most = max(most, sum(parts.values()))
    kinds = len({tuple(each for each in trial.varied.items() if each[0] not in RATES) for trial in trials})
    free = backend.memory()[0] // 2 - shared
    fit = max((free - kinds * workspace) // most, free // (most + workspace))  # fewer than there are kinds, or more
    return max(1, min(fit, backend.multiprocessors // 4, most_trials))

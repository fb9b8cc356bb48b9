"""Sweeps: many runs over a grid of settings, in parallel, kept as they come, and a choice made on validation data.

A `Sweep` knows its trials (one per combination of settings and seed), runs those whose results are not there yet,
and chooses the settings with the best validation accuracy, in the mean over the seeds. Trials never see the test set;
it is looked at in `measure`, after the choice has been written down.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import get_backend
from gpunet.checks import whole
from gpunet.data.dataset import Dataset
from gpunet.errors import CheckpointError, DataError, UsageError
from gpunet.files import Lock, write_atomic
from gpunet.keywords import checked
from gpunet.network.evaluation import evaluate
from gpunet.network.metrics import Metric
from gpunet.network.mlp import MLP
from gpunet.runs.settings import Settings, build_model
from gpunet.sweeps import grids, lines
from gpunet.sweeps.clusters import cluster_of
from gpunet.sweeps.engines import Processes, in_parallel, run_on
from gpunet.sweeps.plan import Plan
from gpunet.sweeps.running import Call, in_turn, room, sharing, side_by_side
from gpunet.sweeps.search import Search
from gpunet.sweeps.trials import Result, Row, Trial

#: How combinations are chosen.
SEARCHES = ("grid", "random", "optuna")


@checked
class Sweep:
    """Runs over a grid of settings.

    Args:
        settings: what the runs have in common: `Settings`, or a dict of them on top of the recipe for the data.
        grid: the settings that vary, name to values (see `gpunet.sweeps.grids`).
        seeds: how many seeds each combination is run with (counted from the settings' seed), or a list of them.
        search: "grid" for all combinations, "random" for some drawn at random, or "optuna" for those that Optuna asks
            for, one after the other, by what came of those before (extra `optuna`; see `search.py`).
        trials: how many combinations are tried; of all of them where `search` is "grid".
        pruner: what stops a trial of Optuna early, by its validations so far: median, halving, hyperband or none.
        random: the same as `search="random"` with so many `trials`.
        data: a data set of one's own instead of the settings' `data`.
        out: a folder that keeps results and models; a sweep that was stopped goes on in it. Without it they are
            kept until the object is gone.
        progress: called while data is fetched, as in `load_dataset`.

    Raises:
        UsageError: settings that cannot be used, a grid without values, a folder that holds something else.
        DataError: the data cannot be had.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any] | None = None,
        grid: Mapping[str, Any] | None = None,
        *,
        seeds: int | Iterable[int] = 1,
        search: str = "grid",
        trials: int | None = None,
        pruner: str = "median",
        random: int | None = None,
        data: Dataset | None = None,
        out: str | os.PathLike[str] | None = None,
        progress: Any = None,
    ) -> None:
        plan = self._plan = Plan(settings, grid, seeds, data, progress)
        self.seeds, self.varying = plan.seeds, plan.varying
        if out is None:
            out = tempfile.mkdtemp(prefix="gpunet-sweep-")
            weakref.finalize(self, shutil.rmtree, out, ignore_errors=True)  # goes when the sweep does
        self.folder = Path(out)
        self.results: dict[str, Result] = {}
        self.tests: dict[str, float] = {}
        self.search: Search | None = None
        kind, count = _search(search, trials, random)
        if kind == "optuna":
            self._begin_search(count, pruner, progress)
        else:
            drawn = kind == "random"
            chosen = list(grids.draws(plan.grid, count, plan.base.seed) if drawn else grids.combinations(plan.grid))
            self.trials = plan.trials(chosen, progress)
            self.examples, self.total = self.trials, len(self.trials)
            self._make_folder()
            self._read()

    # --- a search by Optuna ----------------------------------------------------------------------------

    def _begin_search(self, count: int, pruner: str, progress: Any) -> None:
        """Make ready to be asked for trials, or take those that were asked for before."""
        if len(self.seeds) > 1:
            raise UsageError("a search by Optuna tries each combination with one seed; take several for what it finds.")
        if not self.varying:
            raise UsageError("there is nothing to search: give several values or a range for an option.")
        self.total = count
        # So that what cannot be used is said before anything runs.
        self.examples = self._plan.trials(self._plan.each_value(), progress)
        self.trials = []
        self._make_folder()
        about = self._plan.told(self.examples[0].settings, without=self._plan.grid)
        judge = self.judge
        self.search = Search(
            self.folder,
            self._plan.grid,
            [about, self._plan.checksum, self.judged],
            self._plan.base.seed,
            pruner,
            judge is not None and judge.higher_is_better,
        )
        self._numbers: dict[str, list[int]] = {}
        for number, combination in self.search.asked():
            self._take(number, combination)
        self._read()

    def _take(self, number: int, combination: dict[str, Any]) -> Trial:
        """The trial of what was asked for."""
        (trial,) = self._plan.trials([combination])
        if trial.key not in self._numbers:
            self.trials.append(trial)
        self._numbers.setdefault(trial.key, []).append(number)
        return trial

    def _asked(self) -> Iterator[Trial]:
        """The trials that were asked for and have no result, and then new ones, each when it is wanted; what was tried
        before is told and not tried again."""
        assert self.search is not None
        yield from self.missing
        for trial in self.trials:
            self._tell(trial)
        while len(self.search) < self.total:
            number, combination = self.search.ask()
            known = set(self._numbers)
            trial = self._take(number, combination)
            if trial.key not in known:
                yield trial
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        """Tell the search what came of a trial, if it is known and was not told."""
        if self.search is None or trial.key not in self.results:
            return
        result = self.results[trial.key]
        for number in self._numbers[trial.key]:
            if self.search.running(number):
                self.search.tell(number, result.value(self.judged), bool(result.pruned))

    # --- what there is to do ---------------------------------------------------------------------------

    @property
    def missing(self) -> list[Trial]:
        """The trials that have no result yet."""
        return [trial for trial in self.trials if trial.key not in self.results]

    @property
    def _ahead(self) -> list[Trial]:
        """Trials like those that are still to be run; of a search, what it can ask for."""
        return self.missing if self.search is None else self.examples

    @property
    def left(self) -> int:
        """How many trials have no result yet, those among them that were not asked for yet."""
        return len(self.missing) + (0 if self.search is None else max(self.total - len(self.search), 0))

    # --- the folder ------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        results = self.folder / "results.jsonl"
        if self.folder.exists() and not results.exists() and any(self.folder.iterdir()):
            raise UsageError(f"{self.folder} is no folder of a sweep and holds other files; name a new folder.")
        (self.folder / "models").mkdir(parents=True, exist_ok=True)
        results.touch()

    def _read(self) -> None:
        """Take the results that the folder holds."""
        wanted = {trial.key: trial for trial in self.trials}
        for record in lines.read(self.folder / "results.jsonl", "iterations", "device"):
            trial = wanted.get(record.get("key", ""))
            if trial is not None and (self.search is not None or not record.get("pruned")):
                told = {**record, "varied": trial.varied, "seed": trial.settings.seed}
                self.results[trial.key] = Result.from_dict(told)
        for record in lines.read(self.folder / "tests.jsonl"):
            if record.get("key") in wanted and self.tested in record:
                self.tests[record["key"]] = record[self.tested]

    def _add(self, trial: Trial, outcome: dict[str, Any], parameters: list[np.ndarray]) -> Result:
        told = {**outcome, "key": trial.key, "varied": trial.varied, "seed": trial.settings.seed}
        result = Result.from_dict(told)
        if parameters:
            # The model first: a result that is written down has its model.
            data = self._plan.data(trial.settings)
            model = build_model(trial.settings, data, get_backend("cpu"))
            model.preparation = data.preparation
            for index, values in enumerate(parameters):
                model.set_parameter(index, values)
            model.save(self.model_path(trial))
        lines.append(self.folder / "results.jsonl", {**result.as_dict(), "settings": trial.settings.to_dict()})
        self.results[trial.key] = result
        return result

    def model_path(self, trial: Trial) -> Path:
        """Where the model of a trial is kept."""
        return self.folder / "models" / f"{trial.key}.safetensors"

    # --- running ---------------------------------------------------------------------------------------

    def device(self, trial: Trial) -> str:
        """The device that a trial runs on."""
        return self._auto if trial.settings.device == "auto" else trial.settings.device

    @functools.cached_property
    def _auto(self) -> str:
        return get_backend("auto").device

    def room(self) -> int:
        """How many of the missing trials fit side by side on their CUDA device; 1 on the CPU or on several devices."""
        devices = {self.device(trial) for trial in self._ahead}
        return room(self._ahead, devices.pop(), self._plan.own_data, self.left) if len(devices) == 1 else 1

    def run(self, jobs: int = 1, backend: str = "loky", together: int = 1) -> Iterator[Result]:
        """Run the missing trials and yield each result as it comes, after it was written to the folder.

        Args:
            jobs: how many trials run at a time. One runs in this process; more need joblib, whose workers are
                fresh processes. Each trial computes with one CPU thread.
            backend: what takes the work: "loky" for processes on this machine; "dask" or "ray" for a cluster that
                is started on this machine with so many jobs, or that `DASK_SCHEDULER_ADDRESS` or `RAY_ADDRESS` names
                or this process is connected to; "dask:tcp://host:8786", "ray:auto" or "ray:host:6379" for one that
                runs (extras `dask` and `ray`); or any other backend that joblib has.
            together: how many networks are trained at a time in this process, side by side (see `steps_together`);
                on a CUDA device in common launches. It goes with one job.

        Raises:
            UsageError: jobs and together are both more than one; the backend is unknown, or not for CUDA; no cluster
                answers at the address.
            MissingExtra: joblib is not installed, or what the backend needs.
            GpunetError: the cluster is gone, or gave a trial up after its workers were lost.
        """
        jobs, together = whole("jobs", jobs), whole("together", together)
        if jobs > 1 and together > 1:
            raise UsageError("several jobs are several processes, and together is several networks in one; give one.")
        cluster, address = cluster_of(backend)
        if together > 1 and backend != "loky":
            raise UsageError(f"together is several networks in this process; leave out it or the backend {backend}.")
        if backend != "loky" and self.search is not None:
            raise UsageError(f"a search by Optuna runs on this machine; leave out the backend {backend}.")
        for device in {self.device(trial) for trial in self._ahead}:
            get_backend(device)  # a device that cannot be had is said now, and not by every worker
            if device != "cpu" and backend in ("multiprocessing", "threading") and jobs > 1:
                raise UsageError(f"CUDA cannot be used in workers of the backend {backend}; take loky, or --jobs 1.")
        trials: dict[str, Trial] = {}
        calls = self._calls(trials)
        with contextlib.ExitStack() as held:
            held.callback(Lock(self.folder).release)
            if jobs > 1 and backend in ("loky", "multiprocessing"):
                folder = tempfile.TemporaryDirectory(prefix="gpunet-", ignore_cleanup_errors=True)
                calls = sharing(calls, held.enter_context(folder))
            outputs: Any
            if together > 1:
                outputs = side_by_side(calls, together)
            elif jobs > 1 and self.search is not None:
                outputs = run_on(lambda: Processes(jobs), calls, jobs)
            elif cluster is not None:
                outputs = run_on(lambda: cluster(jobs, address), calls, jobs)
            else:
                outputs = in_turn(calls) if jobs == 1 and backend == "loky" else in_parallel(calls, jobs, backend)
            held.callback(outputs.close)
            try:
                for key, outcome, parameters in outputs:
                    if "fatal" in outcome:
                        raise UsageError(outcome["fatal"])
                    result = self._add(trials[key], outcome, parameters)
                    self._tell(trials[key])
                    yield result
            except KeyboardInterrupt:
                self._read()  # Ctrl-C may have come after a result was written and before it was noted here
                raise

    def _calls(self, trials: dict[str, Trial]) -> Iterator[Call]:
        """The trials that are to be run, each noted by its key."""
        for trial in self.missing if self.search is None else self._asked():
            trials[trial.key] = trial
            reporter = None
            if self.search is not None and self.search.running(number := self._numbers[trial.key][0]):
                reporter = self.search.reporter(number, None if self.judge is None else self.judge.key)
            yield Call(trial.key, trial.settings.to_dict(), self.device(trial), self._plan.own_data, reporter)

    # --- choosing --------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """One row for each combination of settings, in the order of the grid."""
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(json.dumps(trial.settings.with_changes(seed=0).to_dict()), []).append(trial)
        return [Row(trials[0].varied, trials, self.results, self.tests) for trials in groups.values()]

    @property
    def judge(self) -> Metric | None:
        """What the settings are chosen by: the metric that they name, else the first of the task; None for the loss."""
        judge = self._plan.base.judged_by()
        if judge is not None or self._plan.base.metric is not None:
            return judge
        return self._plan.base.measured(self._plan.task)[0]

    @property
    def judged(self) -> str:
        """The name of what the settings are chosen by: validation_accuracy, unless another metric is named."""
        return f"validation_{'loss' if self.judge is None else self.judge.key}"

    @property
    def tested(self) -> str:
        """The name of the same on the test set: test_accuracy."""
        return f"test_{self.judged.removeprefix('validation_')}"

    def merit(self, row: Row) -> tuple[float, float]:
        """How good a row is, the higher the better: by `judged`, and of equals by the lower validation loss; minus
        infinity where nothing is known yet."""
        score, loss = row.spread(self.judged), row.spread("validation_loss")
        by_loss = -math.inf if loss is None else -loss.mean
        if score is None:
            return -math.inf, by_loss
        return (by_loss if self.judge is None else self.judge.merit(score.mean)), by_loss

    def best(self) -> Row | None:
        """The row with the highest `merit`, without those with a missing, failed or pruned run; None of none."""
        whole = [row for row in self.rows() if row.done and not (row.errors or row.pruned) and row.spread(self.judged)]
        return max(whole, key=self.merit, default=None)

    def choose(self) -> Row:
        """The `best` row, written to the folder's choice.json.

        Raises:
            DataError: no row is complete.
        """
        best = self.best()
        if best is None:
            raise DataError("no settings came to the end with every seed, so there is nothing to choose from.")
        judged = self.judged
        score = best.spread(judged)
        assert score is not None
        record = {
            "chosen_by": judged,
            "varied": best.varied,
            "settings": best.trials[0].settings.to_dict(),
            "seeds": [trial.settings.seed for trial in best.trials],
            judged: score.mean,
            "keys": [trial.key for trial in best.trials],
        }
        write_atomic(self.folder / "choice.json", (json.dumps(record, indent=2) + "\n").encode())
        return best

    def measure(self, rows: Iterable[Row]) -> list[float]:
        """The test scores (`tested`) of the models of these rows; of no further use for choosing.

        Raises:
            UsageError: no choice has been made yet.
            CheckpointError: a model is gone from the folder.
        """
        if not (self.folder / "choice.json").exists():
            raise UsageError("the test set is looked at after the choice is made; call choose() first.")
        found = []
        for trial in (trial for row in rows for trial in row.trials):
            if trial.key not in self.tests:
                data = self._plan.data(trial.settings)
                if data.test is None:
                    continue
                result = self.results.get(trial.key)
                if result is None or result.error is not None or result.pruned:
                    continue
                if not self.model_path(trial).exists():
                    raise CheckpointError(f"{self.model_path(trial)} is gone; run the sweep in a new folder.")
                judges = [] if self.judge is None else [self.judge]
                score = getattr(evaluate(MLP.load(self.model_path(trial)), data.test, metrics=judges), self.tested[5:])
                lines.append(self.folder / "tests.jsonl", {"key": trial.key, self.tested: score})
                self.tests[trial.key] = score
            found.append(self.tests[trial.key])
        return found

    def csv(self) -> str:
        """A table of all results, one line per run."""
        keys = next(
            (list(result.train_metrics) for result in self.results.values() if result.train_metrics), ["accuracy"]
        )
        scores = [f"{split}_{name}" for split in ("train", "validation") for name in (*keys, "loss")]
        pruned = any(result.pruned for result in self.results.values())
        about = ["iterations", "train_seconds", "device", "error", *(["pruned"] if pruned else [])]
        columns = [*self.varying, "seed", *scores, self.tested, *about, "key"]
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for trial in self.trials:
            if trial.key in self.results:
                told = {**self.results[trial.key].as_dict(), **trial.varied}
                told[self.tested] = self.tests.get(trial.key, "")
                writer.writerow([told.get(name, "") for name in columns])
        return stream.getvalue()


def sweep(
    settings: Settings | Mapping[str, Any] | None = None,
    grid: Mapping[str, Any] | None = None,
    *,
    jobs: int = 1,
    backend: str = "loky",
    together: int = 1,
    **options: Any,
) -> Iterator[Result]:
    """Run over a grid of settings and yield the results as they come; see `Sweep`, which can also choose."""
    return Sweep(settings, grid, **options).run(jobs, backend, together)


def _search(search: str, trials: int | None, random: int | None) -> tuple[str, int]:
    """How combinations are chosen, and how many of them."""
    if search not in SEARCHES:
        raise UsageError(f"there is no search {search!r}; take {', '.join(SEARCHES)}.")
    if random is not None:
        if search == "optuna" or trials is not None:
            raise UsageError("random draws so many combinations by itself; leave out search and trials.")
        return "random", whole("random", random)
    if search == "grid":
        if trials is not None:
            raise UsageError("a grid is tried as a whole; say search random or optuna for a number of trials.")
        return search, 0
    if trials is None:
        raise UsageError(f"a search by {search} needs a number of trials.")
    return search, whole("trials", trials)

"""Sweeps on clusters: Dask and Ray on this machine, a worker that is killed, data that is sent once, bad addresses."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest

import gpunet as gn
from gpunet.sweeps import clusters, engines
from gpunet.sweeps.sweep import Sweep, sweep

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
    # What a package of a cluster warns of is no matter of these tests.
    pytest.mark.filterwarnings("default"),
]

SMALL = {"hidden": "4", "iterations": 30, "batch_size": 20, "log_every": 30, "device": "cpu"}
GRID = {"lr": ["0.1", "0.2", "0.3", "0.4", "0.5"]}


@pytest.fixture
def data(data: gn.Dataset, tmp_path: Path) -> gn.Dataset:
    """Two blobs, in a data set that writes down each process that gets it."""

    class Noted:  # of a function, so that workers get its code too
        def __init__(self, path: Path) -> None:
            self.path = path

        def __setstate__(self, state: dict[str, Any]) -> None:
            self.__dict__.update(state)
            with self.path.open("a") as stream:
                stream.write(f"{os.getpid()}\n")

    made = copy.copy(data)
    made.noted = Noted(tmp_path / "arrived")  # type: ignore[attr-defined]
    return made


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    """A cluster of two workers that runs."""
    distributed = pytest.importorskip("distributed", reason="the extra gpunet[dask] is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two workers, which this process is connected to."""
    package = pytest.importorskip("ray", reason="the extra gpunet[ray] is not installed")
    package.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    yield package
    package.shutdown()


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_worker_that_is_killed_loses_nothing(
    engine: str, data: gn.Dataset, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = request.getfixturevalue(engine)
    started, here = tmp_path / "started", os.getpid()

    class Deadly(gn.Schedule):
        """Kills the worker that is the first to train with a rate of 0.2."""

        name = "deadly"

        def behind_warmup(self, steps: np.ndarray, total: int) -> np.ndarray:
            lines = started.read_text().split("\n") if started.exists() else []
            line = f"{self.initial:g} {os.getpid()}"
            if os.getpid() != here and line not in lines:
                with started.open("a") as stream:
                    stream.write(line + "\n")
                if self.initial == 0.2 and not any(each.startswith("0.2 ") for each in lines):
                    os.kill(os.getpid(), signal.SIGKILL)
            return np.full(len(steps), self.initial)

    monkeypatch.setitem(gn.SCHEDULES, "deadly", Deadly)
    settings = {**SMALL, "schedule": "deadly"}
    out = tmp_path / "sweep"
    address = f"dask:{cluster.scheduler_address}" if engine == "dask" else "ray"
    plan = Sweep(settings, GRID, data=data, out=out)
    results = {result.key: result.validation_loss for result in plan.run(2, address)}
    assert results == {result.key: result.validation_loss for result in sweep(settings, GRID, data=data)}
    kept = [json.loads(line)["key"] for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(kept) == len(set(kept)) == 5
    if engine == "ray":
        with pytest.raises(gn.UsageError, match="is connected to a cluster"):
            list(sweep(SMALL, {}, data=data, backend="ray:elsewhere:6379"))
    runs = Counter(line.split()[0] for line in started.read_text().splitlines())
    assert runs["0.2"] == 2  # the one that was lost, once more
    assert runs.keys() == {"0.1", "0.2", "0.3", "0.4", "0.5"}
    if engine == "dask":  # where Ray has the arrays in memory that its workers share
        arrived = Counter((tmp_path / "arrived").read_text().split())
        workers = {line.split()[1] for line in started.read_text().splitlines()}
        assert {arrived[worker] for worker in workers} == {1}


def test_the_client_that_is_there_is_taken_and_kept(dask: Any, data: gn.Dataset) -> None:
    from distributed import Client

    with Client(dask) as client:
        results = list(sweep(SMALL, {"lr": ["0.1", "1e30"], "activation": "identity"}, data=data, backend="dask"))
        assert [result.error is None for result in results] == [True, False]
        assert client.submit(sum, [1, 2]).result() == 3


class Collected:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Swallowing(engines.Engine):
    """Has the signal come while an object is freed."""

    def submit(self, call: Any) -> int:
        Collected()
        return 1

    def wait(self, running: set[Any]) -> set[Any]:
        raise AssertionError("it goes on")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_where_it_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with pytest.raises(KeyboardInterrupt):
        list(engines.run_on(Swallowing, [None], 1))
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_ctrl_c_ends_a_cluster_that_the_sweep_started(backend: str, tmp_path: Path) -> None:
    pytest.importorskip({"dask": "distributed"}.get(backend, backend), reason=f"gpunet[{backend}] is not installed")
    words = ["--hidden", "5", "--device", "cpu", "--backend", backend, "--jobs", "2", "--out", str(tmp_path / "sweep")]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gpunet", "sweep", *words, "--iterations", "20,2000000,2000001"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=command_line.environment(),
        )

    def begun() -> bool:
        assert process.stdout is not None
        return any(line.startswith("1/3") for line in process.stdout)

    process = start()
    try:
        if not begun():
            _, error = process.communicate()
            # A machine that stands still for half a minute is too slow for Ray, which is no matter of this test.
            assert error.startswith("Error: Ray did not start: "), error
            process = start()
            assert begun(), process.communicate()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=180)
        assert process.returncode == 130
        assert error.startswith("Stopped after 1 of 3 runs.\nThe same command goes on")
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:  # its workers too
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("processes of the cluster are left")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [
        ("dask:tcp://127.0.0.1:1", "--backend dask:tcp://127.0.0.1:1: no scheduler of Dask answers there."),
        ("dask:nonsense", "--backend dask:nonsense: missing port"),
        ("ray:127.0.0.1:1", "--backend ray:127.0.0.1:1: no cluster of Ray answers there, or"),
        ("dask:", "the address is missing"),
        ("loky:host", "only dask and ray take an address"),
    ],
)
def test_a_bad_address_is_a_sentence(backend: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"dask": "distributed", "ray": "ray"}.get(backend.partition(":")[0])
    if package is not None:
        pytest.importorskip(package, reason="the package of the cluster is not installed")
    if package == "ray":
        monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests began
    monkeypatch.setattr(clusters, "PATIENCE", 1.0)
    words = ["sweep", "--lr", "0.1,0.2", "--iterations", "5", "--backend", backend]
    found = command_line.gpunet(*words, code=2).stderr
    assert sentence in found
    assert found.count("\n") == 1


def test_a_cluster_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("ray", reason="the extra gpunet[ray] is not installed")

    def late(**options: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(package, "is_initialized", lambda: False)
    monkeypatch.setattr(package, "init", late)
    found = command_line.gpunet("sweep", "--lr", "0.1,0.2", "--iterations", "5", "--backend", "ray", code=1).stderr
    assert found == "Error: Ray did not start: The current node timed out during startup.\n"


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_without_its_package_is_told(
    data: gn.Dataset, backend: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(gn.MissingExtra, match=rf'needs the package {package}.*pip install "gpunet\[{backend}\]"'):
        list(sweep(SMALL, {}, data=data, backend=backend))


def test_a_cluster_and_networks_side_by_side_do_not_mix(data: gn.Dataset) -> None:
    with pytest.raises(gn.UsageError, match="in this process"):
        list(sweep(SMALL, {}, data=data, backend="dask", together=2))

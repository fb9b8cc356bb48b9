"""Clusters: what runs the trials of a sweep on other machines, or in the workers of a cluster on this one.

Dask and Ray are entries of `CLUSTERS`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from typing import Any

from gpunet.errors import GpunetError, MissingExtra, UsageError
from gpunet.sweeps.engines import Engine, ctrl_c_held_back
from gpunet.sweeps.running import Call, entries_of, run_trial
from gpunet.wording import sentence

#: Seconds that a cluster has to answer.
PATIENCE = 10.0


class Cluster(Engine):
    """Workers that may be on other machines, each with gpunet and with the data that the settings name.

    A trial whose worker is lost goes to another one. A data set of one's own is sent to each worker once.

    Args:
        jobs: how many workers a cluster has that is started here.
        address: of a cluster that runs; empty for the one that this process is connected to, or else that the
            environment names, or else one that is started here and ends with the sweep.

    Raises:
        MissingExtra: the package is not installed.
        UsageError: nothing answers at the address.
        GpunetError: a cluster does not start here.
    """

    #: The variable of the environment that holds an address where none is given.
    variable = ""

    @classmethod
    def named(cls) -> str:
        """The address in the environment, or nothing."""
        return os.environ.get(cls.variable, "")

    def __init__(self, jobs: int, address: str) -> None:
        self._data: tuple[Any, Any] = (None, None)  # a data set, and what stands for it on the cluster

    def submit(self, call: Call) -> Any:  # noqa: D102
        if call.data is not None and self._data[0] is not call.data:
            self._data = (call.data, self._send(call.data))
        return self._submit(dataclasses.replace(call, data=None), self._data[1])

    def _send(self, data: Any) -> Any:
        """Have a data set on the cluster; what stands for it there."""
        raise NotImplementedError

    def _submit(self, call: Call, data: Any) -> Any:
        """Take a trial without its data, and what stands for those, if it has any of its own."""
        raise NotImplementedError


class Dask(Cluster):
    """Dask: `dask` for a local cluster, `dask:tcp://host:8786` for one that runs."""

    variable = "DASK_SCHEDULER_ADDRESS"

    def __init__(self, jobs: int, address: str) -> None:
        super().__init__(jobs, address)
        try:
            import distributed
        except ImportError:
            raise MissingExtra("distributed", "dask", "--backend dask") from None
        self._distributed = distributed
        self._opened: list[Any] = []  # what is closed at the end
        self._local = False  # whether workers are processes that this one started
        if not address:
            with contextlib.suppress(ValueError):
                self._client = self._distributed.get_client()
                return
            address = self.named() or self._start(jobs)
        # Of a cluster that is gone it would print pages, and here it is a sentence.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            self._client = self._distributed.Client(address, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            self.close(set())
            told = error if isinstance(error, ValueError) else "no scheduler of Dask answers there"
            raise UsageError(f"--backend dask:{address}: {sentence(told)}") from None
        self._opened.insert(0, self._client)

    def _start(self, jobs: int) -> Any:
        import dask

        # Nothing is printed unasked, and the memory is shared as it is between processes.
        with dask.config.set({"logging.distributed": "critical"}), ctrl_c_held_back():
            cluster = self._distributed.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        self._opened.append(cluster)
        self._local = True
        return cluster

    def _submit(self, call: Call, data: Any) -> Any:
        key = f"gpunet-{call.key}-{uuid.uuid4().hex}"
        return self._client.submit(_run, call, entries_of(call.given), data, self._local, key=key, pure=False)

    def _send(self, data: Any) -> Any:
        import dask

        # A task can be done again where all workers that had its result are lost, which scattered data cannot.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1PB"}):
            return self._client.submit(_itself, data, key=f"gpunet-data-{uuid.uuid4().hex}", pure=False)

    def wait(self, running: set[Any]) -> set[Any]:  # noqa: D102
        with self._failures():
            return set(self._distributed.wait(running, return_when="FIRST_COMPLETED").done)

    def result(self, done: Any) -> Any:  # noqa: D102
        with self._failures():
            return done.result()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        cancelled = (concurrent.futures.CancelledError, self._distributed.client.FutureCancelledError)
        try:
            yield
        except self._distributed.scheduler.KilledWorker as error:
            raise GpunetError(f"Dask gave up a trial whose workers were lost: {sentence(error)}") from None
        except (*cancelled, OSError):
            raise GpunetError("the cluster of Dask is gone before the sweep was done.") from None

    def close(self, running: set[Any]) -> None:  # noqa: D102
        if running and self._client.status == "running":
            self._client.cancel(list(running))
        self._data = (None, None)
        for each in self._opened:
            each.close()


class Ray(Cluster):
    """Ray: `ray` for a local cluster, `ray:auto` or `ray:host:6379` for one that runs."""

    variable = "RAY_ADDRESS"

    def __init__(self, jobs: int, address: str) -> None:
        super().__init__(jobs, address)
        try:
            import ray
        except ImportError:
            raise MissingExtra("ray", "ray", "--backend ray") from None
        self._ray = ray
        self._began = not ray.is_initialized()
        if address not in ("", "auto") and not self._began:
            raise UsageError(f"--backend ray:{address}: this process is connected to a cluster of Ray; say ray for it.")
        if self._began:
            address = address or self.named()
            # What is started here reports nothing about its use to others.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
            if address:
                self._connect(address, quiet)
            else:
                self._start(jobs, quiet)
        self._run = self._ray.remote(_run)

    def _connect(self, address: str, quiet: dict[str, Any]) -> None:
        try:
            _answers(address)  # Ray itself would try for minutes, and print what it tries
            self._ray.init(address, **quiet)
        except ValueError as error:
            raise UsageError(f"--backend ray:{address}: {sentence(error)}") from None
        except (OSError, RuntimeError):
            told = "no cluster of Ray answers there, or it asks for a token."
            raise UsageError(f"--backend ray:{address}: {told}") from None

    def _start(self, jobs: int, quiet: dict[str, Any]) -> None:
        try:
            self._ray.init(num_cpus=jobs, include_dashboard=False, **quiet)
        except Exception as error:  # Ray names none where a machine is too busy to start in its time
            raise GpunetError(f"Ray did not start: {sentence(error)}") from None

    def _submit(self, call: Call, data: Any) -> Any:
        # One trial has a GPU of its own, which is the first that it sees.
        options = {"num_cpus": 1} if call.device == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        return self._run.options(**options).remote(call, entries_of(call.given), data)

    def _send(self, data: Any) -> Any:
        return self._ray.put(data)

    def wait(self, running: set[Any]) -> set[Any]:  # noqa: D102
        return set(self._ray.wait(list(running), num_returns=1)[0])

    def result(self, done: Any) -> Any:  # noqa: D102
        try:
            return self._ray.get(done)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            raise GpunetError(f"Ray gave up a trial: {sentence(error)}") from None

    def close(self, running: set[Any]) -> None:  # noqa: D102
        for each in running:
            self._ray.cancel(each, force=True)
        if self._began:
            self._ray.shutdown()


#: Clusters by the name of the backend.
CLUSTERS: dict[str, type[Cluster]] = {"dask": Dask, "ray": Ray}


def cluster_of(backend: str) -> tuple[type[Cluster] | None, str]:
    """The cluster that a text such as "dask:tcp://host:8786" names, if it names one, and its address, if it has one.

    Raises:
        UsageError: an address for what has none.
    """
    name, colon, address = backend.partition(":")
    if name not in CLUSTERS:
        if colon:
            raise UsageError(f"--backend {backend}: only {' and '.join(CLUSTERS)} take an address.")
        return None, ""
    if colon and not address:
        raise UsageError(f"--backend {backend}: the address is missing; {name} alone starts a cluster here.")
    return CLUSTERS[name], address


def _run(call: Call, entries: Any, data: Any, own_process: bool = False) -> Any:
    """A trial on a worker of a cluster, where the data of its own comes from the cluster."""
    return run_trial(dataclasses.replace(call, data=data), own_process, entries)


def _itself(data: Any) -> Any:
    return data


def _answers(address: str) -> None:
    """Raise an OSError where an address has a port, and nothing listens there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()

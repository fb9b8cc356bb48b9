"""Engines: what runs the trials of a sweep elsewhere: processes of this machine, and the backends of joblib.

An `Engine` takes one trial after the other, as a search needs it, whose next trial depends on what came of those
before; a backend of joblib takes them all at once (`in_parallel`). Engines for other machines stand in `clusters.py`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gpunet.errors import MissingExtra, UsageError
from gpunet.sweeps.running import Call, entries_of, run_trial
from gpunet.wording import sentence


class Engine:
    """Takes trials, and gives what came of each once, in whatever order they are done."""

    def submit(self, call: Call) -> Any:
        """Take a trial; what stands for its outcome, and can be a member of a set."""
        raise NotImplementedError

    def wait(self, running: set[Any]) -> set[Any]:
        """Those that are done, at least one."""
        raise NotImplementedError

    def result(self, done: Any) -> Any:
        """What `run_trial` gave.

        Raises:
            GpunetError: the trial was given up, or the cluster is gone.
        """
        raise NotImplementedError

    def close(self, running: set[Any]) -> None:
        """End what was started, and let go of the trials that are under way."""


class Processes(Engine):
    """Fresh processes of this machine, joblib's."""

    def __init__(self, jobs: int) -> None:
        try:
            from joblib.externals.loky import ProcessPoolExecutor
        except ImportError:
            raise MissingExtra("joblib", "sweep", "running more than one trial at a time") from None
        self._workers = ProcessPoolExecutor(jobs)

    def submit(self, call: Call) -> Any:  # noqa: D102
        with ctrl_c_held_back():
            return self._workers.submit(run_trial, call, True, entries_of(call.given))

    def wait(self, running: set[Any]) -> set[Any]:  # noqa: D102
        return set(concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done)

    def result(self, done: Any) -> Any:  # noqa: D102
        return done.result()

    def close(self, running: set[Any]) -> None:  # noqa: D102
        self._workers.shutdown(wait=True, kill_workers=True)


def run_on(make: Callable[[], Engine], calls: Iterable[Call], jobs: int) -> Iterator[Any]:
    """Run trials on an engine, the next as soon as one is done, which may depend on what came of it."""
    coming, running = iter(calls), set[Any]()
    engine = make()
    try:
        with ctrl_c_noted() as raise_lost:
            while True:
                for call in itertools.islice(coming, jobs - len(running)):
                    running.add(engine.submit(call))
                if not running:
                    return
                raise_lost()
                done = engine.wait(running)
                running -= done
                for each in done:
                    yield engine.result(each)
    finally:
        engine.close(running)


def in_parallel(calls: Iterable[Call], jobs: int, backend: str) -> Iterator[Any]:
    """Run trials in workers of a joblib backend; what is done first comes first."""
    try:
        import joblib
    except ImportError:
        raise MissingExtra("joblib", "sweep", "running more than one trial at a time") from None
    own_process = backend in ("loky", "multiprocessing")
    work = [joblib.delayed(run_trial)(call, own_process, entries_of(call.given)) for call in calls]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(joblib.parallel_config(backend=backend, n_jobs=jobs))
            try:
                with ctrl_c_held_back() if own_process else contextlib.nullcontext():
                    outputs = joblib.Parallel(return_as="generator_unordered", batch_size=1)(work)
            except ValueError as error:
                if "return_as" not in str(error):
                    raise
                outputs = _in_rounds(joblib.Parallel(batch_size=1), work, jobs)
        except (ValueError, ImportError) as error:
            raise UsageError(f"--backend {backend}: {sentence(error)}") from None
        try:
            yield from outputs
        finally:
            with warnings.catch_warnings():
                # joblib warns of trials that are cancelled, which is what whoever stops here wants.
                warnings.simplefilter("ignore")
                outputs.close()


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Processes that are started in here never see a Ctrl-C, not while they import either; this one sees it later."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Two helpers of the workers come with the first of them, and would let Ctrl-C through again.
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    with contextlib.suppress(ImportError, AttributeError):  # it is an inner part of joblib
        from joblib.externals.loky.backend import resource_tracker as loky_tracker

        loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ctrl_c_noted() -> Iterator[Callable[[], None]]:
    """Gives a function that raises KeyboardInterrupt where a Ctrl-C came in here and was lost.

    What Python calls while it collects garbage cannot raise an exception: it is printed and dropped, and Dask has
    Python call something then. It is not printed either.
    """
    import signal

    came: list[int] = []
    before, told = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def note(number: int, frame: Any) -> None:
        came.append(number)
        before(number, frame)  # type: ignore[operator, misc]

    def tell(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            told(lost)

    def raise_lost() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield raise_lost
        return
    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = tell
    try:
        yield raise_lost
    finally:
        sys.unraisablehook = told
        with contextlib.suppress(ValueError):  # another thread, which may collect what was left, cannot
            signal.signal(signal.SIGINT, before)


def _in_rounds(parallel: Any, work: list[Any], jobs: int) -> Iterator[Any]:
    """For a backend that gives results only when all are there: as many at a time as run at a time."""
    for start in range(0, len(work), jobs):
        yield from parallel(work[start : start + jobs])

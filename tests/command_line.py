"""The command line inside the tests' own process, and as a process of its own where a test is about one.

A new process takes half a second to start; most tests are about what a command says and writes, and call it here.
Signals, pipes, terminals, start-up, worker processes and closed streams need a real one.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from gpunet.__main__ import main

#: What a terminal or a CI may set, and what would change the texts that the tests read.
UNSET = (
    "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES", "TERM", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
    "GPUNET_DEBUG",
)  # fmt: skip


def gpunet(
    *arguments: object,
    code: int | None = 0,
    stdin: str | bytes = "",
    cwd: str | os.PathLike[str] | None = None,
    **changes: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, as in a pipe.

    Args:
        arguments: the words after `gpunet`.
        code: the exit code that it must end with; None for any.
        stdin: what stands on standard input.
        cwd: the folder that it runs in.
        changes: variables of the environment; PYTHONIOENCODING holds for the three streams.
    """
    words = [os.fspath(each) if isinstance(each, os.PathLike) else str(each) for each in arguments]
    encoding, _, errors = changes.get("PYTHONIOENCODING", "utf-8").partition(":")
    data = stdin if isinstance(stdin, bytes) else stdin.encode(encoding)
    streams = [io.TextIOWrapper(io.BytesIO(content), encoding, errors or "strict") for content in (data, b"", b"")]
    with contextlib.ExitStack() as stack:
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            stack.enter_context(mock.patch.object(sys, name, stream))
        stack.enter_context(mock.patch.object(sys, "argv", ["gpunet", *words]))
        stack.enter_context(mock.patch.dict(os.environ, changes))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_signals_kept())
        if cwd is not None:
            stack.enter_context(_working_folder(cwd))
        _forget_streams()
        try:
            main()
        except SystemExit as end:
            ended = end.code
        else:
            ended = 0
    _forget_streams()
    for stream in streams:
        stream.flush()
    texts = [stream.buffer.getvalue().decode(encoding, "surrogateescape") for stream in streams[1:]]
    assert isinstance(ended, int)
    assert "Traceback" not in texts[1]
    assert "fault in gpunet" not in texts[1], texts[1]
    if code is not None:
        assert ended == code, texts[1]
    return subprocess.CompletedProcess(["gpunet", *words], ended, *texts)


def environment(**changes: str) -> dict[str, str]:
    """The variables of a new process: none that changes its texts, one BLAS thread, UTF-8, and `changes`."""
    plain = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**plain, "PYTHONIOENCODING": "utf-8", **changes}


def process(
    *arguments: object,
    code: int | None = 0,
    stdin: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    **changes: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, in pipes; arguments as those of `gpunet`."""
    done = subprocess.run(
        [sys.executable, "-m", "gpunet", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**changes),
        timeout=600,
    )
    assert "Traceback" not in done.stderr
    if code is not None:
        assert done.returncode == code, done.stderr
    return done


def _forget_streams() -> None:
    """Forget what the command line remembers of its streams: they are others in the next call."""
    for name, module in sys.modules.copy().items():
        if name.startswith("gpunet.cli"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == name:
                    value.cache_clear()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """The handlers of Ctrl-C and SIGTERM put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _working_folder(folder: str | os.PathLike[str]) -> Iterator[None]:
    """A folder to work in, and back."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)

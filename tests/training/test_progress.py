"""The progress bar: what it shows and when, looked at through a stream that says it is a terminal."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.training.progress import Losses, sparkline
from gpunet.wording import duration

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True

    def shown(self) -> str:
        return ESCAPE.sub("", self.getvalue())

    def wait_for(self, text: str) -> bool:
        """Wait until a text was drawn; False if that takes very long."""
        end = time.monotonic() + 300
        while text not in self.shown():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def trainer(terminal: Any, **options: Any) -> gn.Trainer:
    rng = np.random.default_rng(1)
    images, labels = rng.standard_normal((60, 4)).astype(np.float32), np.arange(60) % 3
    data = gn.Dataset.from_arrays(images, labels, validation=10)
    callbacks = [gn.ProgressBar(terminal)] if terminal is not None else []
    standard: dict[str, Any] = {"iterations": 1000, "log_every": 1000, "validate_every": 1000, "batch_size": 10}
    return gn.Trainer(gn.MLP([4, 3], backend="cpu"), data, callbacks=callbacks, **{**standard, **options})


def at_step(run: gn.Trainer, step: int, do: Callable[[], Any]) -> None:
    """Have something done before the step after `step` of them are done."""
    original = run.step.run

    def patched(*arguments: Any, **options: Any) -> Any:
        if run.iteration == step:
            do()
        return original(*arguments, **options)

    run.step.run = patched  # type: ignore[method-assign]


def test_the_bar_moves_between_two_records(terminal: Terminal) -> None:
    run, seen = trainer(terminal), []
    at_step(run, 7, lambda: seen.append(terminal.wait_for(" 7/1,000 ")))
    at_step(run, 400, lambda: seen.append(terminal.wait_for(" 400/1,000  40%") and terminal.wait_for("steps/s")))
    list(run.steps())
    assert seen == [True, True]
    assert "accuracy" not in terminal.shown().split("400/1,000")[0]  # no record was there to tell it


def test_what_the_device_has_not_finished_does_not_count(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mark:
        asked = 0
        finished = False

        @property
        def done(self) -> bool:
            Mark.asked += 1
            return Mark.finished

    def look() -> None:
        before = Mark.asked
        while Mark.asked < before + 3:
            time.sleep(0.005)
        seen.append("300/1,000" in terminal.shown())
        Mark.finished = True
        seen.append(terminal.wait_for(" 300/1,000 "))

    run, seen = trainer(terminal), []
    monkeypatch.setattr(run.backend, "mark", Mark)
    at_step(run, 300, look)
    list(run.steps())
    assert seen == [False, True]


def test_the_figures_of_records_and_evaluations_are_shown(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(terminal, log_every=6, validate_every=6, iterations=60)
    seen = []
    at_step(run, 30, lambda: seen.append(terminal.wait_for("epoch 6 of 12") and terminal.wait_for("  best 0.")))
    forward = type(run.model).forward

    def waiting(model: gn.MLP, *arguments: Any, **options: Any) -> Any:
        if run.evaluating and run.evaluating[0] == "train":
            seen.append(terminal.wait_for("evaluating train: 0 of 50"))
        return forward(model, *arguments, **options)

    monkeypatch.setattr(type(run.model), "forward", waiting)
    list(run.steps())
    assert seen == [True, True]
    assert re.search(r"accuracy 0\.\d{4}  loss \d\.\d{4}  validation 0\.\d{4}  best 0\.\d{4}  epoch", terminal.shown())


@pytest.mark.parametrize("columns", [30, 40, 60, 80])
def test_no_line_is_wider_than_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run = trainer(terminal, log_every=5, validate_every=5)
    at_step(run, 500, lambda: terminal.wait_for(" 500/1,000 "))
    list(run.steps())
    assert max(map(len, re.split(r"[\r\n]", terminal.shown()))) <= columns
    assert "…" not in terminal.shown()


def test_the_numbers_are_those_without_a_bar(terminal: Terminal) -> None:
    def losses(stream: Any) -> list[Any]:
        return [record.as_dict().get("loss") for record in trainer(stream, log_every=10).steps()]

    assert losses(terminal) == losses(None)


def test_the_bar_is_taken_away_whatever_ends_the_training(terminal: Terminal) -> None:
    run = trainer(terminal)

    def stop() -> None:
        raise KeyboardInterrupt

    at_step(run, 10, stop)
    with pytest.raises(KeyboardInterrupt):
        list(run.steps())
    assert terminal.getvalue().rstrip().endswith("\x1b[2K")  # the last thing is to erase its lines
    length = len(terminal.getvalue())
    del run.step.run
    list(run.steps())  # goes on, with a bar
    assert len(terminal.getvalue()) > length


def test_a_bar_that_cannot_be_drawn_ends_no_training(terminal: Terminal) -> None:
    class Closing(Terminal):
        closing = False

        def write(self, text: str) -> int:
            if self.closing:
                self.closing = False
                raise OSError("gone")
            return super().write(text)

    stream = Closing()
    run = trainer(stream)

    def close() -> None:
        stream.closing = True
        while stream.closing:
            time.sleep(0.005)

    at_step(run, 10, close)
    assert [record.event for record in run.steps()] == ["step", "result"]


@pytest.mark.parametrize(("terminal_there", "term"), [(False, "xterm"), (True, "dumb")])
def test_nothing_is_drawn_elsewhere(terminal_there: bool, term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = Terminal() if terminal_there else io.StringIO()
    list(trainer(stream).steps())
    assert stream.getvalue() == ""


def test_rich_is_not_imported_for_nothing() -> None:
    code = (
        "import sys, numpy as np, gpunet as gn\n"
        "data = gn.Dataset.from_arrays(np.eye(4, dtype='f4'), [0, 1, 0, 1])\n"
        "gn.train(gn.MLP([4, 2], backend='cpu'), data, iterations=2, batch_size=2, progress=True)\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'rich']\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lines_stand_above_the_bar(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    run = trainer(terminal)
    bar = run.callbacks[0]
    at_step(run, 10, lambda: (bar.write("a line"), terminal.wait_for("a line\n")))
    list(run.steps())
    assert "a line\n" in terminal.shown()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    bar.write("plain")
    assert sys.stdout.getvalue() == "plain\n"  # type: ignore[attr-defined]


def test_a_mark_on_the_cpu_is_always_reached() -> None:
    assert gn.get_backend("cpu").mark().done


def test_the_sparkline_and_its_numbers() -> None:
    assert sparkline([0.0, 1.0, 2.0, 7.0], 4) == "▁▂▃█"
    assert sparkline([1.0, 1.0, 5.0, 5.0], 2) == "▁█"
    assert sparkline([], 5) == ""
    losses = Losses()
    for loss in range(1024):
        losses.add(float(loss))
    assert len(losses.values) <= 256
    assert losses.values == sorted(losses.values)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (7.4, 754, 3723)] == ["0:07", "12:34", "1:02:03"]

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

import gpunet as gn
from gpunet.training.callbacks import Timer


class Endings(gn.Callback):
    """Notes how training ended, each time."""

    def __init__(self) -> None:
        self.told: list[tuple[str | None, type | None]] = []

    def on_end(self, trainer: gn.Trainer) -> None:
        self.told.append((trainer.stopped, None if trainer.error is None else type(trainer.error)))


def trainer(*callbacks: Any, **options: Any) -> gn.Trainer:
    data = gn.load_dataset("mnist-5k")
    model = gn.MLP([784, 5, 10], seed=1)
    return gn.Trainer(model, data, **{"iterations": 6, "log_every": 2, "callbacks": callbacks, **options})


def test_the_end_is_told_with_its_cause():
    endings = Endings()
    list(trainer(endings).steps())
    assert endings.told == [("completed", None)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_end_is_told_with_its_exception(error):
    def fail(record: gn.Record) -> None:
        raise error

    endings = Endings()
    run = trainer(fail, endings)
    with pytest.raises(error):
        list(run.steps())
    assert endings.told == [(None, error)]
    assert run.error is None  # it would keep the frames alive, and with them the arrays


def test_who_stops_or_leaves_is_no_error():
    endings = Endings()
    run = trainer(lambda record: run.stop(), endings)
    list(run.steps())
    assert endings.told == [(None, None)]
    steps = trainer(endings).steps()
    next(steps)
    steps.close()
    assert endings.told == [(None, None)] * 2


def test_a_diverged_training_says_so():
    endings = Endings()
    with pytest.raises(gn.TrainingDiverged):
        list(trainer(endings, optimizer=gn.SGD(1e30), iterations=20).steps())
    assert endings.told == [(None, gn.TrainingDiverged)]


def test_a_timer_of_steps():
    timer = Timer(5)
    assert [timer.next(step, 0.0) for step in (0, 4, 5)] == [5, 5, 10]
    assert [step for step in range(1, 12) if timer.is_due(step)] == [5, 10]


def test_a_timer_of_nothing_is_never_due():
    timer = Timer()
    timer.restart()
    assert timer.next(3, 1.0) == math.inf
    assert not timer.is_due(3)


def test_a_timer_of_seconds_asks_when_the_pace_says_so():
    timer = Timer(seconds=1000.0)
    timer.restart()
    assert timer.next(7, 0.0) == 8  # the pace is not known
    assert timer.next(7, 10.0) in (7 + 99, 7 + 100)
    assert not timer.is_due(8)


def test_evaluation_says_how_far_it_is(monkeypatch):
    from gpunet.network import evaluation

    monkeypatch.setattr(evaluation, "CHUNK", 400)
    monkeypatch.setattr(evaluation, "LOGITS", 4000)
    seen: list[Any] = []
    run = trainer()
    forward = run.model.forward

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(run.evaluating)
        return forward(*arguments, **options)

    monkeypatch.setattr(type(run.model), "forward", lambda self, *rest, **options: watched(*rest, **options))
    list(run.steps())
    assert ("train", 400, 4000) in seen
    assert ("test", 0, 1000) in seen
    assert run.evaluating is None


class Steps(gn.Callback):
    """Keeps the loss of every step, and does with the trainer what it is told to."""

    def __init__(self, do: Any = None) -> None:
        self.losses: list[float] = []
        self.do = do

    def on_step(self, run: gn.Trainer) -> None:
        self.losses.append(float(run.step.batch_loss()))
        if self.do is not None:
            self.do(run)


def test_a_callback_of_steps_sees_the_loss_of_each(backend: gn.Backend):
    def losses(*callbacks: Any, **options: Any) -> list[float]:
        model = gn.MLP([784, 5, 10], seed=1, backend=backend)
        data = gn.load_dataset("mnist-5k")
        records = gn.training_steps(model, data, iterations=6, callbacks=callbacks, l2=0.01, l1=0.001, **options)
        return [record.loss for record in records if record.event == "step"]

    steps = Steps()
    usual = losses(log_every=1)
    assert losses(steps, log_every=4) == [usual[3], usual[5]]  # and the numbers are those of a run without it
    assert steps.losses == pytest.approx(usual, rel=1e-6)


def test_a_callback_of_steps_may_change_weights_and_rates_and_stop():
    def clear(run: gn.Trainer) -> None:
        run.model.parameters[0][...] = 0
        run.schedule.initial = 0.5
        run.step.ask_rates_again()
        if run.iteration == 4:
            run.stop()

    run = trainer(Steps(clear))
    records = list(run.steps())
    assert run.iteration == 4
    assert not run.model.parameters[0].any()
    assert [record.learning_rate for record in records] == [0.5, 0.5]


def test_a_step_asks_for_losses_only_where_somebody_looks(monkeypatch: pytest.MonkeyPatch):
    asked = []
    run = trainer(lambda record: None, log_every=3)
    step = run.step.run
    monkeypatch.setattr(run.step, "run", lambda goal: (asked.append(goal == run.iteration + 1), step(goal)))
    list(run.steps())
    assert asked == [False, False, True] * 2


def interrupted(at: int) -> Any:
    def on_record(record: gn.Record) -> None:
        if record.event == "step" and record.iteration == at:
            raise KeyboardInterrupt

    return on_record


def test_an_interrupted_training_of_an_interactive_session_is_a_result(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    data, model = gn.load_dataset("mnist-5k"), gn.MLP([784, 5, 10], seed=1)
    with pytest.warns(UserWarning, match="interrupted after 4 steps"):
        result = gn.train(model, data, iterations=9, log_every=2, callbacks=[interrupted(4)])
    assert (result.iterations, result.stopped) == (4, "interrupted")
    assert [record.iteration for record in result.history] == [2]
    other = gn.MLP([784, 5, 10], seed=1)
    gn.train(other, data, iterations=4)
    assert model.flat.tobytes() == other.flat.tobytes()


def test_an_interrupted_script_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(sys, "ps1", raising=False)
    with pytest.raises(KeyboardInterrupt):
        gn.train(gn.MLP([784, 5, 10]), gn.load_dataset("mnist-5k"), iterations=9, callbacks=[interrupted(9)])

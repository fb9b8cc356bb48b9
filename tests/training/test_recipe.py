"""The recipe: each of its options is read, reaches the training and its checkpoints, and is known to type checkers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.runs.settings import Settings, build_trainer
from gpunet.training.ranks import ALONE
from gpunet.training.recipe import Options, Recipe

pytestmark = pytest.mark.host

FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}

#: Another value than the default for every option.
OTHERS: dict[str, Any] = {
    "batch_size": 7,
    "iterations": 9,
    "epochs": 0.5,
    "early_stopping": 1,
    "validate_every": 3,
    "metric": "accuracy",
    "metrics": ("balanced-accuracy", "top-k:k=1"),
    "seed": 5,
    "shuffle": False,
    "l2": 0.1,
    "l1": 0.1,
    "max_norm": 0.05,
    "clip_norm": 0.001,
    "layer_rates": (0.0, 0.5),
    "stream": "on",
    "graph": "off",
    "precision": "tf32",
    "steps_per_launch": 3,
    "threads": 1,
    "distributed": "mpi",
    "log_every": 3,
}
#: Options that show in what a run on the CPU yields; the others show in `test_what_does_not_show_in_the_numbers`, and
#: the precision in `test_precision.py`.
HIDDEN = ("metric", "stream", "graph", "precision", "steps_per_launch", "threads", "distributed")
SHOWN = [name for name in OTHERS if name not in HIDDEN]


def data() -> gn.Dataset:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 4)).astype(np.float32)
    # Labels that have nothing to do with the inputs, so that the validation loss soon gets no better.
    return gn.Dataset.from_arrays(inputs, rng.integers(0, 2, 60), validation=20)


def trainer(**options: Any) -> gn.Trainer:
    length = {} if {"iterations", "epochs"} & options.keys() else {"iterations": 8}
    return gn.Trainer(
        gn.MLP([4, 6, 2], seed=1), data(), optimizer=gn.SGD(2.0), **{"batch_size": 10, **length, **options}
    )


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The engines that ranks were asked of, in place of which the test is by itself."""
    asked: list[str | None] = []
    monkeypatch.setattr("gpunet.training.trainer.open_ranks", lambda engine: asked.append(engine) or ALONE)
    return asked


def outcome(trainer: gn.Trainer) -> tuple[bytes, list[dict[str, Any]]]:
    """The weights at the end and what was told on the way, without times."""
    records = [record.as_dict() for record in trainer.steps()]
    for record in records:
        for name in ("seconds", "train_seconds", "steps_per_second"):
            record.pop(name, None)
    return trainer.model.flat.tobytes(), records


def test_every_option_is_tried_here() -> None:
    assert OTHERS.keys() == FIELDS.keys()


@pytest.mark.parametrize("name", SHOWN)
def test_every_option_reaches_the_training(name: str) -> None:
    assert outcome(trainer(**{name: OTHERS[name]})) != outcome(trainer())


def test_what_does_not_show_in_the_numbers(engines: list[str | None]) -> None:
    trainer(distributed="mpi")
    assert engines == ["mpi"]
    assert trainer(threads=1).threads.number == 1
    assert trainer(stream="on").step.batches.startswith("streamed")
    assert trainer(metric="accuracy").judge.name == "accuracy"
    with pytest.raises(gn.UsageError, match='graph "on" needs a CUDA device'):
        trainer(graph="on")


@pytest.mark.parametrize("name", [name for name in [*SHOWN, "metric"] if FIELDS[name].metadata["identity"]])
def test_what_changes_numbers_is_refused_on_resume(name: str) -> None:
    state = trainer().state()
    with pytest.raises(gn.CheckpointError, match=f"another setting of {FIELDS[name].metadata['identity']}"):
        trainer(**{name: OTHERS[name]}).restore(*state)


def test_what_is_not_in_a_checkpoint_changes_no_weights() -> None:
    usual = outcome(trainer())[0]
    for name in OTHERS:
        if FIELDS[name].metadata["identity"] is None and name != "epochs":  # which are iterations by then
            assert outcome(trainer(**{name: OTHERS[name]}))[0] == usual, name


def test_an_option_that_came_later_than_a_checkpoint_had_its_default() -> None:
    arrays, facts = trainer().state()
    del facts["identity"]["clip_norm"]
    trainer().restore(arrays, facts)
    with pytest.raises(gn.CheckpointError, match="another setting of clip_norm: None there"):
        trainer(clip_norm=0.001).restore(arrays, facts)


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "precision"])
def test_every_option_is_a_setting(name: str) -> None:
    split = data()
    text = ",".join(map(str, OTHERS[name])) if isinstance(OTHERS[name], tuple) else str(OTHERS[name])
    settings = Settings(**{"batch_size": 10, name: text})
    expected = Recipe(**{"batch_size": 10, "seed": 0, name: OTHERS[name]})
    assert build_trainer(settings, gn.MLP([4, 6, 2]), split).recipe == expected.fitted(split, 0)


def test_type_checkers_know_every_option() -> None:
    assert list(Options.__annotations__) == list(FIELDS)
    for name, field in FIELDS.items():
        assert Options.__annotations__[name].__forward_arg__ == field.type


@pytest.mark.parametrize("name", [name for name in FIELDS if FIELDS[name].default not in (None, "auto", ())])
def test_python_and_the_command_line_have_the_same_limits(name: str) -> None:
    for value in (-1, 0, 0.5, "much", True, float("nan"), [1]):
        sentences = []
        for kind in (Recipe, Settings):
            try:
                sentences.append(getattr(kind(**{name: value}), name))
            except gn.UsageError as error:
                sentences.append(str(error).replace("--", "").replace("-", "_"))
        assert str(sentences[0]).replace("-", "_") == str(sentences[1]), value


def test_numbers_of_numpy_are_numbers() -> None:
    recipe = Recipe(iterations=np.int64(3), l2=np.float32(0.5), seed=np.uint64(2**64 - 1))  # type: ignore[arg-type]
    assert (recipe.iterations, recipe.l2, recipe.seed) == (3, 0.5, 2**64 - 1)

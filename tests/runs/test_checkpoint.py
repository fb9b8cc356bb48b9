"""Model files and checkpoints: what is written comes back, resumed is uninterrupted, damage is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.network import container
from gpunet.runs.checkpoint import model_of_checkpoint
from gpunet.training.callbacks import Callback


def small_data(rng, classes: int = 3, validation: int = 60, examples: int = 300) -> gn.Dataset:
    images = rng.integers(0, 256, (examples, 12), dtype=np.uint8)
    labels = (images[:, 0] // (256 // classes)).clip(0, classes - 1)
    return gn.Dataset.from_arrays(images, labels, images[:50], labels[:50], validation=validation or None)


def host(model: gn.MLP) -> np.ndarray:
    return np.array(model.backend.to_host(model.flat))


# --- models


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_whole(tmp_path, rng, backend, dtype):
    model = gn.MLP([12, 7, 5, 3], ["tanh", "relu"], dropout=[0.25, 0.5], seed=7, dtype=dtype, backend=backend)
    model.class_names, model.image_shape, model.input_scale = ["a", "b", "c"], (3, 4), 1 / 255
    model.save(tmp_path / "model.safetensors")
    loaded = gn.MLP.load(tmp_path / "model.safetensors", backend)
    assert host(loaded).tobytes() == host(model).tobytes()
    for name in ("sizes", "dropout", "seed", "dtype", "input_scale", "image_shape", "class_names"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert [activation.name for activation in loaded.activations] == ["tanh", "relu"]
    x = rng.integers(0, 256, (9, 12), dtype=np.uint8)
    assert (backend.to_host(loaded.predict_proba(x)) == backend.to_host(model.predict_proba(x))).all()


def test_a_model_file_goes_from_device_to_device(tmp_path, backend):
    model = gn.MLP([12, 7, 3], seed=7, backend=backend)
    model.save(tmp_path / "model.safetensors")
    assert gn.MLP.load(tmp_path / "model.safetensors").backend.name == "cpu"
    assert host(gn.MLP.load(tmp_path / "model.safetensors")).tobytes() == host(model).tobytes()


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        gn.MLP([12, 7, 3], seed=7).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_model_file_is_plain_safetensors(tmp_path):
    from safetensors.numpy import load_file

    model = gn.MLP([12, 7, 3], seed=7)
    model.save(tmp_path / "model.safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    assert sorted(tensors) == ["W1", "W2", "b1", "b2"]
    assert (tensors["W1"] == model.parameters[0]).all()


def test_a_loss_comes_back_with_its_settings(tmp_path):
    loss = gn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=np.array([1, 2, 3]))
    gn.MLP([12, 3], loss=loss).save(tmp_path / "model")
    assert gn.MLP.load(tmp_path / "model").loss.settings() == loss.settings()


def test_an_activation_of_ones_own_has_to_be_given(tmp_path, rng):
    own = gn.activation("own", lambda x: x * 2, lambda x: np.full_like(x, 2), "x * 2", "ACC(2)")
    model = gn.MLP([4, 3, 2], own)
    model.save(tmp_path / "model")
    with pytest.raises(gn.CheckpointError, match="'own', which is not known"):
        gn.MLP.load(tmp_path / "model")
    x = rng.random((5, 4), dtype=np.float32)
    loaded = gn.MLP.load(tmp_path / "model", activations={"own": own})
    assert (loaded.forward(x) == model.forward(x)).all()


def test_a_loaded_model_refuses_data_of_another_width(tmp_path):
    gn.MLP([12, 3]).save(tmp_path / "model")
    with pytest.raises(gn.UsageError, match="takes 12 features per example, and the data has 13"):
        gn.MLP.load(tmp_path / "model").predict(np.zeros((2, 13), np.uint8))


def test_writing_where_one_cannot_is_a_sentence(tmp_path):
    with pytest.raises(gn.CheckpointError, match="cannot be written"):
        gn.MLP([4, 2]).save(tmp_path / "no" / "such" / "folder")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    gn.MLP([4, 2], seed=1).save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(gn.CheckpointError, match="No space left"):
        gn.MLP([4, 2], seed=2).save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_bytes() == before


# --- what is refused


def rewritten(path, change) -> None:
    """Change the description of a file and give it a checksum that fits, as a tool that knows the format would."""
    arrays, facts = container.read(path, json.loads(description(path))["format"])
    kind = facts["format"]
    change(facts, arrays)
    container.write(path, facts.pop("format", kind), arrays, facts)


def description(path) -> str:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])["__metadata__"]["gpunet"]


@pytest.fixture
def file(tmp_path):
    gn.MLP([6, 4, 3], seed=1).save(tmp_path / "model")
    return tmp_path / "model"


def test_missing_and_foreign_files(tmp_path, file):
    from safetensors.numpy import save_file

    with pytest.raises(gn.CheckpointError, match="there is no such run or model"):
        gn.MLP.load(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(gn.CheckpointError, match="no model in this folder"):
        gn.MLP.load(tmp_path / "folder")
    save_file({"W1": np.zeros((2, 2), np.float32)}, tmp_path / "foreign")
    with pytest.raises(gn.CheckpointError, match="not written by gpunet"):
        gn.MLP.load(tmp_path / "foreign")
    container.write(tmp_path / "other", container.CHECKPOINT, {"x": np.zeros(2)}, {})
    with pytest.raises(gn.CheckpointError, match="this is a checkpoint and not a model"):
        gn.MLP.load(tmp_path / "other")


def test_every_truncation_and_every_flipped_byte_is_refused(file):
    whole = file.read_bytes()
    for length in range(0, len(whole), 37):
        file.write_bytes(whole[:length])
        with pytest.raises(gn.CheckpointError):
            gn.MLP.load(file)
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(gn.CheckpointError):
            gn.MLP.load(file)


def test_a_huge_header_is_refused_without_asking_for_memory(file):
    whole = file.read_bytes()
    for length in (2**63, 2**40, 2**64 - 1, len(whole)):
        file.write_bytes(struct.pack("<Q", length) + whole[8:])
        with pytest.raises(gn.CheckpointError, match="cut off"):
            gn.MLP.load(file)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda facts, arrays: facts.update(version=99), "format version 99"),
        (lambda facts, arrays: facts.pop("sizes"), "not complete"),
        (lambda facts, arrays: facts.update(sizes=[6, 5, 3]), "W1 is float32 of shape"),
        (lambda facts, arrays: facts.update(sizes=[6, 10**12, 3]), "W1 is float32 of shape"),
        (lambda facts, arrays: facts.update(sizes=[6, 3]), "tensors in the file are not those"),
        (lambda facts, arrays: facts.update(sizes="abc"), "not complete"),
        (lambda facts, arrays: facts.update(dtype="float64"), "the description says float64"),
        (lambda facts, arrays: facts.update(activations=["wavelet"]), "'wavelet'"),
        (lambda facts, arrays: facts.update(activations=["relu", "relu"]), "2 activations for 1 layers"),
        (lambda facts, arrays: facts.update(dropout=[2.0]), "dropout"),
        (lambda facts, arrays: facts.update(seed=-1), "seed"),
        (lambda facts, arrays: facts.update(loss={"name": "regret", "settings": {}}), "'regret'"),
        (
            lambda facts, arrays: facts.update(loss={"name": "softmax-cross-entropy", "settings": {"x": 1}}),
            "no argument x",
        ),
        (lambda facts, arrays: facts.update(image_shape=[2, 2]), "image shape"),
        (lambda facts, arrays: facts.update(input_scale=float("nan")), "scale"),
        (lambda facts, arrays: facts.update(class_names=["a"] * 7), "7 class names"),
        (lambda facts, arrays: arrays["W1"].__setitem__((0, 0), np.nan), "not finite"),
    ],
)
def test_descriptions_that_do_not_fit(file, change, sentence):
    def changed(facts, arrays):
        arrays.update({name: array.copy() for name, array in arrays.items()})
        change(facts, arrays)

    if sentence == "format version 99":
        arrays, facts = container.read(file, container.MODEL)
        facts.pop("format")
        container.write(file, container.MODEL, arrays, {**facts, "version": 99})
    else:
        rewritten(file, changed)
    with pytest.raises(gn.CheckpointError) as caught:
        gn.MLP.load(file)
    assert sentence in str(caught.value)


# --- checkpoints


class Save(Callback):
    """Saves a checkpoint at one step."""

    def __init__(self, path, iteration: int) -> None:
        self.path, self.iteration = path, iteration

    def on_checkpoint(self, trainer) -> None:
        if trainer.iteration == self.iteration:
            gn.save_checkpoint(self.path, trainer, note="here")


WAYS = {
    "sgd": {"optimizer": gn.SGD(0.1)},
    "momentum": {"optimizer": gn.Momentum(0.05, 0.9)},
    "adam": {"optimizer": gn.Adam(0.01)},
    "penalties": {"optimizer": gn.Adam(0.01), "l2": 0.01, "l1": 0.001, "clip_norm": 1.0, "max_norm": 2.0},
    # It waits for a better validation at the step at which it is resumed, and stops soon after.
    "early stopping": {"optimizer": gn.Adam(0.5), "early_stopping": 4, "validate_every": 5},
    "odd batches": {"optimizer": gn.Adam(0.01), "batch_size": 23},
    "full batch": {"optimizer": gn.Momentum(0.05), "batch_size": "all"},
    "without a graph": {"optimizer": gn.Adam(0.01), "graph": "off"},
    # Its rate has changed by the step at which it is resumed.
    "after a plateau": {"schedule": lambda rate: gn.ReduceOnPlateau(50 * rate, patience=1), "validate_every": 3},
}
WAYS.update({name: {"optimizer": entry()} for name, entry in gn.OPTIMIZERS.items() if name not in WAYS})
for name, entry in gn.SCHEDULES.items():
    if name != "constant":
        WAYS[f"schedule {name}"] = {"schedule": entry, "validate_every": 7}


def trainer_for(way: str, data: gn.Dataset, backend, **options) -> gn.Trainer:
    chosen = dict(WAYS[way])
    schedule = chosen.pop("schedule", None)
    if schedule is not None:
        chosen["optimizer"] = gn.Adam(schedule(0.02))
    chosen = {"batch_size": 20, "iterations": 50, "log_every": 10, **chosen, **options}
    return gn.Trainer(gn.MLP([12, 8, 6, 3], dropout=[0.2, 0.3], seed=5, backend=backend), data, **chosen)


def untimed(records) -> list[dict]:
    timing = ("seconds", "steps_per_second", "train_seconds")
    return [{key: value for key, value in record.as_dict().items() if key not in timing} for record in records]


# What a schedule remembers lies on the host; one of them, with validations, is enough for a device.
HOST_WAYS = {way for way in WAYS if way.startswith("schedule ") and way != "schedule cosine"}


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.host) if way in HOST_WAYS else way for way in WAYS]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, rng, backend, way):
    data = small_data(rng, examples=100 if way == "full batch" else 300)
    plain = trainer_for(way, data, backend)
    records = untimed(plain.steps())
    file = tmp_path / "checkpoint"
    saving = trainer_for(way, data, backend, callbacks=[Save(file, 33)], checkpoint_every=11)
    assert untimed(saving.steps()) == records
    assert host(saving.model).tobytes() == host(plain.model).tobytes()
    if not file.exists():
        pytest.fail("the run ended before its checkpoint; choose other numbers for this test")
    resumed = trainer_for(way, data, backend)
    assert gn.load_checkpoint(file, resumed)["note"] == "here"
    assert resumed.iteration == 33
    if way == "after a plateau":
        assert resumed.schedule.state()["plateaus"] > 0
    if way == "early stopping":
        assert resumed.early_stopping.waited > 0
    rest = untimed(resumed.steps())
    assert rest == [record for record in records if record.get("iteration", 99) > 33]
    assert host(resumed.model).tobytes() == host(plain.model).tobytes()
    for ours, theirs in zip(resumed.step.optimizer_state, plain.step.optimizer_state, strict=True):
        assert backend.to_host(ours).tobytes() == backend.to_host(theirs).tobytes()


def test_a_checkpoint_of_the_end_gives_the_same_result(tmp_path, rng, backend):
    data = small_data(rng)
    trainer = trainer_for("early stopping", data, backend, callbacks=[keep := Keep()], iterations=600)
    result = list(trainer.steps())[-1]
    assert result.stopped == "early stopping"
    again = trainer_for("early stopping", data, backend, iterations=600)
    again.restore(*keep.states[-1])
    assert again.seconds == trainer.seconds
    records = list(again.steps())
    assert untimed(records) == untimed([result])
    assert host(again.model).tobytes() == host(trainer.model).tobytes()


def test_a_trainer_goes_back_to_a_state_of_its_own(rng, backend):
    data = small_data(rng, examples=100)
    trainer = trainer_for("full batch", data, backend, callbacks=[keep := Keep()], checkpoint_every=11)
    records, end = untimed(trainer.steps()), host(trainer.model).tobytes()
    state = keep.states[0]
    trainer.restore(*state)
    with backend.use():
        trainer.model.flat[...] = np.nan
    with pytest.raises(gn.TrainingDiverged):
        list(trainer.steps())
    trainer.restore(*state)
    assert untimed(trainer.steps()) == [record for record in records if record.get("iteration", 99) > 11]
    assert host(trainer.model).tobytes() == end


class Keep(Callback):
    """Keeps every state in memory, and what was told before it."""

    def __init__(self) -> None:
        self.states: list = []
        self.seen: list[str] = []

    def on_start(self, trainer) -> None:
        self.seen.append("start")

    def on_record(self, record, trainer) -> None:
        self.seen.append(f"{record.event} {trainer.iteration}")

    def on_checkpoint(self, trainer) -> None:
        self.states.append(trainer.state())
        self.seen.append(f"checkpoint {trainer.iteration}")

    def on_end(self, trainer) -> None:
        self.seen.append("end")


def test_callbacks_are_told_in_order(rng):
    told: list = []
    keep = Keep()
    trainer = trainer_for("sgd", small_data(rng, validation=0), "cpu", callbacks=[keep, told.append],
                          iterations=30, checkpoint_every=15)  # fmt: skip
    list(trainer.steps())
    assert keep.seen == ["start", "step 10", "checkpoint 15", "step 20", "step 30", "checkpoint 30", "result 30", "end"]
    assert [record.event for record in told] == ["step", "step", "step", "result"]


def test_a_callback_may_end_training(rng):
    class Enough(Callback):
        def on_record(self, record, trainer) -> None:
            trainer.stop()

    options = {"iterations": 50, "batch_size": 20, "log_every": 10, "callbacks": [Enough()]}
    result = gn.train(gn.MLP([12, 3]), small_data(rng), **options)
    assert (result.stopped, result.iterations, len(result.history)) == ("stopped", 10, 1)
    assert result.test_accuracy >= 0


def test_what_is_no_callback_is_refused(rng):
    with pytest.raises(gn.UsageError, match="callbacks are"):
        trainer_for("sgd", small_data(rng), "cpu", callbacks=["print"])
    with pytest.raises(gn.UsageError, match="callbacks are"):
        trainer_for("sgd", small_data(rng), "cpu", callbacks=[Keep])


def test_checkpoints_by_the_clock_change_no_number(rng, backend):
    data = small_data(rng)
    plain, timed = trainer_for("adam", data, backend), trainer_for("adam", data, backend, callbacks=[keep := Keep()],
                                                                   checkpoint_seconds=1e-6)  # fmt: skip
    assert untimed(plain.steps()) == untimed(timed.steps())
    assert host(timed.model).tobytes() == host(plain.model).tobytes()
    assert len(keep.states) > 3


def test_stop_ends_between_two_steps_and_goes_on(rng, backend, monkeypatch):
    monkeypatch.setattr("gpunet.training.batches.ROWS", 0)  # the order of an epoch at a time
    data = small_data(rng)
    plain = trainer_for("adam", data, backend)
    records = untimed(plain.steps())
    trainer = trainer_for("adam", data, backend)
    trainer.callbacks.append(keep := Keep())
    refill = trainer.step.source.refill

    def stopping(step: int, steps: int) -> int:  # as a signal would, somewhere between two records
        if step:
            trainer.stop()
        return refill(step, steps)

    trainer.step.source.refill = stopping
    first = untimed(trainer.steps())
    assert trainer.iteration % 10
    assert trainer.iteration < 60
    trainer.step.source.refill = refill
    assert keep.seen[-2:] == [f"checkpoint {trainer.iteration}", "end"]
    assert "result" not in {record["event"] for record in first}
    resumed = trainer_for("adam", data, backend)
    resumed.restore(*keep.states[-1])
    assert first + untimed(resumed.steps()) == records
    assert host(resumed.model).tobytes() == host(plain.model).tobytes()
    assert first + untimed(trainer.steps()) == records  # the stopped one goes on as well


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 25}, "batch size: 20 there, 25 here"),
        ({"optimizer": gn.SGD(0.1)}, "optimizer"),
        ({"optimizer": gn.Adam(0.02)}, "learning rate"),
        ({"iterations": 70}, "iterations: 50 there, 70 here"),
        ({"seed": 6}, "seed of the order"),
        ({"l2": 0.5}, "l2"),
        ({"early_stopping": 4}, "early stopping"),
        ({"loss": "binary-cross-entropy"}, "loss"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, rng, changes, sentence):
    data = small_data(rng)
    gn.save_checkpoint(tmp_path / "checkpoint", trainer_for("adam", data, "cpu"))
    other = trainer_for("adam", data, "cpu", **changes)
    before = host(other.model).tobytes()
    with pytest.raises(gn.CheckpointError) as caught:
        gn.load_checkpoint(tmp_path / "checkpoint", other)
    assert sentence in str(caught.value)
    assert host(other.model).tobytes() == before


def test_a_checkpoint_of_other_data_is_refused(tmp_path, rng):
    gn.save_checkpoint(tmp_path / "checkpoint", trainer_for("adam", small_data(rng), "cpu"))
    with pytest.raises(gn.CheckpointError, match="other data"):
        gn.load_checkpoint(tmp_path / "checkpoint", trainer_for("adam", small_data(rng), "cpu"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sizes": [12, 8, 7, 3]}, "layer sizes: [12, 8, 6, 3] there, [12, 8, 7, 3] here"),
        ({"activation": "tanh"}, "activations: ['relu', 'relu'] there, ['tanh', 'tanh'] here"),
        ({"dropout": 0.5}, "dropout: [0.2, 0.3] there, [0.5, 0.5] here"),
        ({"seed": 6}, "seed of the model: 5 there, 6 here"),
        ({"dtype": "float64"}, "number type: float32 there, float64 here"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, rng, changes, sentence):
    data = small_data(rng)
    gn.save_checkpoint(tmp_path / "checkpoint", trainer_for("adam", data, "cpu"))
    model = gn.MLP(**{"sizes": [12, 8, 6, 3], "dropout": [0.2, 0.3], "seed": 5, **changes})
    with pytest.raises(gn.CheckpointError) as caught:
        gn.load_checkpoint(tmp_path / "checkpoint", gn.Trainer(model, data))
    assert sentence in str(caught.value)


def test_a_checkpoint_that_fits_in_name_only_is_refused(tmp_path, rng):
    trainer = trainer_for("adam", small_data(rng), "cpu")
    path = tmp_path / "checkpoint"

    def refuse(change) -> str:
        gn.save_checkpoint(path, trainer)
        rewritten(path, change)
        with pytest.raises(gn.CheckpointError) as caught:
            gn.load_checkpoint(path, trainer_for("adam", small_data(np.random.default_rng(20170516)), "cpu"))
        return str(caught.value)

    assert "does not say what it belongs to" in refuse(lambda facts, arrays: facts["state"].pop("identity"))
    assert "where training stood" in refuse(lambda facts, arrays: facts.pop("state"))
    assert "where training stood" in refuse(lambda facts, arrays: facts["state"].update(iteration=61))
    assert "where training stood" in refuse(lambda facts, arrays: facts["state"].update(iteration=-1))
    assert "where training stood" in refuse(lambda facts, arrays: facts["state"].update(best=None))
    assert "do not fit" in refuse(lambda facts, arrays: arrays.pop("optimizer.mean"))
    assert "do not fit" in refuse(lambda facts, arrays: arrays.update(parameters=np.zeros(3, np.float32)))


def test_weights_that_are_not_finite_make_no_checkpoint(tmp_path, rng):
    trainer = trainer_for("sgd", small_data(rng), "cpu")
    trainer.model.flat[0] = np.inf
    with pytest.raises(gn.CheckpointError, match="no longer finite"):
        gn.save_checkpoint(tmp_path / "checkpoint", trainer)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("name", ["version", "state", "crc32", "format", "gpunet"])
def test_a_fact_may_not_take_the_place_of_the_files_own(rng, tmp_path, name):
    trainer = trainer_for("sgd", small_data(rng), gn.get_backend("cpu"))
    with pytest.raises(gn.UsageError, match=f"a checkpoint has a {name} of its own"):
        gn.save_checkpoint(tmp_path / "a", trainer, **{name: 1})
    assert not (tmp_path / "a").exists()


def test_facts_come_back_as_json_holds_them(rng, tmp_path):
    data = small_data(rng)
    trainer = trainer_for("sgd", data, gn.get_backend("cpu"))
    gn.save_checkpoint(tmp_path / "a", trainer, ranks={9: "a", 10: "b"})
    found = gn.load_checkpoint(tmp_path / "a", trainer_for("sgd", data, gn.get_backend("cpu")))
    assert found["ranks"] == {"9": "a", "10": "b"}
    with pytest.raises(gn.UsageError, match="what JSON can hold"):
        gn.save_checkpoint(tmp_path / "b", trainer, when=object())


def test_a_model_of_data_with_fewer_classes_can_be_loaded(mnist_5k, tmp_path):
    model = gn.MLP([784, 10])
    gn.train(model, mnist_5k.select_classes([3, 8]), iterations=2)
    model.save(tmp_path / "a.safetensors")
    assert gn.MLP.load(tmp_path / "a.safetensors").class_names is None


# --- a description with other values, and the right checksum ----------------------------------------------


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a description."""
    if path:
        yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, key))


def replaced(value: Any, path: tuple, new: Callable[[Any], Any]) -> Any:
    """A copy of a description with another value at a path."""
    if not path:
        return new(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def test_a_description_with_other_values_is_refused_in_one_sentence_or_read(tmp_path, rng, monkeypatch):
    pictures = rng.integers(0, 255, (60, 3, 2), np.uint8)
    data = gn.Dataset.from_arrays(pictures, np.arange(60) % 3, class_names=["a", "b", "c"])

    def fresh() -> gn.Trainer:
        optimizer = gn.Adam(gn.ReduceOnPlateau(0.1))
        return gn.Trainer(gn.MLP([6, 4, 3], dropout=[0.1]), data.hold_out(20), optimizer=optimizer, iterations=8,
                          batch_size=10, early_stopping=3)  # fmt: skip

    trainer = fresh()
    folder = gn.RunFolder.start(tmp_path / "run", trainer)
    list(trainer.steps())
    arrays, facts = container.read(folder.checkpoint, container.CHECKPOINT)
    facts = {name: value for name, value in facts.items() if name not in ("format", "version")}
    values: list[Callable[[Any], Any]] = [
        lambda old, new=new: new for new in (None, -1, 1e99, "a\nb", [], {}, [1, 2, 3, 4, 5], {"a": 1}, "9" * 99)
    ]
    values.append(lambda old: old + old if isinstance(old, (list, str)) else old)
    values.append(lambda old: old[:-1] if isinstance(old, (list, str)) else old)
    path = tmp_path / "changed"
    sentences = []
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # which takes most of the time
    cases = [(place, new) for place in places(facts) for new in values]
    for index in np.random.default_rng(0).choice(len(cases), 300, replace=False):
        container.write(path, container.CHECKPOINT, arrays, replaced(facts, *cases[index]))
        for read in (model_of_checkpoint, lambda path: gn.load_checkpoint(path, fresh())):
            try:
                read(path)
            except gn.GpunetError as error:
                sentences.append(str(error))
    container.write(path, container.CHECKPOINT, arrays, replaced(facts, ("model", "sizes"), lambda old: []))
    with pytest.raises(gn.errors.CheckpointError, match="the model's description is not complete"):
        model_of_checkpoint(path)
    assert len(sentences) > 150
    assert [sentence for sentence in sentences if "\n" in sentence] == []


@pytest.mark.parametrize("version", ["1\n2", ["1"], "\x1b[31m", 2])
def test_another_version_is_told_on_one_line(tmp_path, version, monkeypatch):
    monkeypatch.setattr(container, "VERSION", version)
    container.write(tmp_path / "a", container.CHECKPOINT, {"x": np.zeros(1, np.float32)}, {"gpunet": "9\n9"})
    monkeypatch.undo()
    sentence = r"^[ -~]*is of format version [ -~]*use the gpunet that wrote it[ -~]*$"
    with pytest.raises(gn.errors.CheckpointError, match=sentence):
        container.read(tmp_path / "a", container.CHECKPOINT)
    (tmp_path / "config.json").write_text(json.dumps({"format": "gpunet run", "version": version}))
    with pytest.raises(gn.errors.CheckpointError, match=sentence):
        gn.RunFolder(tmp_path).config()

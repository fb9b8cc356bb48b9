from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fuzzing import tries
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

import gpunet as gn
from gpunet.runs.settings import (
    FIELDS,
    Settings,
    build_dataset,
    build_model,
    build_trainer,
    default_learning_rate,
    layered,
    option,
    read_file,
)

pytestmark = pytest.mark.host


def test_defaults_are_the_write_up():
    recipe = Settings()
    assert (recipe.data, recipe.hidden, recipe.activation) == ("mnist-5k", (50, 30), "relu")
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size) == ("sgd", 0.1, 100)
    assert (recipe.init, recipe.bias) == ("truncated-normal", 0.1)
    assert recipe.make_loss().name == "softmax-cross-entropy"
    assert recipe.resolved().iterations == 5000


def test_text_and_values_read_alike():
    text = Settings(hidden="200, 100", lr="0.05", batch_size="64", dropout="0.1,0.2", classes="3,8", epochs="2",
                    activation="relu,tanh", validation="0.1", seed="7", max_norm="3", momentum="none")  # fmt: skip
    values = Settings(hidden=[200, 100], lr=0.05, batch_size=64, dropout=[0.1, 0.2], classes=[3, 8], epochs=2,
                      activation=["relu", "tanh"], validation=0.1, seed=7, max_norm=3)  # fmt: skip
    assert text == values
    assert Settings(hidden="none").hidden == ()
    assert Settings(batch_size="all").batch_size == "all"
    assert Settings(iterations="1e4").iterations == 10_000
    assert Settings(validation="500").validation == 500


@pytest.mark.parametrize("changes", [
    {}, {"hidden": (), "loss": "binary-cross-entropy", "classes": (3, 8)}, {"class_weights": "balanced"},
    {"optimizer": "adam:beta1=0.8", "dropout": (0.1, 0.2), "epochs": 3, "validation": 0.25},
])  # fmt: skip
def test_to_dict_and_back(changes):
    one = Settings(**changes)
    assert Settings.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize(("name", "value", "words"), [
    ("hidden", "50,,30", "between two commas"), ("hidden", "50,", "beside a comma"), ("hidden", "0", "at least 1"),
    ("hidden", "5x", "no whole number"), ("hidden", "50.5", "no whole number"), ("hidden", "", "missing"),
    ("lr", "nan", "finite"), ("lr", "0", "above 0"), ("lr", "fast", "no number"), ("lr", True, "no number"),
    ("batch_size", "0", "at least 1"), ("batch_size", "some", "or all"), ("iterations", "0", "at least 1"),
    ("optimizer", "adm", "did you mean adam"), ("optimizer", "adam:betta1=1", "did you mean beta1"),
    ("optimizer", "adam:beta1", "key=value"), ("optimizer", "adam:beta1=0.5,beta1=0.6", "twice"),
    ("optimizer", "adam:beta1=1.5", "beta1"), ("activation", "rleu", "did you mean relu"),
    ("activation", "relu,tanh,relu", "2 hidden layers"), ("dropout", "1", "below 1"), ("dropout", "0.1,0.2,0", "each"),
    ("loss", "softmax-crossentropy", "did you mean softmax-cross-entropy"), ("init", "normalize", "choose one of"),
    ("classes", "3", "two classes"), ("classes", "3,3", "twice"), ("validation", "-1", "above 0"),
    ("validation", "1.5", "whole number"), ("class_weights", "1,0", "above 0"), ("seed", "-1", "at least 0"),
    ("device", "gpu", "did you mean cuda?"), ("device", "cuda:x", "did you mean"), ("dtype", "float16", "float32"),
    ("graph", "maybe", "auto, on, off"), ("schedule", "cosin", "schedule"), ("data", "", "not empty"),
    ("data_dir", "a\0b", "zero character"), ("momentum", "1", "below 1"), ("early_stopping", "0", "at least 1"),
])  # fmt: skip
def test_bad_values_get_one_sentence(name, value, words):
    with pytest.raises(gn.UsageError) as caught:
        Settings(**{name: value})
    sentence = str(caught.value)
    assert sentence.startswith(option(name))
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_settings_that_do_not_go_together():
    with pytest.raises(gn.UsageError, match="--iterations and --epochs"):
        Settings(iterations=5, epochs=5)
    with pytest.raises(gn.UsageError, match=r"--momentum 0[.]9: the optimizer adam has none; take --optimizer mom"):
        Settings(optimizer="adam", momentum=0.9)
    with pytest.raises(gn.UsageError, match=r"--label-smoothing 0[.]1: the loss binary-cross-entropy has none"):
        Settings(loss="binary-cross-entropy", label_smoothing=0.1)


def test_momentum_makes_sgd_momentum():
    assert Settings(momentum=0.9).optimizer == "momentum"


@pytest.mark.parametrize("name", list(gn.OPTIMIZERS))
def test_each_optimizer_has_its_own_learning_rate(name):
    one = Settings(optimizer=name)
    assert one.learning_rate == default_learning_rate(name) > 0
    assert isinstance(one.make_optimizer(), gn.OPTIMIZERS[name])
    assert Settings(optimizer=name, lr=0.5).learning_rate == 0.5


@pytest.mark.parametrize("name", list(gn.SCHEDULES))
def test_each_schedule_can_be_named(name):
    schedule = Settings(schedule=name, lr=0.5).make_optimizer().learning_rate
    assert isinstance(schedule, gn.SCHEDULES[name])
    assert schedule.initial == 0.5


@pytest.mark.parametrize("name", list(gn.LOSSES))
def test_each_loss_can_be_named(name):
    assert isinstance(Settings(loss=name).make_loss(), gn.LOSSES[name])


def test_with_changes_and_layers():
    one = Settings(epochs=2)
    assert one.with_changes(iterations=7).epochs is None
    assert one.with_changes(lr=0.3).epochs == 2
    assert layered({"iterations": 9, "lr": 1}, {"epochs": 2}) == {"iterations": None, "lr": 1, "epochs": 2}
    with pytest.raises(gn.UsageError, match="did you mean batch_size"):
        one.with_changes(batchsize=3)


def test_files(tmp_path):
    (tmp_path / "a.toml").write_text('hidden = [20]\noptimizer = "adam"\nepochs = 3\n')
    assert Settings(**read_file(tmp_path / "a.toml")) == Settings(hidden=(20,), optimizer="adam", epochs=3)
    one = Settings(hidden=(7,))
    (tmp_path / "config.json").write_text(json.dumps({"settings": one.to_dict(), "versions": {"gpunet": "9"}}))
    assert Settings(**read_file(tmp_path / "config.json")) == one


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.toml", b"hidden = [", "no TOML file"), ("a.json", b"{", "no JSON file"), ("a.json", b"\xff\xfe\x00", "no JSON"),
    ("a.json", b"[1, 2]", "table of names"), ("a.json", b'{"hiden": [3]}', "did you mean hidden"),
    ("a.json", b'{"settings": {"rate": 1}}', "unknown setting rate"), ("a.json", b"[" * 100_000, "nested too deeply"),
    ("a.json", b'{"lr": 1' + b"0" * 5000 + b"}", "no JSON"),
])  # fmt: skip
def test_damaged_files(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(gn.GpunetError) as caught:
        read_file(tmp_path / name)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(gn.DataError, match="give a TOML or JSON file"):
        read_file(tmp_path)


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(
        ["none", "all", "auto", "adam:beta1=", "50,30", "1e400", "9" * 5000, "relu,", "constant:x=1", "cuda:99999"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@tries(200, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(list(FIELDS)) | st.text(max_size=5), _anything, max_size=3) | _anything)
@example({"\n": {}})
@example({"image_size": 0.5})
def test_whatever_a_file_holds_is_taken_or_refused_in_one_sentence(document: Any):
    refusal = None
    try:
        one = Settings.from_dict(document, source="config.json")
    except gn.UsageError as error:
        refusal = str(error)
    if refusal is None:
        assert Settings.from_dict(one.to_dict()) == one
    else:
        assert refusal.startswith("config.json: ")
        assert "\n" not in refusal


def test_build(mnist_5k):
    one = Settings(hidden=(8,), validation=500, epochs=1, batch_size=70, seed=3, device="cpu")
    data = build_dataset(one)
    assert (len(data.train), len(data.validation), len(data.test)) == (3500, 500, 1000)
    model = build_model(one, data, gn.get_backend("cpu"))
    assert model.sizes == [784, 8, 10]
    assert model.seed == 3
    assert build_trainer(one, model, data).iterations == 50


def test_two_classes_need_one_output_unless_there_is_a_softmax():
    cpu = gn.get_backend("cpu")
    logistic = Settings(hidden="none", classes="3,8", loss="binary-cross-entropy")
    data = build_dataset(logistic)
    assert data.classes == 2
    assert build_model(logistic, data, cpu).sizes == [784, 1]
    assert build_model(Settings(hidden="none", classes="3,8"), data, cpu).sizes == [784, 2]


def test_settings_that_do_not_fit_the_data():
    for changes, words in [
        ({"batch_size": 4001}, "--batch-size 4001: the training set has only 4000 examples"),
        ({"classes": "3,12"}, "--classes 3,12"),
        ({"validation": 4000}, "--validation 4000"),
        ({"early_stopping": 3}, "--early-stopping 3: mnist-5k has no validation examples"),
        ({"schedule": "reduce-on-plateau"}, "--schedule reduce-on-plateau: it watches the validation loss"),
        ({"class_weights": "1,2"}, "--class-weights 1,2: there are 2 weights and 10 classes"),
        ({"data": "mnits"}, "did you mean mnist"),
    ]:
        with pytest.raises(gn.UsageError) as caught:
            build_dataset(Settings(**changes))
        assert words in str(caught.value)


def test_balanced_class_weights(mnist_5k):
    data = gn.Dataset.from_arrays([[0.0]] * 8, [0, 0, 0, 0, 0, 0, 1, 1])
    assert Settings(class_weights="balanced").make_loss(data).class_weights == pytest.approx([8 / 12, 2.0])


def test_each_setting_says_what_it_is():
    for name, field in FIELDS.items():
        assert field.metadata["help"].endswith("."), name
        assert field.metadata["metavar"], name


@pytest.mark.parametrize(("name", "choice"), [
    *(("activation", key) for key in gn.ACTIVATIONS), *(("loss", key) for key in gn.LOSSES),
    *(("optimizer", key) for key in gn.OPTIMIZERS), *(("schedule", key) for key in gn.SCHEDULES),
    *(("init", key) for key in gn.INITIALIZERS),
])  # fmt: skip
def test_whatever_the_tables_offer_trains(name, choice):
    one = Settings(**{name: choice}, hidden=(6,), classes=(3, 8), validation=100, iterations=30, validate_every=10)
    data = build_dataset(one)
    *_, result = build_trainer(one, build_model(one, data, gn.get_backend("cpu")), data).steps()
    assert result.iterations == 30
    assert result.train_loss == result.train_loss  # a number
    assert 0 <= result.test_accuracy <= 1


def test_a_folder_and_sections_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(gn.DataError, match="this is a folder; give a TOML or JSON file"):
        read_file(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(gn.DataError, match=r"its settings are in .*config.json"):
        read_file(tmp_path)
    (tmp_path / "a.toml").write_text("[training]\nlr = 0.1\n")
    with pytest.raises(gn.UsageError, match=r"\[training\] is a section; settings stand above all sections"):
        read_file(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text("[settings]\nlr = 0.1\n")
    assert read_file(tmp_path / "a.toml") == {"lr": 0.1}

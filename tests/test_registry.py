"""The tables of entries by name: what they make of names and hyperparameters, and the sentences that refuse them."""

from __future__ import annotations

import inspect
import math
import pickle
from typing import Any

import pytest

import gpunet as gn
from gpunet.keywords import suggestion
from gpunet.network.container import plain
from gpunet.registry import Entry, Registry
from gpunet.runs.logs import LOGS

pytestmark = pytest.mark.host

TABLES = {
    table.what: table
    for table in (
        gn.ACTIVATIONS,
        gn.LOSSES,
        gn.OPTIMIZERS,
        gn.SCHEDULES,
        gn.INITIALIZERS,
        gn.DATASETS,
        gn.METRICS,
        LOGS,
    )
}
# A log for TensorBoard needs its package.
ENTRIES = [(what, name) for what, table in TABLES.items() for name in table if name != "tensorboard"]
APART = {"schedule": {"initial": 0.1}, "log": {"path": "a"}}


@pytest.mark.parametrize(("what", "name"), ENTRIES)
def test_each_entry_can_be_named_and_keeps_its_name(what: str, name: str) -> None:
    table: Any = TABLES[what]
    made = table.make(name, **APART.get(what, {}))
    assert isinstance(made, table.base)
    assert made.name == name
    assert table.make(made) is made
    if inspect.isclass(table[name]):
        assert type(table.make(table[name], **APART.get(what, {}))) is table[name]


@pytest.mark.parametrize(("what", "name"), ENTRIES)
def test_settings_list_every_hyperparameter_and_make_the_entry_again(what: str, name: str) -> None:
    table: Any = TABLES[what]
    made = table.make(name, **APART.get(what, {}))
    if not hasattr(made, "settings"):
        assert not table.parameters(name)
        return
    settings = made.settings()
    assert settings.keys() >= table.parameters(name).keys()
    assert {key: plain(value) for key, value in settings.items()} == settings  # as JSON has them
    again = type(made)(**settings)
    assert again.settings() == settings
    assert repr(again) == repr(made)


@pytest.mark.parametrize(("what", "name"), ENTRIES)
def test_each_hyperparameter_can_be_given_by_name_and_is_taken(what: str, name: str) -> None:
    table: Any = TABLES[what]
    for key, parameter in table.parameters(name).items():
        if parameter.default is None:
            continue
        value = parameter.default + 1 if isinstance(parameter.default, int) else (parameter.default or 0.5) * 0.9
        made = table.make(f"{name}:{key}={value}", **APART.get(what, {}))
        assert made.settings()[key] == value
        assert str(value) in repr(made)


def test_a_table_is_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "relu" in gn.ACTIVATIONS
    assert "rely" not in gn.ACTIVATIONS
    assert next(iter(gn.ACTIVATIONS)) == "relu"
    assert len(gn.SCHEDULES) == len(list(gn.SCHEDULES.items()))
    assert gn.OPTIMIZERS["adam"] is gn.OPTIMIZERS.get("adam") is gn.Adam
    assert gn.OPTIMIZERS.get("adamax") is None
    monkeypatch.setitem(gn.OPTIMIZERS, "mine", gn.SGD)
    assert gn.OPTIMIZERS.make("mine", learning_rate=0.3).learning_rate == 0.3
    with pytest.raises(KeyError):
        gn.LOSSES["entropy"]


def table() -> Registry[Any, Any]:
    class Base(Entry):
        pass

    entries: Registry[Any, Any] = Registry("fruit", Base, apart=("size",), synonyms={"apple": "malus pome-fruit"})

    @entries.register
    class Apple(Base):
        name = "apple"

        def __init__(self, size: float = 1.0, sweet: float = 0.5, red: bool = False) -> None:
            self.size, self.sweet, self.red = size, sweet, red

    @entries.register
    class Pear(Base):
        name = "wild-pear"

        def __init__(self, age: int, **more: Any) -> None:
            self.age = age
            self.more = more

    @entries.register
    class Hollow(Base):
        name = "hollow"

        def __init__(self, depth: float = 1.0) -> None:
            if depth < 0:
                raise ValueError("depth is negative")

    return entries


def test_names_with_hyperparameters() -> None:
    fruits = table()
    apple = fruits.make("apple:sweet=0.25,red=true", size=3)
    assert (apple.size, apple.sweet, apple.red) == (3, 0.25, True)
    assert repr(apple) == "Apple(3, sweet=0.25, red=True)"
    assert repr(fruits.make("apple")) == "Apple()"
    assert fruits.make("wild-pear:age=3,wild=true").more == {"wild": True}
    assert fruits.parse("apple") == ("apple", {})
    assert fruits.offer() == "apple (sweet, red), wild-pear (age), hollow (depth)"
    assert fruits.offer(["red", "depth"]) == "apple (sweet), wild-pear (age), hollow"


@pytest.mark.parametrize(
    ("given", "hyperparameters", "sentence"),
    [
        ("aple", {}, "unknown fruit 'aple'; did you mean apple? choose one of apple, wild-pear, hollow."),
        ("Pome fruit", {}, "unknown fruit 'Pome fruit'; did you mean apple? choose one of apple, wild-pear, hollow."),
        ("pear", {}, "unknown fruit 'pear'; did you mean wild-pear? choose one of apple, wild-pear, hollow."),
        ("zzz", {}, "unknown fruit 'zzz'; choose one of apple, wild-pear, hollow."),
        (3, {}, "unknown fruit 3; derive one from Base, or choose one of apple, wild-pear, hollow."),
        (dict, {}, "unknown fruit <class 'dict'>; derive one from Base, or choose one of apple, wild-pear, hollow."),
        (
            math.sin,
            {},
            "unknown fruit <built-in function sin>; derive one from Base, or choose one of apple, wild-pear, hollow.",
        ),
        ("apple", {"swet": 1}, "fruit apple has no swet; did you mean sweet? it takes sweet, red."),
        ("apple:size=1", {}, "fruit apple has no size; it takes sweet, red."),
        ("apple:sweet", {}, "write it like apple:key=value, with commas between several."),
        ("apple:sweet=1,sweet=2", {}, "sweet is given twice; give it once."),
        ("apple:sweet=1", {"sweet": 2}, "fruit apple: sweet is given twice; give it once."),
        ("apple:sweet=1e39", {}, "sweet=1e39: a finite number that float32 can hold is needed, for example sweet=0.5."),
        ("apple:sweet=nan", {}, "sweet=nan: a finite number that float32 can hold is needed, for example sweet=0.5."),
        ("apple:sweet=very", {}, "sweet=very: a finite number that float32 can hold is needed, for example sweet=0.5."),
        ("wild-pear", {}, "fruit wild-pear needs age; give age=VALUE with it."),
        ("hollow", {"depth": -1}, "fruit hollow: depth is negative"),
        ("hollow", {}, "fruit hollow: its settings() leave out depth; keep it as an attribute."),
    ],
)
def test_what_cannot_be_made_is_told(given: Any, hyperparameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(gn.UsageError) as caught:
        table().make(given, **hyperparameters)
    assert str(caught.value) == sentence


def test_what_is_no_entry_is_told() -> None:
    with pytest.raises(gn.UsageError, match="'a:b' is no name for a table"):
        table()["a:b"] = gn.SGD
    with pytest.raises(gn.UsageError, match="x: 3 is no fruit; derive it from Base"):
        table()["x"] = 3
    with pytest.raises(gn.UsageError, match="activation relu is made already; give slope where it is made"):
        gn.ACTIVATIONS.make("relu", slope=1)
    fruits = table()
    fruits["bad"] = lambda: 7
    with pytest.raises(gn.UsageError, match="fruit bad makes 7, which is no Base"):
        fruits.make("bad")


@pytest.mark.parametrize(
    ("what", "given", "meant"),
    [
        ("activation", "swish", "silu"), ("activation", "linear", "identity"), ("activation", "ReLU", "relu"),
        ("activation", "leaky_relu", "leaky-relu"), ("activation", "swsh", "silu"),
        ("loss", "cross-entropy", "softmax-cross-entropy"), ("loss", "l2", "mse"),
        ("loss", "categorical_crossentropy", "softmax-cross-entropy"), ("loss", "bce", "binary-cross-entropy"),
        ("loss", "mean_squared_error", "mse"), ("optimizer", "Adam", "adam"), ("optimizer", "heavy-ball", "momentum"),
        ("initializer", "he", "he-normal or he-uniform"), ("initializer", "xavier", "glorot-normal or glorot-uniform"),
        ("initializer", "kaiming", "he-normal or he-uniform"), ("schedule", "linear", "polynomial"),
        ("schedule", "plateau", "reduce-on-plateau"), ("schedule", "cosine_annealing", "cosine"),
        ("data set", "fashion", "fashion-mnist"), ("data set", "MNIST", "mnist"),
    ],
)  # fmt: skip
def test_other_names_of_the_field_are_known(what: str, given: str, meant: str) -> None:
    with pytest.raises(gn.UsageError, match=rf"did you mean {meant}\?"):
        TABLES[what].make(given)


def test_synonyms_are_of_entries_that_there_are() -> None:
    for entries in TABLES.values():
        assert entries.synonyms.keys() <= entries.keys()
        for name, others in entries.synonyms.items():
            for other in others.split():
                assert other not in entries, other
                assert name in suggestion(other, entries, entries.synonyms)


def test_the_beginning_of_a_hyperparameter_is_enough_to_be_told_of_it() -> None:
    with pytest.raises(gn.UsageError, match=r"adam has no beta; did you mean beta1 or beta2\? it takes"):
        gn.OPTIMIZERS.make("adam:beta=0.5")


def test_schedules_by_name_train_as_by_class() -> None:
    by_name = gn.SGD(gn.SCHEDULES.make("cosine:final=0.01", initial=0.2, warmup=3))
    by_class = gn.SGD(gn.Cosine(0.2, 0.01, warmup=3))
    assert by_name.learning_rate.settings() == by_class.learning_rate.settings()
    assert repr(by_name) == "SGD(Cosine(0.2, final=0.01, warmup=3))"


def test_entries_go_through_pickle() -> None:
    for made in (gn.Adam(0.01, beta1=0.5), gn.Huber(2.0), gn.Fill(3.0), gn.ACTIVATIONS["gelu"]):
        again = pickle.loads(pickle.dumps(made))
        assert again is made or repr(again) == repr(made)

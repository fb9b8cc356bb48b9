"""Several networks at once: the numbers of each alone, whatever happens to the others."""

from __future__ import annotations

import functools
import gc
import io
import re
import weakref
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels import cublas
from gpunet.training.memory import training_bytes
from gpunet.training.progress import ProgressRows
from gpunet.training.together import Course, Joint


def data(seed: int = 1, size: int = 240) -> gn.Dataset:
    """Pixels of three classes that can be told apart, with validation and test splits."""
    rng = np.random.default_rng(seed)
    centres = rng.random((3, 12))
    labels = rng.integers(0, 3, size)
    pixels = (255 * np.clip(centres[labels] + 0.2 * rng.standard_normal((size, 12)), 0, 1)).astype(np.uint8)
    parts = [slice(0, size // 2), slice(size // 2, 3 * size // 4), slice(3 * size // 4, size)]
    train, validation, test = ((pixels[part], labels[part]) for part in parts)
    return gn.Dataset.from_arrays(*train, *test, validation=validation)


DATA = data()


def different(backend: gn.Backend | str = "cpu", iterations: int = 44) -> list[gn.Trainer]:
    """Trainers of several shapes, optimizers, schedules and lengths; the third diverges, the fourth stops early."""

    def one(sizes: list[int], optimizer: Any, seed: int = 0, whole: gn.Dataset = DATA, **options: Any) -> gn.Trainer:
        of_model = {key: options.pop(key) for key in ("activation", "dropout", "dtype", "loss") if key in options}
        model = gn.MLP(sizes, backend=backend, seed=seed, **of_model)
        given = {"batch_size": 16, "iterations": iterations, "log_every": 10, **options}
        return gn.Trainer(model, whole, optimizer=optimizer, **given)

    return [
        one([12, 8, 3], gn.SGD(0.1), log_every=7),
        one([12, 8, 3], gn.Adam(0.01), seed=3, dropout=0.3, l2=1e-3),
        one([12, 8, 3], gn.SGD(1e30), seed=4, activation="identity", loss="mse"),
        one([12, 5, 4, 3], gn.SGD(1e-9), early_stopping=1, validate_every=9),
        one([12, 3], gn.Momentum(0.05), batch_size=50, whole=data(2, 200), max_norm=1.0, clip_norm=0.5, l1=1e-4),
        one(
            [12, 8, 3],
            gn.SGD(gn.schedules.ReduceOnPlateau(0.2, patience=1)),
            dtype="float64",
            iterations=iterations - 23,
        ),
    ]


def told(trainer: gn.Trainer, records: list[Any]) -> tuple[Any, ...]:
    """What is to be the same: records without what the clock measured, and the weights."""
    clock = {"seconds", "steps_per_second", "train_seconds"}
    lines = [
        str(record)
        if isinstance(record, Exception)
        else {key: value for key, value in record.as_dict().items() if key not in clock}
        for record in records
    ]
    return lines, trainer.stopped, trainer.backend.to_host(trainer.model.flat).tobytes()


def alone(trainer: gn.Trainer) -> tuple[Any, ...]:
    records: list[Any] = []
    try:
        for record in trainer.steps():
            records.append(record)
    except Exception as error:
        records.append(error)
    return told(trainer, records)


def together(trainers: list[gn.Trainer]) -> list[tuple[Any, ...]]:
    records: dict[int, list[Any]] = {id(trainer): [] for trainer in trainers}
    for trainer, record in gn.steps_together(trainers):
        records[id(trainer)].append(record)
    return [told(trainer, records[id(trainer)]) for trainer in trainers]


def test_each_network_has_the_numbers_of_training_it_alone(backend: gn.Backend) -> None:
    wanted = [alone(trainer) for trainer in different(backend)]
    assert "not a finite number" in wanted[2][0][-1]
    assert wanted[3][1] == "early stopping"
    assert together(different(backend)) == wanted


def test_results_come_in_order_with_errors_in_their_places() -> None:
    trainers = different()
    results = gn.train_together(trainers)
    assert [type(result).__name__ for result in results].count("TrainingDiverged") == 1
    assert isinstance(results[2], gn.TrainingDiverged)
    for index, (result, trainer) in enumerate(zip(results, trainers, strict=True)):
        if index != 2:
            assert isinstance(result, gn.TrainingResult)
            assert result.model is trainer.model
            assert result.iterations == trainer.iteration
            assert result.history[-1].iteration == trainer.iteration


def test_records_of_all_networks_come_side_by_side() -> None:
    trainers = different()[:2]
    order = [trainer for trainer, record in gn.steps_together(trainers) if record.event == "step"]
    first = order.index(trainers[1])
    assert trainers[0] in order[:first]
    assert trainers[0] in order[first:]


class Told(gn.Callback):
    """Notes what it is told of which trainer, and raises an exception at some step."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.events: list[tuple[str, gn.Trainer, Any]] = []
        self.fails_at = fails_at

    def on_start(self, trainer: gn.Trainer) -> None:
        self.events.append(("start", trainer, None))

    def on_record(self, record: Any, trainer: gn.Trainer) -> None:
        self.events.append(("record", trainer, record))
        if trainer.iteration == self.fails_at:
            raise ValueError("a fault of the callback")

    def on_checkpoint(self, trainer: gn.Trainer) -> None:
        self.events.append(("checkpoint", trainer, trainer.iteration))

    def on_end(self, trainer: gn.Trainer) -> None:
        self.events.append(("end", trainer, trainer.error))


def test_a_callback_that_fails_ends_its_own_network_alone() -> None:
    wanted = [alone(trainer) for trainer in different()[:2]]
    trainers = different()[:2]
    watched = Told(fails_at=20)
    trainers[1].callbacks.append(watched)
    found = together(trainers)
    assert found[0] == wanted[0]
    assert found[1][0][-1] == "a fault of the callback"
    assert isinstance(watched.events[-1][2], ValueError)


def test_callbacks_of_all_are_told_of_each_with_its_trainer() -> None:
    trainers = different()[:2]
    watched = Told()
    gn.train_together(trainers, callbacks=[watched])
    for trainer in trainers:
        mine = [event for event, whose, _ in watched.events if whose is trainer]
        assert mine[0] == "start"
        assert mine[-1] == "end"
        assert "checkpoint" in mine


class Leaving(gn.Callback):
    """Stops its trainer at its first record, or raises Ctrl-C there."""

    def __init__(self, how: str) -> None:
        self.how = how

    def on_record(self, record: Any, trainer: gn.Trainer) -> None:
        if self.how == "stop":
            trainer.stop()
        if self.how == "interrupt":
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "how", [pytest.param("break", marks=pytest.mark.host), pytest.param("stop", marks=pytest.mark.host), "interrupt"]
)
def test_left_and_taken_up_again(how: str, backend: gn.Backend) -> None:
    wanted = [alone(trainer)[1:] for trainer in different(backend)]
    trainers = different(backend)
    watched = Told()
    trainers[0].callbacks.append(watched)
    trainers[1].callbacks.append(Leaving(how))
    try:
        for trainer, _ in gn.steps_together(trainers):
            if how == "break" and trainer is trainers[4]:
                break
    except KeyboardInterrupt:
        assert how == "interrupt"
    assert watched.events[-1][0] == "end"
    resumed = different(backend)
    for old, new in zip(trainers, resumed, strict=True):
        if np.isfinite(backend.to_host(old.model.flat)).all():
            new.restore(*old.state())
    assert [found[1:] for found in together(resumed)] == wanted


def test_two_trainers_of_one_model_are_refused() -> None:
    model = gn.MLP([12, 3])
    trainers = [gn.Trainer(model, DATA, iterations=1, batch_size=16) for _ in range(2)]
    with pytest.raises(gn.UsageError, match="same model"):
        gn.train_together(trainers)


def test_no_trainers_give_no_results() -> None:
    assert gn.train_together([]) == []


def test_the_best_network_stands_on_top() -> None:
    from rich.console import Console

    trainers = [gn.Trainer(gn.MLP([12, 3]), DATA, iterations=40, batch_size=16) for _ in range(3)]
    for trainer, rate in zip(trainers, (1e-6, 1.0, 1e-3), strict=True):
        trainer.optimizer = gn.SGD(rate)
    trainers = [
        gn.Trainer(trainer.model, DATA, optimizer=trainer.optimizer, iterations=40, batch_size=16)
        for trainer in trainers
    ]
    rows = ProgressRows(trainers, io.StringIO())
    gn.train_together(trainers, callbacks=[rows])
    console = Console(file=io.StringIO(), width=100)
    console.print(rows.table(room=2))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].split()[:2] == ["network", "steps"]
    assert lines[1].split()[0] == "2"
    assert "40/40" in lines[1]
    assert lines[3].strip() == "and 1 more"


# --- on CUDA: branches of one graph ---------------------------------------------------------------------


def many(backend: gn.Backend, iterations: int = 16) -> list[gn.Trainer]:
    """32 networks of four shapes and three optimizers; the sixth diverges, the tenth stops early."""
    shapes = [[12, 8, 3], [12, 3], [12, 5, 4, 3], [12, 16, 3]]
    made = []
    for index in range(32):
        optimizer = (gn.SGD, gn.Momentum, gn.Adam)[index % 3](0.01 * (1 + index))
        options: dict[str, Any] = {"log_every": 5 + index % 2}
        if index == 5:
            optimizer = gn.SGD(1e30)
            options["loss"] = "mse"
        if index == 9:
            optimizer = gn.SGD(1e-9)
            options.update(early_stopping=1, validate_every=4)
        model = gn.MLP(shapes[index % 4], backend=backend, seed=index, dropout=0.2 * (index == 7))
        made.append(gn.Trainer(model, DATA, optimizer=optimizer, batch_size=16, iterations=iterations, **options))
    return made


def test_32_networks_in_one_graph(cuda: gn.Backend) -> None:
    wanted = [alone(trainer) for trainer in many(cuda)]
    found = together(many(cuda))
    assert "not a finite number" in found[5][0][-1]
    assert found[9][1] == "early stopping"
    assert found == wanted


def waiting(trainers: list[gn.Trainer]) -> tuple[Joint, list[Course]]:
    """Trainers that have begun, and have nothing to do for the host."""
    courses = [Course(trainer) for trainer in trainers]
    for course in courses:
        assert list(course.go_on()) == []
    return Joint(trainers[0].backend), courses


def test_branches_do_not_wait_for_each_other(cuda: gn.Backend) -> None:
    # Four shapes times three optimizers, and one with a loss of its own.
    joint, courses = waiting(many(cuda))
    joint.run(courses)
    (graph,) = joint.graphs.graphs.values()
    text = graph.debug_dot_str()
    branch = {node: node for node in re.findall(r'^"(\w+)"\[', text, flags=re.MULTILINE)}

    def root(node: str) -> str:
        while branch[node] != node:
            node = branch[node]
        return node

    for start, end in re.findall(r'"(\w+)" -> "(\w+)"', text):
        branch[root(start)] = root(end)
    roots = [root(node) for node in branch]
    assert [roots.count(each) for each in sorted(set(roots))] == [3] * 13


def test_what_a_stretch_asks_of_the_device(cuda: gn.Backend) -> None:
    cusim = pytest.importorskip("cusim", reason="a simulated CUDA device counts launches, copies and synchronisations")
    whole = data(3, 2400)
    made = [
        gn.Trainer(
            gn.MLP(sizes, backend=cuda), whole, optimizer=optimizer, batch_size=16, iterations=100, log_every=25,
            validate_every=100,
        )
        for sizes in ([12, 8, 3], [12, 3])
        for optimizer in (gn.SGD(0.1), gn.Adam(0.01))
    ]  # fmt: skip
    joint, courses = waiting(made)
    for _ in range(2):
        joint.run(courses)
        for course in courses:
            assert len(list(course.go_on())) == 1
    cusim.reset()
    joint.run(courses)
    counts = cusim.stats()
    assert [trainer.iteration for trainer in made] == [75] * 4
    assert counts["graph_launches"] == 25 // 10 + 25 % 10
    assert counts["graph_nodes"] == 25 * 4 * 3
    assert counts["launches"] == 0
    for kind in ("h2d", "d2h", "d2d", "h2h"):
        assert counts[kind]["count"] == 0
    for kind in ("device_syncs", "event_syncs", "implicit_syncs", "mallocs", "memsets"):
        assert counts[kind] == 0
    assert counts["stream_syncs"] == 1  # at the end, where the host reads


def test_the_inputs_lie_on_the_device_once(cuda: gn.Backend) -> None:
    made = [gn.Trainer(gn.MLP([12, 3], backend=cuda), DATA, batch_size=16) for _ in range(2)]
    assert made[0].step.images is made[1].step.images
    gone = weakref.ref(made[0].step.images)
    made.clear()
    gc.collect()
    assert gone() is None


def test_without_a_graph_each_does_its_own_steps(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [alone(trainer) for trainer in many(cuda)[:3]]

    def refuse(self: gn.Backend, works: Any) -> None:
        raise RuntimeError("no branches here")

    monkeypatch.setattr(gn.Backend, "beside", refuse)
    assert together(many(cuda)[:3]) == wanted


def test_branches_with_products_by_cublas_share_no_workspace(cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", 3000)

    def made() -> list[gn.Trainer]:
        reduced = gn.MLP([12, 8, 3], backend=cuda, seed=2)
        return [*many(cuda, 12)[:4], gn.Trainer(reduced, DATA, batch_size=16, iterations=12, precision="bfloat16")]

    wanted = [alone(trainer) for trainer in made()]
    assert together(made()) == wanted
    monkeypatch.setattr(cublas, "_handle", functools.cache(lambda ordinal, number=0: cublas.Handle()))
    trainers, used = made(), dict[int, set[int]]()
    assert [trainer.mode.fused for trainer in trainers] == [False, True, False, False, False]
    assert all(trainer.joins for trainer in trainers)
    joint, courses = waiting(trainers)
    follow = cublas.Handle.follow

    def noted(handle: cublas.Handle, stream: int) -> None:
        used.setdefault(stream, set()).add(handle.workspace.data.ptr)
        follow(handle, stream)

    monkeypatch.setattr(cublas.Handle, "follow", noted)
    joint.run(courses)
    assert [len(workspaces) for workspaces in used.values()] == [1] * 4
    assert len(set.union(*used.values())) == 4


def test_both_devices_at_once(cuda: gn.Backend) -> None:
    wanted = [alone(trainer) for device in ("cpu", cuda) for trainer in many(device, 12)[:3]]
    assert together([trainer for device in ("cpu", cuda) for trainer in many(device, 12)[:3]]) == wanted


def test_the_memory_of_many_is_that_of_the_data_once_and_of_each(cuda: gn.Backend) -> None:
    """As `gpunet sweep` counts on it when it says how many fit beside each other."""
    pool = cuda.xp.get_default_memory_pool()
    whole = data(7, 4000)
    gc.collect()  # so that nothing of other tests is freed in between
    before = pool.used_bytes()
    options: list[dict[str, Any]] = [{}, {"optimizer": "adam"}, {"optimizer": "momentum"}, {}]
    shapes = [[12, 300, 3], [12, 300, 3], [12, 200, 100, 3], [12, 3]]
    trainers = [
        gn.Trainer(gn.MLP(sizes, backend=cuda), whole, batch_size=64, iterations=40, log_every=2, **given)
        for sizes, given in zip(shapes, options, strict=True)
    ]
    parts = [training_bytes(one.model, whole, one.optimizer, 64, one.mode) for one in trainers]
    told = parts[0]["inputs"] + sum(part["rows"] + part["parameters"] + part["batch"] for part in parts)
    records = gn.steps_together(trainers)
    for _ in range(4):  # each at its first record: all is captured, and nothing was evaluated yet
        next(records)
    used = pool.used_bytes() - before
    if not used:
        pytest.skip("CuPy's memory pool, which counts, is switched off")
    assert told == pytest.approx(used, rel=0.05)


def alike(backend: gn.Backend, count: int = 32, least: int = 0, **options: Any) -> list[gn.Trainer]:
    """Networks of one shape that differ in all that lies in tables on the device; the seventh diverges, and the ninth
    stops early. With `least` 1 each of them has penalties and dropout."""
    made = []
    for index in range(count):
        rate = gn.SCHEDULES["cosine"](0.01 * (1 + index)) if index % 2 else 0.01 * (1 + index)
        model = gn.MLP([12, 8, 5, 3], backend=backend, seed=index, dropout=0.01 * (index + least))
        optimizer: gn.Optimizer = gn.Adam(rate, beta1=0.8 + 0.001 * index)
        given = {"l2": 1e-3 * (index % 3 + least), "l1": 1e-4 * (index % 5)}
        if index == 7:
            optimizer = gn.Adam(1e38)
        if index == 9:
            given.update(early_stopping=1, validate_every=3)
            optimizer = gn.Adam(1e-12)
        given = {"batch_size": 8, "iterations": 10, "log_every": 10, **given, **options}
        made.append(gn.Trainer(model, data(index % 2 + 1, 120), optimizer=optimizer, **given))
    return made


def nodes_in(graph: Any) -> int:
    return len(re.findall(r'^"(\w+)"\[', graph.debug_dot_str(), flags=re.MULTILINE))


def nodes_of(trainers: list[gn.Trainer]) -> int:
    """How many nodes there are in the graph of a step of these."""
    joint, courses = waiting(trainers)
    with trainers[0].backend.use():
        joint.graphs.launch([course.trainer.step for course in courses], 1)
    return nodes_in(joint.graphs.graphs[1])


def tried_products(backend: gn.Backend, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each product that networks may share, in the order of asking: the nodes of one, and of that of all of them;
    a library may find other bits at once, and is then asked for them one by one."""
    found, same_bits = list[tuple[int, int]](), cublas._same_bits

    def watched(batched: Any, products: Any) -> bool:
        same = same_bits(batched, products)
        one, at_once = (nodes_in(backend.capture(run)) for run in (products[0], batched))
        found.append((one, at_once if same else one * len(products)))
        return same

    monkeypatch.setattr(cublas, "_same_bits", watched)
    return found


CLIPPING = {"clip_norm": 0.5, "max_norm": 1.0}
#: The nodes of a step by cuBLAS: gather; for three layers products forward, two bias_activation and two dropouts; the
#: loss and its column sum; three products for weights and two for deltas, each of those with a times_derivative; the
#: penalty and the update.
BY_CUBLAS = 1 + 3 + 2 + 2 + 2 + 3 + 2 + 2 + 2


@pytest.mark.parametrize(
    ("count", "by_cublas", "options", "nodes"),
    [
        (12, False, {}, 3),
        (10, False, CLIPPING, 3 + 2 + 1 + 3),
        (32, True, {}, BY_CUBLAS),
        (10, True, {**CLIPPING, "precision": "tf32"}, BY_CUBLAS + 2 + 3),
    ],
    ids=["fused", "fused and clipped", "cuBLAS", "clipped and on tensor cores"],
)
def test_networks_of_one_shape_share_the_launches_of_one(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch, count: int, by_cublas: bool, options: dict[str, Any], nodes: int
) -> None:
    if by_cublas:
        monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", 0)
    made = functools.partial(alike, cuda, count, least=int(by_cublas), **options)
    wanted = [alone(trainer) for trainer in made()]
    assert "not a finite number" in str(wanted[7][0][-1])
    assert wanted[9][1] == "early stopping"
    assert together(made()) == wanted
    single, tried = nodes_of(made()[:1]), tried_products(cuda, monkeypatch)
    shared = nodes_of(made())
    assert len(tried) == (8 if by_cublas else 0)
    assert single == nodes + sum(one - 1 for one, _ in tried)
    assert shared == nodes + sum(at_once - 1 for _, at_once in tried)


def three(backend: gn.Backend, precision: str) -> list[gn.Trainer]:
    """Networks of one shape."""
    made = []
    for seed in range(3):
        model, optimizer = gn.MLP([12, 5, 4, 3], backend=backend, seed=seed), gn.Momentum(0.1 * (seed + 1))
        options = {"batch_size": 16, "iterations": 4, "precision": precision}
        made.append(gn.Trainer(model, DATA, optimizer=optimizer, **options))
    return made


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_that_cannot_be_batched_are_asked_for_one_by_one(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("gpunet.training.graph.FUSED_FLOP", 0)
    batched = cublas._batched

    def with_other_bits(products: Any) -> Any:
        run = batched(products)
        return lambda: (run(), products[0].matrices[-1].__iadd__(1e-9))

    wanted = [alone(trainer) for trainer in three(cuda, precision)]
    monkeypatch.setattr(cublas, "_batched", with_other_bits)
    assert together(three(cuda, precision)) == wanted
    assert nodes_of(three(cuda, precision)) == nodes_of(three(cuda, precision)[:1]) + 2 * (3 + 3 + 2)

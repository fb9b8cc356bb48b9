"""Run folders: what is in them, that they are not written over, repeated exactly, resumed, and logged."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet

import gpunet as gn
from gpunet.errors import CheckpointError
from gpunet.files import write_atomic
from gpunet.network import container
from gpunet.runs.config import describe
from gpunet.runs.folder import Recorder, RunFolder
from gpunet.runs.recipes import settings_for
from gpunet.runs.recording import Recording
from gpunet.runs.settings import Settings, build_dataset, build_model, build_trainer

OPTIONS = ("--device", "cpu", "--hidden", "8", "--iterations", "120", "--log-every", "20", "--validation", "300")


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "deep" / "a"
    gpunet("train", *OPTIONS, "--out", folder, "--checkpoint-every", "50", "--keep", "2", "--log", "csv", "--json")
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """A copy of the finished run, to be spoiled."""
    import shutil

    return Path(shutil.copytree(run, tmp_path / "copy"))


def test_what_a_run_folder_holds(run):
    names = {path.name for path in run.iterdir()}
    assert names == {
        ".lock", "config.json", "metrics.jsonl", "timings.jsonl", "metrics.csv", "checkpoint.safetensors",
        "checkpoint-0000000100.safetensors", "best.safetensors", "model.safetensors",
    }  # fmt: skip


def test_config_says_what_the_numbers_depend_on(run, mnist_5k):
    config = json.loads((run / "config.json").read_text())
    settings = Settings.from_dict(config["settings"])
    assert settings.hidden == (8,)
    assert (settings.iterations, settings.lr, settings.device) == (120, 0.1, "cpu")
    assert settings == settings.resolved()
    assert config["command"][:2] == ["gpunet", "train"]
    assert "--checkpoint-every" in config["command"]
    assert config["data"]["checksum"] == mnist_5k.hold_out(300).checksum
    assert config["versions"]["numpy"] == np.__version__
    assert config["versions"]["gpunet"] == gn.__version__
    assert config["device"] == "cpu"
    assert config["recording"]["checkpoint_every"] == 50


def test_metrics_hold_every_record_once_and_no_clock(run):
    metrics = records(run / "metrics.jsonl")
    assert [record["iteration"] for record in metrics[:-1]] == [20, 37, 40, 60, 74, 80, 100, 111, 120]
    assert metrics[-1]["event"] == "result"
    assert metrics[-1]["test_accuracy"] > 0.3
    assert not {"seconds", "steps_per_second", "train_seconds"} & {key for record in metrics for key in record}
    timings = records(run / "timings.jsonl")
    assert [record.get("iteration") for record in timings] == [record.get("iteration") for record in metrics]
    assert all(record["steps_per_second"] > 0 for record in timings)
    assert timings[-1]["train_seconds"] > 0


def test_the_model_of_a_run_opens_from_python(run, mnist_5k):
    model = gn.MLP.load(run)
    accuracy = gn.evaluate(model, mnist_5k.test).accuracy
    assert accuracy == records(run / "metrics.jsonl")[-1]["test_accuracy"]
    assert (model.image_shape, model.input_scale) == ((28, 28), 1 / 255)
    best = gn.MLP.load(run / "best.safetensors")
    held = mnist_5k.hold_out(300).validation
    lowest = min(record["validation_loss"] for record in records(run / "metrics.jsonl") if "validation_loss" in record)
    assert gn.evaluate(best, held).loss == lowest


def test_a_run_is_not_written_over_without_force(copy):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    refused = gpunet("train", *OPTIONS, "--out", copy, code=1)
    assert "there is a run in this folder already" in refused.stderr
    assert "--force" in refused.stderr
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    (copy / "notes.txt").write_text("mine")
    (copy / "tensorboard").mkdir()
    (copy / "tensorboard" / "events.out.tfevents.1").write_bytes(b"")
    gpunet("train", "--device", "cpu", "--hidden", "4", "--iterations", "5", "--out", copy, "--force", "-q")
    assert (copy / "notes.txt").read_text() == "mine"
    assert not (copy / "best.safetensors").exists()
    assert not list(copy.glob("checkpoint-*"))
    assert not list((copy / "tensorboard").iterdir())
    assert gn.MLP.load(copy).sizes == [784, 4, 10]


def test_a_run_is_repeated_exactly_from_its_config(run, tmp_path):
    gpunet("train", "--config", run / "config.json", "--out", tmp_path / "again", "-q")
    for name in ("metrics.jsonl", "model.safetensors", "best.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    changed = gpunet("train", "--config", run / "config.json", "--seed", "1", "--json")
    assert json.loads(changed.stdout.splitlines()[-1])["test_loss"] != records(run / "metrics.jsonl")[-1]["test_loss"]


def test_settings_in_toml_give_the_same_run(run, tmp_path):
    lines = ['device = "cpu"', "hidden = [8]", "iterations = 999", "log_every = 20", "validation = 300"]
    (tmp_path / "settings.toml").write_text("\n".join(lines))
    gpunet("train", "--config", tmp_path / "settings.toml", "--iterations", "120", "--out", tmp_path / "b", "-q")
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_run_on_data_of_ones_own_knows_where_they_are(tmp_path, rng):
    np.savez(tmp_path / "mine.npz", x_train=rng.random((60, 5)), y_train=np.arange(60) % 2)
    gpunet(
        "train",
        "--data",
        "./mine.npz",
        "--hidden",
        "3",
        "--batch-size",
        "20",
        "--iterations",
        "30",
        "--out",
        "a",
        "-q",
        cwd=tmp_path,
    )
    settings = json.loads((tmp_path / "a" / "config.json").read_text())["settings"]
    assert settings["data"] == str(tmp_path / "mine.npz")
    gpunet("train", "--config", tmp_path / "a" / "config.json", "--out", tmp_path / "b", "-q")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    # Other data under the same name: told when it is repeated, refused when it is resumed.
    np.savez(tmp_path / "mine.npz", x_train=rng.random((60, 5)), y_train=np.arange(60) % 2)
    said = gpunet("train", "--config", tmp_path / "a" / "config.json", "-q").stderr
    assert "is of a run on other data than mine.npz has now" in said
    (tmp_path / "a" / "model.safetensors").unlink()
    assert "other data" in gpunet("train", "--resume", tmp_path / "a", code=1).stderr


def test_a_finished_run_that_is_resumed_says_so(run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert "the run is finished: test accuracy 0." in gpunet("train", "--resume", run).stdout
    lines = gpunet("train", "--resume", run, "--json").stdout.splitlines()
    (record,) = map(json.loads, lines)
    assert record["event"] == "result"
    assert record["train_seconds"] > 0
    assert record["steps_per_second"] > 0
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_without_its_end_is_resumed_from_its_last_checkpoint(run, copy):
    (copy / "model.safetensors").unlink()
    lines = (copy / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    said = gpunet("train", "--resume", copy)
    assert re.search(r"resumed +goes on after iteration 120 of 120\n", said.stdout)
    assert said.stderr == ""
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (copy / name).read_bytes()
    assert len(records(copy / "timings.jsonl")) == len(records(copy / "metrics.jsonl"))


def test_a_run_without_a_checkpoint_starts_over(run, copy):
    for path in [*copy.glob("checkpoint*"), copy / "model.safetensors"]:
        path.unlink()
    assert "has no checkpoint; the run begins anew" in gpunet("train", "--resume", copy, "-q").stderr
    assert (run / "metrics.jsonl").read_bytes() == (copy / "metrics.jsonl").read_bytes()
    assert (run / "metrics.csv").read_text().count("\n") == (copy / "metrics.csv").read_text().count("\n")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--lr", "0.5"], 2, "--lr: a resumed run keeps its settings"),
        (["--out", "x"], 2, "--out: a resumed run keeps"),
        (["--log", "csv"], 2, "--log: a resumed run keeps"),
        (["--config", "x.toml"], 2, "--config: a resumed run keeps"),
    ],
)
def test_a_resumed_run_keeps_its_settings(run, arguments, code, sentence):
    assert sentence in gpunet("train", "--resume", run, *arguments, code=code).stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--force"], "--force needs a folder"),
        (["--checkpoint-every", "5"], "--checkpoint-every needs a folder"),
        (["--keep", "5"], "--keep needs a folder"),
        (["--log", "csv"], "say where"),
        (["--log", "paper"], "unknown log 'paper'; choose one of"),
        (["--checkpoint-every", "0"], "--checkpoint-every"),
    ],
)
def test_options_that_make_no_sense(arguments, sentence):
    assert sentence in gpunet("train", *arguments, code=2).stderr


def test_records_that_were_changed_are_not_gone_on_with(copy):
    (copy / "model.safetensors").unlink()
    content = (copy / "metrics.jsonl").read_bytes()
    (copy / "metrics.jsonl").write_bytes(content.replace(b"0.", b"1.", 1))
    assert "not the records that the checkpoint belongs to" in gpunet("train", "--resume", copy, code=1).stderr
    (copy / "metrics.jsonl").unlink()
    assert "metrics.jsonl: the records cannot be read" in gpunet("train", "--resume", copy, code=1).stderr


def test_a_checkpoint_of_another_run_is_refused(copy, tmp_path):
    gpunet("train", *OPTIONS, "--lr", "0.2", "--out", tmp_path / "other", "-q")
    (copy / "model.safetensors").unlink()
    (copy / "checkpoint.safetensors").write_bytes((tmp_path / "other" / "checkpoint.safetensors").read_bytes())
    refused = gpunet("train", "--resume", copy, code=1).stderr
    assert "checkpoint.safetensors: the checkpoint was made with another setting of learning rate" in refused


def test_damaged_checkpoints_leave_a_way_on(copy, tmp_path):
    (copy / "model.safetensors").unlink()
    for path in copy.glob("checkpoint*"):
        path.write_bytes(path.read_bytes()[:-9])
    said = gpunet("train", "--resume", copy, code=1).stderr
    assert f"{copy / 'checkpoint.safetensors'}: the checkpoint is damaged" in said
    assert "Nor can checkpoint-0000000100.safetensors be read." in said
    assert said.endswith(f"gpunet train --config {copy / 'config.json'} --out NEW\n")


def test_a_damaged_checkpoint_is_set_aside_for_an_older_one(run, copy):
    (copy / "model.safetensors").unlink()
    newest = copy / "checkpoint.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    assert "The run goes on from an older checkpoint" in gpunet("train", "--resume", copy, "-q").stderr
    assert (copy / "checkpoint.safetensors.damaged").exists()
    assert (copy / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_run_of_another_format_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "version": 99}))
    for option, place in (("--resume", copy), ("--config", copy / "config.json")):
        assert "the run is of format version 99" in gpunet("train", option, place, code=1).stderr


def test_a_run_does_not_go_into_the_folder_of_a_sweep(tmp_path):
    (tmp_path / "results.jsonl").touch()
    with pytest.raises(gn.CheckpointError, match="this is the folder of a sweep; choose another"):
        RunFolder(tmp_path).create({}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_versions_that_changed_are_told(copy):
    config = json.loads((copy / "config.json").read_text())
    config["versions"]["numpy"] = "1.0"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "model.safetensors").unlink()
    assert f"numpy 1.0, now {np.__version__}" in gpunet("train", "--resume", copy, "-q").stderr


def test_an_unfinished_run_can_be_looked_at(copy):
    finished = gn.MLP.load(copy)
    (copy / "model.safetensors").unlink()
    unfinished = RunFolder(copy).load()
    assert (unfinished.flat == finished.flat).all()
    assert "accuracy" in gpunet("evaluate", copy).stdout


# --- files


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_a_file_is_written_through_a_link_and_nothing_else_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("folder", "there is a folder of this name"), ("pipe", "it is no regular file")):
        with pytest.raises(OSError, match=re.escape(f"{tmp_path / name} cannot be written ({reason}); choose another")):
            write_atomic(tmp_path / name, b"new")
    assert (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 4


def test_an_error_names_the_file_that_was_to_be_written(run, tmp_path):
    place = tmp_path / "nowhere" / "model.npz"
    said = gpunet("export", run, place, code=1).stderr
    assert said == f"Error: {place} cannot be written (No such file or directory); choose another place.\n"


# --- logs


def test_csv_log(run):
    with open(run / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    steps = [record for record in records(run / "metrics.jsonl") if record["event"] == "step"]
    assert [int(row["iteration"]) for row in table] == [record["iteration"] for record in steps]
    assert [float(row["loss"]) for row in table] == [record["loss"] for record in steps]
    assert [row["validation_loss"] for row in table] == [str(record.get("validation_loss", "")) for record in steps]


def test_logs_without_a_run_folder(tmp_path):
    gpunet("train", *OPTIONS, "-q", "--log", f"csv:{tmp_path}/a.csv", "--log", f"jsonl:{tmp_path}/a.jsonl")
    logged = records(tmp_path / "a.jsonl")
    assert [record["event"] for record in logged] == ["step"] * 9 + ["result"]
    assert all("seconds" in record for record in logged[:-1])
    assert (tmp_path / "a.csv").read_text().count("\n") == 10
    assert "cannot be written" in gpunet("train", *OPTIONS, "-q", "--log", f"csv:{tmp_path}/no/a.csv", code=1).stderr


def data(rng) -> gn.Dataset:
    images = rng.integers(0, 256, (120, 6), dtype=np.uint8)
    return gn.Dataset.from_arrays(images, images[:, 0] // 128, images, images[:, 0] // 128)


def trainer(rng, *callbacks, **options) -> gn.Trainer:
    model = gn.MLP([6, 4, 2], seed=1)
    chosen = {"iterations": 40, "batch_size": 10, "log_every": 10, "callbacks": callbacks, **options}
    return gn.Trainer(model, data(rng), **chosen)


def test_a_resumed_log_has_no_line_twice(tmp_path, rng):
    held = data(rng)
    model = gn.MLP([6, 4, 2], seed=1)
    options = {"iterations": 40, "batch_size": 10, "log_every": 10}
    logs = [gn.CsvLog(tmp_path / "log.csv"), gn.JsonLinesLog(tmp_path / "log.jsonl")]
    first = gn.Trainer(model, held, callbacks=logs, **options)
    state = None
    for record in first.steps():
        if record.iteration == 20:
            state = first.state()
        if record.iteration == 30:
            break
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"event": "st')
    logs = [gn.CsvLog(tmp_path / "log.csv"), gn.JsonLinesLog(tmp_path / "log.jsonl")]
    again = gn.Trainer(gn.MLP([6, 4, 2], seed=1), held, callbacks=logs, **options)
    again.restore(*state)
    list(again.steps())
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["iteration", "10", "20", "30", "40"]
    assert [record.get("iteration") for record in records(tmp_path / "log.jsonl")] == [10, 20, 30, 40, None]


def test_a_log_is_begun_anew_by_a_new_run(tmp_path, rng):
    (tmp_path / "log.csv").write_text("old\n")
    list(trainer(rng, gn.CsvLog(tmp_path / "log.csv")).steps())
    assert (tmp_path / "log.csv").read_text().splitlines()[0].startswith("iteration,epoch")


def test_tensorboard_log(tmp_path, rng):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    list(trainer(rng, gn.TensorBoardLog(tmp_path)).steps())
    (file,) = tmp_path.iterdir()
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[str, list] = {}
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            number = value.tensor.float_val[0] if value.tensor.float_val else value.simple_value
            found.setdefault(value.tag, []).append((event.step, number))
    assert [step for step, _ in found["train/loss"]] == [10, 20, 30, 40]
    assert found["test/accuracy"][0][0] == 40
    assert found["learning_rate"][0][1] == pytest.approx(0.1)


def test_without_tensorboard_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(gn.MissingExtra, match=r'pip install "gpunet\[tensorboard\]"'):
        gn.TensorBoardLog(tmp_path)


# --- from a script


def test_what_is_kept_of_a_run_comes_back_from_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = json.loads(json.dumps(Recording(20, 7.5, 3, ("csv", "jsonl:log.jsonl")).to_dict()))
    there = os.path.abspath("log.jsonl")
    monkeypatch.chdir(tmp_path.parent)
    assert Recording.from_dict(told, tmp_path) == Recording(20, 7.5, 3, ("csv", f"jsonl:{there}"))


def test_a_script_keeps_a_run(tmp_path, rng):
    folder = RunFolder(tmp_path / "run")
    one = trainer(rng, Recorder(folder, keep=2), checkpoint_every=10)
    folder.create(describe(one))
    list(one.steps())
    assert folder.result()["test_accuracy"] >= 0
    assert [path.name for path in folder.checkpoints()] == [
        "checkpoint.safetensors",
        "checkpoint-0000000030.safetensors",
    ]
    assert (gn.MLP.load(folder.path).flat == one.model.flat).all()
    folder.release()


def trainer_of(settings: Settings) -> gn.Trainer:
    data = build_dataset(settings)
    return build_trainer(settings, build_model(settings, data, gn.get_backend(settings.device)), data)


def test_a_script_writes_the_same_run_as_the_command_line(run, tmp_path):
    settings = settings_for(device="cpu", hidden=8, iterations=120, log_every=20, validation=300)
    trainer = trainer_of(settings)
    folder = RunFolder.start(
        tmp_path / "a", trainer, settings, checkpoint_every=50, keep=2, log=["csv"], command=["mine.py"]
    )
    list(trainer.steps())
    assert {path.name for path in folder.path.iterdir()} == {path.name for path in run.iterdir()}
    for name in ("metrics.jsonl", "model.safetensors", "best.safetensors"):
        assert (folder.path / name).read_bytes() == (run / name).read_bytes(), name
    ours, theirs = folder.config(), RunFolder(run).config()
    assert ours.pop("command") == ["mine.py"]
    assert ours.pop("started") <= theirs.pop("started")[:11] + "99"
    theirs.pop("command")
    assert ours == theirs
    assert folder.settings() == RunFolder(run).settings()


@pytest.mark.parametrize("given", [True, False])
def test_a_script_resumes_a_run_to_the_same_end(run, copy, given):
    (copy / "model.safetensors").unlink()
    (copy / "checkpoint.safetensors").unlink()
    folder = RunFolder(copy)
    trainer = folder.resume(trainer_of(folder.settings()) if given else None)
    assert trainer.iteration == 100
    assert trainer.checkpoints.every == 50
    assert folder.remarks == []
    list(trainer.steps())
    for name in ("metrics.jsonl", "model.safetensors", "best.safetensors"):
        assert (copy / name).read_bytes() == (run / name).read_bytes(), name
    assert [line.split(",")[0] for line in (copy / "metrics.csv").read_text().split()[1:]] == [
        str(record["iteration"]) for record in records(copy / "metrics.jsonl")[:-1]
    ]


def test_a_run_of_a_script_without_settings(tmp_path, rng):
    data = gn.Dataset.from_arrays(rng.normal(size=(90, 6)).astype(np.float32), np.arange(90) % 3)

    def fresh() -> gn.Trainer:
        return gn.Trainer(gn.MLP([6, 3]), data, iterations=40, batch_size=10, log_every=5)

    one = fresh()
    folder = RunFolder.start(tmp_path / "a", one, checkpoint_every=15)
    for record in one.steps():
        if record.event == "step" and record.iteration >= 20:
            one.stop()
    with pytest.raises(gn.UsageError, match="a script made this run without settings; resume it there"):
        RunFolder(folder.path).resume()
    again = RunFolder(folder.path).resume(fresh())
    list(again.steps())
    whole = fresh()
    list(whole.steps())
    assert (again.model.flat == whole.model.flat).all()
    assert folder.result()["iterations"] == 40
    with pytest.raises(CheckpointError, match="other data than arrays has now"):
        RunFolder(folder.path).resume(gn.Trainer(gn.MLP([6, 3]), data.hold_out(30), iterations=40, batch_size=10))
    told = gpunet("evaluate", folder.path, code=2).stderr
    assert "does not say which data to take; name it with --data" in told
    with pytest.raises(CheckpointError, match="there is a run in this folder already"):
        RunFolder.start(tmp_path / "a", fresh())
    with pytest.raises(gn.UsageError, match="unknown log 'tb'; did you mean tensorboard"):
        RunFolder.start(tmp_path / "b", fresh(), log=["tb"])
    assert not (tmp_path / "b").exists()


def test_what_a_kill_set_aside_is_cleared_when_the_run_is_started_anew(tmp_path, rng):
    (tmp_path / ".config.json.x8_2.tmp").write_text("{")
    data = gn.Dataset.from_arrays(rng.normal(size=(90, 6)).astype(np.float32), np.arange(90) % 3)
    RunFolder.start(tmp_path, gn.Trainer(gn.MLP([6, 3]), data, iterations=4, batch_size=10)).release()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "config.json"}


def test_numbers_that_json_does_not_know_become_null(tmp_path, rng):
    from gpunet.runs.logs import as_json

    assert json.loads(as_json({"a": float("nan"), "b": float("inf"), "c": 1.5})) == {"a": None, "b": None, "c": 1.5}


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    said = gpunet("train", "--device", "cpu", "--hidden", "8", "--lr", "1e30", "--out", tmp_path / "a",
                  "--checkpoint-every", "1", "--iterations", "50", code=1)  # fmt: skip
    assert "finite" in said.stderr
    for path in (tmp_path / "a").glob("checkpoint*"):
        arrays, _ = container.read(path, container.CHECKPOINT)
        assert np.isfinite(arrays["parameters"]).all()


def test_a_run_may_go_on_on_another_device(run, copy):
    (copy / "model.safetensors").unlink()
    config = json.loads((copy / "config.json").read_text())
    config["settings"]["device"] = config["device"] = "cuda:7"
    (copy / "config.json").write_text(json.dumps(config))
    said = gpunet("train", "--resume", copy, "--device", "cpu", "-q").stderr
    assert "device cuda:7, now cpu; its numbers may differ" in said
    assert (run / "model.safetensors").read_bytes() == (copy / "model.safetensors").read_bytes()


@pytest.mark.host
def test_the_documentation_of_callbacks_runs(tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[2] / "docs" / "runs.md"
    if not page.exists():
        pytest.skip("the documentation is not here")
    callbacks, run = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(callbacks, str(page), "exec"), names)
    iteration, count = map(int, capsys.readouterr().out.split())
    assert 0 < iteration < 2000
    assert (tmp_path / "curves.csv").read_text().count("\n") == count + 1
    exec(compile(run, str(page), "exec"), names)
    assert capsys.readouterr().out == "1000 11\n"
    assert RunFolder("runs/mine").result()["iterations"] == 2000

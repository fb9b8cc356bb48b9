"""`gpunet plot` as a user runs it: pictures in files, in terminals of 80 and 60 columns, in a pipe, with NO_COLOR."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import sys

import command_line
import pytest

import gpunet as gn

pytestmark = pytest.mark.host

#: `gpunet` with any end.
gpunet = functools.partial(command_line.gpunet, code=None)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, one with validation."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in (("a", []), ("b", ["--validation", "500", "--schedule", "cosine"])):
        done = gpunet(
            "train", "--iterations", "200", "--log-every", "20", "--hidden", "12", "--device", "cpu", "--quiet",
            "--out", folder / name, *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("columns", "colour"),
    [(80, {}), (60, {"FORCE_COLOR": "1"}), (60, {"FORCE_COLOR": "1", "NO_COLOR": "1"}), (40, {"NO_COLOR": "1"})],
)
def test_curves_fit_the_terminal(runs, columns, colour):
    done = gpunet("plot", runs / "a", runs / "b", "--terminal", COLUMNS=str(columns), **colour)
    assert (done.returncode, done.stderr) == (0, "")
    lines = ESCAPE.sub("", done.stdout).splitlines()
    assert max(map(len, lines)) <= columns
    assert ("\x1b" in done.stdout) == (colour == {"FORCE_COLOR": "1"})
    text = "\n".join(lines)
    assert "Loss" in text
    assert "Accuracy" in text
    assert "Learning rate" in text
    if columns > 60:  # there is room for the settings that differ
        assert "validation auto, schedule constant training" in text
        assert "validation 500, schedule cosine validation" in text
    if colour == {"FORCE_COLOR": "1"}:
        assert set("".join(lines)) & {chr(code) for code in range(0x2801, 0x2900)}  # braille: fine lines
    else:
        assert "+++" in text  # without colours each curve has a character of its own
        assert "xxx" in text


@pytest.mark.parametrize("colour", [{}, {"FORCE_COLOR": "1"}])
def test_runs_beyond_the_colours_have_a_character_each(tmp_path, colour):
    for number in range(1, 8):
        lines = [{"event": "step", "iteration": i, "loss": number, "accuracy": number / 9} for i in range(1, 30)]
        (tmp_path / f"{'long-' * 20}{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = gpunet("plot", *sorted(tmp_path.iterdir()), "-t", COLUMNS="60", **colour)
    assert (done.returncode, done.stderr) == (0, "")
    lines = ESCAPE.sub("", done.stdout).splitlines()
    assert max(map(len, lines)) <= 60
    assert all(mark * 9 in "\n".join(lines) for mark in "+xo*~.#")
    assert any("…" in line and "## long-" in line for line in lines)


def test_a_stream_of_ascii_gets_ascii(runs):
    (runs / "日本.jsonl").write_text((runs / "a" / "metrics.jsonl").read_text())
    done = gpunet("plot", runs / "a", runs / "日本.jsonl", "--terminal", "--log-scale", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "training" in done.stdout


def test_a_pipe_of_records_is_drawn(runs):
    done = gpunet("plot", "-", "-t", stdin=(runs / "a" / "metrics.jsonl").read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert "Loss, test" in done.stdout


def test_the_confusion_matrix_in_the_terminal_is_that_of_evaluate(runs):
    done = gpunet("plot", runs / "a", "--confusion", "--terminal")
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\d  ", line)]
    counts = [[int(cell.replace(".", "0")) for cell in row[1:]] for row in rows]
    data, model = gn.load_dataset("mnist-5k"), gn.MLP.load(runs / "a" / "model.safetensors")
    assert counts == gn.evaluate(model, data.test).confusion.tolist()


def test_weights_and_mistakes_fit_the_terminal(runs):
    columns = 60
    done = gpunet("plot", runs / "a", "--weights", "--mistakes", "-t", "-n", "4", COLUMNS=str(columns))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Weights into 4 of 12 neurons of the first layer" in done.stdout
    assert "test examples are answered wrong, 4 shown" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= columns


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_pictures_go_where_they_are_told(runs, tmp_path, kind):
    kinds = ("curves", "confusion", "mistakes", "weights") if kind == "png" else ("curves", "confusion")
    done = gpunet("plot", runs / "b", *(f"--{name}" for name in kinds), "-o", tmp_path / f"p.{kind}")
    assert (done.returncode, done.stderr) == (0, "")
    names = [f"p-{name}.{kind}" for name in kinds]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert done.stdout.split() == [str(tmp_path / name) for name in names]
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[kind]
    assert all((tmp_path / name).read_bytes().startswith(start) for name in names)


def test_without_a_name_the_picture_goes_into_the_run(runs):
    done = gpunet("plot", runs / "a")
    assert done.stdout.strip() == str(runs / "a" / "curves.png")
    assert (runs / "a" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_is_made_for_pictures(runs, tmp_path):
    done = gpunet("plot", runs / "a", "--weights", "-o", f"{tmp_path}/new/pictures/")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new" / "pictures" / "weights.png").exists()


def test_the_report_is_written(runs, tmp_path):
    done = gpunet("plot", runs / "b", "--html", tmp_path / "b.html")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "validation accuracy" in page
    assert "cosine" in page


def test_a_page_compares_several_runs(runs, tmp_path):
    done = gpunet("plot", runs / "a", runs / "b", "--html", tmp_path / "both.html")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "They differ in validation, schedule." in page
    table = page[page.index("<table>") : page.index("</table>")]
    head = re.findall(r'<th scope="col">([^<]*)</th>', table)
    assert head[:3] == ["run", "validation", "schedule"]
    assert head[-2:] == ["done", "time"]
    for name in ("a", "b"):
        result = json.loads((runs / name / "metrics.jsonl").read_text().splitlines()[-1])
        (row,) = re.findall(rf'<tr><th scope="row">{runs / name}</th>(.*)</tr>', table)
        cells = re.findall("<td>([^<]*)</td>", row)
        assert cells[head.index("test accuracy") - 1] == f"{result['test_accuracy']:.4f}"
        assert cells[-2] == "200"
    assert page.count("<svg") == 3  # accuracy, loss and learning rate


def test_without_matplotlib_it_is_drawn_in_the_terminal_and_says_why(runs, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else find(name, *more)
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = gpunet("plot", runs / "a", code=0, cwd=tmp_path)
    assert "Loss, test" in done.stdout
    assert "gpunet[plot]" in done.stderr
    done = gpunet("plot", runs / "a", "-o", "a.png", code=1, cwd=tmp_path)
    assert done.stderr.startswith("Error: ")
    assert "gpunet[plot]" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "RUN"),
        (["RUNS/missing"], 1, "there is no such run"),
        (["RUNS/a", "-o", "a.gif"], 2, "a.gif"),
        (["RUNS/a", "-o", "a.png", "--terminal"], 2, "give one of them"),
        (["RUNS/a", "RUNS/b", "--confusion"], 2, "--confusion is of one run, and 2 are given"),
        (["RUNS/a", "--html", "a.html", "--wrong"], 2, "--html"),
        (
            ["RUNS/a", "RUNS/b", "--html", "a.html", "--split", "test"],
            2,
            "shows what they recorded",
        ),
        (["RUNS/a", "RUNS/b/metrics.jsonl", "--html", "a.html"], 1, "metrics.jsonl"),
        (["RUNS/a", "--confusion", "--split", "dev"], 2, "has no split 'dev'"),
        (["RUNS/a/model.safetensors", "--wrong"], 2, "name it with --data"),
        (["RUNS/a/model.safetensors"], 1, "model.safetensors"),
        (["RUNS/a", "--wrong", "--data", "nowhere"], 2, "nowhere"),
        (["RUNS/damaged"], 1, "line 1 is not JSON"),
        (["RUNS/a", "--smooth", "-1"], 2, "--smooth"),
        (["RUNS/a", "--html", "RUNS/a/model.safetensors"], 2, "a report is written as .html, .htm"),
        (["RUNS/a", "--html", "RUNS/folder.html"], 2, "is a folder"),
        (["RUNS/a", "--html", "RUNS/nowhere/a.html"], 2, "there is no folder"),
        (["RUNS/a", "-o", "RUNS/nowhere/a.png"], 2, "there is no folder"),
        (["RUNS/a/timings.jsonl"], 1, "nothing to draw"),
        (["RUNS/a/timings.jsonl", "-t"], 1, "nothing to draw"),
        (["RUNS/a"] * 13 + ["-t"], 2, "13 runs are too many to tell apart in a terminal; name at most 12"),
        (["-", "-"], 2, "standard input, which can be read once"),
        (["-", "--confusion"], 2, "--confusion needs a model"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(runs, tmp_path, arguments, code, said):
    (runs / "damaged").mkdir(exist_ok=True)
    (runs / "folder.html").mkdir(exist_ok=True)
    (runs / "damaged" / "metrics.jsonl").write_text("{\n{\n")
    here = [argument.replace("RUNS", str(runs)) for argument in arguments]
    done = gpunet("plot", *here)
    assert done.returncode == code, done.stderr
    assert said.replace("RUNS", str(runs)) in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_records_of_a_run_that_is_still_going_are_drawn(tmp_path):
    lines = [{"event": "step", "iteration": 10, "loss": 1.0, "accuracy": 0.5}] * 1
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "st')
    done = gpunet("plot", tmp_path, "-t")
    assert (done.returncode, done.stderr) == (0, "")
    assert "training 1.000" in done.stdout


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1.97), (0.843, 1.0), (0.9, 0.9), (0, 0), (-3.2, 17), (0, 1e-7), (0.1, 0.1000001), (120, 45_000), (-2, -1)],
)
def test_axes_have_round_numbers_in_the_middle_too(low, high):
    from gpunet.pictures.panels import round_limits

    bottom, top, step = round_limits(low, high)
    assert bottom <= low + 1e-12
    assert top >= high - 1e-12
    assert top > bottom
    middle = (bottom + top) / 2 / step
    assert abs(middle - round(middle)) < 1e-6
    assert f"{step:.0e}"[0] in "125"


def test_the_marks_beside_a_plot_are_where_they_belong(tmp_path):
    # A straight line from 0 to 1: in the middle row it is at the middle of the panel.
    lines = [{"event": "step", "iteration": i, "loss": i / 100, "accuracy": 0.5} for i in range(1, 101)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = gpunet("plot", tmp_path, "-t", "--smooth", "0").stdout.splitlines()
    marked = {row.rpartition(" ")[2]: row.partition("│")[2].rpartition("│")[0] for row in rows[2:13] if row[-1] != "│"}
    assert list(marked) == ["1.0", "0.5", "0.0"]
    middle = [place for place, character in enumerate(marked["0.5"]) if character != " "]
    assert abs(sum(middle) / len(middle) / len(marked["0.5"]) - 0.5) < 0.03
    assert marked["1.0"].rstrip() == marked["1.0"]
    assert marked["0.0"][0] != " "

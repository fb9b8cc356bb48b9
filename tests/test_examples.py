"""The lessons in `examples/`: each runs as a script on the bundled sample and shows what it says it shows."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host

FOLDER = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "drawing")
#: The lessons that write a picture.
DRAWN = [
    "03_activations", "04_softmax_regression", "05_mlp", "06_neurons", "07_losses", "09_dropout", "10_optimizers",
    "11_learning_rate_decay", "13_validation",
]  # fmt: skip

try:
    import matplotlib.font_manager  # noqa: F401 - makes its list of fonts, of which the first lesson would say something
except ImportError:
    DRAWN.clear()


def run(name: str, *arguments: str, pictures: str = "pictures") -> str:
    """The output of a script that has to end well, say nothing on standard error and write its picture."""
    with tempfile.TemporaryDirectory() as folder:
        output = run_in(folder, name, *arguments)
        written = [path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()]
        assert written == ([Path(pictures, f"{name}.png")] if name in DRAWN else [])
        for path in written:
            assert f"a picture of it: {path}\n" in output
            assert Path(folder, path).read_bytes().startswith(b"\x89PNG")
    return output


def run_in(folder: str, name: str, *arguments: str) -> str:
    """The output of a script in a working directory."""
    # One thread: several tests at a time would otherwise wait for each other's.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    found = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout


def numbers(text: str) -> list[float]:
    """Every number in a text that has decimals."""
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?", text)]


def rows(output: str, pattern: str) -> list[list[float]]:
    """The numbers with decimals in each line that fits a pattern."""
    return [numbers(line) for line in output.splitlines() if re.search(pattern, line)]


def test_there_is_a_script_for_every_lesson() -> None:
    lessons = [path.stem for path in SCRIPTS if path.stem != "workshop"]
    assert [name[:2] for name in lessons] == [f"{number:02}" for number in range(1, 21)]
    tested = {
        value.value for value in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(value, ast.Constant)
    }
    assert tested >= {path.stem for path in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_opens_with_its_lesson(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    if path.stem != "workshop":
        assert text.startswith(f"Lesson {int(path.stem[:2])}: ")


def test_perceptron() -> None:
    ((train, test),) = rows(run("01_perceptron"), "train accuracy")
    assert train > 0.94
    assert test > 0.92


def test_logistic_regression() -> None:
    output = run("02_logistic_regression")
    ((train, test),) = rows(output, "train accuracy")
    assert train > 0.97
    assert test > 0.94
    for three, eight in rows(output, "it is"):
        assert three + eight == pytest.approx(1, abs=0.0011)
    ((right, wrong),) = rows(output, "when right")
    assert right > wrong


def test_activations() -> None:
    table = rows(run("03_activations").split("test accuracy after")[1], r"e-\d\d")
    assert len(table) >= 12
    assert all(accuracy > 0.75 for (accuracy,) in table)


def test_softmax_regression() -> None:
    output = run("04_softmax_regression", "a/b", pictures="a/b")
    ((train, test),) = rows(output, "train accuracy")
    assert train > test > 0.87
    assert rows(output, "add up") == [[pytest.approx(1, abs=1e-5)]]
    assert [losses[-1] for losses in rows(output, "guess")] == [2.303, 0.693, 0.020]


def test_mlp() -> None:
    none, linear, relu = rows(run("05_mlp"), "parameters")
    assert relu[1] > max(none[1], linear[1])


def test_neurons() -> None:
    table = rows(run("06_neurons"), r"^ +\d")
    assert len(table) == 8
    assert table[0][1] < 0.5 < 0.88 < table[-1][1]


def test_losses() -> None:
    table = rows(run("07_losses"), "^[a-z-]+ +[0-9]")
    assert len(table) == 8
    assert all(test > 0.87 for rate, _, test in table if rate != 0.1)
    mse = [test for line, (_, _, test) in enumerate(table) if line in (4, 5)]
    assert mse[1] > mse[0] + 0.1


def test_another_layer() -> None:
    output = run("08_another_layer")
    table = rows(output, "train")
    assert len(table) == 8
    small, he = table[-2:]
    assert he[1] > small[1] + 0.03
    assert "W4  (20, 10)" in output


def test_dropout() -> None:
    without, _, half = rows(run("09_dropout"), r"^ +0")
    assert without[1] - without[3] > half[1] - half[3]
    assert half[2] > without[2]


def test_optimizers() -> None:
    table = rows(run("10_optimizers"), "^[a-z]+ +[0-9]")
    assert len(table) >= 8
    assert all(losses[1] > losses[3] for losses in table)


def test_learning_rate_decay() -> None:
    table = rows(run("11_learning_rate_decay"), r"^[a-z].*\d\.\d{4}")
    assert len(table) == 7
    slow, *_, cosine, warm = table
    assert cosine[-1] > slow[-1] + 0.05
    assert cosine[-3] < 1e-3 < cosine[-4]
    assert warm[-4] < cosine[-4]


def test_l2() -> None:
    table = rows(run("12_l2"), r"^0")
    lengths = [row[-5] for row in table]
    losses = [row[-1] for row in table]
    assert lengths == sorted(lengths, reverse=True)
    assert losses[2] < losses[0]


def test_validation() -> None:
    output = run("13_validation")
    tried = rows(output, "^hidden")
    ((validation, test),) = rows(output, "looked at once")
    assert validation == max(row[-1] for row in tried)
    assert test > 0.85
    assert "early stopping at step" in output


def test_full_batch() -> None:
    table = rows(run("14_full_batch"), r"^ +(10|100|1000|all) ")
    assert len(table) == 4
    accuracies = [row[1] for row in table]
    assert accuracies == sorted(accuracies, reverse=True)


def test_own_activation() -> None:
    output = run("15_own_activation")
    assert len(rows(output, "test accuracy")) == 3
    assert all(accuracy > 0.7 for (accuracy,) in rows(output, "test accuracy"))
    assert "refused: activation 'wrong'" in output


def test_inside_a_step() -> None:
    output = run("16_inside_a_step")
    assert output.count("differ by") == 6
    ((gradient, slope),) = rows(output, "measured slope")
    assert gradient == pytest.approx(slope, rel=1e-5)


def test_scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    output = run("17_scikit_learn")
    (theirs,), (ours,), (chosen,) = rows(output, "test accuracy")
    assert ours > theirs - 0.02
    assert chosen > 0.95
    tried = [row[-1] for row in rows(output, "^alpha")]
    assert len(tried) == 4
    assert min(tried) > 0.9


def test_tables() -> None:
    output = run("18_tables")
    (scaled,), (raw,) = rows(output, "^wine.*test accuracy")
    assert scaled > 0.95
    assert scaled >= raw
    ((r2, rmse),) = [row[:2] for row in rows(output, "^diabetes")]
    assert 0.35 < r2 < 0.7
    assert 40 < rmse < 65
    ((usual, high),) = rows(output, "^a typical")
    assert high > usual


def test_several_labels() -> None:
    output = run("19_several_labels")
    assert "multi-label: 3 labels, each in [2000, 1600, 1600] of 4,000 digits" in output
    each = [right for (right,) in rows(output, "^(even|prime|loop) ")]
    assert len(each) == 3
    ((together,),) = rows(output, "^all three")
    assert 0.85 < together <= min(each)
    ((even, prime, loop),) = rows(output, "^an eight")
    assert prime < 0.5 < min(even, loop)


def test_ensembles() -> None:
    output = run("20_ensembles")
    ((mean, deviation),) = rows(output, "^five folds")
    assert 0.88 < mean < 0.94
    assert 0 < deviation < 0.03
    each = [row[0] for row in rows(output, "^network")]
    assert len(each) == 5
    ((together,),) = rows(output, "^all together")
    assert together > sum(each) / 5 + 0.004
    ((right, wrong),) = rows(output, "^spread")
    assert wrong > 2 * right


def test_a_lesson_without_matplotlib_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "no picture: drawing a picture needs the package matplotlib" in run_in(
        str(tmp_path), "04_softmax_regression"
    )
    assert not (tmp_path / "pictures").exists()


def test_workshop() -> None:
    output = run("workshop", "301")
    assert output.count("Label: 2") >= 4
    logged = rows(output, "^iteration")
    assert len(logged) == 4
    assert logged[0][1] > 2
    assert logged[-1][1] < 0.7
    ((accuracy,),) = rows(output, "testing accuracy")
    assert accuracy > 0.8


def cell(code: str, names: dict[str, Any]) -> Any:
    """Run the code of a cell; the value of its last line, if that is an expression."""
    lines = ast.parse(code)
    last = lines.body.pop() if isinstance(lines.body[-1], ast.Expr) else None
    exec(compile(lines, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def masked(text: str | list[str]) -> str:
    """A text without its numbers, which depend on the machine."""
    return re.sub(r"\d[\d,.e+-]*", "#", "".join(text)).strip()


def test_the_notebook_shows_what_is_saved_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra plot")
    names: dict[str, Any] = {}
    kinds = set()
    for each in json.loads((FOLDER / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]:
        if each["cell_type"] != "code":
            continue
        value = cell("".join(each["source"]), names)
        printed = capsys.readouterr()
        streams = [masked(output["text"]) for output in each["outputs"] if output["output_type"] == "stream"]
        assert [masked(text) for text in printed if text] == streams
        saved = [output["data"] for output in each["outputs"] if output["output_type"] == "execute_result"]
        assert len(saved) == (value is not None)
        for data in saved:
            assert masked(repr(value)) == masked(data["text/plain"])
            if "image/png" in data:
                picture, _ = value._repr_png_()
                assert picture[:8] == base64.b64decode(data["image/png"])[:8]
            if "text/html" in data:
                assert masked(value._repr_html_()) == masked(data["text/html"])
            kinds |= data.keys()
    assert kinds == {"text/plain", "text/html", "image/png"}
    assert names["result"].test_accuracy > 0.88

"""The documentation says what the code does: references, options, links, excerpts, and Python that runs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
import typer
from pages import DOCS, PAGES, ROOT, blocks, shell_lines
from typer.testing import CliRunner

import gpunet as gn
from gpunet.cli.app import app

if not DOCS.is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)


def script(name):
    """A module out of scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["make_cli_reference", "make_reference"])
def test_the_references_are_up_to_date(name):
    module = script(name)
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.reference(), f"run: python scripts/{name}.py"


def test_the_reference_names_everything_public():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    missing = [name for name in gn.__all__ if name not in ("__version__",) and not re.search(rf"\b{name}\b", text)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = page if not file else (page.parent / file)
        assert goal.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(goal), f"{page.name} links to {target}, and there is no such heading"


def anchors(page):
    """The anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]


def commands():
    """The options of every command, by its path: {("data", "get"): {"--to", ...}}."""
    group = typer.main.get_command(app)
    root = group.make_context("gpunet", [], resilient_parsing=True)
    found = {(): options(group, root)}
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        found[(name,)] = options(command, root)
        for child in getattr(command, "commands", {}):
            found[(name, child)] = options(command.commands[child], root)
    return found


def options(command, context):
    """The names of the options of a command."""
    names = {name for parameter in command.get_params(context) for name in parameter.opts if name.startswith("-")}
    return names | {"--help", "-h"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_option_of_a_gpunet_command_exists(page):
    known = commands()
    text = page.read_text(encoding="utf-8")
    shown = shell_lines(page) + re.findall(r"`(gpunet [^`\n]+)`", text)
    for line in shown:
        for part in re.split(r"[|;&()]", line.partition(" # ")[0]):
            words = re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", part).split()
            if "gpunet" not in words[:6]:
                continue
            words = words[words.index("gpunet") + 1 :]
            path = tuple(words[:1]) if tuple(words[:1]) in known else ()
            path = tuple(words[:2]) if tuple(words[:2]) in known else path
            if not path and words and re.fullmatch(r"[a-z]+", words[0]):
                # parameters is the command that extending.md adds.
                assert words[0] == "parameters", f"{page.name}: there is no command {words[0]!r}: {line}"
            for word in words:
                if word.startswith("-") and word != "-" and not re.match(r"-\d", word):
                    name = re.split(r"[=\]]", word)[0]
                    assert name in known[path], f"{page.name}: gpunet {' '.join(path)} has no {name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_named_in_the_text_exist(page):
    every = set().union(*commands().values())
    text = page.read_text(encoding="utf-8")
    others = {"--no-deps", "--check", "--strict", "--kill-on-bad-exit", "--no-binary", "--signal"}  # of other programs
    for name in re.findall(r"`(--[a-z0-9-]+)[ `=]", text):
        assert name in every | others, f"{page.name} names {name}, which no command has"


def excerpts():
    """The excerpts of how-it-works: (file, code)."""
    text = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    found = re.findall(r"^`([\w/.]+)`[^\n]*:\n\n```(?:python|cuda)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) >= 8
    return found


@pytest.mark.parametrize(("file", "code"), excerpts() if (DOCS / "how-it-works.md").exists() else [])
def test_excerpts_are_the_code_itself(file, code):
    source = [line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    place = 0
    for line in code.splitlines():
        wanted = line.strip()
        if wanted in ("", "..."):
            continue
        assert wanted in source[place:], f"{file} has no line {wanted!r} there"
        place = source.index(wanted, place) + 1


def run_blocks(name, folder, monkeypatch, namespace=None):
    """Run the Python of a page from top to bottom, in one namespace; gives the namespace."""
    monkeypatch.chdir(folder)
    namespace = {} if namespace is None else namespace
    for number, code in enumerate(blocks(DOCS / name, "python"), 1):
        exec(compile(code, f"{name}, block {number}", "exec"), namespace)
    return namespace


@pytest.mark.host
def test_getting_started_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra plot")
    namespace = run_blocks("getting-started.md", tmp_path, monkeypatch)
    assert namespace["result"].test_accuracy > 0.85
    np.testing.assert_array_equal(
        namespace["again"].predict(namespace["data"].test.images).shape, (len(namespace["data"].test),)
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".png", ".svg"}


@pytest.mark.host
def test_the_page_of_scripts_and_notebooks_runs(tmp_path, monkeypatch):
    namespace = run_blocks("research.md", tmp_path, monkeypatch)
    model, data = namespace["own"], namespace["data"]
    assert gn.evaluate(model, data.test).loss < gn.evaluate(gn.MLP([8, 32, 2], seed=0), data.test).loss
    assert namespace["result"].test_accuracy > 0.8
    assert len(namespace["noise"].losses) == 200


@pytest.mark.host
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_page_of_scikit_learn_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    namespace = run_blocks("sklearn.md", tmp_path, monkeypatch)
    assert namespace["regressor"].best_validation_score_ > 0.8
    assert (tmp_path / "model.safetensors").exists()


def test_extending_runs(tmp_path, monkeypatch):
    tables = (gn.ACTIVATIONS, gn.OPTIMIZERS, gn.SCHEDULES, gn.DATASETS)
    before = [dict(table) for table in tables]
    try:
        namespace = run_blocks("extending.md", tmp_path, monkeypatch)
        assert namespace["mine"].checksum == gn.load_dataset("mnist-5k").checksum
        added = typer.Typer()
        added.command()(namespace["command"])
        done = CliRunner().invoke(added, ["784,50,30,10"])
        assert done.exit_code == 0, done.output
        model = gn.MLP([784, 30, 10], activation="squareplus")
        result = gn.train(
            model, namespace["data"], optimizer=gn.OPTIMIZERS["sign-momentum"](), iterations=200, log_every=200
        )
        assert result.test_accuracy > 0.7
    finally:
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)


def test_inference_runs_and_agrees(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="the extra test has onnxruntime")
    from gpunet.network.export import export

    data = gn.load_dataset("mnist-5k")
    model = gn.MLP([784, 50, 30, 10], seed=2)
    gn.train(model, data, iterations=100)
    model.save(tmp_path / "model.safetensors")
    export(model, tmp_path / "model.npz")
    export(model, tmp_path / "model.onnx", pixels=True)
    pixels = data.test.images
    namespace = run_blocks("inference.md", tmp_path, monkeypatch, {"pixels": pixels})
    answers = model.predict(pixels)
    np.testing.assert_array_equal(namespace["predict"](pixels), answers)
    np.testing.assert_array_equal(namespace["classes"], answers)
    np.testing.assert_allclose(namespace["probabilities"], model.predict_proba(pixels), atol=1e-5)
    for name, array in zip(model.parameter_names, model.parameters, strict=True):
        np.testing.assert_array_equal(namespace["arrays"][name], array)
    ten = blocks(DOCS / "inference.md", "python")[0]
    assert len([line for line in ten.splitlines() if line.strip()]) <= 10


def test_every_lesson_has_its_place():
    lessons = sorted((ROOT / "examples").glob("[0-9]*.py"))
    text = (DOCS / "lessons.md").read_text(encoding="utf-8")
    shown = re.findall(r'^## (\w+)\n\n.+\n\n```python\n--8<-- "examples/(\w+)\.py"\n```$', text, re.MULTILINE)
    assert shown == [(lesson.stem, lesson.stem) for lesson in lessons]


def test_the_pages_of_the_site_are_there():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = dict(reversed(entry) for entry in re.findall(r"^  - (?:(.+): )?([\w-]+\.md)$", navigation, re.MULTILINE))
    assert sorted(pages) == sorted(page.name for page in DOCS.glob("*.md"))
    for name, title in pages.items():
        heading = re.search(r"^# (.+)$", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE)[1]
        assert heading == (title or "gpunet"), f"{name}: its heading and its title in mkdocs.yml are one"


@pytest.mark.host
@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="mkdocs-material is not installed")
def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "how-it-works" / "index.html").read_text(encoding="utf-8")
    assert "styles/pages.css" in page
    started = (tmp_path / "getting-started" / "index.html").read_text(encoding="utf-8")
    assert '<span class="gp">$ </span>' in started, "the copy button leaves out what has the class of a prompt"
    scripts = "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("assets/javascripts/bundle*.js"))
    assert "data-md-copying" in scripts, "and the style sheet hides it by this"


@pytest.mark.parametrize("path", [path for path in commands() if path])
def test_every_help_says_what_each_option_does_and_shows_examples(path):
    group = typer.main.get_command(app)
    root = group.make_context("gpunet", [], resilient_parsing=True)
    command = group.get_command(root, path[0])
    for name in path[1:]:
        command = command.commands[name]
    if hasattr(command, "commands"):
        return
    context = command.make_context(path[-1], [], parent=root, resilient_parsing=True)
    text = command.get_help(context)
    examples = re.search(r"^ *Examples?:\n((?:.*\S.*\n)+)", text, re.M)
    assert examples
    assert all(re.match(r" *(mpirun -n \d+ )?gpunet ", line) for line in examples[1].splitlines())
    assert not re.search(r"x>=|<str>|list\[", text)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        assert record is None or len(record[1].split()) > 1 or parameter.name == "help", parameter.name

"""The order of the wings: the contract holds, a planted import breaks it, and no import goes around it."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet as gn

pytestmark = pytest.mark.host

#: The only place that imports by a text: CuPy, which is optional.
BY_TEXT = {Path("cuda/opening.py")}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """A copy of the package as it is when installed, with `cli` and `kernels` inside."""
    folder = tmp_path_factory.mktemp("site") / "gpunet"
    shutil.copytree(Path(gn.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("cli", "kernels"):
        home = importlib.util.find_spec(f"gpunet.{name}").submodule_search_locations[0]
        shutil.copytree(home, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def contracts(package: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of a package by the contracts of this project."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    settings = Path(__file__).parents[1] / "pyproject.toml"
    program = (
        f"from importlinter.cli import lint_imports; raise SystemExit(lint_imports({str(settings)!r}, no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=package.parent,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
    )


def test_each_wing_imports_only_what_stands_below_it(package):
    done = contracts(package)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("kernels/losses.py", "import gpunet.network.mlp", "only what stands below"),
        ("data/dataset.py", "def later():\n    from gpunet.training import trainer", "only what stands below"),
        ("training/records.py", "if False:\n    from gpunet.runs.folder import RunFolder", "only what stands below"),
        ("training/step.py", "from gpunet.training import trainer", "circles"),
        ("network/mlp.py", "import cupy", "CuPy"),
    ],
)
def test_a_planted_import_is_caught(package, file, line, broken):
    path = package / file
    text = path.read_text()
    path.write_text(f"{text}\n{line}\n")
    try:
        done = contracts(package)
    finally:
        path.write_text(text)
    assert done.returncode == 1, done.stdout
    assert any(broken in each and "BROKEN" in each for each in done.stdout.splitlines()), done.stdout


def around(text: str) -> list[str]:
    """The imports in a module that no contract sees: of a name from the package itself, or by a text."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in ("gpunet", "importlib", "runpy")]
        elif isinstance(node, ast.ImportFrom):
            if node.module in ("gpunet", "importlib") or (node.level and not node.module):
                found += [f"{node.module or '.'}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Name) and node.id == "__import__":
            found.append(node.id)
    return [name for name in found if name not in ("importlib.metadata", "importlib.resources")]


def test_no_import_goes_around_the_contracts(package):
    found = {
        path.relative_to(package): names
        for path in sorted(package.rglob("*.py"))
        if "cli" not in path.relative_to(package).parts[:1] and path != package / "__init__.py"
        if (names := around(path.read_text()))
    }
    assert found == {place: ["importlib"] for place in BY_TEXT}

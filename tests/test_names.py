"""The public names: they are there, the stub lists them all, and importing them lazily keeps the import quick."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet as gn

pytestmark = pytest.mark.host


def test_every_public_name_can_be_had() -> None:
    for name in gn.__all__:
        assert getattr(gn, name) is not None, name
    assert set(gn.__all__) <= set(dir(gn))


def test_the_stub_lists_the_same_names() -> None:
    stub = ast.parse(Path(gn.__file__).with_suffix(".pyi").read_text())
    listed = {
        alias.asname or alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert listed == set(gn.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Perceptrons'"):
        gn.Perceptrons  # noqa: B018


@pytest.mark.parametrize("code", ["import gpunet", "import gpunet as gn; gn.MLP([4, 2]); gn.get_backend('cpu')"])
def test_the_cpu_never_imports_cupy_nor_what_is_optional(code: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(' '.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(told.stdout.split())
    assert not loaded & {"cupy", "matplotlib", "rich", "typer", "joblib", "torch", "onnx", "PIL"}


@pytest.mark.parametrize(
    "error",
    [
        gn.TrainingDiverged("the loss is no number.", 7),
        gn.OutOfMemory("there is no room.", 5),
        gn.MissingExtra("onnx", "onnx", "writing"),
        gn.UsageError("no such name."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_out_of_other_processes_as_they_are(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)

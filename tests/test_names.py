"""The public names: they are there, the stub lists them all, and importing them lazily keeps the import quick."""

from __future__ import annotations

import inspect
import pickle
import re
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpunet as gn

pytestmark = pytest.mark.host

SCRIPT = Path(__file__).parent.parent / "scripts" / "make_stub.py"


def test_every_public_name_can_be_had() -> None:
    for name in gn.__all__:
        assert getattr(gn, name) is not None, name


def test_only_public_names_are_shown() -> None:
    assert dir(gn) == sorted(gn.__all__)
    assert len(gn.__all__) == len(set(gn.__all__)) < 80


@pytest.mark.parametrize("name", sorted(gn._HOMES))
def test_a_name_of_an_earlier_version_is_in_one_of_the_modules_too(name: str) -> None:
    value = getattr(gn, name)
    assert name in gn.__all__ or value in [vars(getattr(gn, module)).get(name) for module in gn._MODULES]


@pytest.mark.skipif(not SCRIPT.exists(), reason="the scripts are not here")
def test_the_stub_lists_the_same_names() -> None:
    found = runpy.run_path(str(SCRIPT))
    assert found["FILE"].read_text(encoding="utf-8") == found["stub"](), "run: python scripts/make_stub.py"


def test_a_script_with_types_runs() -> None:
    result = runpy.run_path(str(Path(__file__).parent / "typed_script.py"))["main"]()
    assert result.iterations == 20


def test_a_zipped_package_has_its_names(tmp_path: Path) -> None:
    root = Path(gn.__file__).parent
    with zipfile.ZipFile(tmp_path / "gpunet.zip", "w") as archive:
        for place, folder in (("gpunet", root), ("gpunet/kernels", root.parent / "kernels")):
            for file in folder.rglob("*"):
                if file.suffix in (".py", ".cu", ".cuh"):
                    archive.write(file, f"{place}/{file.relative_to(folder)}")
    path = [str(tmp_path / "gpunet.zip"), *sys.path]
    code = f"import sys; sys.path[:0] = {path!r}; import gpunet as gn; "
    code += "print(gn.__file__, gn.MLP([4, 3, 2]).predict, gn.schedules.Cosine, len(dir(gn)))"
    told = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.startswith(str(tmp_path / "gpunet.zip"))


#: What is handed to users, and not made by them.
FOUND = (
    gn.Callback,
    gn.CrossValidation,
    gn.EnsembleTraining,
    gn.Evaluation,
    gn.ResultRecord,
    gn.StepRecord,
    gn.TrainingResult,
)


def calls() -> list[Callable[..., Any]]:
    """The public functions and classes that take arguments by names of their own alone."""
    entries = [entry for table in (gn.OPTIMIZERS, gn.SCHEDULES, gn.INITIALIZERS, gn.LOSSES, gn.METRICS)
               for entry in table.values() if isinstance(entry, type)]  # fmt: skip
    public = [getattr(gn, name) for name in gn.__all__]
    found = [each for each in public if inspect.isfunction(each) or isinstance(each, type)]
    found = [
        each for each in found if each not in FOUND and not (isinstance(each, type) and issubclass(each, Exception))
    ]
    kinds = {each: {one.kind for one in inspect.signature(each).parameters.values()} for each in [*found, *entries]}
    return [each for each in kinds if inspect.Parameter.VAR_KEYWORD not in kinds[each]]


@pytest.mark.parametrize("call", calls(), ids=lambda call: call.__name__)
def test_an_argument_that_is_not_there_is_refused_in_a_sentence(call: Callable[..., Any]) -> None:
    with pytest.raises(gn.UsageError, match=r"no argument nonsense; (it takes|did you mean) "):
        call(nonsense=1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: gn.SGD(lr=0.1), "SGD has no argument lr; did you mean learning_rate?"),
        (lambda: gn.Adam(0.1, beta=0.8), "Adam has no argument beta; did you mean beta1 or beta2?"),
        (lambda: gn.schedules.Cosine(0.1, warmpu=3), "Cosine has no argument warmpu; did you mean warmup?"),
        (lambda: gn.initializers.HeNormal(scale=2), "HeNormal has no argument scale; it takes none."),
        (lambda: gn.MLP([4, 2], activaton="tanh"), "MLP has no argument activaton; did you mean activation?"),
        (lambda: gn.MLP([4, 2], lr=1), "MLP has no argument lr; it takes sizes, activation, "),
        (lambda: gn.MLP.load("m", activation={}), "there is no argument activation; did you mean activations?"),
        (lambda: gn.Settings(hiden=3), "Settings has no argument hiden; did you mean hidden?"),
        (lambda: gn.Settings(learning_rate=3), "Settings has no argument learning_rate; did you mean lr?"),
        (lambda: gn.Dataset.from_arrays([[1.0]], [0], weigths=1), "no argument weigths; did you mean weights?"),
        (lambda: gn.load_dataset("wine", taget="x"), "there is no argument taget; did you mean target?"),
    ],
)
def test_what_was_meant_by_an_argument(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(gn.UsageError, match=re.escape(sentence)):
        call()


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


def test_nothing_is_wanted_of_the_system_that_windows_lacks(tmp_path: Path) -> None:
    program = """if True:
        import importlib, os, signal, sys
        from pathlib import Path
        for name in ("fcntl", "termios", "pwd", "grp", "resource"):
            sys.modules[name] = None
        for module, names in (
            (signal, "pthread_sigmask pthread_kill SIGKILL SIGHUP SIGUSR1 SIGALRM alarm setitimer"),
            (os, "fork register_at_fork sched_getaffinity geteuid getuid"),
        ):
            for name in names.split():
                if hasattr(module, name):
                    delattr(module, name)
        import gpunet as gn
        for name in ("gpunet", "gpunet.kernels", "gpunet.cli"):
            home = Path(importlib.import_module(name).__file__).parent
            for file in home.rglob("*.py"):
                inner = ".".join(file.relative_to(home).with_suffix("").parts)
                if not inner.startswith(("__main__", "sklearn")):  # one runs the program, one wants scikit-learn
                    importlib.import_module(f"{name}.{inner}".removesuffix(".__init__"))
        data = gn.load_dataset("mnist-5k")
        gn.train(gn.MLP([784, 4, 10]), data, iterations=5)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr

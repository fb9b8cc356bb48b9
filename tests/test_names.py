"""The public names: they are there, the stub lists them all, and importing them lazily keeps the import quick."""

from __future__ import annotations

import pickle
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

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

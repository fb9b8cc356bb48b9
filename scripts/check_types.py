"""What a user's type checkers say of every example and of the Python of the README and of each page: `mypy --strict`,
and pyright's standard rules, by basedpyright, which brings its own node.

    python scripts/check_types.py             both, side by side
    python scripts/check_types.py pyright     another checker, by its command

The package must be installed and not editable, for in a checkout its packages lie under other names. A page becomes one
script whose lines have the numbers that they have in the page.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Pages whose Python is no script: excerpts, held against the code by the tests, the examples as they are, signatures.
NO_SCRIPTS = ("how-it-works", "lessons", "reference")
MYPY = "--strict", "--disable-error-code", "import-untyped", "--follow-imports", "silent"
CHECKERS = (
    [sys.executable, "-m", "mypy", *MYPY],
    [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable],
)
#: pyright's strict rules find fault with what scikit-learn and onnxruntime leave without types.
PYRIGHT = {"typeCheckingMode": "standard"}


def script(page: Path) -> str:
    """The Python of a page, each line of it where it is, and nothing elsewhere."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line == "```python" or (inside and not fence)
    return "\n".join(lines).rstrip() + "\n"


def write(folder: Path) -> None:
    """All scripts, as `examples_01_perceptron.py`, `page_sklearn.py` and, what can be imported, `drawing.py`."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = script(page)
        if page.stem not in NO_SCRIPTS and text.strip():
            (folder / f"page_{re.sub(r'-', '_', page.stem)}.py").write_text(text, encoding="utf-8")
    for example in [*(ROOT / "examples").glob("*.py"), ROOT / "tests" / "typed_script.py"]:
        name = example.name if example.stem.isidentifier() else f"{example.parent.name}_{example.name}"
        (folder / name).write_text(example.read_text(encoding="utf-8"), "utf-8")


def main(arguments: list[str]) -> int:
    """Write the scripts to a folder of their own, and have them checked."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        (Path(name) / "pyrightconfig.json").write_text(json.dumps(PYRIGHT), encoding="utf-8")
        commands = [arguments] if arguments else CHECKERS
        checkers = [subprocess.Popen([*command, "."], cwd=name, stdout=subprocess.PIPE) for command in commands]
        for checker in checkers:
            sys.stdout.buffer.write(checker.communicate()[0])
        return max(abs(checker.returncode) for checker in checkers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

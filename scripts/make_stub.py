"""Writes gpunet/__init__.pyi, which tells type checkers the names that `gpunet/__init__.py` lists.

    python scripts/make_stub.py           write it
    python scripts/make_stub.py --check   exit with 1 if it is not up to date

A test calls `stub()` too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gpunet

FILE = Path(gpunet.__file__).with_suffix(".pyi")


def stub() -> str:
    """The text of the stub."""
    lines = ['"""The names of gpunet, for type checkers; written by scripts/make_stub.py from `__init__.py`."""', ""]
    for name, (module, original) in sorted(gpunet._HOMES.items(), key=lambda item: (item[1][0], item[0])):
        lines.append(f"from {module} import {original} as {name}")
    for name, home in gpunet._MODULES.items():
        package, _, module = home.rpartition(".")
        lines.append(f"from {package} import {module} as {name}")
    lines += ["from gpunet.version import __version__ as __version__", "", "__all__ = ["]
    lines += [f'    "{name}",' for name in sorted(gpunet.__all__)]
    return "\n".join([*lines, "]", ""])


def main(arguments: list[str]) -> int:
    """Write the file, or compare it."""
    if "--check" not in arguments:
        FILE.write_text(stub(), encoding="utf-8")
        return 0
    if FILE.read_text(encoding="utf-8") == stub():
        return 0
    print("gpunet/__init__.pyi is not up to date; run: python scripts/make_stub.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

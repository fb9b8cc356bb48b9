#!/usr/bin/env bash
# Runs the tests with the oldest version of each dependency that pyproject.toml allows, in an environment of its own.
# Usage: scripts/test_oldest.sh [PYTEST ARGUMENTS]; PYTHON names the interpreter, 3.10 or 3.11 (older NumPy has no others).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
export PATH=$work/venv/bin:$PATH
python -m pip install --quiet "tomli; python_version < '3.11'"
python - >"$work/oldest.txt" <<'END'
"""Every `name>=version` of the package and of its extra for the tests, as `name==version`."""
import re

try:
    import tomllib
except ImportError:
    import tomli as tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
inner = re.search(r"gpunet\[(.*)\]", " ".join(extras["test"]))[1].split(",")
for text in [*project["dependencies"], *(each for extra in ["test", *inner] for each in extras[extra])]:
    if (found := re.match(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", text)) and found[1] != "tomli":
        print(f"{found[1]}=={found[2]}")
END
cat "$work/oldest.txt"
python -m pip install --quiet --constraint "$work/oldest.txt" ".[test]"
# What the old ones still call in the newest of others is no fault of this package.
MPLBACKEND=Agg python -m pytest -W ignore::DeprecationWarning "$@"

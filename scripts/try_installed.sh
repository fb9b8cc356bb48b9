#!/usr/bin/env bash
# Trains, evaluates and predicts with an installed gpunet outside of the checkout, and imports every module of it.
# Usage: scripts/try_installed.sh BIN FOLDER, BIN with the environment's `python` and `gpunet`, FOLDER for what they write.
set -euo pipefail
bin=$1
mkdir -p "$2"
cd "$2"
unset PYTHONPATH
export MPLBACKEND=Agg

"$bin/python" - <<'END'
import importlib
import pkgutil
import sys
import sysconfig
from pathlib import Path

import gpunet

home = Path(gpunet.__file__).parent
assert Path(sysconfig.get_path("purelib")) in home.parents, f"{home} is not the installed package"
for module in pkgutil.walk_packages(gpunet.__path__, "gpunet.", onerror=lambda name: None):
    if module.name != "gpunet.__main__":
        try:
            importlib.import_module(module.name)
        except gpunet.errors.MissingExtra as error:
            print(f"{module.name}: {error}")
wings = sorted(name for name in sys.modules if name.startswith("gpunet.") and hasattr(sys.modules[name], "__path__"))
print("imported", *wings)
END

"$bin/gpunet" train --hidden 16 --iterations 200 --threads 1 --checkpoint-every 100 --out run --force
"$bin/gpunet" train --config run/config.json --out again --force -q
cmp run/model.safetensors again/model.safetensors
"$bin/gpunet" evaluate run --json >evaluation.json
"$bin/gpunet" plot run --terminal
"$bin/gpunet" show --count 2
"$bin/python" -c "import gpunet as gn, numpy; numpy.save('digits.npy', gn.load_dataset('mnist-5k').test.images[:3])"
"$bin/gpunet" predict run digits.npy
"$bin/gpunet" devices

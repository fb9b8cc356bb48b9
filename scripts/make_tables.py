"""Make the two bundled tables, wine and diabetes, from the copies that scikit-learn ships.

    python scripts/make_tables.py [--to FOLDER]      # needs scikit-learn

The files are the same, byte for byte, whenever they are made.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
from pathlib import Path

BUNDLED = Path(__file__).resolve().parents[1] / "gpunet" / "data" / "bundled"


def main() -> None:
    """Write the tables and print size and sha256 of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=BUNDLED, metavar="FOLDER")
    to = parser.parse_args().to
    from sklearn.datasets import load_diabetes, load_wine

    wine, diabetes = load_wine(), load_diabetes(scaled=False)
    kinds = [f"cultivar {number + 1}" for number in wine.target]
    tables = {
        "wine": (wine.feature_names, "cultivar", wine.data, kinds),
        "diabetes": (diabetes.feature_names, "progression", diabetes.data, [f"{v:g}" for v in diabetes.target]),
    }
    for name, (features, target, rows, targets) in tables.items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*features, target])
        writer.writerows([[*(f"{v:g}" for v in row), t] for row, t in zip(rows, targets, strict=True)])
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as file:
            file.write(text.getvalue().encode())
        path = to / name / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed.getvalue())
        unpacked = hashlib.sha256(text.getvalue().encode()).hexdigest()
        print(f"{path}: {len(packed.getvalue())} bytes, sha256 {hashlib.sha256(packed.getvalue()).hexdigest()}")
        print(f"    unpacked sha256 {unpacked}")


if __name__ == "__main__":
    main()

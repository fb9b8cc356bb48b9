"""Data that several processes of this machine train on and that lies in memory once: each maps the same file."""

from __future__ import annotations

import functools
import mmap
import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The arrays begin at multiples of so many bytes.
ALIGNED = 64


@dataclass(frozen=True)
class Shared:
    """What stands for an object whose arrays lie in a file.

    Attributes:
        path: of the file.
        rest: the object without its arrays, pickled.
        places: the first byte of each array and the one behind its last.
    """

    path: str
    rest: bytes
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, thing: Any, folder: str | Path) -> Shared:
        """Write the arrays of a data set, or of anything that holds arrays, to a new file in a folder.

        Raises:
            OSError: it cannot be written.
        """
        arrays: list[pickle.PickleBuffer] = []
        rest = pickle.dumps(thing, protocol=5, buffer_callback=arrays.append)
        places = []
        number, path = tempfile.mkstemp(dir=folder)
        with open(number, "wb") as file:
            file.write(bytes(ALIGNED))  # an empty file cannot be mapped
            for array in arrays:
                first = file.tell()
                places.append((first, first + file.write(array.raw())))
                file.write(bytes(-file.tell() % ALIGNED))
        return cls(path, rest, tuple(places))

    @property
    def folder(self) -> str:
        """Where the file is."""
        return os.path.dirname(self.path)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a worker runs one trial after the other on it
    def open(self) -> Any:
        """The object; its arrays are those of the file and cannot be written to."""
        with open(self.path, "rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return pickle.loads(self.rest, buffers=[content[slice(*place)] for place in self.places])

"""The curves of a training as CSV files that only ever grow, and can be cut back exactly.

`train.csv` and `valid.csv` hold nothing that depends on the clock, so that two equal trainings,
one of them killed and resumed, write equal bytes. Timings go to `speed.csv`.

A checkpoint remembers how long each file was and what its bytes hashed to. A resumed training
cuts the files back to that length; rows after it are written again by the steps that are repeated.
"""

import csv
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from scratchformer.checkpoints.disk import full_disk_as_error


class Extent(TypedDict):
    """The beginning of a file: how many bytes, and their SHA-256."""

    bytes: int
    sha256: str


class History:
    """The files `{name}.csv` of one folder, one a curve; first column `step`.

    Args:
        folder: is made when missing.
        columns: name of the file → columns after `step`.
    """

    def __init__(self, folder: Path, columns: Mapping[str, tuple[str, ...]]) -> None:
        self.folder = folder
        self._columns = dict(columns)
        self._hashes = {name: hashlib.sha256() for name in columns}
        self._bytes = dict.fromkeys(columns, 0)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.csv"

    def start(self) -> None:
        """Begin anew: empty files with their header."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, columns in self._columns.items():
            self.path(name).write_bytes(b"")
            self._hashes[name], self._bytes[name] = hashlib.sha256(), 0
            self._append(name, ",".join(("step", *columns)))

    def add(self, name: str, step: int, values: Mapping[str, float]) -> None:
        """Append one row; `values` must have exactly the columns of the file."""
        columns = self._columns[name]
        if set(values) != set(columns):
            raise ValueError(f"{name}.csv has columns {columns}, found {tuple(values)}")
        self._append(name, ",".join((str(step), *(_text(values[column]) for column in columns))))

    def extents(self) -> dict[str, Extent]:
        """What a checkpoint remembers; the files are on the disk when this returns."""
        for name in self._columns:
            with self.path(name).open("rb") as file:
                os.fsync(file.fileno())
        return {
            name: {"bytes": self._bytes[name], "sha256": self._hashes[name].hexdigest()}
            for name in self._columns
        }

    def damage(self, extents: Mapping[str, Extent]) -> str | None:
        """Why the files cannot be cut back to `extents`; None when they can."""
        for name in self._columns:
            path, extent = self.path(name), extents[name]
            if not path.is_file() or path.stat().st_size < extent["bytes"]:
                return f"{path.name} is shorter than {extent['bytes']} bytes"
            if hashlib.sha256(_head(path, extent)).hexdigest() != extent["sha256"]:
                return f"{path.name} has other bytes than when it was written"
        return None

    def cut(self, extents: Mapping[str, Extent]) -> None:
        """Forget everything after `extents` (which `damage` has found sound)."""
        for name in self._columns:
            os.truncate(self.path(name), extents[name]["bytes"])
            self._bytes[name] = extents[name]["bytes"]
            self._hashes[name] = hashlib.sha256(self.path(name).read_bytes())

    def _append(self, name: str, row: str) -> None:
        encoded = f"{row}\n".encode()
        path = self.path(name)
        with full_disk_as_error(path, len(encoded)), path.open("ab") as file:
            file.write(encoded)
        self._hashes[name].update(encoded)
        self._bytes[name] += len(encoded)


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of one curve, as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(file)]


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def _head(path: Path, extent: Extent) -> bytes:
    with path.open("rb") as file:
        return file.read(extent["bytes"])

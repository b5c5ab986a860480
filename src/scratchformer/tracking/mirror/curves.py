"""The curves of a training, read from the history files that it keeps beside MLflow.

The files are the record: they fill what a run in MLflow lacks, be it a few points that the writer
was killed with or all of them.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from scratchformer.base import layout
from scratchformer.base.mappings import curve_name

HISTORIES = {
    "train_scratch": layout.HISTORY / "scratch",
    "finetune": layout.HISTORY / "finetune",
}


def read_curves(folder: Path) -> Iterator[tuple[str, float, int]]:
    """(name, value, step) of every point of every `<curve>.csv`; names are `<curve>/<column>`."""
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                for column, value in row.items():
                    if value:
                        yield curve_name(path.stem, column), float(value), step

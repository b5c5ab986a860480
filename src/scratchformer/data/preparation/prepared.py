"""The prepared data: `data/prepared/<track>/{train,valid,test}.parquet` and `info.json`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json, write_json
from scratchformer.base.layout import PREPARED, SplitName, TrackName
from scratchformer.base.tasks import TaskName
from scratchformer.data.preparation.rows import BATCH_ROWS

SCHEMAS: dict[TaskName, pa.Schema] = {
    "seq2seq": pa.schema(
        [("id", pa.string()), ("source", pa.string()), ("targets", pa.list_(pa.string())),
         ("group", pa.string())]
    ),
    "classification": pa.schema(
        [("id", pa.string()), ("text", pa.string()), ("label", pa.string()), ("group", pa.string())]
    ),
}


@dataclass(frozen=True)
class Label:
    """A class. `description` is the words for it, which a zero-shot model is shown."""

    name: str
    description: str


@dataclass(frozen=True)
class Info:
    """What the rows are. The id of a label is its place in `labels`, sorted by name."""

    task: TaskName
    name: str
    description: str
    origin: str
    licence: str
    grouped: bool
    labels: tuple[Label, ...]
    counts: dict[str, int]

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))


def load_info(track: TrackName, root: Path = PREPARED) -> Info:
    """What the rows of a track are.

    Raises:
        DataError: the track has not been prepared.
    """
    values: dict[str, Any] = read_json(_existing(root / track / "info.json"))
    labels = tuple(Label(**label) for label in values.pop("labels"))
    return Info(labels=labels, **values)


def load_split(track: TrackName, split: SplitName, root: Path = PREPARED) -> pa.Table:
    """All rows of a split, in the order that `row` of the tokenized data counts."""
    return pq.read_table(_existing(root / track / f"{split}.parquet"))


def iterate_split(
    track: TrackName, split: SplitName, rows: int = BATCH_ROWS, root: Path = PREPARED
) -> Iterator[pa.RecordBatch]:
    """The same in batches, so that memory stays flat."""
    with pq.ParquetFile(_existing(root / track / f"{split}.parquet")) as file:
        yield from file.iter_batches(batch_size=rows)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} not found; make it with: dvc repro prepare")
    return path

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
from scratchformer.base.tasks import TASKS, TaskName
from scratchformer.data.preparation.parquet_batches import batches_of
from scratchformer.data.preparation.rows import BATCH_ROWS


def schema_of(name: TaskName) -> pa.Schema:
    """The columns of a split: `id`, `source`, `targets`, `group` or `id`, `text`, `text_pair`
    (null where rows have one text), `label`, `group`."""
    task = TASKS[name]
    target = pa.string() if task.labelled else pa.list_(pa.string())
    columns = [("id", pa.string()), (task.input_field, pa.string())]
    if task.pair_field is not None:
        columns.append((task.pair_field, pa.string()))
    return pa.schema([*columns, (task.answer_column, target), ("group", pa.string())])


SCHEMAS: dict[TaskName, pa.Schema] = {task.name: schema_of(task.name) for task in TASKS.values()}


@dataclass(frozen=True)
class Label:
    """A class. `description` is the words for it, which a zero-shot model is shown."""

    name: str
    description: str


@dataclass(frozen=True)
class Info:
    """What the rows are. The id of a label is its place in `labels`, sorted by name.

    Attributes:
        grouped: rows carry a group, which is in one split only.
        pairs: every row has a second text, in the column `text_pair`.
        counts: rows of each split.
    """

    task: TaskName
    name: str
    description: str
    origin: str
    licence: str
    grouped: bool
    labels: tuple[Label, ...]
    counts: dict[str, int]
    pairs: bool = False

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
        yield from batches_of(file, rows)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} not found; make it with: dvc repro prepare")
    return path

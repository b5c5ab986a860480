"""The tokenized data: `data/tokenized/<track>/{train,valid,test}.arrow` and `info.json`.

Arrow files are mapped into memory, not read: opening one is instant whatever its size.
"""

from typing import Any

import pyarrow as pa

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json
from scratchformer.base.layout import TOKENIZED, SplitName, TrackName
from scratchformer.base.tasks import TASKS, TaskName


def schema_of(task: TaskName, *, segments: bool = False) -> pa.Schema:
    """`row`, `source` (ids), `segments` (0 or 1 for each of them, where the model is told which
    text of a pair a token belongs to), and `label` (an id) or `target` (ids)."""
    ids = pa.list_(pa.int32())
    answer = ("label", pa.int32()) if TASKS[task].labelled else ("target", ids)
    segment_field = [("segments", pa.list_(pa.int8()))] if segments else []
    return pa.schema([("row", pa.int32()), ("source", ids), *segment_field, answer])


def open_split(track: TrackName, split: SplitName) -> pa.Table:
    """All records of a split, memory-mapped. `row` is the place of a record in the prepared split.

    Raises:
        DataError: the track has not been tokenized.
    """
    path = TOKENIZED / track / f"{split}.arrow"
    if not path.exists():
        raise DataError(f"{path} not found; make it with: dvc repro tokenize")
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def load_tokenized_info(track: TrackName) -> dict[str, Any]:
    """Task, sizes of the vocabularies and largest lengths.

    Raises:
        DataError: the track has not been tokenized.
    """
    path = TOKENIZED / track / "info.json"
    if not path.exists():
        raise DataError(f"{path} not found; make it with: dvc repro tokenize")
    values: dict[str, Any] = read_json(path)
    return values

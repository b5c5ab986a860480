"""The first look at rows, a chunk at a time, in whichever process it is done."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from scratchformer.base.tasks import TaskName
from scratchformer.data.preparation.contract import BrokenContract, check
from scratchformer.data.preparation.ledger import Entries, entries_of
from scratchformer.data.preparation.rows import BadRow, RawRow, Row

SPOOL = pa.schema(
    [("id", pa.string()), ("input", pa.string()), ("pair", pa.string()),
     ("targets", pa.list_(pa.string())), ("group", pa.string())]
)  # fmt: skip
"""The columns of good rows between the first pass and the second, whatever their task."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one split of a source.

    Attributes:
        given: place of the split in SPLITS.
    """

    given: int
    rows: Sequence[RawRow | BadRow]

    def __reduce__(self) -> tuple[Any, ...]:
        """For a worker: as columns, which costs a fifth of the time of rows one by one."""
        raw = [row for row in self.rows if isinstance(row, RawRow)]
        if len(raw) < len(self.rows) or not all(_alike(row, raw[0]) for row in raw):
            return Chunk, (self.given, self.rows)
        fields = list(raw[0].values)
        columns = [[row.values[field] for row in raw] for field in fields]
        lines = array("q", [row.line for row in raw])
        return _from_columns, (self.given, raw[0].file, fields, lines, columns)


def _alike(row: RawRow, other: RawRow) -> bool:
    """Whether both can stand in one table."""
    return row.file == other.file and row.values.keys() == other.values.keys()


def _from_columns(
    given: int, file: str, fields: list[str], lines: Sequence[int], columns: list[list[Any]]
) -> Chunk:
    rows = zip(lines, zip(*columns, strict=True), strict=True)
    return Chunk(
        given, [RawRow(dict(zip(fields, row, strict=True)), file, line) for line, row in rows]
    )


class Checked(NamedTuple):
    """A chunk after its check, good and bad rows each in their order."""

    given: int
    entries: Entries
    good: pa.RecordBatch  # in the columns of SPOOL
    bad: list[BadRow]


def check_chunk(chunk: Chunk, task: TaskName, seed: int, *, labelled: bool) -> Checked:
    """Check every row by the contract of the task."""
    good: list[Row] = []
    bad: list[BadRow] = []
    for raw in chunk.rows:
        if isinstance(raw, BadRow):
            bad.append(raw)
            continue
        try:
            good.append(check(raw, task))
        except BrokenContract as error:
            bad.append(BadRow(raw.file, raw.line, str(error)))
    entries, groups = entries_of(good, seed, labelled=labelled)
    columns = [
        [row.id for row in good],
        [row.inputs[0] for row in good],
        [row.inputs[1] if len(row.inputs) > 1 else None for row in good],
        [row.targets for row in good],
        groups,
    ]
    return Checked(chunk.given, entries, pa.record_batch(columns, schema=SPOOL), bad)

"""Columns of token ids in a memory-mapped Arrow table, read in place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scratchformer.text.inputs import Encoded

Ids = npt.NDArray[np.int64]


class TokenColumn:
    """A list column of integers: rows of ids behind one another, read in place.

    A column of an Arrow file comes in chunks, one a record batch. Each chunk is a view of the
    mapped file; joining them would copy the data into memory.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._values: list[npt.NDArray[Any]] = []
        self._starts: list[npt.NDArray[np.int32]] = []  # views of the mapped file as well
        lengths: list[npt.NDArray[np.int32]] = []
        for chunk in column.chunks:
            offsets = chunk.offsets.to_numpy(zero_copy_only=True)
            self._values.append(chunk.values.to_numpy(zero_copy_only=True))
            self._starts.append(offsets[:-1])
            lengths.append(np.diff(offsets))
        # int32: half the memory, and wide enough, because Arrow counts these tokens in 32 bits.
        self.lengths: npt.NDArray[Any] = (
            np.concatenate(lengths) if lengths else np.zeros(0, np.int32)
        )
        self._first_row = np.cumsum([0, *map(len, lengths)])

    def padded(self, records: Ids, pad_id: int) -> Ids:
        """[batch, longest] ids of these records, short ones filled up with `pad_id`."""
        lengths = self.lengths[records]
        block = np.full((len(records), int(lengths.max(initial=0))), pad_id, np.int64)
        inside = np.arange(block.shape[1]) < lengths[:, None]
        if len(self._values) == 1:
            block[inside] = _gather(self._values[0], self._starts[0][records], lengths)
            return block
        chunk_of = np.searchsorted(self._first_row, records, side="right") - 1
        for chunk in np.unique(chunk_of):
            here = chunk_of == chunk
            starts = self._starts[chunk][records[here] - self._first_row[chunk]]
            rows = np.zeros_like(inside)
            rows[here] = inside[here]
            block[rows] = _gather(self._values[chunk], starts, lengths[here])
        return block


@dataclass(frozen=True)
class InputColumns:
    """What a model reads of a tokenized split: `source`, and `segments` where it has them."""

    source: TokenColumn
    segments: TokenColumn | None

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        segments = "segments" in table.column_names
        return cls(
            TokenColumn(table.column("source")),
            TokenColumn(table.column("segments")) if segments else None,
        )

    @property
    def lengths(self) -> npt.NDArray[Any]:
        """[rows] tokens of each input, special tokens included."""
        return self.source.lengths


def input_table(encoded: Encoded) -> pa.Table:
    """Texts that were encoded just now, in the columns of a tokenized split."""
    columns = {"source": pa.array(encoded.ids, pa.list_(pa.int32()))}
    if encoded.segments is not None:
        columns["segments"] = pa.array(encoded.segments, pa.list_(pa.int8()))
    return pa.table(columns)


def longest_first(lengths: npt.NDArray[Any], batch_size: int) -> Iterator[Ids]:
    """Batches of rows of about the same length, so that they hold little padding. The longest are
    the first: a batch that is too large for the memory fails at once, and not after an hour."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _gather(
    values: npt.NDArray[Any], starts: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32]
) -> npt.NDArray[Any]:
    """values[s : s + l] of every row, one behind the other, without a loop over the rows."""
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - (ends - lengths), lengths)
    return values[shift + np.arange(len(shift))]

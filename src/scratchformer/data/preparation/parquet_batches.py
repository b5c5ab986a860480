"""A Parquet file in batches of rows, in flat memory."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def batches_of(
    file: pq.ParquetFile, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Batches of `rows` rows, the last one with the rest, wherever the row groups end.

    One row group after the other: `iter_batches` over all of them keeps what it has read of each
    until the end (2 MB for 9,000 pairs of sentences; pyarrow 25.0.1).

    Args:
        columns: None takes all.
    """
    waiting: list[pa.RecordBatch] = []
    count = 0
    for group in range(file.num_row_groups):
        for some in file.iter_batches(rows, row_groups=[group], columns=columns):
            waiting.append(some)
            count += len(some)
            while count >= rows:
                table = pa.Table.from_batches(waiting)
                yield _one(table.slice(0, rows))
                waiting = table.slice(rows).to_batches()
                count -= rows
    if count:
        yield _one(pa.Table.from_batches(waiting))


def _one(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch

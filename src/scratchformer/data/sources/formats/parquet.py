"""Parquet, and other Arrow tables, batch by batch. A target may be a list of references."""

import gzip
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.parquet_batches import batches_of
from scratchformer.data.preparation.rows import BATCH_ROWS, BadRow, RawRow
from scratchformer.data.sources.columns import demand_columns
from scratchformer.data.sources.formats.text_lines import is_gzip


def read(path: Path, columns: dict[str, str]) -> Iterator[RawRow | BadRow]:
    """Rows of a Parquet file; their "line" is the number of the row.

    Raises:
        DataError: the file is missing, is not Parquet, or lacks a column.
    """
    with _opened(path) as file:
        demand_columns(path.as_posix(), columns, file.schema_arrow.names)
        batches = batches_of(file, BATCH_ROWS, list(columns.values()))
        yield from rows_of(batches, columns, path.as_posix())


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and all columns of each row.

    Raises:
        DataError: the file is missing or is not Parquet.
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        for row in rows_of(batches_of(file, BATCH_ROWS), dict(zip(names, names, strict=True)), ""):
            yield row.line, dict(row.values)


def rows_of(
    batches: Iterable[pa.RecordBatch], columns: dict[str, str], place: str
) -> Iterator[RawRow]:
    """Raw rows of Arrow batches, numbered from 1."""
    number = 0
    for batch in batches:
        lists = [_values(batch[column]) for column in columns.values()]
        for values in zip(*lists, strict=True):
            number += 1
            yield RawRow(dict(zip(columns, values, strict=True)), place, number)


def _values(column: pa.Array) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
        return values
    except UnicodeDecodeError:
        # Arrow does not check text it reads. As in text files, the contract finds the bad rows.
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    """The Python value of an Arrow scalar; bytes that are not UTF-8 become lone surrogates."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if isinstance(scalar, pa.ListScalar):  # LargeList and FixedSizeList are kinds of it
            return [_value(item) for item in scalar.values]
        if isinstance(scalar, pa.DictionaryScalar):
            return _value(scalar.value)
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; the path is relative to {Path.cwd().name}/")
    try:
        with _seekable(path) as stream, pq.ParquetFile(stream) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not readable as Parquet: {reason}") from None


@contextmanager
def _seekable(path: Path) -> Iterator[IO[bytes]]:
    """The file, unpacked to a temporary one if it is gzipped: Parquet is read from its end."""
    if not is_gzip(path):
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as unpacked, gzip.open(path, "rb") as packed:
        shutil.copyfileobj(packed, unpacked)
        unpacked.seek(0)
        yield unpacked

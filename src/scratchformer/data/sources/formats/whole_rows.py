"""Rows of a file with all their columns, for `predict`, which writes them again as they were.

No row is passed over, because it would be missing in the output: a bad one raises DataError.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.rows import BadRow
from scratchformer.data.sources.formats.delimited import ragged, read_records
from scratchformer.data.sources.formats.jsonl import read_objects
from scratchformer.data.sources.formats.text_lines import TOO_LONG, read_lines

Found = TypeVar("Found")

TEXT = "text"  # the name of the only column of a file that is no table


class WholeRow(NamedTuple):
    """A row. Names may be empty or occur twice, so it is no mapping."""

    place: str  # file:line
    names: list[str]
    values: list[Any]  # one a name; text, and in JSON and Parquet anything


def delimited(path: Path, *, tabs: bool) -> Iterator[WholeRow]:
    """Rows of CSV or TSV, whose first line names the columns."""
    names: list[str] | None = None
    for found in read_records(path, tabs=tabs):
        line, fields = _good(found)
        if names is None:
            names = fields
        elif len(fields) != len(names):
            raise DataError(f"{path}:{line}: {ragged(fields, names)}")
        else:
            yield WholeRow(f"{path}:{line}", names, fields)


def objects(path: Path) -> Iterator[WholeRow]:
    """Objects of JSON lines."""
    for found in read_objects(path):
        number, values = _good(found)
        yield WholeRow(f"{path}:{number}", list(values), list(values.values()))


def parquet(path: Path) -> Iterator[WholeRow]:
    """Rows of Parquet."""
    from scratchformer.data.sources.formats.parquet import read_rows  # pyarrow loads slowly

    for number, values in read_rows(path):
        yield WholeRow(f"{path}:{number}", list(values), list(values.values()))


def lines(path: Path) -> Iterator[WholeRow]:
    """Lines of text, blank ones too, in the column `TEXT`."""
    for number, line in read_lines(path):
        if line is None:
            raise DataError(f"{path}:{number}: {TOO_LONG}")
        yield WholeRow(f"{path}:{number}", [TEXT], [line])


def _good(found: Found | BadRow) -> Found:
    if isinstance(found, BadRow):
        raise DataError(f"{found.file}:{found.line}: {found.reason}")
    return found

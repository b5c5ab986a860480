"""Rows of a file with all their columns, for `predict`, which writes them again as they were."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.rows import BadRow
from scratchformer.data.sources.delimited import ragged, read_records
from scratchformer.data.sources.formats import format_of
from scratchformer.data.sources.jsonl import read_objects
from scratchformer.data.sources.text_lines import TOO_LONG, read_lines

Found = TypeVar("Found")

TEXT = "text"  # the name of the only column of a file that is no table


class WholeRow(NamedTuple):
    """A row. Names may be empty or occur twice, so it is no mapping."""

    place: str  # file:line
    names: list[str]
    values: list[Any]  # one a name; text, and in JSON and Parquet anything


def read_whole_rows(path: Path) -> Iterator[WholeRow]:
    """All rows of a table with a header, or of a text file, whose lines are all rows.

    Raises:
        DataError: the file or one of its rows cannot be read. No row is passed over: it would be
            missing in the output.
    """
    match format_of(path.name):
        case "csv" | "tsv" as kind:
            yield from _delimited(path, tabs=kind == "tsv")
        case "jsonl":
            for found in read_objects(path):
                number, values = _good(found)
                yield WholeRow(f"{path}:{number}", list(values), list(values.values()))
        case "parquet":
            from scratchformer.data.sources.parquet import read_rows  # pyarrow loads slowly

            for number, values in read_rows(path):
                yield WholeRow(f"{path}:{number}", list(values), list(values.values()))
        case None:
            for number, line in read_lines(path):
                if line is None:
                    raise DataError(f"{path}:{number}: {TOO_LONG}")
                yield WholeRow(f"{path}:{number}", [TEXT], [line])
        case other:
            raise AssertionError(other)


def _delimited(path: Path, *, tabs: bool) -> Iterator[WholeRow]:
    names: list[str] | None = None
    for found in read_records(path, tabs=tabs):
        line, fields = _good(found)
        if names is None:
            names = fields
        elif len(fields) != len(names):
            raise DataError(f"{path}:{line}: {ragged(fields, names)}")
        else:
            yield WholeRow(f"{path}:{line}", names, fields)


def _good(found: Found | BadRow) -> Found:
    if isinstance(found, BadRow):
        raise DataError(f"{found.file}:{found.line}: {found.reason}")
    return found

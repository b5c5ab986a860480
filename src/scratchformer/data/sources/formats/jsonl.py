"""JSON lines: one object a line. A target may be a list of references."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.columns import demand_columns
from scratchformer.data.sources.formats.text_lines import TOO_LONG, read_lines


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]] | BadRow]:
    """Number and object of each line; blank lines are passed over.

    Raises:
        DataError: the file cannot be read as text.
    """
    place = path.as_posix()
    for number, line in read_lines(path):
        if line is None:
            yield BadRow(place, number, TOO_LONG)
            continue
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRow(place, number, f"not readable as JSON: {error}")
            continue
        if not isinstance(values, dict):
            yield BadRow(place, number, f"not a JSON object but {type(values).__name__}")
            continue
        yield number, values


def read(path: Path, columns: dict[str, str]) -> Iterator[RawRow | BadRow]:
    """Rows of a JSON-lines file.

    Raises:
        DataError: the file cannot be read as text, or its first object lacks a column.
    """
    place = path.as_posix()
    first = True
    for found in read_objects(path):
        if isinstance(found, BadRow):
            yield found
            continue
        number, values = found
        if first:
            demand_columns(place, columns, list(values))
            first = False
        yield RawRow({field: values.get(name) for field, name in columns.items()}, place, number)

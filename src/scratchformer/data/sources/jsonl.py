"""JSON lines: one object a line. A target may be a list of references."""

import json
from collections.abc import Iterator
from pathlib import Path

from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.columns import demand_columns
from scratchformer.data.sources.text_lines import TOO_LONG, read_lines


def read(path: Path, columns: dict[str, str]) -> Iterator[RawRow | BadRow]:
    """Rows of a JSON-lines file; blank lines are passed over.

    Raises:
        DataError: the file cannot be read as text, or its first object lacks a column.
    """
    place = path.as_posix()
    first = True
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
        if first:
            demand_columns(place, columns, list(values))
            first = False
        found = {field: values.get(column) for field, column in columns.items()}
        yield RawRow(found, place, number)

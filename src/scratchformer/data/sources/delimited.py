"""CSV, quoted as in RFC 4180, and TSV, where a quotation mark is a character like any other."""

import csv
from collections.abc import Iterator
from pathlib import Path

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.columns import demand_columns
from scratchformer.data.sources.text_lines import TOO_LONG, read_lines


class _Lines:
    """Hands lines to the CSV parser; remembers where a record began and what was skipped."""

    def __init__(self, path: Path) -> None:
        self._place = path.as_posix()
        self._lines = read_lines(path)
        self.first = 0  # line on which the present record begins; 0 between records
        self.skipped: list[BadRow] = []

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            if line is None:
                self.skipped.append(BadRow(self._place, number, TOO_LONG))
                continue
            self.first = self.first or number
            yield line + "\n"


def read(
    path: Path, columns: dict[str, str], *, tabs: bool, header: bool
) -> Iterator[RawRow | BadRow]:
    """Rows of a delimited file. Without a header, columns are named by position: "0", "1", …

    Raises:
        DataError: the file cannot be read as text, or lacks a column.
    """
    place = path.as_posix()
    lines = _Lines(path)
    records = _records(place, lines, tabs)
    names: list[str] | None = None
    positions: dict[str, int] = {}
    for line, record in records:
        yield from _drain(lines)
        if isinstance(record, BadRow):
            yield record
            continue
        if names is None:
            names = [name.strip() for name in record] if header else [
                str(position) for position in range(len(record))
            ]
            demand_columns(place, columns, names)
            if twice := [name for name in columns.values() if names.count(name) > 1]:
                raise DataError(f"{place}: the header names the column {twice[0]!r} twice")
            positions = {field: names.index(column) for field, column in columns.items()}
            if header:
                continue
        if len(record) != len(names):
            yield BadRow(
                place, line, f"{len(record)} fields where the first line has {len(names)}"
            )
            continue
        yield RawRow({field: record[i] for field, i in positions.items()}, place, line)
    yield from _drain(lines)


def _records(
    place: str, lines: _Lines, tabs: bool
) -> Iterator[tuple[int, list[str] | BadRow]]:
    """Parsed records with the line they begin on; blank lines are passed over."""
    reader = csv.reader(
        iter(lines),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    while True:
        lines.first = 0
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield lines.first, BadRow(place, lines.first, f"not readable as CSV: {error}")
            continue
        if record:
            yield lines.first, record


def _drain(lines: _Lines) -> Iterator[BadRow]:
    yield from lines.skipped
    lines.skipped.clear()

"""CSV, quoted as in RFC 4180, and TSV, where a quotation mark is a character like any other.

A quoted field may run over several lines. A quotation mark that someone forgot to close looks the
same at first, and would swallow all rows up to the next mark. So a record of several lines counts
only if nothing speaks against it: its quotes are closed and followed by a comma or the line's end,
it has as many fields as the header, and its lines are not rows in their own right. Else the line
with the open quote is a bad row, and reading goes on with the next line.
"""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.columns import demand_columns
from scratchformer.data.sources.formats.text_lines import TOO_LONG, read_lines

OPEN_QUOTE = (
    "a quotation mark opens this field and does not close it before a comma or the line's end; "
    "close it, and double the marks inside"
)
_ROW_SHARE = 0.9  # of the lines of a record: beyond it they are rows, and the quote is a mistake


class Record(NamedTuple):
    """The fields of one row and the line it begins on."""

    line: int
    fields: list[str]


class _Lines:
    """Hands lines to the CSV parser; takes back those that it should not have had."""

    def __init__(self, path: Path) -> None:
        self._place = path.as_posix()
        self._lines = read_lines(path)
        self._again: deque[tuple[int, str]] = deque()
        self.taken: list[tuple[int, str]] = []  # the lines of the present record
        self.skipped: list[BadRow] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        number, line = self._again.popleft() if self._again else self._fresh()
        self.taken.append((number, line))
        return line + "\n"

    def _fresh(self) -> tuple[int, str]:
        for number, line in self._lines:
            if line is not None:
                return number, line
            self.skipped.append(BadRow(self._place, number, TOO_LONG))
        raise StopIteration

    def give_back(self) -> None:
        """All lines of the present record but the first will be read again."""
        self._again.extendleft(reversed(self.taken[1:]))


def read_records(path: Path, *, tabs: bool) -> Iterator[Record | BadRow]:
    """The rows of a delimited file, its header included; blank lines are passed over.

    Raises:
        DataError: the file cannot be read as text.
    """
    lines, place = _Lines(path), path.as_posix()
    reader = csv.reader(
        lines,
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=True,
    )
    width = 0
    while True:
        lines.taken.clear()
        reason, fields = "", []
        try:
            fields = next(reader)
        except StopIteration:
            yield from lines.skipped
            return
        except csv.Error as error:
            reason = _reason(error)
        yield from lines.skipped
        lines.skipped.clear()
        line = lines.taken[0][0]
        if len(lines.taken) > 1 and (reason or _swallowed(lines.taken, len(fields), width)):
            lines.give_back()
            reason = OPEN_QUOTE
        if reason:
            yield BadRow(place, line, reason)
        elif fields:
            width = width or len(fields)
            yield Record(line, fields)


def read(
    path: Path, columns: dict[str, str], *, tabs: bool, header: bool
) -> Iterator[RawRow | BadRow]:
    """Rows of a delimited file. Without a header, columns are named by position: "0", "1", …

    Raises:
        DataError: the file cannot be read as text, or lacks a column.
    """
    place = path.as_posix()
    names: list[str] | None = None
    positions: dict[str, int] = {}
    for record in read_records(path, tabs=tabs):
        if isinstance(record, BadRow):
            if header and names is None:
                raise DataError(f"{place}:{record.line}: the header: {record.reason}")
            yield record
            continue
        line, fields = record
        if names is None:
            names = [name.strip() for name in fields] if header else [
                str(position) for position in range(len(fields))
            ]
            demand_columns(place, columns, names)
            if twice := [name for name in columns.values() if names.count(name) > 1]:
                raise DataError(f"{place}: the header names the column {twice[0]!r} twice")
            positions = {field: names.index(column) for field, column in columns.items()}
            if header:
                continue
        if len(fields) != len(names):
            yield BadRow(place, line, ragged(fields, names))
            continue
        yield RawRow({field: fields[i] for field, i in positions.items()}, place, line)


def ragged(fields: list[str], names: list[str]) -> str:
    """What is wrong with a row that has more or fewer fields than the first line."""
    return f"{len(fields)} fields where the first line has {len(names)}"


def _swallowed(taken: list[tuple[int, str]], fields: int, width: int) -> bool:
    """Whether a record of several lines is a forgotten quote and the rows after it."""
    if not width:  # the header itself, or the first row of a file without one
        return False
    if fields != width:
        return True
    rows = sum(_is_row(line.removeprefix('"'), width) for _, line in taken)
    return width > 1 and rows >= _ROW_SHARE * len(taken)


def _is_row(line: str, width: int) -> bool:
    """Whether a line alone is a row. After a comma of prose comes a blank, or nothing."""
    fields = line.split(",")
    return len(fields) == width and all(field and not field[0].isspace() for field in fields)


def _reason(error: csv.Error) -> str:
    text = str(error)
    if "field limit" in text:
        return f"a field has more than {csv.field_size_limit():,} characters"
    if "end of data" in text or "expected after" in text:
        return OPEN_QUOTE
    return f"not readable as CSV: {text}"

"""Cells of a CSV file that a spreadsheet shows and does not run.

A spreadsheet takes a cell that begins with = + - @, a tab or a carriage return for a formula, and a
formula can start programs and send data away (OWASP, "CSV Injection"). A row of data may hold such
a text. One apostrophe in front makes it text; reading takes it off again, so nothing is lost.
Parquet and JSON need none of this: no program computes what stands there.
"""

import re
from typing import TypeVar

Value = TypeVar("Value")

# Apostrophes of the text itself are counted in, or reading could not tell them from ours.
_RUNS = re.compile(r"'*[=+\-@\t\r]")


def inert(cell: Value) -> Value | str:
    """The cell as it is written; numbers stay numbers.

    >>> inert("=1+1"), inert("fine"), inert(-1.5)
    ("'=1+1", 'fine', -1.5)
    """
    return f"'{cell}" if isinstance(cell, str) and _RUNS.match(cell) else cell


def original(cell: str) -> str:
    """The text that `inert` was given.

    >>> original("'=1+1"), original("'tis fine")
    ('=1+1', "'tis fine")
    """
    return cell[1:] if cell.startswith("'") and _RUNS.match(cell) else cell

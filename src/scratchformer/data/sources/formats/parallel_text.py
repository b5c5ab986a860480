"""Parallel text: line N of one file is the translation of line N of the other."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.formats.text_lines import TOO_LONG, read_lines


def read(source: Path, target: Path) -> Iterator[RawRow | BadRow]:
    """Pairs of lines. A blank line is a bad row, never skipped: the files must stay in step.

    Raises:
        DataError: a file cannot be read as text, or one is longer than the other.
    """
    place, other = source.as_posix(), target.as_posix()
    for ours, theirs in zip_longest(read_lines(source), read_lines(target)):
        if ours is None or theirs is None:
            short, number = (source, theirs[0]) if ours is None else (target, ours[0])
            raise DataError(
                f"{short}: ends before line {number}; {source} and {target} must have equally "
                "many lines"
            )
        number = ours[0]
        if ours[1] is None or theirs[1] is None:
            yield BadRow(place if ours[1] is None else other, number, TOO_LONG)
        else:
            yield RawRow({"source": ours[1], "target": theirs[1]}, place, number)

"""`predict --shard 2/4`: the second of four parts of a file, on this machine or another one.

A part is a run of whole spans of eight batches, those that one run over the whole file would make
(batches.py). So the parts, one behind the other, have the bytes of that run:
`cat out.part-*-of-00004.csv > out.csv`. Only the first one has a header. A part under its name is
complete, because it is written whole or not at all: its name is the mark, and a worker that was
killed is started again for the missing ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from scratchformer.base.errors import ParamsError
from scratchformer.data.sources.formats.whole_rows import WholeRow


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> "Shard":
        """ "2/4". Raises ParamsError for anything else, and for 0/4 or 5/4."""
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            raise ParamsError(
                f"--shard {text!r}: expected the number of a part and of all parts, say 2/4"
            )
        return shard

    def path(self, target: Path) -> Path:
        """Where this part is written: out.csv.gz → out.part-00002-of-00004.csv.gz."""
        stem, dot, endings = target.name.partition(".")
        return target.with_name(f"{stem}.part-{self.number:05}-of-{self.count:05}{dot}{endings}")

    def cut(
        self, rows: Iterator[WholeRow], again: Iterator[WholeRow], span: int
    ) -> Iterator[WholeRow]:
        """The rows of this part, out of all rows, which are read `again` to count them.

        Args:
            span: rows that stay together.
        """
        spans = -(-sum(1 for _ in again) // span)
        # Rounded up, so that the first part, which has the header, is never empty.
        first, last = (-(-at * spans // self.count) for at in (self.number - 1, self.number))
        return islice(rows, first * span, last * span)


def demand_files(source: Path | None, target: Path | None) -> None:
    """Raises ParamsError: parts are of a file, and are files."""
    if source is None or target is None:
        raise ParamsError("--shard needs --input and --output")

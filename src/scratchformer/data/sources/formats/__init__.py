"""The formats of files: how a name tells one, who reads its rows, what can be piped or written.

All reading goes through this registry: `prepare` reads the columns that params.yaml names,
`predict` whole rows, which it writes again as they were.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scratchformer.base.registry import Registry
from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.formats import delimited, jsonl, whole_rows
from scratchformer.data.sources.formats.whole_rows import WholeRow

if TYPE_CHECKING:
    from scratchformer.params import FileFormat

Reader = Callable[[Path, dict[str, str]], Iterator[RawRow | BadRow]]


@dataclass(frozen=True)
class Format:
    """One format of files.

    Attributes:
        suffixes: what names end in, in small letters; `.gz` may follow.
        columns: makes the reader of named columns, for training. Its argument says whether the
            first line names the columns. None: rows do not come from one file of this format.
        whole: reads rows with all their columns, for `predict`; None: it cannot.
        piped: it can be read from its beginning to its end, as standard input is.
        uniform: all rows have the columns of the first.
        written: `predict` writes it.
    """

    suffixes: tuple[str, ...] = ()
    columns: Callable[[bool], Reader] | None = None
    whole: Callable[[Path], Iterator[WholeRow]] | None = None
    piped: bool = False
    uniform: bool = True
    written: bool = False


def _parquet(header: bool) -> Reader:
    from scratchformer.data.sources.formats import parquet  # pyarrow loads slowly

    return parquet.read


def _delimited(header: bool, *, tabs: bool) -> Reader:
    return partial(delimited.read, tabs=tabs, header=header)


FORMATS: Registry[Format] = Registry(
    "file format",
    {
        "csv": Format(
            (".csv",), partial(_delimited, tabs=False), partial(whole_rows.delimited, tabs=False),
            piped=True, written=True,
        ),
        "tsv": Format(
            (".tsv",), partial(_delimited, tabs=True), partial(whole_rows.delimited, tabs=True),
            piped=True, written=True,
        ),
        "jsonl": Format(
            (".jsonl", ".ndjson"), lambda header: jsonl.read, whole_rows.objects,
            piped=True, uniform=False, written=True,
        ),
        # The table of contents of a Parquet file stands at its end.
        "parquet": Format((".parquet",), _parquet, whole_rows.parquet),
        "parallel_text": Format(),  # two files, see `files.open_files`
        "text": Format(whole=whole_rows.lines, piped=True),
    },
)  # fmt: skip


def format_of(path: str) -> "FileFormat | None":
    """The format that a name ends in (`.csv`, `.CSV.gz`, …); None if it ends in no known one."""
    suffix = Path(path.lower().removesuffix(".gz")).suffix
    for name, each in FORMATS.items():
        if suffix in each.suffixes:
            return name  # type: ignore[return-value] # only those that training reads have endings
    return None

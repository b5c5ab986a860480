"""Telling the format of a file by its name. Apart from the readers, whose libraries load slowly."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scratchformer.params import FileFormat

_SUFFIXES: "dict[str, FileFormat]" = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet",
}


def format_of(path: str) -> "FileFormat | None":
    """The format that a name ends in (`.csv`, `.CSV.gz`, …); None if it ends in no known one."""
    return _SUFFIXES.get(Path(path.lower().removesuffix(".gz")).suffix)

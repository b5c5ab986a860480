"""The shapes a row takes on its way from a source to a prepared split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from scratchformer.base.layout import SplitName
from scratchformer.base.tasks import TaskName

BATCH_ROWS = 10_000
"""Rows that are handled together; the most of which the texts are in memory at once."""


class RawRow(NamedTuple):
    """What a source read: values by canonical name, not yet checked, and where they stood."""

    values: Mapping[str, Any]  # source and target, or text and label; perhaps id and group
    file: str
    line: int  # 1-based; the row number where a format has no lines


class BadRow(NamedTuple):
    """A row that is left out, for `reports/rejected.jsonl`."""

    file: str
    line: int
    reason: str


class Row(NamedTuple):
    """A row that keeps the contract."""

    id: str
    inputs: tuple[str, ...]  # the source; or the text and, in a data set of pairs, the second one
    targets: tuple[str, ...]  # the references; or the one label
    group: str | None


class SplitReader(Protocol):
    """Reads one split of a source from its beginning; may be called more than once."""

    def __call__(self) -> Iterator[RawRow | BadRow]: ...


@dataclass(frozen=True)
class Corpus:
    """An opened source. `splits` holds at least train; what is missing is cut from train."""

    name: str
    description: str
    origin: str
    licence: str
    task: TaskName
    splits: Mapping[SplitName, SplitReader]
    pairs: bool = False  # rows carry a second text
    grouped: bool = False  # rows carry a group that must stay in one split
    merge_references: bool = False  # rows of one source text become one row with several targets
    label_names: Mapping[str, str] = field(default_factory=dict)  # label → words that describe it
    notes: Mapping[str, Any] = field(default_factory=dict)  # what it left out, for data.json

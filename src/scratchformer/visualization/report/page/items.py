"""What a section of the report consists of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd
from matplotlib.figure import Figure

from scratchformer.base.errors import DataError
from scratchformer.visualization.analysis.inspection.attention import Attention
from scratchformer.visualization.analysis.predictions import UnavailableError


@dataclass(frozen=True)
class Picture:
    """A figure, the stem of its files, and a sentence on how to read it."""

    name: str
    title: str
    how: str
    figure: Figure
    row: str | None = None  # the text of the test row that it is about


@dataclass(frozen=True)
class Table:
    """Rows of text; columns named in `numbers` are set flush right."""

    title: str
    how: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Atlas:
    """Attention to walk through: pick an example, a head and a token, and see what it reads."""

    name: str
    title: str
    how: str
    examples: "Sequence[AtlasExample]"


@dataclass(frozen=True)
class AtlasExample:
    """One text under one model or several.

    Attributes:
        title: how the text is called.
        row: the whole text, where it is that of a test row.
        maps: kind of attention ("Encoder self-attention") → side ("before", "after") → maps.
    """

    title: str
    maps: Mapping[str, Mapping[str, Attention]]
    row: str | None = None


@dataclass(frozen=True)
class Explorer:
    """Rows to search, filter and sort.

    Attributes:
        rows: `outcome, text, label, before, after, score_before, score_after, gain`.
        sides: the names of the two systems.
        measure: what the scores are.
        labelled: answers are labels, of which there are few: they can be chosen.
    """

    name: str
    title: str
    how: str
    rows: pd.DataFrame
    sides: tuple[str, str]
    measure: str
    labelled: bool


@dataclass(frozen=True)
class Missing:
    """What cannot be shown, and why."""

    title: str
    reason: str


Shown = TypeVar("Shown")
Item = Picture | Table | Atlas | Explorer | Missing


@dataclass(frozen=True)
class Section:
    """A part of the report. `items` may be a generator: figures are drawn when they are saved."""

    key: str
    title: str
    intro: str
    items: Iterable[Item]


def or_missing(title: str, items: Iterable[Item]) -> Iterator[Item]:
    """`items` as far as they can be had; then `title` and the reason why there are no more."""
    try:
        yield from items
    except UnavailableError as reason:
        yield Missing(title, str(reason))


def each_or_missing(
    title: str, texts: Iterable[str], show: Callable[[str], Shown]
) -> tuple[list[Shown], list[Missing]]:
    """What `show` gives for each text, and the reasons for those that it cannot show."""
    shown: list[Shown] = []
    missing: list[Missing] = []
    for text in texts:
        try:
            shown.append(show(text))
        except (UnavailableError, DataError) as reason:
            missing.append(Missing(title, str(reason)))
    return shown, missing

"""Rows of an explorer as compact data for the page's program."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scratchformer.evaluation.measures.outcomes import OUTCOMES
from scratchformer.visualization.plots.labels import shorten
from scratchformer.visualization.report.page.items import Explorer

MAX_ROWS = 3000
_LONGEST = 160  # characters of a text


@dataclass(frozen=True)
class Look:
    """A place of the page that is about one row: an example of an atlas, or a picture."""

    row: str  # its text
    name: str  # of the item
    title: str  # of the link
    example: int | None = None


def explorer_data(
    explorer: Explorer, looks: Sequence[Look] = (), most: int = MAX_ROWS
) -> dict[str, Any]:
    """What `explorer.js` reads: columns of equal length; answers as places in `answers`.

    Of more than `most` rows those that moved most are kept, of each outcome its share, and all
    that the page shows more of: which rows they are is the same at every run.

    Args:
        looks: what else the page has of some rows; they are linked.
    """
    known = {look.row for look in looks}
    kept = kept_rows(explorer.rows, most)
    seen = explorer.rows[explorer.rows["text"].isin(known)]
    rows = pd.concat([kept, seen[~seen["id"].isin(kept["id"])]])
    links: dict[int, list[list[Any]]] = {}
    for number, text in enumerate(rows["text"]):
        found = [[look.name, look.title, look.example] for look in looks if look.row == text]
        if found:
            links[number] = found
    columns = {name: [_cut(text) for text in rows[name]] for name in ("label", "before", "after")}
    answers = sorted({text for column in columns.values() for text in column})
    place = {text: index for index, text in enumerate(answers)}
    return {
        "sides": list(explorer.sides),
        "measure": explorer.measure,
        "labelled": explorer.labelled,
        "outcomes": list(OUTCOMES),
        "total": len(explorer.rows),
        "answers": answers,
        "links": links,
        "text": [_cut(text) for text in rows["text"]],
        "outcome": [OUTCOMES.index(outcome) for outcome in rows["outcome"]],
        **{name: [place[text] for text in column] for name, column in columns.items()},
        "score_before": rows["score_before"].round(3).tolist(),
        "score_after": rows["score_after"].round(3).tolist(),
    }


def kept_rows(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most about `most` rows: of each outcome the same share, the largest changes first."""
    parts = []
    for outcome in OUTCOMES:
        part = rows[rows["outcome"] == outcome]
        order = part.assign(size=part["gain"].abs()).sort_values(
            ["size", "id"], ascending=[False, True]
        )
        share = min(1.0, most / max(len(rows), 1))
        parts.append(order.head(math.ceil(len(part) * share)))
    return pd.concat(parts)


def _cut(value: object) -> str:
    return shorten(str(value), _LONGEST)

"""Items that show where two systems differ, for either task."""

from collections.abc import Iterator

import pandas as pd

from scratchformer.base.layout import TrackName
from scratchformer.evaluation.measures.outcomes import OUTCOMES
from scratchformer.visualization.analysis.prediction_flips import most_changed
from scratchformer.visualization.plots.labels import shorten
from scratchformer.visualization.plots.prediction_flips import flip_arrows
from scratchformer.visualization.report.page.items import Explorer, Item, Missing, Picture, Table


def flip_items(
    track: TrackName,
    flips: pd.DataFrame,
    measure: str,
    sides: tuple[str, str],
    count: int,
    labelled: bool,
) -> Iterator[Item]:
    """The four outcomes in numbers, a figure and two tables of what moved most.

    Args:
        flips: as `analysis.prediction_flips.sequence_flips` makes them.
        measure: what the scores are.
        sides: the names of the two systems.
        count: rows shown in each direction.
        labelled: answers are labels.
    """
    first, second = sides
    totals = [int((flips["outcome"] == outcome).sum()) for outcome in OUTCOMES]
    meaning = (
        f"right only in: {second}", f"right only in: {first}", "right in both", "wrong in both",
    )  # fmt: skip
    yield Table(
        f"Rows that changed: {first} → {second}",
        "McNemar's test looks at the first two lines only: if the systems were equally good, both "
        "would be about equally frequent.",
        ["outcome", "meaning", "rows", "share"],
        [
            [outcome, text, f"{rows:,}", f"{rows / len(flips):.1%}"]
            for outcome, text, rows in zip(OUTCOMES, meaning, totals, strict=True)
        ],
        ["rows", "share"],
    )
    yield Explorer(
        f"{track}-explorer",
        "All rows, to search",
        f"Test rows with the answers of both systems; the scores are the {measure}. Search a text, "
        "filter by outcome, answer and length, sort by what you want to see first.",
        flips,
        sides,
        measure,
        labelled,
    )
    improved = most_changed(flips, "fixed", count)
    regressed = most_changed(flips, "broken", count)
    if len(improved) + len(regressed):
        yield Picture(
            f"{track}-prediction-flips",
            "Most improved and most regressed rows",
            f"Each arrow is one test row, from {first} to {second}, with its true answer in "
            "brackets. Above: wrong before and right after; below: the other way round.",
            flip_arrows(
                improved, regressed, f"{first} → {second}, {len(flips):,} test rows", measure, sides
            ),
        )
    for title, rows in (("Most improved rows", improved), ("Most regressed rows", regressed)):
        if rows.empty:
            yield Missing(title, "No row changed in this direction.")
            continue
        numbers = [f"{first}, score", f"{second}, score"]
        yield Table(
            title,
            f"The answers of both systems; the scores are the {measure}.",
            ["text", "true", first, second, *numbers],
            [
                [*(cut(row[key]) for key in ("text", "label", "before", "after")),
                 f"{row['score_before']:.2f}", f"{row['score_after']:.2f}"]
                for row in rows.to_dict("records")
            ],
            numbers,
        )  # fmt: skip


def cut(value: object) -> str:
    """A text for a cell of a table: long ones end in "…"."""
    return shorten(str(value), 300)

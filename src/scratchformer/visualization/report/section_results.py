"""Chapter: the numbers, with their intervals, controls and tests."""

from collections.abc import Iterator, Mapping
from typing import Any

from scratchformer.base.layout import TrackName
from scratchformer.visualization.analysis.results import (
    BETTER,
    METRICS,
    WITHOUT_BARS,
    difference_rows,
    method,
    scores_of_track,
    signatures,
)
from scratchformer.visualization.plots.scores import Score, score_bars
from scratchformer.visualization.report.page import Chapter, Item, Missing, Picture, Table

_TITLES: dict[TrackName, str] = {
    "scratch": "The from-scratch model on the test split",
    "finetune": "Before and after fine-tuning on the test split",
}


def results_chapter(metrics: Mapping[str, Any]) -> Chapter:
    """Bars and tables of every system in metrics.json."""
    return Chapter(
        "results",
        "Results",
        "Every system of a track answered the same test rows, which no training and no choice has "
        "seen. Grey bars are controls, the simple ways of doing the same. Ranges in brackets show "
        "how far a number would move with other test rows; they do not cover another seed.",
        _items(metrics),
    )


def _items(metrics: Mapping[str, Any]) -> Iterator[Item]:
    for track, title in _TITLES.items():
        node = metrics.get(track, {})
        scores = scores_of_track(track, node)
        if not scores:
            yield Missing(title, "reports/metrics.json holds no scores of this track.")
            continue
        how = f"{node['n']:,} test rows, {method(metrics, track)}"
        drawn = [score for score in scores if score.metric not in WITHOUT_BARS]
        yield Picture(
            f"{track}-scores",
            title,
            "The black line is the interval: systems whose lines overlap much may owe their order "
            "to the choice of test rows. The paired differences below are the sharper test.",
            score_bars(drawn, f"{title}\n{how}", BETTER),
        )
        yield _table(scores, f"{title}: all numbers", ". ".join([how, *signatures(node)]) + ".")
        differences = difference_rows(node)
        if differences:
            yield _differences(track, differences)


def _differences(track: TrackName, rows: list[list[str]]) -> Table:
    """The track's model against every other system; columns of tests only where there are any."""
    name = "from-scratch" if track == "scratch" else "fine-tuned"
    how = (
        "Differences on the same rows, resampled together: an interval without 0 is a difference "
        "that other test rows would very likely show too."
    )
    columns = ["compared with", "metric", "difference", "interval", "McNemar p", "permutation p"]
    if any(row[4] or row[5] for row in rows):
        how += (
            " McNemar's test looks at the rows that only one of the two got right; the "
            "permutation test does the same with groups kept together."
        )
    else:
        columns, rows = columns[:4], [row[:4] for row in rows]
    return Table(f"The {name} model minus each other system", how, columns, rows, columns[2:])


def _table(scores: list[Score], title: str, how: str) -> Table:
    """Systems down, metrics across."""
    present = {score.metric for score in scores}
    metrics = [name for name, _ in METRICS.values() if name in present]
    cells = {(score.system, score.metric): score.text() for score in scores}
    systems = list(dict.fromkeys(score.system for score in scores))
    return Table(
        title,
        how,
        ["system", *metrics],
        [[system, *(cells.get((system, metric), "") for metric in metrics)] for system in systems],
        metrics,
    )

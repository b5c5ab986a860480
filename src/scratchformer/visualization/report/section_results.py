"""Section: the numbers, with their intervals, controls and tests."""

from collections.abc import Iterator

from scratchformer.base.layout import TRACKS, TrackName
from scratchformer.base.measures import MEASURES
from scratchformer.evaluation.significance.paired_tests import p_value_text
from scratchformer.record.metrics import Metrics, TrackScores
from scratchformer.visualization.analysis.results import (
    Score,
    difference_rows,
    method,
    scores_of_track,
    signatures,
)
from scratchformer.visualization.plots.scores import score_bars
from scratchformer.visualization.report.page.items import Item, Missing, Picture, Section, Table

TITLES: dict[TrackName, str] = {
    "scratch": "The from-scratch model on the test split",
    "finetune": "Before and after fine-tuning on the test split",
}


def results_section(metrics: Metrics) -> Section:
    """Bars and tables of every system in metrics.json."""
    return Section(
        "results",
        "Results",
        "Every system of a track answered the same test rows, which no training and no choice has "
        "seen. Grey bars are controls, simple baselines for the same task. Ranges in brackets show "
        "how far a number would move with other test rows; they do not cover another seed.",
        _items(metrics),
    )


def _items(metrics: Metrics) -> Iterator[Item]:
    for name, title in TITLES.items():
        if name not in metrics.tracks:
            yield Missing(title, "reports/metrics.json holds no scores of this track.")
            continue
        track = metrics.tracks[name]
        scores = scores_of_track(track)
        how = f"{track.rows:,} test rows, {method(metrics, track)}"
        yield Picture(
            f"{name}-scores",
            title,
            "The black line is the interval: systems whose lines overlap much may owe their order "
            "to the choice of test rows. The paired differences below are the sharper test.",
            score_bars([score for score in scores if score.measure.as_bar], f"{title}\n{how}"),
        )
        yield _table(scores, f"{title}: all numbers", ". ".join([how, *signatures(track)]) + ".")
        rows = difference_rows(track, metrics.smallest_p)
        if rows:
            yield _differences(track, rows)


def _differences(track: TrackScores, rows: list[list[str]]) -> Table:
    """The track's model against every other system."""
    how = (
        "Differences on the same rows, resampled together: an interval without 0 is a difference "
        "that other test rows would very likely show too. p-values are of the permutation test, "
        "which swaps the two systems within groups of rows."
    )
    if track.mcnemar:
        how += f" McNemar's test of before and after: {p_value_text(track.mcnemar['p_value'])}."
    columns = ["compared with", "measure", "difference", "p-value"]
    title = f"{TRACKS[track.name].title}: the model minus each other system"
    return Table(title, how, columns, rows, columns[2:])


def _table(scores: list[Score], title: str, how: str) -> Table:
    """Systems down, measures across."""
    present = {score.measure.key for score in scores}
    titles = [measure.title for key, measure in MEASURES.items() if key in present]
    cells = {(score.system, score.measure.title): score.text() for score in scores}
    systems = list(dict.fromkeys(score.system for score in scores))
    return Table(
        title,
        how,
        ["system", *titles],
        [[system, *(cells.get((system, name), "") for name in titles)] for system in systems],
        titles,
    )

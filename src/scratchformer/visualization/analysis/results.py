"""The numbers of reports/metrics.json as scores of systems, in the order in which they are read."""

from collections.abc import Iterator
from dataclasses import dataclass

from scratchformer.base.measures import MEASURES, Measure, shown
from scratchformer.evaluation.significance.paired_tests import p_value_text
from scratchformer.record.metrics import Metrics, TrackScores
from scratchformer.record.systems import SYSTEMS, in_reading_order


@dataclass(frozen=True)
class Score:
    """One number of one system. `low` and `high` are null where no interval was computed."""

    system: str
    role: str  # before | after | control
    measure: Measure
    value: float
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """`37.9 % [36.8, 39.1]`"""
        return self.measure.text_with_ends(self.value, self.low, self.high)


def scores_of_track(track: TrackScores) -> list[Score]:
    """All scores of a track, from the weakest claim to its own model."""
    roles = {"before": "before", track.own.name: "after"}
    return [
        Score(
            SYSTEMS[system.name].title,
            roles.get(system.name, "control"),
            measure,
            system.scores[measure.key],
            *system.ends(measure.key),
        )
        for system in in_reading_order(track)
        for measure in shown(system.scores)
    ]


def difference_rows(track: TrackScores, smallest_p: float) -> list[list[str]]:
    """Paired differences of the track's model to every other system, as rows of a table: compared
    with, measure, difference with interval, p-value of the permutation test.

    Args:
        smallest_p: the smallest p-value that this number of resamples can give.
    """
    return [
        [
            SYSTEMS[system.name].title,
            MEASURES[key].title,
            MEASURES[key].difference_text(change.value, change.low, change.high),
            p_value_text(change.p_value, smallest_p).removeprefix("p = "),
        ]
        for system in in_reading_order(track)
        for key, change in track.differences.get(system.name, {}).items()
        if MEASURES[key].said_by not in track.differences[system.name]
    ]


def signatures(track: TrackScores) -> Iterator[str]:
    """What sacrebleu asks to be named beside its scores."""
    for key, value in track.own.notes.items():
        if key.endswith("_signature"):
            yield str(value)


def method(metrics: Metrics, track: TrackScores) -> str:
    """How the intervals of a track were made: "95% bootstrap intervals (2,000 resamples of …)"."""
    unit = f"{track.groups:,} groups" if track.grouped else "rows"
    return (
        f"{metrics.confidence:.0%} bootstrap intervals "
        f"({metrics.resamples:,} resamples of {unit})"
    )

"""The three numbers of the headline: the model, the best simple system, and their difference."""

from dataclasses import dataclass
from typing import Literal

from scratchformer.base.measures import MEASURES, Measure, shown
from scratchformer.record.metrics import Difference, SystemScores, TrackScores
from scratchformer.record.systems import SYSTEMS

Outcome = Literal["better", "worse", "unclear", "alone"]


@dataclass(frozen=True)
class Headline:
    """A track in the one measure that is read first.

    Attributes:
        rival: the control that is best in this measure; null if there is none.
        difference: model minus rival, on the same rows.
        before: the pretrained model, where the track has one.
        change: model minus `before`.
    """

    measure: Measure
    own: SystemScores
    rival: SystemScores | None
    difference: Difference | None
    before: SystemScores | None
    change: Difference | None

    @property
    def outcome(self) -> Outcome:
        """Whether the model is better than the best baseline; "unclear" where other test rows
        could turn the order around (the interval holds 0, or there is none)."""
        if self.rival is None:
            return "alone"
        return direction(self.measure, self.difference)


def direction(measure: Measure, difference: Difference | None) -> Outcome:
    """What a difference with its interval shows."""
    if difference is None or difference.low is None or difference.high is None:
        return "unclear"
    if difference.low <= 0 <= difference.high:
        return "unclear"
    return "better" if measure.better(difference.value, 0) else "worse"


def headline(track: TrackScores) -> Headline:
    """The numbers of a track that answer first."""
    own = track.own
    measure = shown(own.scores)[0]
    rivals = [
        system
        for name, system in track.systems.items()
        if SYSTEMS[name].control and measure.key in system.scores
    ]
    sign = 1 if measure.higher_is_better else -1
    rival = max(rivals, key=lambda each: sign * each.scores[measure.key], default=None)
    before = track.systems.get("before")
    return Headline(
        MEASURES[measure.key],
        own,
        rival,
        None if rival is None else track.differences.get(rival.name, {}).get(measure.key),
        before if before is not None and measure.key in before.scores else None,
        track.differences.get("before", {}).get(measure.key),
    )

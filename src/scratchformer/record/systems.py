"""What the systems of reports/metrics.json are called, and the order in which they are read."""

from collections.abc import Iterator
from dataclasses import dataclass

from scratchformer.base.measures import MEASURES
from scratchformer.base.registry import Registry
from scratchformer.record.metrics import SystemScores, TrackScores


@dataclass(frozen=True)
class System:
    """One way to solve a task.

    Attributes:
        title: as a person reads it.
        short: the same where there is little room.
        control: solves the task without training a Transformer for it.
    """

    title: str
    short: str
    control: bool = True


# From the weakest claim to the strongest: tables and panels keep this order.
SYSTEMS: Registry[System] = Registry(
    "system",
    {
        "copy": System("copy of the source", "copy"),
        "nearest": System("target of the most similar training row", "nearest row"),
        "igtree": System("letters by their context (IGTree)", "IGTree"),
        "majority": System("majority class", "majority"),
        "tfidf": System("TF-IDF + logistic regression", "TF-IDF"),
        "before": System("pretrained, before (zero-shot)", "before", control=False),
        "probe": System("pretrained, frozen + linear probe", "probe"),
        "scratch": System("Transformer from scratch", "from scratch", control=False),
        "after": System("pretrained, after fine-tuning", "after", control=False),
    },
)


def in_reading_order(track: TrackScores) -> Iterator[SystemScores]:
    """The systems of a track as tables list them, its own model last."""
    own = track.own.name
    names = [name for name in SYSTEMS if name in track.systems and name != own]
    yield from (track.systems[name] for name in [*names, own])


def leaders(track: TrackScores, measure: str) -> list[str]:
    """The controls that are better than the track's own model in a measure, in reading order."""
    own = track.own.scores.get(measure)
    return [
        each.name
        for each in in_reading_order(track)
        if own is not None
        and SYSTEMS[each.name].control
        and measure in each.scores
        and MEASURES[measure].better(each.scores[measure], own)
    ]

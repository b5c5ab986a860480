"""How a track of each task is evaluated."""

from collections.abc import Callable

from scratchformer.base.layout import TrackName
from scratchformer.base.registry import Registry
from scratchformer.data.preparation.prepared import Info, load_info
from scratchformer.evaluation.tracks.classification import evaluate_classification
from scratchformer.evaluation.tracks.report import Settings, TrackReport
from scratchformer.evaluation.tracks.seq2seq import evaluate_seq2seq

EVALUATIONS: Registry[Callable[[TrackName, Info, Settings], TrackReport]] = Registry(
    "task", {"seq2seq": evaluate_seq2seq, "classification": evaluate_classification}
)


def evaluate_track(track: TrackName, settings: Settings) -> TrackReport:
    """Score every system of a track on its test split."""
    info = load_info(track)
    return EVALUATIONS[info.task](track, info, settings)

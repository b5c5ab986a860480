"""How a track of each task is evaluated."""

from collections.abc import Callable

from scratchformer.base.layout import TrackName
from scratchformer.base.registry import Registry
from scratchformer.data.preparation.prepared import Info, load_info
from scratchformer.evaluation.tracks.classification import evaluate_classification
from scratchformer.evaluation.tracks.report import Settings, TrackReport
from scratchformer.evaluation.tracks.seq2seq import evaluate_seq2seq

EVALUATIONS: Registry[Callable[[TrackName, Info, Settings], Callable[[], TrackReport]]] = Registry(
    "task", {"seq2seq": evaluate_seq2seq, "classification": evaluate_classification}
)


def evaluate_track(track: TrackName, settings: Settings) -> Callable[[], TrackReport]:
    """Run the models of a track, which several processes share; returns what scores every system
    on the test split, without a model, which is for one of them."""
    info = load_info(track)
    return EVALUATIONS[info.task](track, info, settings)

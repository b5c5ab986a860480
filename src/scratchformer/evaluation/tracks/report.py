"""What the evaluation of a track hands to the stage, whatever its task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from scratchformer.base.layout import TRACKS, TrackName
from scratchformer.base.phases import phase
from scratchformer.evaluation.reports.comparison import Record
from scratchformer.evaluation.reports.scores import Scored, differences, scores, values
from scratchformer.evaluation.significance.resampling import Columns, Resampling
from scratchformer.params import Params, Pretrained
from scratchformer.record.calibration import Calibration


@dataclass(frozen=True)
class Settings:
    """What the evaluation of a track depends on, besides the data and the models.

    Attributes:
        beam_size: 1 is greedy.
        batch_size: rows decoded or classified together.
        prompts: of the zero-shot classifier.
        pretrained: which model it is that was fine-tuned.
    """

    resampling: Resampling
    beam_size: int
    batch_size: int
    prompts: Sequence[str]
    pretrained: Pretrained

    @classmethod
    def of(cls, params: Params) -> "Settings":
        chosen = params.evaluate
        return cls(
            Resampling(chosen.bootstrap_resamples, chosen.confidence, params.run.seed),
            chosen.beam_size,
            chosen.batch_size,
            chosen.prompts,
            params.pretrained,
        )

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.resampling.seed


@dataclass
class TrackReport:
    """Everything that is known of the systems of one track on the test split."""

    metrics: dict[str, Any]  # reports/metrics.json, below the name of the track
    predictions: dict[str, pa.Table]  # system → one row per test row
    tables: dict[str, list[Record]]  # name → what changed, in records
    warnings: list[str] = field(default_factory=list)
    calibration: Calibration | None = None  # of the track's own model, where it gives labels


@phase("intervals and tests")
def track_metrics(
    track: TrackName,
    systems: Mapping[str, Scored],
    groups: Sequence[str],
    resampling: Resampling,
    train: Columns,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """A track of reports/metrics.json, see `record.metrics`.

    Args:
        systems: the track's own model and all others.
        groups: the group of each test row.
        train: what the measures of the own model on some training rows are sums of.
        facts: `task`, and what else is said once.
    """
    own = TRACKS[track].system
    found = {
        name: {**scores(each.test, groups, resampling), **each.notes}
        for name, each in systems.items()
    }
    valid = {name: values(each.valid) for name, each in systems.items()}
    against = {
        name: differences(systems[own].test, each.test, groups, resampling)
        for name, each in systems.items()
        if name != own
    }
    delta = {"delta": against.pop("before")} if "before" in against else {}
    return {
        **facts,
        "n": len(groups),
        "groups": len(set(groups)),
        **_in_places(track, found),
        "valid": _in_places(track, valid),
        "train": {"rows": next(iter(train.values())).shape[0], **values(train)},
        **delta,
        "against": against,
    }


def _in_places(track: TrackName, systems: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The scores of a track where the file has them: its own directly or as before and after, the
    others as baselines."""
    own = TRACKS[track].system
    baselines = {k: each for k, each in systems.items() if k not in ("before", own)}
    if own == track:
        return {**systems[own], "baselines": baselines}
    return {"before": systems["before"], own: systems[own], "baselines": baselines}


def prediction_file(track: TrackName, system: str) -> str:
    """What the predictions of a system are called: the model that is named as its track is
    `model`, so that `scratch-model` is not `scratch-scratch`."""
    return "model" if system == track else system


def rounded(node: Any) -> Any:
    """Numbers to six decimals, p-values to six digits, everything else as it is."""
    if isinstance(node, Mapping):
        return {
            key: float(f"{value:.6g}") if key == "p_value" else rounded(value)
            for key, value in node.items()
        }
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [rounded(value) for value in node]
    return round(float(node), 6) if isinstance(node, float | np.floating) else node

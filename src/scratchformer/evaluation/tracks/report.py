"""What the evaluation of a track hands to the stage, and what both tracks have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scratchformer.base.layout import SplitName, TrackName
from scratchformer.data.preparation.prepared import Info, load_info, load_split
from scratchformer.evaluation.controls.linear import CONTROL_ROWS, label_shares, tfidf_regression
from scratchformer.evaluation.reports.classification import ClassificationTest, label_ids
from scratchformer.evaluation.reports.comparison import Record
from scratchformer.evaluation.significance.bootstrap import Resampling
from scratchformer.params import Params

Probabilities = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass
class TrackReport:
    """Everything that is known of the systems of one track on the test split."""

    metrics: dict[str, Any]  # reports/metrics.json, below the name of the track
    predictions: dict[str, pa.Table]  # system → one row per test row
    tables: dict[str, list[Record]]  # name → what changed, in records
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Controls:
    """The controls of a classification track: what they say, and what was chosen for them."""

    probabilities: dict[str, Probabilities]
    chosen: dict[str, dict[str, float]]
    warnings: list[str]


def resampling_of(params: Params, groups: list[str]) -> Resampling:
    settings = params.evaluate
    return Resampling(groups, settings.bootstrap_resamples, settings.confidence, params.run.seed)


def same_test_rows() -> bool:
    """Whether both tracks ask for the same answers to the same rows, so that one table may hold
    the systems of both."""
    task = load_info("scratch").task
    if task != load_info("finetune").task:
        return False
    columns = ["id", *(("text", "label") if task == "classification" else ("source", "targets"))]
    scratch = load_split("scratch", "test").select(columns)
    return bool(scratch.equals(load_split("finetune", "test").select(columns)))


def labelled_texts(track: TrackName, split: SplitName, info: Info) -> tuple[list[str], Ids]:
    """Texts and label ids of a prepared split, not of the test split."""
    table = load_split(track, split)
    names = [label.name for label in info.labels]
    return table.column("text").to_pylist(), label_ids(table.column("label").to_pylist(), names)


def classification_controls(
    track: TrackName, info: Info, test: ClassificationTest, seed: int
) -> Controls:
    """Majority class, and TF-IDF with logistic regression."""
    train, valid = (labelled_texts(track, split, info) for split in ("train", "valid"))
    shares = label_shares(train[1], len(test.texts), len(test.labels))
    kept = drawn(len(train[0]), CONTROL_ROWS, seed)
    warnings = []
    if len(kept) < len(train[0]):
        warnings.append(
            f"{track}: the TF-IDF control learned from {len(kept):,} of {len(train[0]):,} "
            "training rows, drawn at random"
        )
    texts = [train[0][row] for row in kept]
    tfidf = tfidf_regression((texts, train[1][kept]), valid, test.texts, len(test.labels))
    return Controls(
        {"majority": shares, "tfidf": tfidf.probabilities},
        {"tfidf": {"strength": tfidf.strength, "valid_accuracy": tfidf.valid_accuracy}},
        warnings,
    )


def drawn(rows: int, limit: int, seed: int) -> Ids:
    """At most `limit` of `rows` row numbers, drawn without replacement, in ascending order."""
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def in_brief(tests: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """Of the tests of two systems the difference in the one measure that is read first, and the
    p-value of the permutation of groups."""
    return {measure: tests["delta"][measure], "p_value": tests["permutation"]["p_value"]}


def right_rows(test: ClassificationTest, probabilities: Probabilities) -> NDArray[np.bool_]:
    """Whether the likeliest label is the right one, `[rows]`."""
    return np.asarray(probabilities.argmax(axis=1) == test.gold)


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

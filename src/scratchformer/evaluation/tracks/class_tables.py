"""What fine-tuning changed in a classifier, in examples and by kind of row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from scratchformer.evaluation.measures.calibration import reliability, reliability_records
from scratchformer.evaluation.measures.coverage import (
    TARGETS,
    at_threshold,
    coverage,
    threshold_for,
)
from scratchformer.evaluation.reports import comparison
from scratchformer.evaluation.reports.classification import LabelledRows, Probabilities
from scratchformer.evaluation.reports.comparison import Record
from scratchformer.evaluation.reports.near_duplicates import near_duplicates
from scratchformer.evaluation.reports.subgroup_deltas import length_buckets, subgroup_deltas
from scratchformer.evaluation.significance.paired_tests import mcnemar
from scratchformer.evaluation.significance.resampling import Resampling


def calibration_table(rows: LabelledRows, systems: Mapping[str, Probabilities]) -> list[Record]:
    """The reliability curve of each system."""
    return [
        record
        for name, each in systems.items()
        for record in reliability_records(reliability(each.max(axis=1), rows.right(each)), name)
    ]


def coverage_tables(
    valid: tuple[LabelledRows, Probabilities], test: tuple[LabelledRows, Probabilities]
) -> dict[str, list[Record]]:
    """Accuracy against the share of rows that are answered, by the track's own model: the curve on
    the test split, and what thresholds that were chosen on the validation split give there."""
    (of_valid, right_valid), (of_test, right_test) = (
        (said.max(axis=1), rows.right(said)) for rows, said in (valid, test)
    )
    chosen: list[Record] = []
    for target in TARGETS:
        threshold = threshold_for(target, of_valid, right_valid)
        if threshold is not None:
            seen = at_threshold(threshold, of_valid, right_valid)
            met = at_threshold(threshold, of_test, right_test)
            chosen.append({
                "target": target,
                "threshold": threshold,
                "valid_answered": seen.answered,
                "valid_accuracy": seen.accuracy,
                "test_answered": met.answered,
                "test_accuracy": met.accuracy,
            })
    curve = [asdict(point) for point in coverage(of_test, right_test)]
    return {"coverage": curve, "thresholds": chosen}


def change_tables(
    rows: LabelledRows,
    pair: Mapping[str, Probabilities],
    train_texts: Sequence[str],
    resampling: Resampling,
) -> tuple[dict[str, list[Record]], dict[str, Any]]:
    """The tables of `before` and `after`, and what metrics.json tells of them.

    Args:
        train_texts: among which near duplicates of test rows are looked for.
    """
    before, after = pair["before"], pair["after"]
    right = {name: rows.right(each) for name, each in pair.items()}
    bucket, names = length_buckets(rows.joined)
    duplicates = near_duplicates(train_texts, rows.ids, rows.joined)
    seen = {record["id"] for record in duplicates}

    def deltas(kind: Any, names: Sequence[str]) -> list[Record]:
        sides = right["before"], right["after"]
        return subgroup_deltas(kind, names, *sides, rows.groups, resampling)

    tables = {
        "changes": [
            {**record, "near_duplicate": record["id"] in seen}
            for record in comparison.changed_rows(rows, before, after)
        ],
        "confident-errors": comparison.confident_errors(rows, after),
        "confusions": comparison.confusion_pairs(rows, pair),
        "classes": comparison.class_table(rows, pair),
        "effect-by-class": deltas(rows.gold, rows.labels),
        "effect-by-length": deltas(bucket, names),
        "calibration": calibration_table(rows, pair),
        "near-duplicates": duplicates,
    }
    facts: dict[str, Any] = {"near_duplicates": _without(rows, right["after"], seen)}
    if len(set(rows.groups)) == len(rows.groups):  # McNemar's test takes rows for independent
        facts["mcnemar"] = mcnemar(right["after"], right["before"])
    return tables, facts


def _without(rows: LabelledRows, right: Any, seen: set[str]) -> dict[str, float]:
    """How many test rows stand nearly so in training, and the accuracy on all others."""
    others = np.array([row not in seen for row in rows.ids])
    found: dict[str, float] = {"rows": len(seen), "share": len(seen) / len(rows.ids)}
    if others.any():
        found["accuracy_without"] = float(right[others].mean())
    return found

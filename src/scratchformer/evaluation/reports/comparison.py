"""What changed between two systems over the same rows, as tables of plain records.

Every function gives a list of flat dictionaries with the same keys: ready for a CSV file, an MLflow
table or a figure. Rows are ordered by what a reader wants first, ties by `id`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from scratchformer.evaluation.measures.outcomes import outcome_of
from scratchformer.evaluation.reports.classification import LabelledRows, Probabilities

Record = dict[str, Any]


def changed_rows(
    rows: LabelledRows, before: Probabilities, after: Probabilities
) -> list[Record]:
    """Every row with its `outcome`: fixed, broken, still wrong, still right.

    `gain` is how much probability the right label won. Within an outcome the largest change comes
    first: most gained, and for broken rows most lost.
    """
    every = np.arange(len(rows.ids))
    truth_before, truth_after = before[every, rows.gold], after[every, rows.gold]
    label_before, label_after = before.argmax(axis=1), after.argmax(axis=1)
    records: list[Record] = [
        {
            "outcome": outcome_of(label_before[i] == rows.gold[i], label_after[i] == rows.gold[i]),
            "id": rows.ids[i],
            **rows.written(int(i)),
            "label": rows.labels[rows.gold[i]],
            "before": rows.labels[label_before[i]],
            "after": rows.labels[label_after[i]],
            "probability_before": rounded(truth_before[i]),
            "probability_after": rounded(truth_after[i]),
            "gain": rounded(truth_after[i] - truth_before[i]),
        }
        for i in every
    ]
    order = {"fixed": 0, "broken": 1, "still wrong": 2, "still right": 3}

    def key(record: Record) -> tuple[int, float, str]:
        sign = 1 if record["outcome"] == "broken" else -1
        return order[record["outcome"]], sign * record["gain"], record["id"]

    return sorted(records, key=key)


def confident_errors(rows: LabelledRows, probabilities: Probabilities) -> list[Record]:
    """The wrong rows of a system, the surest first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != rows.gold)
    return [
        {
            "id": rows.ids[i],
            **rows.written(int(i)),
            "label": rows.labels[rows.gold[i]],
            "prediction": rows.labels[predicted[i]],
            "confidence": rounded(confidence[i]),
        }
        for i in sorted(wrong, key=lambda i: (-confidence[i], rows.ids[i]))
    ]


def confusion_pairs(rows: LabelledRows, systems: Mapping[str, Probabilities]) -> list[Record]:
    """Which label is taken for which, how often under each system; the last system's most
    frequent first."""
    counts = {
        name: Counter(
            (int(gold), int(predicted))
            for gold, predicted in zip(rows.gold, probabilities.argmax(axis=1), strict=True)
            if gold != predicted
        )
        for name, probabilities in systems.items()
    }
    pairs = sorted(set().union(*counts.values()))
    last = list(counts.values())[-1]
    return [
        {
            "label": rows.labels[gold],
            "prediction": rows.labels[predicted],
            **{name: count[gold, predicted] for name, count in counts.items()},
        }
        for gold, predicted in sorted(pairs, key=lambda pair: (-last[pair], pair))
    ]


def class_table(rows: LabelledRows, systems: Mapping[str, Probabilities]) -> list[Record]:
    """Precision, recall and F1 of every label under every system, and its number of rows."""
    from sklearn.metrics import precision_recall_fscore_support

    ids = list(range(len(rows.labels)))
    records: list[Record] = [{"label": name} for name in rows.labels]
    for system, probabilities in systems.items():
        *scores, counts = precision_recall_fscore_support(
            rows.gold, probabilities.argmax(axis=1), labels=ids, zero_division=0.0
        )
        for label, record in enumerate(records):
            record["rows"] = int(counts[label])
            for name, values in zip(("precision", "recall", "f1"), scores, strict=True):
                record[f"{system}_{name}"] = rounded(values[label])
    return records


def rounded(value: float | None) -> float | None:
    """To six decimals, as tables are written."""
    return None if value is None else round(float(value), 6)

"""What changed between two systems over the same rows, as tables of plain records.

Every function gives a list of flat dictionaries with the same keys: ready for a CSV file, an MLflow
table or a figure. Rows are ordered by what a reader wants first, ties by `id`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from scratchformer.evaluation.reports.classification import ClassificationTest
from scratchformer.evaluation.reports.neighbours import nearest_rows
from scratchformer.evaluation.significance.bootstrap import (
    Floats,
    Resampling,
    Statistic,
    Sums,
    bootstrap,
)

Record = dict[str, Any]
Probabilities = NDArray[np.float32]

NEAR_DUPLICATE = 0.9  # similarity from which a training row is taken for the same text
_LENGTH_BUCKETS = 5


def changed_rows(
    test: ClassificationTest, before: Probabilities, after: Probabilities
) -> list[Record]:
    """Every row with its `outcome`: fixed, broken, still wrong, still right.

    `gain` is how much probability the right label won. Within an outcome the largest change comes
    first: most gained, and for broken rows most lost.
    """
    rows = np.arange(len(test.ids))
    truth_before, truth_after = before[rows, test.gold], after[rows, test.gold]
    said_before, said_after = before.argmax(axis=1), after.argmax(axis=1)
    records: list[Record] = [
        {
            "outcome": _outcome(said_before[i] == test.gold[i], said_after[i] == test.gold[i]),
            "id": test.ids[i],
            "text": test.texts[i],
            "label": test.labels[test.gold[i]],
            "before": test.labels[said_before[i]],
            "after": test.labels[said_after[i]],
            "probability_before": _rounded(truth_before[i]),
            "probability_after": _rounded(truth_after[i]),
            "gain": _rounded(truth_after[i] - truth_before[i]),
        }
        for i in rows
    ]
    order = {"fixed": 0, "broken": 1, "still wrong": 2, "still right": 3}

    def key(record: Record) -> tuple[int, float, str]:
        sign = 1 if record["outcome"] == "broken" else -1
        return order[record["outcome"]], sign * record["gain"], record["id"]

    return sorted(records, key=key)


def confident_errors(test: ClassificationTest, probabilities: Probabilities) -> list[Record]:
    """The wrong rows of a system, the surest first."""
    said, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != test.gold)
    return [
        {
            "id": test.ids[i],
            "text": test.texts[i],
            "label": test.labels[test.gold[i]],
            "prediction": test.labels[said[i]],
            "confidence": _rounded(confidence[i]),
        }
        for i in sorted(wrong, key=lambda i: (-confidence[i], test.ids[i]))
    ]


def confusion_pairs(test: ClassificationTest, systems: Mapping[str, Probabilities]) -> list[Record]:
    """Which label is taken for which, how often under each system; the last system's most
    frequent first."""
    counts = {
        name: Counter(
            (int(gold), int(said))
            for gold, said in zip(test.gold, probabilities.argmax(axis=1), strict=True)
            if gold != said
        )
        for name, probabilities in systems.items()
    }
    pairs = sorted(set().union(*counts.values()))
    last = list(counts.values())[-1]
    return [
        {
            "label": test.labels[gold],
            "prediction": test.labels[said],
            **{name: count[gold, said] for name, count in counts.items()},
        }
        for gold, said in sorted(pairs, key=lambda pair: (-last[pair], pair))
    ]


def class_table(test: ClassificationTest, systems: Mapping[str, Probabilities]) -> list[Record]:
    """Precision, recall and F1 of every label under every system, and its number of rows."""
    from sklearn.metrics import precision_recall_fscore_support

    ids = list(range(len(test.labels)))
    records: list[Record] = [{"label": name} for name in test.labels]
    for system, probabilities in systems.items():
        *scores, rows = precision_recall_fscore_support(
            test.gold, probabilities.argmax(axis=1), labels=ids, zero_division=0.0
        )
        for label, record in enumerate(records):
            record["rows"] = int(rows[label])
            for name, values in zip(("precision", "recall", "f1"), scores, strict=True):
                record[f"{system}_{name}"] = _rounded(values[label])
    return records


def effect_by(
    kind: ArrayLike,
    names: Sequence[str],
    before_right: ArrayLike,
    after_right: ArrayLike,
    resampling: Resampling,
) -> list[Record]:
    """Share of right rows before and after, for each kind of row, with a paired interval.

    Args:
        kind: `[rows]` places in `names`: label ids, or `length_buckets`.
        names: what the kinds are called; those without a row are left out.
        before_right, after_right: whether each system is right, `[rows]`.
    """
    kinds = np.asarray(kind, np.int64)
    place = (np.arange(len(kinds)), kinds)

    def of_kind(values: ArrayLike) -> sparse.csr_array:
        return sparse.csr_array(
            (np.asarray(values, np.float64), place), shape=(len(kinds), len(names))
        )

    before, after = np.asarray(before_right, float), np.asarray(after_right, float)
    present = np.unique(kinds)
    intervals = bootstrap(
        {"won": of_kind(after - before), "of_kind": of_kind(np.ones(len(kinds)))},
        {str(k): _won_share(int(k)) for k in present},
        resampling,
    )
    return [
        {
            "kind": names[k],
            "rows": int((kinds == k).sum()),
            "before": _rounded(before[kinds == k].mean()),
            "after": _rounded(after[kinds == k].mean()),
            "difference": _rounded(intervals[str(k)].value),
            "low": _rounded(intervals[str(k)].low),
            "high": _rounded(intervals[str(k)].high),
        }
        for k in present
    ]


def length_buckets(texts: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Texts by their number of words (characters, where most are single words), in up to five
    buckets of about equally many rows: the bucket of each text `[rows]`, and their names."""
    words = np.array([len(text.split()) for text in texts])
    unit, lengths = ("words", words)
    if np.median(words) <= 1:
        unit, lengths = ("characters", np.array([len(text) for text in texts]))
    shares = np.linspace(0, 1, _LENGTH_BUCKETS + 1)[1:-1]
    edges = np.unique(np.quantile(lengths, shares, method="lower"))
    bucket = np.searchsorted(edges, lengths, side="left")
    names = []
    for k in range(len(edges) + 1):
        inside = lengths[bucket == k]
        ends = sorted({int(inside.min()), int(inside.max())}) if len(inside) else []
        names.append(f"{'–'.join(map(str, ends))} {unit}")
    return bucket.astype(np.int64), names


def near_duplicates(
    train_texts: Sequence[str], ids: Sequence[str], texts: Sequence[str]
) -> list[Record]:
    """Test rows that stand almost word for word in training, the most similar first.

    Exact duplicates are kept out of the splits by `prepare`; these are the rest, which a reader
    of a good score wants to know about.
    """
    neighbours = nearest_rows(train_texts, texts)
    close = np.flatnonzero(neighbours.similarity >= NEAR_DUPLICATE).tolist()
    return [
        {
            "id": ids[i],
            "text": texts[i],
            "train_text": train_texts[neighbours.row[i]],
            "similarity": _rounded(neighbours.similarity[i]),
        }
        for i in sorted(close, key=lambda i: (-neighbours.similarity[i], ids[i]))
    ]


def _outcome(right_before: bool, right_after: bool) -> str:
    if right_after:
        return "still right" if right_before else "fixed"
    return "broken" if right_before else "still wrong"


def _won_share(kind: int) -> Statistic:
    def won_share(sums: Sums) -> Floats:
        return sums["won"][:, kind] / sums["of_kind"][:, kind]

    return won_share


def _rounded(value: float) -> float:
    return round(float(value), 6)

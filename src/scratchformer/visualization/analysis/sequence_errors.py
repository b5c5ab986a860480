"""Where a sequence model goes wrong: which tokens it confuses, and at which lengths."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from scratchformer.base.output_kind import split_units, unit_of

NOTHING = "∅"


def edits(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """The (reference token, predicted token) pairs that turn the nearest reference into the
    prediction; `NOTHING` stands for a token that was left out or put in.

    >>> edits(["B", "AA"], [["B", "AE", "T"]])
    [('AE', 'AA'), ('T', '∅')]
    """
    from rapidfuzz.distance import Levenshtein

    nearest = min(references, key=lambda reference: Levenshtein.distance(reference, predicted))
    pairs = []
    for operation in Levenshtein.editops(nearest, predicted):
        was = NOTHING if operation.tag == "insert" else nearest[operation.src_pos]
        became = NOTHING if operation.tag == "delete" else predicted[operation.dest_pos]
        pairs.append((was, became))
    return pairs


def count_edits(predictions: pd.DataFrame) -> Counter[tuple[str, str]]:
    """How often each edit is needed over all wrong rows.

    Args:
        predictions: the columns `prediction, references, exact` of reports/predictions.
    """
    unit = unit_of(predictions["references"].map(list).tolist())
    counts: Counter[tuple[str, str]] = Counter()
    wrong = predictions[~predictions["exact"]]
    for prediction, row in zip(wrong["prediction"], wrong["references"], strict=True):
        counts.update(
            edits(split_units(prediction, unit), [split_units(each, unit) for each in row])
        )
    return counts


def rates_by_length(predictions: pd.DataFrame, most: int = 12) -> pd.DataFrame:
    """Error rates by reference length in tokens: `length, rows, token_error, row_error`.

    Lengths are joined into at most `most` groups of about equally many rows.
    """
    groups = predictions["reference_length"]
    if groups.nunique() > most:
        groups = pd.qcut(groups, most, duplicates="drop")
    rows = []
    for _, part in predictions.groupby(groups, observed=True):
        low, high = part["reference_length"].min(), part["reference_length"].max()
        rows.append(
            {
                "length": f"{low}" if low == high else f"{low}–{high}",
                "rows": len(part),
                "token_error": part["distance"].sum() / max(part["reference_length"].sum(), 1),
                "row_error": 1 - part["exact"].mean(),
            }
        )
    return pd.DataFrame(rows)

"""Rows that one system gets right and another gets wrong, and the other way round: as frames."""

import pandas as pd

from scratchformer.evaluation.measures.outcomes import outcome_of


def sequence_flips(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Two prediction tables of the same rows, in the form that `evaluate` gives for classes:
    `outcome, id, text, label, before, after, score_before, score_after, gain`.

    `before` and `after` are the answers; the scores are the shares of tokens that are right,
    1 - edits / reference length (negative when there are more edits than tokens). `outcome` is
    one of `evaluation.measures.outcomes.OUTCOMES`.
    """
    both = before.merge(after, on="id", suffixes=("_before", "_after"), validate="one_to_one")
    changes = pd.DataFrame(
        {
            "id": both["id"],
            "text": both["source_after"],
            "label": [references[0] for references in both["references_after"]],
            "before": both["prediction_before"],
            "after": both["prediction_after"],
        }
    )
    for side in ("before", "after"):
        length = both[f"reference_length_{side}"].clip(lower=1)
        changes[f"score_{side}"] = 1 - both[f"distance_{side}"] / length
    changes["gain"] = changes["score_after"] - changes["score_before"]
    right = zip(both["exact_before"], both["exact_after"], strict=True)
    changes["outcome"] = [outcome_of(before, after) for before, after in right]
    return changes


def most_changed(changes: pd.DataFrame, outcome: str, count: int) -> pd.DataFrame:
    """The `count` rows of an outcome that moved most; ties go by `id`, never by chance."""
    chosen = changes[changes["outcome"] == outcome]
    order = chosen.sort_values(["gain", "id"], ascending=[outcome == "broken", True])
    return order.head(count)

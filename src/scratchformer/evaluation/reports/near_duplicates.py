"""Test rows that a model may have seen almost word for word in training."""

from collections.abc import Sequence

import numpy as np

from scratchformer.base.terminal import progress
from scratchformer.evaluation.controls.similarity import TrainingPieces
from scratchformer.evaluation.reports.comparison import Record, rounded

NEAR_DUPLICATE = 0.9  # similarity from which a training row is taken for the same text


def near_duplicates(
    train_texts: Sequence[str], ids: Sequence[str], texts: Sequence[str]
) -> list[Record]:
    """Test rows that stand almost word for word in training, the most similar first.

    Exact duplicates are kept out of the splits by `prepare`; these are the rest, which a reader
    of a good score wants to know about.
    """
    with progress("evaluate: looking for near duplicates", len(texts)) as bar:
        pieces = TrainingPieces.of(train_texts)
        neighbours = pieces.nearest_above(texts, NEAR_DUPLICATE, bar.advance)
    close = np.flatnonzero(neighbours.similarity).tolist()
    return [
        {
            "id": ids[i],
            "text": texts[i],
            "train_text": train_texts[neighbours.row[i]],
            "similarity": rounded(neighbours.similarity[i]),
        }
        for i in sorted(close, key=lambda i: (-neighbours.similarity[i], ids[i]))
    ]

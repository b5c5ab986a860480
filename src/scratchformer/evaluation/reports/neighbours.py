"""The training row that looks most like a test row, by the character pieces both share.

Used twice: as a control for sequence tasks (answer as that row does: a translation memory), and to
flag test rows that a model may have seen almost word for word in training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 256


class Neighbours(NamedTuple):
    """For each test row the most similar training `row`, and their `similarity`, 0 to 1; `[test]`.

    The similarity is the cosine of TF-IDF vectors over character 3- to 5-grams within words, so it
    is 1 for equal texts and for those that differ only in case, blanks or the order of words.
    """

    row: NDArray[np.int64]
    similarity: NDArray[np.float64]


def nearest_rows(train: Sequence[str], test: Sequence[str]) -> Neighbours:
    """Find the nearest training text of each test text; the first one wins a tie.

    Only texts that share a piece meet (an inverted index, as a sparse matrix product), a few
    hundred test rows at a time.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float64
    )
    pieces = vectorizer.fit_transform(train).T.tocsr()  # [pieces, train]
    row = np.zeros(len(test), np.int64)
    similarity = np.zeros(len(test))
    for start in range(0, len(test), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        shared = vectorizer.transform(test[part]) @ pieces  # [part, train]
        row[part] = np.asarray(shared.argmax(axis=1)).ravel()
        similarity[part] = shared.max(axis=1).toarray().ravel()
    return Neighbours(row, similarity.clip(max=1.0))

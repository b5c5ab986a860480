"""Which training text looks most like another text, by the character pieces both share.

Used twice: as a control for sequence tasks (predict what that row's target is: a translation
memory), and to flag test rows that a model may have seen almost word for word in training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

_ROWS_AT_ONCE = 256
_PAIRS_AT_ONCE = 100_000

Advance = Callable[[int], None]  # called with the number of texts done


class Neighbours(NamedTuple):
    """For each text the most similar training `row`, and their `similarity`, 0 to 1; `[texts]`.

    The similarity is the cosine of TF-IDF vectors over character 3- to 5-grams within words, so it
    is 1 for equal texts and for those that differ only in case, blanks or the order of words.
    """

    row: NDArray[np.int64]
    similarity: NDArray[np.float64]


@dataclass(frozen=True)
class TrainingPieces:
    """The training texts as unit vectors `[texts, pieces]`, computed once."""

    vectorizer: "TfidfVectorizer"
    vectors: sparse.csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str]) -> "TrainingPieces":
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32
        )
        return cls(vectorizer, vectorizer.fit_transform(texts).tocsr())

    def nearest(self, texts: Sequence[str], advance: Advance = lambda texts: None) -> Neighbours:
        """The nearest training text of each text; the first one wins a tie.

        Only texts that share a piece meet (an inverted index, as a sparse matrix product), a few
        hundred at a time.
        """
        index = self.vectors.T.tocsr()  # [pieces, training texts]
        row, similarity = np.zeros(len(texts), np.int64), np.zeros(len(texts))
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            shared = self.vectorizer.transform(texts[part]) @ index  # [part, training texts]
            row[part] = np.asarray(shared.argmax(axis=1)).ravel()
            similarity[part] = shared.max(axis=1).toarray().ravel()
            advance(len(texts[part]))
        return Neighbours(row, similarity.clip(max=1.0))

    def nearest_above(
        self, texts: Sequence[str], least: float, advance: Advance = lambda texts: None
    ) -> Neighbours:
        """The same where the similarity is at least `least`, and similarity 0 elsewhere.

        Much faster, and exact (prefix filtering, Chaudhuri et al. 2006, "A primitive operator for
        similarity joins"): of every text only the rarest pieces are looked at, so many that the
        others have a norm below `least`. Let two texts share a piece, and take the rarest that
        they share: if it is not among the looked-at pieces of both, all shared ones are among the
        others of one, and the cosine is below `least`. So only texts that meet there are compared.
        """
        from sklearn.preprocessing import normalize

        rarity = np.argsort(np.argsort(self.vectors.getnnz(axis=0), kind="stable"))
        index = _rarest(self.vectors, rarity, least).T.tocsr()
        row, similarity = np.zeros(len(texts), np.int64), np.zeros(len(texts))
        for start in range(0, len(texts), _ROWS_AT_ONCE):
            part = texts[start : start + _ROWS_AT_ONCE]
            vectors = normalize(self.vectorizer.transform(part)).tocsr()
            meets = (_rarest(vectors, rarity, least) @ index).tocoo()
            for some in range(0, meets.nnz, _PAIRS_AT_ONCE):
                one = meets.row[some : some + _PAIRS_AT_ONCE]
                other = meets.col[some : some + _PAIRS_AT_ONCE]
                cosine = vectors[one].multiply(self.vectors[other]).sum(axis=1)
                _keep_best(row, similarity, start + one, other, np.asarray(cosine).ravel())
            advance(len(part))
        far = similarity < least - 1e-6  # float32
        row[far], similarity[far] = 0, 0.0
        return Neighbours(row, similarity.clip(max=1.0))


def _rarest(
    vectors: sparse.csr_matrix, rarity: NDArray[np.int64], least: float
) -> sparse.csr_matrix:
    """Of each row the rarest pieces, as ones, so many that the rest has a norm below `least`."""
    kept = np.zeros(vectors.nnz, bool)
    for begin, end in zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True):
        order = np.argsort(rarity[vectors.indices[begin:end]])
        squares = vectors.data[begin:end][order].astype(np.float64) ** 2
        left = squares.sum() - np.cumsum(squares) + squares  # before each piece is taken
        kept[begin + order] = left > (least - 1e-6) ** 2
    count = np.r_[0, np.cumsum(kept)][vectors.indptr]
    ones = np.ones(int(kept.sum()), np.float32)
    return sparse.csr_matrix((ones, vectors.indices[kept], count), shape=vectors.shape)


def _keep_best(
    row: NDArray[np.int64],
    similarity: NDArray[np.float64],
    texts: NDArray[np.int64],
    candidates: NDArray[np.int64],
    cosine: NDArray[np.float64],
) -> None:
    """Update the nearest row of each text in place; the smallest row number wins a tie."""
    order = np.lexsort((candidates, -cosine, texts))
    first = order[np.r_[True, np.diff(texts[order]) != 0]]
    better = cosine[first] > similarity[texts[first]]
    places = texts[first][better]
    row[places], similarity[places] = candidates[first][better], cosine[first][better]

"""The controls of every table: what is reached without a Transformer.

| task | trivial | classical |
|---|---|---|
| classification | the shares of the labels in training | TF-IDF + logistic regression |
| sequence, words | the source itself | letters by their context (letter_context.py) |
| sequence, sentences | the source itself | the answer of the most similar training row |

All learn from the training split; the one setting that is chosen (the strength of the
regularisation) is chosen on the validation split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchformer.evaluation.controls.igtree import LetterContext
from scratchformer.evaluation.measures.edit_distance import Unit, split_units
from scratchformer.evaluation.reports.neighbours import nearest_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

CONTROL_ROWS = 50_000  # a logistic regression on more training rows than this takes too long
_INVERSE_STRENGTHS = (1.0, 10.0, 100.0)  # scikit-learn's C, tried in this order


@dataclass(frozen=True)
class Fitted:
    """What a fitted control says: `[rows, labels]` probabilities, and what was chosen on valid."""

    probabilities: Floats
    strength: float  # C: the inverse strength of the regularisation
    valid_accuracy: float


def label_shares(train_labels: Ids, rows: int, num_labels: int) -> Floats:
    """The shares of the labels in training as the probabilities of each of `rows` rows.

    Its prediction is the majority class everywhere; the smallest id wins a tie.
    """
    shares = np.bincount(train_labels, minlength=num_labels) / len(train_labels)
    return np.tile(shares.astype(np.float32), (rows, 1))


def tfidf_regression(
    train: tuple[Sequence[str], Ids],
    valid: tuple[Sequence[str], Ids],
    texts: Sequence[str],
    num_labels: int,
) -> Fitted:
    """TF-IDF of words and of character 3- to 5-grams, then logistic regression.

    Args:
        train: texts and label ids to learn from.
        valid: texts and label ids to choose the strength of the regularisation with.
        texts: what to classify.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+", dtype=np.float32)
    pieces = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2, dtype=np.float32
    )
    vectorizer = make_union(words, pieces)
    features = vectorizer.fit_transform(train[0])
    return regression(
        (features, train[1]),
        (vectorizer.transform(valid[0]), valid[1]),
        vectorizer.transform(texts),
        num_labels,
    )


def regression(
    train: "tuple[Floats | csr_matrix, Ids]",
    valid: "tuple[Floats | csr_matrix, Ids]",
    features: "Floats | csr_matrix",
    num_labels: int,
) -> Fitted:
    """Logistic regression on given features `[rows, features]`; with the vectors of a frozen
    encoder it is the linear probe (Alain and Bengio 2016, arXiv:1610.01644)."""
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, float, Any] | None = None
    for strength in _INVERSE_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(*train)
        accuracy = float(model.score(*valid))
        if best is None or accuracy > best[0]:
            best = (accuracy, strength, model)
    assert best is not None
    accuracy, strength, model = best
    probabilities = np.zeros((features.shape[0], num_labels), np.float32)
    probabilities[:, model.classes_] = model.predict_proba(features)
    return Fitted(probabilities, strength, accuracy)


def letters_by_context(
    train: tuple[Sequence[str], Sequence[Sequence[str]]], sources: Sequence[str], unit: Unit
) -> list[str]:
    """Answers of `LetterContext`, learned from training sources and all their references."""
    words, targets = [], []
    for source, references in zip(*train, strict=True):
        for reference in references:
            words.append(source)
            targets.append(split_units(reference, unit))
    joint = " " if unit == "blanks" else ""
    return [joint.join(units) for units in LetterContext.fit(words, targets).predict(sources)]


def nearest_answers(
    train: tuple[Sequence[str], Sequence[Sequence[str]]], sources: Sequence[str]
) -> list[str]:
    """The first reference of the most similar training source."""
    return [train[1][row][0] for row in nearest_rows(train[0], sources).row]

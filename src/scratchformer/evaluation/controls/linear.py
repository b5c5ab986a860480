"""Logistic regression, on TF-IDF or on the vectors of a frozen encoder.

All learn from the training split; the one setting that is chosen (C, the inverse strength of the
regularisation) is chosen on the validation split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scratchformer.evaluation.controls.left_out import CannotFitError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

_FIRST_C = (1.0, 10.0, 100.0)
_STEP = 10.0
_LIMITS = (1e-4, 1e4)
_WEIGHTS = 20_000_000  # of the regression on TF-IDF: with more labels fewer pieces are counted


@dataclass(frozen=True)
class Fitted:
    """What a regression says: `[rows, labels]` probabilities, and what was chosen on valid.

    Attributes:
        C: inverse strength of the regularisation.
        at_edge: accuracy still rose at the last C that was tried.
        tried: accuracy on the validation split for each C.
    """

    valid: Floats
    test: Floats
    C: float
    at_edge: bool
    tried: dict[float, float]


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
        valid: texts and label ids to choose C with.
        texts: what to classify.

    Raises:
        CannotFitError: the texts hold nothing that can be counted, or one label only.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    pieces = max(1, _WEIGHTS // num_labels // 2)
    shared = {"sublinear_tf": True, "dtype": np.float32, "max_features": pieces}
    vectorizer = make_union(
        TfidfVectorizer(token_pattern=r"\S+", **shared),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, **shared),
    )
    try:
        features = vectorizer.fit_transform(train[0])
    except ValueError as error:  # "empty vocabulary", "no terms remain"
        raise CannotFitError(f"the training texts share no piece ({error})") from None
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
    encoder it is the linear probe (Alain and Bengio 2016, arXiv:1610.01644).

    C is the one with the best accuracy on the validation split, of equal ones that with the lowest
    loss. The search goes on beyond an end of its grid as long as the best is found there.

    Raises:
        CannotFitError: the training rows have one label only.
    """
    if len(np.unique(train[1])) < 2:
        raise CannotFitError("the training rows have one label only")
    tried: dict[float, tuple[float, float, Any]] = {}
    for c in _FIRST_C:
        tried[c] = _fit(c, train, valid)
    while (further := _beyond(tried)) is not None:
        tried[further] = _fit(further, train, valid)
    best = _best(tried)
    model = tried[best][2]
    return Fitted(
        _probabilities(model, valid[0], num_labels),
        _probabilities(model, features, num_labels),
        best,
        _still_rises(tried),
        {c: tried[c][0] for c in sorted(tried)},
    )


def _fit(
    c: float, train: "tuple[Any, Ids]", valid: "tuple[Any, Ids]"
) -> tuple[float, float, Any]:
    """Accuracy and likelihood (the negative loss) on the validation split, and the model."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=1000).fit(*train)
    scores = np.log(np.maximum(model.predict_proba(valid[0]), 1e-12))
    known = np.isin(valid[1], model.classes_)
    place = np.searchsorted(model.classes_, valid[1][known])
    likelihood = float(scores[known, place].mean()) if known.any() else 0.0
    return float(model.score(*valid)), likelihood, model


def _best(tried: dict[float, tuple[float, float, Any]]) -> float:
    """The C with the best accuracy, then the best likelihood; the smallest one wins a tie."""
    return max(sorted(tried), key=lambda c: tried[c][:2])


def _beyond(tried: dict[float, tuple[float, float, Any]]) -> float | None:
    """The next C to try: one step beyond an end that is the best; None if the best is inside, or
    the next one is beyond the limits."""
    grid, best = sorted(tried), _best(tried)
    further = {grid[0]: best / _STEP, grid[-1]: best * _STEP}.get(best)
    return further if further is not None and _LIMITS[0] <= further <= _LIMITS[1] else None


def _still_rises(tried: dict[float, tuple[float, float, Any]]) -> bool:
    """The best C is the last one on its side, and more accurate than the one before."""
    grid, best = sorted(tried), _best(tried)
    before = {grid[0]: grid[1], grid[-1]: grid[-2]}.get(best)
    return before is not None and tried[best][0] > tried[before][0]


def _probabilities(model: Any, features: Any, num_labels: int) -> Floats:
    probabilities = np.zeros((features.shape[0], num_labels), np.float32)
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities

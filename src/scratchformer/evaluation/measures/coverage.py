"""What a classifier gains by not answering where it is unsure (Geifman and El-Yaniv 2017,
arXiv:1705.08500, section 2: selective risk and coverage)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

POINTS = 100  # of a curve, at most
TARGETS = (0.8, 0.9, 0.95)  # accuracies that thresholds are chosen for


@dataclass(frozen=True)
class CoveragePoint:
    """Of the rows of at least this probability: their share of all, and how many are right."""

    threshold: float
    answered: float
    accuracy: float


def coverage(confidence: ArrayLike, right: ArrayLike, points: int = POINTS) -> list[CoveragePoint]:
    """The curve from few, sure answers to all rows.

    Args:
        confidence: probability of the predicted label, `[rows]`.
        right: whether the prediction is right, `[rows]`.
    """
    claimed, accuracy = _sorted(confidence, right)
    rows = len(claimed)
    counts = np.linspace(max(1, rows / points), rows, min(points, rows)).round().astype(int)
    return [
        CoveragePoint(float(claimed[count - 1]), int(count) / rows, float(accuracy[count - 1]))
        for count in np.unique(counts)
    ]


def threshold_for(target: float, confidence: ArrayLike, right: ArrayLike) -> float | None:
    """The smallest threshold at which the answered rows are right with this accuracy; None if
    there is none. Rows of equal probability are answered together or not at all."""
    claimed, accuracy = _sorted(confidence, right)
    last_of_its_kind = np.append(claimed[1:] < claimed[:-1], True)
    good = np.flatnonzero((accuracy >= target) & last_of_its_kind)
    return float(claimed[good[-1]]) if len(good) else None


def at_threshold(threshold: float, confidence: ArrayLike, right: ArrayLike) -> CoveragePoint:
    """What a threshold that was chosen elsewhere gives on these rows."""
    answered = np.asarray(confidence, float) >= threshold
    accuracy = float(np.asarray(right, float)[answered].mean()) if answered.any() else 0.0
    return CoveragePoint(threshold, float(answered.mean()), accuracy)


def _sorted(
    confidence: ArrayLike, right: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidences from the surest row on, and the accuracy up to each row."""
    claimed, true = np.asarray(confidence, float), np.asarray(right, float)
    order = np.argsort(-claimed, kind="stable")
    return claimed[order], np.cumsum(true[order]) / np.arange(1, len(order) + 1)

"""Does a system that says "80 % sure" get 80 % right?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose confidence lies in (low, high]: what was claimed and what came true."""

    low: float
    high: float
    rows: int
    confidence: float  # mean, as claimed
    accuracy: float  # as found


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """Rows by confidence in bins of equal width; empty bins are left out.

    Args:
        confidence: probability of the predicted label, `[rows]`, 0 to 1.
        right: whether the prediction is right, `[rows]`.
    """
    claimed, true = np.asarray(confidence, float), np.asarray(right, float)
    edges, place = np.linspace(0, 1, bins + 1), bin_of(confidence, bins)
    rows = np.bincount(place, minlength=bins)
    claimed_sum = np.bincount(place, claimed, minlength=bins)
    true_sum = np.bincount(place, true, minlength=bins)
    return [
        ReliabilityBin(
            float(edges[k]),
            float(edges[k + 1]),
            int(rows[k]),
            float(claimed_sum[k] / rows[k]),
            float(true_sum[k] / rows[k]),
        )
        for k in np.flatnonzero(rows)
    ]


def bin_of(confidence: ArrayLike, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each row, `[rows]`: bin k holds (k / bins, (k + 1) / bins]; the first also 0."""
    edges = np.linspace(0, 1, bins + 1)
    claimed = np.asarray(confidence, float)
    return np.clip(np.searchsorted(edges, claimed, side="left") - 1, 0, bins - 1)


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """Mean distance between claim and truth, weighted by rows (Guo et al. 2017,
    arXiv:1706.04599, equation 3). 0 is perfect; it is biased upwards on few rows."""
    rows = sum(each.rows for each in bins)
    return sum(each.rows * abs(each.accuracy - each.confidence) for each in bins) / rows


def reliability_records(bins: list[ReliabilityBin], system: str) -> list[dict[str, Any]]:
    """The curve as plain records, for a table."""
    return [{"system": system, **asdict(each)} for each in bins]

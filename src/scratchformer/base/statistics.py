"""Numbers that are functions of sums over rows: the same code for a value and for its bootstrap.

Every function takes named sums, each `[draws]` or `[draws, k]`, and gives `[draws]`. A value is the
case of one draw; `evaluation/significance` gives them the sums of thousands of drawn test sets.
A division 0 / 0 gives nan: of such a draw the number is not defined.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Sums = Mapping[str, Floats]
Statistic = Callable[[Sums], Floats]

_CHRF_BETA = 2  # recall counts twice as much as precision (Popović 2016, chrF2)
_LARGEST_LOG = 700.0  # exp(710) is no longer a float


def ratio(numerator: str, denominator: str) -> Statistic:
    """One sum divided by another."""
    return lambda sums: sums[numerator] / sums[denominator]


def error_rate(exact: str) -> Statistic:
    """Share of the rows that are not exact."""
    return lambda sums: 1 - sums[exact] / sums["rows"]


def perplexity(sums: Sums) -> Floats:
    """exp of the nats per token; finite even for a hopeless model."""
    return np.asarray(np.exp((sums["nll"] / sums["items"]).clip(max=_LARGEST_LOG)))


def macro_f1(sums: Sums) -> Floats:
    """Mean F1 of the labels that occur among the references or the predictions.

    F1 of a label is 2·hits / (predicted + gold). A label that is neither has no F1 and is left
    out; one that is only predicted counts 0. This is scikit-learn's rule, and the only one here.

    Args:
        sums: `predicted`, `gold` and `hits`, each `[draws, labels]`.
    """
    occurs = sums["predicted"] + sums["gold"]
    f1 = _divide(2 * sums["hits"], occurs, otherwise=0.0)
    labels = (occurs > 0).sum(axis=-1)
    total = f1.sum(axis=-1)
    return _divide(total, labels, otherwise=np.nan)


def macro_f1_of(predicted: ArrayLike, gold: ArrayLike, labels: int) -> float:
    """The same from label ids, one prediction and one gold label a row."""
    said, true = np.asarray(predicted, np.int64), np.asarray(gold, np.int64)
    counts = {"predicted": said, "gold": true, "hits": true[said == true]}
    return float(macro_f1({k: _counts(ids, labels) for k, ids in counts.items()})[0])


def calibration_error(sums: Sums) -> Floats:
    """Expected calibration error: Σ over bins |right - claimed| / rows (Guo et al. 2017,
    arXiv:1706.04599, equation 3).

    Args:
        sums: `claimed` (summed confidence) and `claimed_right`, each `[draws, bins]`; `rows`.
    """
    return np.asarray(
        np.abs(sums["claimed_right"] - sums["claimed"]).sum(axis=-1) / sums["rows"]
    )


def bleu(sums: Sums) -> Floats:
    """Corpus BLEU, 0 to 100 (Papineni et al. 2002), with sacrebleu's "exp" smoothing: the k-th
    order without a match counts as 1 / 2^k matches.

    Args:
        sums: `bleu_matches` and `bleu_total` `[draws, orders]`; `bleu_hypothesis` and
            `bleu_reference`, the lengths `[draws]`.
    """
    matches, total = sums["bleu_matches"], sums["bleu_total"]
    empty = matches == 0
    smoothed = np.where(empty, 0.5 ** np.cumsum(empty, axis=-1), matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(smoothed / total).mean(axis=-1)
        short = 1 - sums["bleu_reference"] / sums["bleu_hypothesis"]
        score = 100 * np.exp(np.minimum(short, 0.0) + logs)
    defined = (total > 0).all(axis=-1) & (matches > 0).any(axis=-1)
    return np.where(defined, score, 0.0)


def chrf(sums: Sums) -> Floats:
    """Corpus chrF2, 0 to 100 (Popović 2016): precision and recall of character n-grams, averaged
    over the orders that both sides have, joined as F with recall counting twice.

    Args:
        sums: `chrf_hypothesis`, `chrf_reference`, `chrf_matches`, each `[draws, orders]`.
    """
    said, true, both = (sums[f"chrf_{k}"] for k in ("hypothesis", "reference", "matches"))
    present = (said > 0) & (true > 0)
    orders = np.maximum(present.sum(axis=-1), 1)
    precision, recall = (
        _divide(both, np.where(present, n, 0.0), otherwise=0.0).sum(axis=-1) / orders
        for n in (said, true)
    )
    weight = _CHRF_BETA**2
    joined = weight * precision + recall
    score = 100 * (1 + weight) * precision * recall
    return _divide(score, joined, otherwise=0.0)


def t_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """The interval of the mean of a few independent values by Student's t; two at least."""
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return mean(values) - half, mean(values) + half


def _divide(numerator: ArrayLike, denominator: ArrayLike, otherwise: float) -> Floats:
    """Elementwise; `otherwise` where the denominator is 0."""
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    result = np.full(np.broadcast_shapes(above.shape, below.shape), otherwise)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _counts(ids: NDArray[np.int64], labels: int) -> Floats:
    return np.bincount(ids, minlength=labels).astype(np.float64)[None]

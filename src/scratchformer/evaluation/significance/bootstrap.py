"""How far a number would move with other test rows: bootstrap intervals, by group.

The intervals are BCa: bias-corrected and accelerated (Efron 1987, "Better bootstrap confidence
intervals"). Plain percentiles are wrong for numbers that are biased on few rows: a drawn test set
lacks some rows of a rare class and repeats others, so its macro-F1 is lower on average, and the
percentiles hang below the number that they belong to.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scratchformer.base.statistics import Floats, Statistic, Sums
from scratchformer.evaluation.significance.resampling import GroupSums, Resampling

# With n groups, a draw takes the same one each time with probability n^(1 - n): 1 in 9 for three,
# 1 in 64 for four. Below five the ends of an interval are little more than single groups.
FEWEST_GROUPS = 5


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its confidence interval.

    The ends are None where resampling says nothing: there are fewer than `FEWEST_GROUPS` groups,
    or every draw gives the same number.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def ends(self) -> dict[str, float]:
        """`low` and `high`, if there are any."""
        return {} if self.low is None or self.high is None else {"low": self.low, "high": self.high}


def bootstrap(
    sums: GroupSums,
    statistics: Mapping[str, Statistic],
    resampling: Resampling,
    shares: Collection[str] = (),
) -> dict[str, Interval]:
    """BCa intervals of numbers that are functions of sums over rows.

    Accuracy, error rates, F1, BLEU and perplexity are all such functions. That allows one matrix
    product of drawn group counts `[draws, groups]` with group sums `[groups, numbers]` for all of
    them (`scipy.stats.bootstrap` would gather every number of every draw; a test compares both).
    All statistics see the same draws.

    Args:
        shares: names of statistics that lie between 0 and 1. Where every row is right (or wrong),
            resampling shows no spread at all; these then get the exact interval of Clopper and
            Pearson (1934) with the groups as trials.
    """
    found = _intervals([sums], lambda each: _values(statistics, each[0]), resampling)
    for name in shares:
        each = found[name]
        if each.low is None and each.value in (0.0, 1.0):
            found[name] = _exact_share(each.value, sums.groups, resampling.tail)
    return found


def bootstrap_difference(
    after: GroupSums,
    before: GroupSums,
    statistics: Mapping[str, Statistic],
    resampling: Resampling,
) -> dict[str, Interval]:
    """Intervals of the differences (after - before) of two systems over the same rows.

    Both systems are scored on each draw, so what makes a draw easy or hard for both cancels out.
    """

    def difference(sums: list[Sums]) -> dict[str, Floats]:
        one, other = (_values(statistics, each) for each in sums)
        return {name: one[name] - other[name] for name in statistics}

    return _intervals([after, before], difference, resampling)


def _values(statistics: Mapping[str, Statistic], sums: Sums) -> dict[str, Floats]:
    # 0 / 0 is a draw without any row that a statistic divides by (a rare kind of row): nan.
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: statistic(sums) for name, statistic in statistics.items()}


def _intervals(
    systems: list[GroupSums],
    values: Callable[[list[Sums]], dict[str, Floats]],
    resampling: Resampling,
) -> dict[str, Interval]:
    """Value and BCa interval of everything that `values` computes from the sums of the systems."""
    groups = systems[0].groups
    point = values([each.named(each.total()) for each in systems])
    if groups < FEWEST_GROUPS:
        return {name: Interval(float(value[0])) for name, value in point.items()}
    counts = resampling.drawn_counts(groups)
    draws = _joined(values([each.weighted(some) for each in systems]) for some in counts)
    left_out = zip(*(each.without_each() for each in systems), strict=True)
    jackknife = _joined(values(list(sums)) for sums in left_out)
    return {
        name: _bca(float(value[0]), draws[name], jackknife[name], resampling.tail)
        for name, value in point.items()
    }


def _joined(parts: Iterator[dict[str, Floats]]) -> dict[str, Floats]:
    first, *others = parts
    return {name: np.concatenate([first[name], *(p[name] for p in others)]) for name in first}


def _bca(value: float, draws: Floats, jackknife: Floats, tail: float) -> Interval:
    """The interval of one number from its draws and its values without each group.

    z0 corrects the bias: how many draws lie below the value, as a normal quantile. The
    acceleration, the skewness of the jackknife, corrects a spread that grows with the number.
    """
    from scipy.stats import norm

    draws = draws[np.isfinite(draws)]
    if not (len(draws) and np.ptp(draws) > 0 and np.isfinite(jackknife).all()):
        return Interval(value)
    below = ((draws < value).mean() + (draws <= value).mean()) / 2
    half_a_draw = 0.5 / len(draws)  # all draws on one side: as far out as they can tell
    z0 = norm.ppf(np.clip(below, half_a_draw, 1 - half_a_draw))
    deviation = jackknife.mean() - jackknife
    spread = (deviation**2).sum() ** 1.5
    acceleration = (deviation**3).sum() / (6 * spread) if spread > 0 else 0.0
    z = z0 + norm.ppf([tail, 1 - tail])
    low, high = np.quantile(draws, norm.cdf(z0 + z / (1 - acceleration * z)))
    return Interval(value, float(low), float(high))


def _exact_share(value: float, trials: int, tail: float) -> Interval:
    """Clopper and Pearson's interval for no success, or nothing but successes, in `trials`."""
    margin = 1 - tail ** (1 / trials)
    return Interval(value, 0.0, margin) if value == 0 else Interval(value, 1 - margin, 1.0)

"""Is one system better than the other on the same rows? Tests that pair row with row."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from scratchformer.base.statistics import Floats, Statistic, Sums
from scratchformer.evaluation.significance.resampling import GroupSums, Resampling, at_once

_SAME = 1e-9  # relative: differences that are equal but for rounding count as equally extreme


def permutation_p_values(
    after: GroupSums,
    before: GroupSums,
    statistics: Mapping[str, Statistic],
    resampling: Resampling,
) -> dict[str, float]:
    """Two-sided p-values of a paired permutation test, by group, of any functions of sums.

    Under the null hypothesis the two systems are exchangeable within a group, so their sums of a
    group are swapped at random, and the same difference is computed that stands in the table: of
    accuracies, of macro-F1, of BLEU. Few groups are swapped in every way there is; many at random,
    and then the data count as one draw (Phipson and Smyth 2010, "Permutation p-values should never
    be zero"), so that no p-value is below `resampling.smallest_p`.
    """
    change = (after.table - before.table).tocsr()
    change.eliminate_zeros()
    change = change[np.diff(change.indptr) > 0].toarray()  # swapping equal groups changes nothing
    start_after, start_before = after.total(), before.total()

    def differences(swaps: Floats) -> dict[str, Floats]:
        moved = swaps @ change
        one, other = after.named(start_after - moved), before.named(start_before + moved)
        return {name: _difference(each, one, other) for name, each in statistics.items()}

    observed = differences(np.zeros((1, len(change))))
    exact = 2 ** len(change) <= resampling.resamples
    extreme, draws = dict.fromkeys(statistics, 0), 0
    for swaps in _every_swap(len(change)) if exact else _random_swaps(len(change), resampling):
        draws += len(swaps)
        for name, found in differences(swaps).items():
            limit = abs(observed[name][0]) * (1 - _SAME)
            extreme[name] += int((np.abs(found) >= limit).sum())
    unseen = 0 if exact else 1
    return {name: (count + unseen) / (draws + unseen) for name, count in extreme.items()}


def _difference(statistic: Statistic, one: Sums, other: Sums) -> Floats:
    return statistic(one) - statistic(other)


def _every_swap(groups: int) -> Iterator[Floats]:
    yield np.array(list(itertools.product((0.0, 1.0), repeat=groups))).reshape(2**groups, groups)


def _random_swaps(groups: int, resampling: Resampling) -> Iterator[Floats]:
    """`[some draws, groups]` of zeros and ones, until all draws are made."""
    generator = np.random.default_rng(resampling.seed)
    left = resampling.resamples
    while left:
        rows = min(left, at_once(groups))
        yield generator.integers(2, size=(rows, groups)).astype(np.float64)
        left -= rows


def mcnemar(after_right: ArrayLike, before_right: ArrayLike) -> dict[str, float]:
    """McNemar's exact test on the rows where two systems disagree (McNemar 1947).

    It takes rows for independent and is not for rows that come in groups.

    Returns:
        `statistic` (the smaller of the two counts), `p_value`, `fixed` (rows only the second
        system gets right), `broken` (rows only the first gets right).
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact_test

    after, before = np.asarray(after_right, bool), np.asarray(before_right, bool)
    fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
    table = [[int((after & before).sum()), broken], [fixed, int((~after & ~before).sum())]]
    result = exact_test(table, exact=True)
    return {
        "statistic": float(result.statistic),
        "p_value": float(result.pvalue),
        "fixed": fixed,
        "broken": broken,
    }


def p_value_text(p_value: float, smallest: float = 0.0) -> str:
    """`p = 0.0300`; `p ≤ 0.0005` where the number of resamples is the limit (`smallest`)."""
    if p_value <= smallest * (1 + 1e-6):
        return f"p ≤ {smallest:.1g}"
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.4f}"

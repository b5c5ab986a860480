"""How sure a number is: bootstrap intervals and paired tests, by group where rows belong together.

Rows of one group (the diagnoses of one category, the pronunciations of one word) are right or
wrong together, so they count as one draw: the bootstrap resamples whole groups (Field and Welsh
2007, "Bootstrapping clustered data"), and the permutation test swaps whole groups. Treating the
rows as independent would give intervals that are too narrow; tests/evaluation shows by how much.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Sums = Mapping[str, Floats]
Statistic = Callable[[Sums], Floats]
# Numbers of the rows: an array `[rows]` or `[rows, k]`, or a sparse matrix `[rows, k]`.
Column: TypeAlias = Any

_CELLS_AT_ONCE = 4_000_000  # of the [resamples, groups] matrix: bounds the memory, not the result


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def ends(self) -> dict[str, float]:
        """Without the value, for reports that hold it elsewhere."""
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class Resampling:
    """What every interval of a report has in common.

    Args:
        groups: the group of each row, `[rows]`.
        resamples: draws of the bootstrap.
        confidence: share of the intervals that hold the true value, e.g. 0.95.
        seed: of the draws; equal settings give equal intervals.
    """

    groups: Sequence[str]
    resamples: int
    confidence: float
    seed: int


def bootstrap(
    columns: Mapping[str, Column],
    statistics: Mapping[str, Statistic],
    resampling: Resampling,
    shares: Collection[str] = (),
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of numbers that are functions of sums over rows.

    Accuracy, error rates, F1 and perplexity are all such functions. That allows one matrix product
    of drawn group counts `[resamples, groups]` with group sums `[groups, columns]` for all of them
    (`scipy.stats.bootstrap` would gather every column of every draw; the test that compares both
    shows equal intervals). All statistics see the same draws.

    Args:
        columns: name → numbers of the rows, `[rows]` or `[rows, k]`; sparse matrices stay sparse.
            The column `rows` (all ones) is added.
        statistics: name → function from summed columns to a number. It must broadcast: sums come
            as `[resamples]` or `[resamples, k]`.
        resampling: groups, draws, confidence, seed.
        shares: names of statistics that lie between 0 and 1. Where every row is right (or wrong),
            resampling shows no spread at all; these then get the exact interval of Clopper and
            Pearson (1934) with the groups as trials.
    """
    by_group, widths = _sum_by_group(columns, resampling.groups)
    groups = by_group.shape[0]
    total = _named(np.ones((1, groups)) @ by_group, widths)
    values = {name: float(statistic(total)[0]) for name, statistic in statistics.items()}

    draws: dict[str, list[Floats]] = {name: [] for name in statistics}
    # 0 / 0 is a draw without any row that a statistic divides by (a rare class): skipped below.
    with np.errstate(invalid="ignore"):
        for counts in _drawn_counts(groups, resampling):
            sums = _named(counts @ by_group, widths)
            for name, statistic in statistics.items():
                draws[name].append(statistic(sums))

    tail = (1 - resampling.confidence) / 2
    intervals = {}
    for name, value in values.items():
        low, high = np.nanquantile(np.concatenate(draws[name]), [tail, 1 - tail])
        intervals[name] = Interval(value, float(low), float(high))
        if name in shares and low == high and value in (0.0, 1.0):
            intervals[name] = _exact_share(value, groups, tail)
    return intervals


def bootstrap_difference(
    after: Mapping[str, Column],
    before: Mapping[str, Column],
    statistics: Mapping[str, Statistic],
    resampling: Resampling,
) -> dict[str, Interval]:
    """Intervals of the differences (after - before) of two systems over the same rows.

    Both systems are scored on each draw, so what makes a draw easy or hard for both cancels out.

    Args:
        after, before: the same columns of the two systems, see `bootstrap`.
    """
    systems = {"after": after, "before": before}
    columns = {f"{name}.{key}": each for name, own in systems.items() for key, each in own.items()}

    def difference_of(statistic: Statistic) -> Statistic:
        return lambda sums: statistic(_own(sums, "after")) - statistic(_own(sums, "before"))

    differences = {name: difference_of(statistic) for name, statistic in statistics.items()}
    return bootstrap(columns, differences, resampling)


def _own(sums: Sums, system: str) -> Sums:
    """The sums of one system under their plain names, and `rows`, which belongs to all."""
    mark = f"{system}."
    own = {key.removeprefix(mark): each for key, each in sums.items() if key.startswith(mark)}
    return {**own, "rows": sums["rows"]}


def permutation_p_value(after: ArrayLike, before: ArrayLike, resampling: Resampling) -> float:
    """Two-sided p-value of a paired permutation test on the mean difference, by group.

    Under the null hypothesis the two systems are exchangeable within a group, so their group sums
    are swapped at random.

    Args:
        after: one number a row, `[rows]`, for example 1 where the system is right.
        before: the same of the other system over the same rows.
    """
    from scipy.stats import permutation_test

    sums, _ = _sum_by_group({"after": after, "before": before}, resampling.groups)
    one, other = sums[:, [0]].toarray().ravel(), sums[:, [1]].toarray().ravel()
    differs = one != other  # swapping the sums of the other groups changes nothing
    if differs.sum() < 2:
        return 1.0  # of one difference, both signs are equally extreme
    result = permutation_test(
        (one[differs], other[differs]),
        lambda after, before, axis: (after - before).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resampling.resamples,
        batch=max(1, _CELLS_AT_ONCE // int(differs.sum())),
        rng=np.random.default_rng(resampling.seed),
    )
    return float(result.pvalue)


def mcnemar(after_right: ArrayLike, before_right: ArrayLike) -> dict[str, float]:
    """McNemar's exact test on the rows where two systems disagree (McNemar 1947).

    It takes rows for independent; where they are grouped, read it beside `permutation_p_value`.

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


def _sum_by_group(
    columns: Mapping[str, Column], groups: Sequence[str]
) -> tuple[sparse.csr_array, dict[str, int | None]]:
    """Sums `[groups, columns]`, and the width of each column (None for one that is flat)."""
    rows = len(groups)
    blocks, widths = [], {}
    for name, column in {**columns, "rows": np.ones(rows)}.items():
        block = column if sparse.issparse(column) else np.asarray(column, np.float64)
        widths[name] = None if block.ndim == 1 else block.shape[1]
        blocks.append(sparse.csr_array(block.reshape(rows, -1)))
    _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    membership = sparse.csr_array((np.ones(rows), (group_of_row, np.arange(rows))))
    return membership @ sparse.hstack(blocks, format="csr"), widths


def _named(table: Floats, widths: Mapping[str, int | None]) -> dict[str, Floats]:
    """Cut `[resamples, columns]` back into the named columns."""
    named, start = {}, 0
    for name, width in widths.items():
        stop = start + (width or 1)
        named[name] = table[:, start] if width is None else table[:, start:stop]
        start = stop
    return named


def _drawn_counts(groups: int, resampling: Resampling) -> Iterator[Floats]:
    """How often each group is drawn, `[some resamples, groups]`, until all resamples are done."""
    generator = np.random.default_rng(resampling.seed)
    left = resampling.resamples
    while left:
        rows = min(left, max(1, _CELLS_AT_ONCE // groups))
        drawn = generator.integers(groups, size=(rows, groups))
        drawn += np.arange(rows)[:, None] * groups
        counts = np.bincount(drawn.ravel(), minlength=rows * groups)
        yield counts.reshape(rows, groups).astype(np.float64)
        left -= rows


def _exact_share(value: float, trials: int, tail: float) -> Interval:
    """Clopper and Pearson's interval for no success, or nothing but successes, in `trials`."""
    margin = 1 - tail ** (1 / trials)
    return Interval(value, 0.0, margin) if value == 0 else Interval(value, 1 - margin, 1.0)

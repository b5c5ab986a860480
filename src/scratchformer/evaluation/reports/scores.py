"""Scores, intervals and differences of systems, for any task: all from sums over rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scratchformer.base.measures import Measure, measures_from
from scratchformer.base.statistics import Statistic
from scratchformer.evaluation.significance.bootstrap import bootstrap, bootstrap_difference
from scratchformer.evaluation.significance.paired_tests import permutation_p_values
from scratchformer.evaluation.significance.resampling import Columns, GroupSums, Resampling


@dataclass(frozen=True)
class Scored:
    """One system: what its measures are sums of, on both splits, and what is reported beside them.

    Attributes:
        test: named columns of the test rows, see `GroupSums.of`.
        valid: the same of the validation rows.
        notes: see `record.metrics.NOTES`.
    """

    test: Columns
    valid: Columns
    notes: Mapping[str, Any] = field(default_factory=dict)


def scores(columns: Columns, groups: Sequence[str], resampling: Resampling) -> dict[str, Any]:
    """Every measure that the columns allow and, under `intervals`, the ends of their intervals.

    Args:
        groups: the group of each row.
    """
    measures = measures_from(columns)
    sums = GroupSums.of(columns, groups)
    found = bootstrap(
        sums, _statistics(measures), resampling, [m.key for m in measures if m.share_of_rows]
    )
    ends = {m.key: found[m.key].ends() for m in measures if m.has_interval}
    return {
        **{key: each.value for key, each in found.items()},
        "intervals": {key: each for key, each in ends.items() if each},
    }


def values(columns: Columns) -> dict[str, float]:
    """Every measure that the columns allow, without intervals."""
    rows = next(iter(columns.values())).shape[0]
    sums = GroupSums.of(columns, np.zeros(rows, np.int64).tolist())
    named = sums.named(sums.total())
    return {m.key: float(m.statistic(named)[0]) for m in measures_from(columns)}


def differences(
    after: Columns, before: Columns, groups: Sequence[str], resampling: Resampling
) -> dict[str, dict[str, float]]:
    """`value` (after - before), `low`, `high` and `p_value` of every measure that both have.

    The p-value is that of a permutation of groups on the same difference.
    """
    measures = measures_from(after.keys() & before.keys())
    statistics = _statistics(measures)
    sums = GroupSums.of({name: after[name] for name in _needed(measures)}, groups)
    other = GroupSums.of({name: before[name] for name in _needed(measures)}, groups)
    drawn = bootstrap_difference(sums, other, statistics, resampling)
    p_values = permutation_p_values(sums, other, statistics, resampling)
    return {
        m.key: {
            "value": drawn[m.key].value,
            **(drawn[m.key].ends() if m.has_interval else {}),
            "p_value": p_values[m.key],
        }
        for m in measures
    }


def _statistics(measures: Sequence[Measure]) -> dict[str, Statistic]:
    return {measure.key: measure.statistic for measure in measures}


def _needed(measures: Sequence[Measure]) -> list[str]:
    return list(dict.fromkeys(name for measure in measures for name in measure.sums))

"""What one system gains over another on each kind of row: each class, each length."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from scratchformer.base.statistics import Floats, Statistic, Sums
from scratchformer.evaluation.reports.comparison import Record, rounded
from scratchformer.evaluation.significance.bootstrap import FEWEST_GROUPS, Interval, bootstrap
from scratchformer.evaluation.significance.resampling import GroupSums, Resampling

_LENGTH_BUCKETS = 5


def subgroup_deltas(
    kind: ArrayLike,
    names: Sequence[str],
    before_right: ArrayLike,
    after_right: ArrayLike,
    groups: Sequence[str],
    resampling: Resampling,
) -> list[Record]:
    """Share of right rows before and after, for each kind of row, with a paired interval.

    A kind that stands in fewer than `FEWEST_GROUPS` groups has no interval (`low` and `high` are
    None), and neither has one whose rows all change alike: their number says nothing of others.

    Args:
        kind: `[rows]` places in `names`: label ids, or `length_buckets`.
        names: what the kinds are called; those without a row are left out.
        before_right, after_right: whether each system is right, `[rows]`.
    """
    kinds = np.asarray(kind, np.int64)
    place = (np.arange(len(kinds)), kinds)

    def of_kind(values: ArrayLike) -> sparse.csr_array:
        each = np.broadcast_to(np.asarray(values, np.float64), kinds.shape)
        return sparse.csr_array((each, place), shape=(len(kinds), len(names)))

    before, after = np.asarray(before_right, float), np.asarray(after_right, float)
    present = np.unique(kinds)
    of_group = np.asarray(groups)
    sums = GroupSums.of({"won": of_kind(after - before), "of_kind": of_kind(1)}, groups)
    enough = [k for k in present if len(np.unique(of_group[kinds == k])) >= FEWEST_GROUPS]
    drawn = bootstrap(sums, {str(k): _won_share(int(k)) for k in enough}, resampling)

    def interval(k: int) -> Interval:
        return drawn.get(str(k), Interval((after - before)[kinds == k].mean()))

    return [
        {
            "kind": names[k],
            "rows": int((kinds == k).sum()),
            "before": rounded(before[kinds == k].mean()),
            "after": rounded(after[kinds == k].mean()),
            "difference": rounded(interval(k).value),
            "low": rounded(interval(k).low),
            "high": rounded(interval(k).high),
        }
        for k in present
    ]


def length_buckets(texts: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Texts by their number of words (characters, where most are single words), in up to five
    buckets of about equally many rows: the bucket of each text `[rows]`, and their names."""
    words = np.array([len(text.split()) for text in texts])
    unit, lengths = ("words", words)
    if np.median(words) <= 1:
        unit, lengths = ("characters", np.array([len(text) for text in texts]))
    shares = np.linspace(0, 1, _LENGTH_BUCKETS + 1)[1:-1]
    edges = np.unique(np.quantile(lengths, shares, method="lower"))
    bucket = np.searchsorted(edges, lengths, side="left")
    names = []
    for k in range(len(edges) + 1):
        inside = lengths[bucket == k]
        ends = sorted({int(inside.min()), int(inside.max())}) if len(inside) else []
        names.append(f"{'–'.join(map(str, ends))} {unit}")
    return bucket.astype(np.int64), names


def _won_share(kind: int) -> Statistic:
    def won_share(sums: Sums) -> Floats:
        return sums["won"][:, kind] / sums["of_kind"][:, kind]

    return won_share

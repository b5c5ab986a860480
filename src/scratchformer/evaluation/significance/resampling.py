"""What bootstrap and permutation test have in common: settings, and sums by group.

Rows of one group (the diagnoses of one category, the pronunciations of one word) are right or
wrong together, so they count as one draw (Field and Welsh 2007, "Bootstrapping clustered data").
Treating the rows as independent would give intervals that are too narrow; tests/evaluation shows
by how much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from scratchformer.base.statistics import Floats, Sums

# Numbers of the rows: an array `[rows]` or `[rows, k]`, or a sparse matrix `[rows, k]`.
Column: TypeAlias = Any
Columns = Mapping[str, Column]

CELLS_AT_ONCE = 4_000_000  # of the [draws, groups] matrix: bounds the memory, not the result


@dataclass(frozen=True)
class Resampling:
    """What every interval and every test of a report has in common.

    Attributes:
        resamples: draws of the bootstrap, and of the permutation test.
        confidence: share of the intervals that hold the true value, e.g. 0.95.
        seed: of the draws; equal settings give equal intervals.
    """

    resamples: int
    confidence: float
    seed: int

    @property
    def tail(self) -> float:
        """Probability below the interval, and above it."""
        return (1 - self.confidence) / 2

    @property
    def smallest_p(self) -> float:
        """What a permutation test says when no draw was as extreme as the data."""
        return 1 / (self.resamples + 1)

    def method(self) -> dict[str, float | str]:
        """How intervals and tests came about, for metrics.json."""
        return {
            "confidence": self.confidence,
            "resamples": self.resamples,
            "interval": "BCa bootstrap of groups",
        }

    def drawn_counts(self, groups: int) -> Iterator[Floats]:
        """How often each group is drawn, `[some draws, groups]`, until all draws are made."""
        generator = np.random.default_rng(self.seed)
        left = self.resamples
        while left:
            rows = min(left, at_once(groups))
            drawn = generator.integers(groups, size=(rows, groups))
            drawn += np.arange(rows)[:, None] * groups
            counts = np.bincount(drawn.ravel(), minlength=rows * groups)
            yield counts.reshape(rows, groups).astype(np.float64)
            left -= rows


def at_once(width: int) -> int:
    """How many draws of that many numbers fit into the memory that is granted."""
    return max(1, CELLS_AT_ONCE // max(1, width))


@dataclass(frozen=True)
class GroupSums:
    """The named columns of a system, summed over the rows of each group.

    Attributes:
        table: `[groups, numbers]`.
        widths: name → how many numbers it has, None for one that is flat.
    """

    table: sparse.csr_array
    widths: Mapping[str, int | None]

    @classmethod
    def of(cls, columns: Columns, groups: Sequence[Any]) -> "GroupSums":
        """Sum columns of `[rows]` or `[rows, k]`; sparse ones stay sparse. `rows` is added.

        Args:
            groups: the group of each row, `[rows]`.
        """
        rows = len(groups)
        blocks, widths = [], {}
        for name, column in {**columns, "rows": np.ones(rows)}.items():
            block = column if sparse.issparse(column) else np.asarray(column, np.float64)
            widths[name] = None if block.ndim == 1 else block.shape[1]
            blocks.append(sparse.csr_array(block.reshape(rows, -1)))
        _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
        membership = sparse.csr_array((np.ones(rows), (group_of_row, np.arange(rows))))
        return cls(membership @ sparse.hstack(blocks, format="csr"), widths)

    @property
    def groups(self) -> int:
        return int(self.table.shape[0])

    def total(self) -> NDArray[np.float64]:
        """`[1, numbers]`"""
        return np.asarray(np.ones((1, self.groups)) @ self.table)

    def weighted(self, counts: Floats) -> Sums:
        """The sums of drawn test sets: `counts` is `[draws, groups]`."""
        return self.named(counts @ self.table)

    def without_each(self) -> Iterator[Sums]:
        """The sums without one group, for each group in turn (the jackknife)."""
        total, step = self.total(), at_once(self.table.shape[1])
        for start in range(0, self.groups, step):
            yield self.named(total - self.table[start : start + step].toarray())

    def named(self, numbers: Floats) -> dict[str, Floats]:
        """Cut `[draws, numbers]` back into the named columns."""
        named, start = {}, 0
        for name, width in self.widths.items():
            stop = start + (width or 1)
            named[name] = numbers[:, start] if width is None else numbers[:, start:stop]
            start = stop
        return named

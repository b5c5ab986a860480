"""How many floating-point operations a batch costs, and what share of the machine that used.

Model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B): a forward and backward pass costs
6N operations a token for N weights in matrices, and 12·L·H·Q·T for attention to T positions with
L layers of H heads of width Q. Every product of [n, a] and [a, b] is 2nab operations; a backward
pass makes two such products for each of the forward pass. What a kernel computes twice to save
memory counts once, as in the paper; products with padding count, because they are made. Norms,
softmax and heads that are applied once a row are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Of a padded batch. A model with one input has no target: 0."""

    rows: int
    source: int  # positions of a row
    target: int
    source_tokens: int  # positions of all rows that are not padding
    target_tokens: int

    @property
    def positions(self) -> int:
        return self.rows * (self.source + self.target)

    @property
    def padding(self) -> int:
        """Positions that hold padding."""
        return self.positions - self.source_tokens - self.target_tokens


@dataclass(frozen=True)
class Flops:
    """Operations of a forward and backward pass.

    Attributes:
        source, target: for each position: 6 for each weight that is applied there.
        token: for each target token that is not padding (the projection to the vocabulary, where
            it leaves padding out).
        source_pair, target_pair, cross_pair: for each (query, key) of one attention, all layers
            and heads together: 12·L·H·Q.
    """

    source: float
    target: float = 0.0
    token: float = 0.0
    source_pair: float = 0.0
    target_pair: float = 0.0
    cross_pair: float = 0.0

    def of(self, shape: Shape) -> float:
        """Operations of a batch."""
        source, target = shape.source, shape.target
        row = (
            source * (self.source + source * self.source_pair)
            + target * (self.target + target * self.target_pair + source * self.cross_pair)
        )
        return shape.rows * row + shape.target_tokens * self.token


@dataclass(frozen=True)
class Utilisation:
    """The share of the machine that a training uses.

    Attributes:
        flops: what its batches cost.
        rate: operations a second that the machine can do, see `machine_rate`.
    """

    flops: Flops
    rate: float

    def share(self, shapes: Iterable[Shape], seconds: float) -> float:
        """Of the machine's rate that batches of these shapes reached, 0 to 1."""
        return sum(map(self.flops.of, shapes)) / (seconds * self.rate)

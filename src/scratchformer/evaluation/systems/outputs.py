"""What a system gives for sequences: its texts, and how well it expects the references."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TokenLosses:
    """How well a model expects the references, summed over the references of each row.

    All are `[rows]`: negative log-likelihood in nats without label smoothing, the number of target
    tokens (EOS included), and how many of them were the likeliest token given the right
    tokens before them.
    """

    nll: Floats
    tokens: Floats
    right: Floats

    @property
    def loss(self) -> float:
        """Nats per target token; its exponential is the perplexity."""
        return float(self.nll.sum() / self.tokens.sum())


@dataclass(frozen=True)
class SequenceOutput:
    """What one system gave: one text a row, and, if it is a model, its log-probabilities."""

    predictions: list[str]
    scores: Sequence[float] | None = None
    losses: TokenLosses | None = None

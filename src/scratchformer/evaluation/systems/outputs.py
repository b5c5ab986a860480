"""What a system gives for sequences: its texts, and how well it expects the references."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scratchformer.data.tokenized.columns import TokenColumn
from scratchformer.runtime.sharing import Result, Rows

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


def summed_by_row(
    scored: Iterable[tuple[Rows, Result]], table: pa.Table, rows: int
) -> TokenLosses:
    """The losses of rows from those of their tokens.

    Args:
        scored: batches of records, and of each of their target tokens, in their order,
            the negative log-likelihood and whether it was the likeliest.
        table: tokenized split; a row has a record for each of its references.
        rows: of the prepared split.
    """
    row_of_record = table.column("row").to_numpy()
    lengths = TokenColumn(table.column("target")).lengths
    result = TokenLosses(np.zeros(rows), np.zeros(rows), np.zeros(rows))
    for part, (nll, right) in scored:
        # np.add.at and not +=: references of one row may be in one batch.
        row = row_of_record[part].repeat(lengths[part])
        np.add.at(result.nll, row, nll)
        np.add.at(result.right, row, right)
        np.add.at(result.tokens, row, 1)
    return result


@dataclass(frozen=True)
class SequenceOutput:
    """What one system gave: one text a row, and, if it is a model, its log-probabilities."""

    predictions: list[str]
    scores: Sequence[float] | None = None
    losses: TokenLosses | None = None

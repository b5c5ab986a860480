"""What an attention head does in one row, measured: looks back one token, at the first one, …

Names after Clark et al. 2019 (arXiv:1906.04341) and Voita et al. 2019 (arXiv:1905.09418), who found
the same few kinds of heads in BERT and in translation models.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchformer.visualization.analysis.inspection.attention import Attention

CLEAR = 0.4
"""Share of its weight that a head has to spend on one thing to be called after it."""
EVEN = 0.9
"""Share of the largest possible entropy from which a head reads all tokens alike."""
ORDER = (
    "previous token", "token itself", "next token", "last written token", "token before it",
    "first token", "last token", "equal tokens", "along the diagonal", "all tokens alike", "mixed",
)  # fmt: skip


@dataclass(frozen=True)
class HeadRole:
    """What one head does. `strength`: the share of its weight that goes there, 0 to 1."""

    layer: int
    head: int
    name: str
    strength: float


def head_roles(attention: Attention) -> list[HeadRole]:
    """The heads, sorted by what they do and then by how clearly."""
    places = _places(attention)
    roles = [
        _role(layer, head, weights, places)
        for layer, heads in enumerate(attention.maps)
        for head, weights in enumerate(heads)
    ]
    return sorted(roles, key=lambda role: (ORDER.index(role.name), -role.strength))


def _role(
    layer: int, head: int, weights: NDArray[np.float32], places: Mapping[str, NDArray[np.bool_]]
) -> HeadRole:
    shares = {name: float(weights[place].sum() / len(weights)) for name, place in places.items()}
    name = max(shares, key=lambda each: shares[each])
    if shares[name] >= CLEAR:
        return HeadRole(layer, head, name, shares[name])
    spread = _spread(weights)
    if spread >= EVEN:
        return HeadRole(layer, head, "all tokens alike", spread)
    return HeadRole(layer, head, "mixed", shares[name])


def _spread(weights: NDArray[np.float32]) -> float:
    """Mean entropy of the rows as a share of the largest possible one; tokens that no row may
    read (the future) count as little as they weigh."""
    p = weights.astype(np.float64)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=-1)
    readable = np.log(np.maximum((p > 0).sum(axis=-1), 2))
    return float((entropy / readable).mean())


def _places(attention: Attention) -> dict[str, NDArray[np.bool_]]:
    """For each kind of head, the cells `[query, key]` where its weight would lie.

    In cross-attention positions of the two sides are not the same ones; what is left is whether
    the weight follows the diagonal.
    """
    queries, keys = attention.maps.shape[-2:]
    row, column = np.indices((queries, keys))
    if attention.query_tokens is attention.key_tokens or list(attention.query_tokens) == list(
        attention.key_tokens
    ):
        return dict(_of_one_text(attention, row, column))
    if queries == keys and not np.triu(attention.maps[0, 0], 1).any():  # a decoder: no future
        return {
            "last written token": column == row,
            "token before it": column == row - 1,
            "first token": (column == 0) & (row > 1),
        }
    expected = row * (keys - 1) / max(queries - 1, 1)
    return {
        "along the diagonal": abs(column - expected) <= 1,
        "first token": (column == 0) & (expected > 1),
        "last token": (column == keys - 1) & (expected < keys - 2),
    }


def _of_one_text(
    attention: Attention, row: NDArray[np.int64], column: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    tokens = np.array(list(attention.key_tokens), dtype=object)
    last = len(tokens) - 1
    yield "previous token", column == row - 1
    yield "token itself", column == row
    yield "next token", column == row + 1
    yield "first token", (column == 0) & (row > 1)
    yield "last token", (column == last) & (row < last - 1)
    equal: NDArray[np.bool_] = (tokens[row] == tokens[column]) & (row != column)
    yield "equal tokens", equal & (abs(row - column) > 1)

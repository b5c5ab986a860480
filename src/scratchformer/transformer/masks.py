"""Who may look at whom: "Attention Is All You Need" §3.2.3, last point.

A mask is boolean, True where a query may look at a key; masks are combined with `&`. Attention
adds its `as_bias` to the scores, made once for all layers.
"""

import torch

from .shapes import Bool, Float, Int, Tensor


def padding_mask(tokens: Int[Tensor, "batch key"], pad_id: int) -> Bool[Tensor, "batch 1 1 key"]:
    """No query may look at padding, wherever it stands."""
    return (tokens != pad_id)[:, None, None, :]


def causal_mask(
    queries: int, keys: int, device: torch.device | None = None
) -> Bool[Tensor, "1 1 query key"]:
    """Each query may look at itself and at what came before.

    The queries are the last ones of the `keys` positions: fewer when a cache holds the others.
    """
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    return mask[None, None]


def as_bias(mask: Bool[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """0 where the mask is True, hugely negative elsewhere: softmax makes that exactly 0.

    Not -∞: a row that may look at nothing (a fully padded source) would be 0/0 = NaN, and its
    NaN gradient would spoil every weight. With a finite number it looks at everything evenly,
    and nobody looks at it. Half of the lowest number leaves room for the score to be added.
    """
    lowest = torch.finfo(dtype).min / 2
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, lowest)

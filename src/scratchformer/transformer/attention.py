"""Attention: every position looks at every other and takes a weighted mean of what it sees.

"Attention Is All You Need" (Vaswani et al. 2017), §3.2.1 (scaled dot product, equation 1) and
§3.2.2 (multi-head). Deviation: the projections have biases, as in tensor2tensor and all its heirs.
Fewer heads of keys and values than of queries: Ainslie et al. 2023 (GQA), §2.2; with a single one
it is the multi-query attention of Shazeer 2019, §3.
"""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from .cache import KeyValueCache
from .config import TransformerConfig
from .fused_linear import FusedLinear
from .positions import PositionsInAttention
from .shapes import Float, Tensor


def attention_weights(
    query: Float[Tensor, "batch heads query d_head"],
    key: Float[Tensor, "batch heads key d_head"],
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
) -> Float[Tensor, "batch heads query key"]:
    """softmax(Q Kᵀ / √d_k + bias): how much each query looks at each key; every row sums to 1.

    Dot products of independent unit-variance vectors have variance d_k; the division brings it
    back to 1, where softmax still has a gradient. `bias` holds a mask (masks.py), and what the
    distance of query and key adds (positions.py), the same for all heads or one for each.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1)


def split_heads(
    x: Float[Tensor, "batch length width"], num_heads: int
) -> Float[Tensor, "batch heads length d_head"]:
    """Cut the width into heads."""
    batch, length, width = x.shape
    return x.view(batch, length, num_heads, width // num_heads).transpose(1, 2)


def join_heads(
    x: Float[Tensor, "batch heads length d_head"],
) -> Float[Tensor, "batch length d_model"]:
    """Concat(head_1, …, head_h)."""
    return x.transpose(1, 2).flatten(2)


def share_heads(
    x: Float[Tensor, "batch kv_heads key d_head"], num_heads: int
) -> Float[Tensor, "batch heads key d_head"]:
    """Give each query head its keys or values: neighbouring query heads share one head of them."""
    if x.shape[1] == num_heads:
        return x
    return x.repeat_interleave(num_heads // x.shape[1], dim=1)


class MultiHeadAttention(nn.Module):
    """MultiHead(Q, K, V) = Concat(head_1, …, head_h) W^O, head_i = Attention(Q_i, K_i, V_i).

    The two kinds below differ only in where their queries, keys and values come from.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.kv_heads = config.kv_heads
        self.fused = config.attention == "fused"
        self.dropout = config.attention_dropout
        self.output = nn.Linear(config.d_model, config.d_model)
        self.on_weights: Callable[[Tensor], None] | None = None  # set by collect_attention

    def attend(
        self,
        query: Float[Tensor, "batch heads query d_head"],
        key: Float[Tensor, "batch kv_heads key d_head"],
        value: Float[Tensor, "batch kv_heads key d_head"],
        bias: Float[Tensor, "#batch #heads #query key"] | None,
    ) -> Float[Tensor, "batch query d_model"]:
        """Equation 1 for all heads at once, then W^O.

        The fused kernel computes the same without ever storing the weights [query, key]; they
        are spelled out when the configuration says so, or when someone asked to see them.
        """
        key, value = share_heads(key, self.num_heads), share_heads(value, self.num_heads)
        dropout = self.dropout if self.training else 0.0
        if self.fused and self.on_weights is None:
            heads = F.scaled_dot_product_attention(query, key, value, bias, dropout)
        else:
            weights = attention_weights(query, key, bias)
            if self.on_weights is not None:
                self.on_weights(weights)
            heads = F.dropout(weights, dropout) @ value
        return self.output(join_heads(heads))


class SelfAttention(MultiHeadAttention):
    """A sequence looks at itself. One matrix product makes Q, K and V: W^Q|W^K|W^V."""

    def __init__(
        self, config: TransformerConfig, positions: PositionsInAttention | None = None
    ) -> None:
        super().__init__(config)
        self.query_key_value = FusedLinear(
            config.d_model, query=config.d_model, key=config.kv_width, value=config.kv_width
        )
        self.positions = PositionsInAttention() if positions is None else positions

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        bias: Float[Tensor, "#batch #heads #length key"] | None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        parts = self.query_key_value.split(self.query_key_value(x))
        query = split_heads(parts["query"], self.num_heads)
        key, value = (split_heads(parts[name], self.kv_heads) for name in ("key", "value"))
        start = 0 if cache is None else cache.length
        query, key = self.positions.turn(query, start), self.positions.turn(key, start)
        if cache is not None:
            key, value = cache.extend(key, value)
        return self.attend(query, key, value, self.positions.add_bias(bias, query, key))


class CrossAttention(MultiHeadAttention):
    """The target looks at the source: queries from the decoder, keys and values from the memory."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.query = nn.Linear(config.d_model, config.d_model)
        self.key_value = FusedLinear(config.d_model, key=config.kv_width, value=config.kv_width)

    def keys_and_values(
        self, memory: Float[Tensor, "batch source d_model"]
    ) -> tuple[Float[Tensor, "batch kv_heads source d_head"], ...]:
        """What `forward` looks at. It depends on the source alone: once per source is enough."""
        parts = self.key_value.split(self.key_value(memory))
        return tuple(split_heads(part, self.kv_heads) for part in parts.values())

    def forward(
        self,
        x: Float[Tensor, "rows target d_model"],
        key: Float[Tensor, "batch kv_heads source d_head"],
        value: Float[Tensor, "batch kv_heads source d_head"],
        bias: Float[Tensor, "#batch 1 1 source"] | None,
    ) -> Float[Tensor, "rows target d_model"]:
        """`rows` is `batch`, or a multiple: the hypotheses of one source in a beam, side by side.

        Queries do not see each other, so hypotheses may stand in one row as if they were one
        target, and the keys and values of their source need not be copied for each.
        """
        query = self.query(x).reshape(key.shape[0], -1, x.shape[-1])
        query = split_heads(query, self.num_heads)
        return self.attend(query, key, value, bias).reshape(x.shape)

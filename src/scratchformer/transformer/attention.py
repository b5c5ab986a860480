"""Attention: every position looks at every other and takes a weighted mean of what it sees.

"Attention Is All You Need" (Vaswani et al. 2017), §3.2.1 (scaled dot product, equation 1) and
§3.2.2 (multi-head). Deviation: the projections have biases, as in tensor2tensor and all its heirs.
"""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from .cache import KeyValueCache
from .config import TransformerConfig
from .positions import RotaryPositions
from .shapes import Float, Tensor


def attention_weights(
    query: Float[Tensor, "batch heads query d_head"],
    key: Float[Tensor, "batch heads key d_head"],
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
) -> Float[Tensor, "batch heads query key"]:
    """softmax(Q Kᵀ / √d_k + bias): how much each query looks at each key; every row sums to 1.

    Dot products of independent unit-variance vectors have variance d_k; the division brings it
    back to 1, where softmax still has a gradient. `bias` is a mask, see masks.py.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1)


def split_heads(
    x: Float[Tensor, "batch length width"], num_heads: int, parts: int
) -> tuple[Float[Tensor, "batch heads length d_head"], ...]:
    """Cut a projection of `parts` tensors side by side into them, each into its heads."""
    batch, length, width = x.shape
    shape = (batch, length, num_heads, width // (parts * num_heads))
    return tuple(part.view(shape).transpose(1, 2) for part in x.chunk(parts, dim=-1))


def join_heads(
    x: Float[Tensor, "batch heads length d_head"],
) -> Float[Tensor, "batch length d_model"]:
    """Concat(head_1, …, head_h)."""
    return x.transpose(1, 2).flatten(2)


class MultiHeadAttention(nn.Module):
    """MultiHead(Q, K, V) = Concat(head_1, …, head_h) W^O, head_i = Attention(Q_i, K_i, V_i).

    The two kinds below differ only in where their queries, keys and values come from.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.fused = config.attention == "fused"
        self.dropout = config.attention_dropout
        self.output = nn.Linear(config.d_model, config.d_model)
        self.on_weights: Callable[[Tensor], None] | None = None  # set by collect_attention

    def attend(
        self,
        query: Float[Tensor, "batch heads query d_head"],
        key: Float[Tensor, "batch heads key d_head"],
        value: Float[Tensor, "batch heads key d_head"],
        bias: Float[Tensor, "#batch #heads #query key"] | None,
    ) -> Float[Tensor, "batch query d_model"]:
        """Equation 1 for all heads at once, then W^O.

        The fused kernel computes the same without ever storing the weights [query, key]; they
        are spelled out when the configuration says so, or when someone asked to see them.
        """
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

    def __init__(self, config: TransformerConfig, rotary: RotaryPositions | None = None) -> None:
        super().__init__(config)
        self.query_key_value = nn.Linear(config.d_model, 3 * config.d_model)
        self.rotary = rotary

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        bias: Float[Tensor, "#batch 1 #length key"] | None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        query, key, value = split_heads(self.query_key_value(x), self.num_heads, parts=3)
        if self.rotary is not None:
            offset = 0 if cache is None else cache.length
            query, key = self.rotary(query, offset), self.rotary(key, offset)
        if cache is not None:
            key, value = cache.extend(key, value)
        return self.attend(query, key, value, bias)


class CrossAttention(MultiHeadAttention):
    """The target looks at the source: queries from the decoder, keys and values from the memory."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.query = nn.Linear(config.d_model, config.d_model)
        self.key_value = nn.Linear(config.d_model, 2 * config.d_model)

    def keys_and_values(
        self, memory: Float[Tensor, "batch source d_model"]
    ) -> tuple[Float[Tensor, "batch heads source d_head"], ...]:
        """What `forward` looks at. It depends on the source alone: once per source is enough."""
        return split_heads(self.key_value(memory), self.num_heads, parts=2)

    def forward(
        self,
        x: Float[Tensor, "rows target d_model"],
        key: Float[Tensor, "batch heads source d_head"],
        value: Float[Tensor, "batch heads source d_head"],
        bias: Float[Tensor, "#batch 1 1 source"] | None,
    ) -> Float[Tensor, "rows target d_model"]:
        """`rows` is `batch`, or a multiple: the hypotheses of one source in a beam, side by side.

        Queries do not see each other, so hypotheses may stand in one row as if they were one
        target, and the keys and values of their source need not be copied for each.
        """
        query = self.query(x).reshape(key.shape[0], -1, x.shape[-1])
        (query,) = split_heads(query, self.num_heads, parts=1)
        return self.attend(query, key, value, bias).reshape(x.shape)

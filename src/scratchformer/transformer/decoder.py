"""The decoder: "Attention Is All You Need" §3.1, figure 1 right."""

from collections.abc import Sequence
from typing import cast

from torch import nn

from .attention import CrossAttention, SelfAttention
from .cache import KeyValueCache
from .config import TransformerConfig
from .feed_forward import FeedForward
from .positions import PositionsInAttention, make_positions_in_attention
from .residual import Residual, make_final_norm
from .shapes import Float, Tensor

KeysValues = tuple[Tensor, ...]  # of one layer, each [batch, kv_heads, source, d_head]


class DecoderLayer(nn.Module):
    """An encoder layer that, in between, looks at the source."""

    def __init__(
        self, config: TransformerConfig, positions: PositionsInAttention | None = None
    ) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config, positions)
        self.cross_attention = CrossAttention(config)
        self.feed_forward = FeedForward(config)
        self.around_self_attention = Residual(config)
        self.around_cross_attention = Residual(config)
        self.around_feed_forward = Residual(config)

    def forward(
        self,
        x: Float[Tensor, "rows target d_model"],
        bias: Float[Tensor, "#rows 1 #target key"] | None,
        memory: KeysValues,
        memory_bias: Float[Tensor, "#batch 1 1 source"] | None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "rows target d_model"]:
        x = self.around_self_attention(x, lambda y: self.self_attention(y, bias, cache))
        x = self.around_cross_attention(x, lambda y: self.cross_attention(y, *memory, memory_bias))
        x = self.around_feed_forward(x, self.feed_forward)
        return x


class Decoder(nn.Module):
    """The layers one after the other."""

    def __init__(self, config: TransformerConfig, num_layers: int) -> None:
        super().__init__()
        positions = make_positions_in_attention(config)  # one for all layers
        self.layers = nn.ModuleList(DecoderLayer(config, positions) for _ in range(num_layers))
        self.final_norm = make_final_norm(config)

    def read(self, memory: Float[Tensor, "batch source d_model"]) -> list[KeysValues]:
        """The source as each layer's cross-attention sees it."""
        attentions = [cast(DecoderLayer, layer).cross_attention for layer in self.layers]
        return [attention.keys_and_values(memory) for attention in attentions]

    def forward(
        self,
        x: Float[Tensor, "rows target d_model"],
        bias: Float[Tensor, "#rows 1 #target key"] | None,
        memory: Sequence[KeysValues],
        memory_bias: Float[Tensor, "#batch 1 1 source"] | None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Float[Tensor, "rows target d_model"]:
        for index, layer in enumerate(self.layers):
            cache = None if caches is None else caches[index]
            x = layer(x, bias, memory[index], memory_bias, cache)
        return self.final_norm(x)

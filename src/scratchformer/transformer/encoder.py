"""The encoder: "Attention Is All You Need" §3.1, figure 1 left."""

from collections.abc import Sequence

from torch import nn

from .attention import SelfAttention
from .cache import KeyValueCache
from .config import TransformerConfig
from .feed_forward import FeedForward
from .positions import PositionsInAttention, make_positions_in_attention
from .residual import Residual, make_final_norm
from .shapes import Float, Tensor


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each inside a residual connection."""

    def __init__(
        self, config: TransformerConfig, positions: PositionsInAttention | None = None
    ) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config, positions)
        self.feed_forward = FeedForward(config)
        self.around_self_attention = Residual(config)
        self.around_feed_forward = Residual(config)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        bias: Float[Tensor, "#batch 1 #length key"] | None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        x = self.around_self_attention(x, lambda y: self.self_attention(y, bias, cache))
        x = self.around_feed_forward(x, self.feed_forward)
        return x


class Encoder(nn.Module):
    """The layers one after the other. Under a causal mask, this is a decoder-only model too."""

    def __init__(self, config: TransformerConfig, num_layers: int) -> None:
        super().__init__()
        positions = make_positions_in_attention(config)  # one for all layers
        self.layers = nn.ModuleList(EncoderLayer(config, positions) for _ in range(num_layers))
        self.final_norm = make_final_norm(config)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        bias: Float[Tensor, "#batch 1 #length key"] | None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        for index, layer in enumerate(self.layers):
            x = layer(x, bias, None if caches is None else caches[index])
        return self.final_norm(x)

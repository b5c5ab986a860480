"""From token numbers to vectors: "Attention Is All You Need" §3.4, with the positions of §3.5."""

import math

from torch import nn

from .config import TransformerConfig
from .dropout import Dropout
from .normalization import make_norm
from .positions import make_added_positions
from .shapes import Float, Int, Tensor


class OutputProjection(nn.Linear):
    """logits = x Eᵀ: from vectors to tokens, with the embedding's own matrix if tied (§3.4)."""

    def __init__(self, config: TransformerConfig, embedding: "Embedding") -> None:
        super().__init__(config.d_model, config.target_vocab_size, config.output_bias)
        if config.tie_embeddings != "none":
            self.weight = embedding.tokens.weight


class Embedding(nn.Module):
    """x = dropout(√d_model · E[token] + position).

    E starts with entries of variance 1/d_model, right for the output projection it is tied to. The
    factor brings them to variance 1, beside sinusoids whose mean square is 1/2. Rotary positions
    and ALiBi add nothing here.
    """

    def __init__(self, vocab_size: int, config: TransformerConfig) -> None:
        super().__init__()
        if vocab_size < 1:
            raise ValueError("an embedding needs a vocabulary: set its size in the configuration")
        self.tokens = nn.Embedding(vocab_size, config.d_model)
        self.scale = math.sqrt(config.d_model) if config.scale_embeddings else 1.0
        self.positions = make_added_positions(config)
        self.norm = make_norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = Dropout(config.dropout)

    def forward(
        self, tokens: Int[Tensor, "batch length"], start: int = 0
    ) -> Float[Tensor, "batch length d_model"]:
        """`start` is the position of the first token: how many were read before (decoding)."""
        x = self.tokens(tokens) * self.scale
        if self.positions is not None:
            x = x + self.positions(start, tokens.shape[1])
        return self.dropout(self.norm(x))

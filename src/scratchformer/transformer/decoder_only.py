"""A language model: the encoder's layers under a causal mask (Radford et al. 2018, GPT)."""

from collections.abc import Sequence

from torch import nn

from .cache import KeyValueCache
from .config import TransformerConfig
from .embedding import Embedding, OutputProjection
from .encoder import Encoder
from .initialization import initialize
from .model import decoder_bias
from .shapes import Float, Int, Tensor


class DecoderOnly(nn.Module):
    """Predicts each token from those before it. Has the decoder's settings of the configuration."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.target_embedding = Embedding(config.target_vocab_size, config)
        self.decoder = Encoder(config, config.num_decoder_layers)
        self.output = OutputProjection(config, self.target_embedding)
        initialize(self, config)

    def decode_hidden(
        self,
        tokens: Int[Tensor, "batch length"],
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """As Transformer.decode_hidden, without a source."""
        start = 0 if caches is None else caches[0].length
        x = self.target_embedding(tokens, start)
        bias = decoder_bias(tokens, start, self.config.pad_id, x)
        return self.decoder(x, bias, caches)

    def project(self, hidden: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows vocab"]:
        """Logits of the next token."""
        return self.output(hidden)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length vocab"]:
        """Logits of token t + 1, for every t."""
        return self.project(self.decode_hidden(tokens))

    def new_caches(self) -> list[KeyValueCache]:
        """Empty caches to decode with, one a layer."""
        return [KeyValueCache() for _ in self.decoder.layers]

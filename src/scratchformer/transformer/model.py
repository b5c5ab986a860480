"""The Transformer: "Attention Is All You Need" §3, figure 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from .cache import KeyValueCache
from .config import TransformerConfig
from .decoder import Decoder, KeysValues
from .embedding import Embedding, OutputProjection
from .encoder import Encoder
from .initialization import initialize
from .masks import as_bias, causal_mask, padding_mask
from .shapes import Float, Int, Tensor


@dataclass
class Memory:
    """What the decoder knows of a batch of sources, computed once per source."""

    hidden: Float[Tensor, "batch source d_model"]  # the encoder's output
    bias: Float[Tensor, "batch 1 1 source"]  # hides the padding
    keys_values: Sequence[KeysValues]  # of each decoder layer's cross-attention

    def select(self, rows: Tensor) -> "Memory":
        """These rows of the batch, in this order."""
        keys_values = [tuple(x.index_select(0, rows) for x in layer) for layer in self.keys_values]
        return Memory(self.hidden[rows], self.bias[rows], keys_values)


class Transformer(nn.Module):
    """Encoder and decoder: reads a source, generates a target one token after the other.

    `forward` is for training: all target positions at once, each seeing only those before it.
    Sources and targets are token numbers, filled up with `pad_id`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = Embedding(config.source_vocab_size, config)
        self.target_embedding = Embedding(config.target_vocab_size, config)
        self.encoder = Encoder(config, config.num_encoder_layers)
        self.decoder = Decoder(config, config.num_decoder_layers)
        self.output = OutputProjection(config, self.target_embedding)
        if config.tie_embeddings == "all":
            self.source_embedding.tokens.weight = self.target_embedding.tokens.weight
        initialize(self, config)

    def encode(self, source: Int[Tensor, "batch source"]) -> Memory:
        """Read the source, once."""
        x = self.source_embedding(source)
        bias = as_bias(padding_mask(source, self.config.pad_id), x.dtype)
        hidden = self.encoder(x, bias)
        return Memory(hidden, bias, self.decoder.read(hidden))

    def decode_hidden(
        self,
        target_input: Int[Tensor, "rows target"],
        memory: Memory,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Float[Tensor, "rows target d_model"]:
        """The decoder's output before `project`; position t has seen target_input[: t + 1].

        With `caches` (one a layer, see `new_caches`), target_input holds only the tokens that
        come after the cached ones, and no padding. `rows` may be a multiple of the sources.
        """
        start = 0 if caches is None else caches[0].length
        x = self.target_embedding(target_input, start)
        bias = decoder_bias(target_input, start, self.config.pad_id, x)
        return self.decoder(x, bias, memory.keys_values, memory.bias, caches)

    def project(self, hidden: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows vocab"]:
        """Logits of the next token."""
        return self.output(hidden)

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        target_input: Int[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target vocab"]:
        """Logits of target token t + 1, for every t. `target_input` begins with `bos_id`."""
        return self.project(self.decode_hidden(target_input, self.encode(source)))

    def new_caches(self) -> list[KeyValueCache]:
        """Empty caches to decode with, one a layer."""
        return [KeyValueCache() for _ in self.decoder.layers]


def decoder_bias(
    tokens: Int[Tensor, "batch length"], start: int, pad_id: int, like: Tensor
) -> Float[Tensor, "#batch 1 length key"] | None:
    """Hides the future and the padding; None where there is nothing to hide.

    Behind a cache of `start` tokens there is no padding, and a single query has no future.
    """
    length = tokens.shape[1]
    if start > 0 and length == 1:
        return None
    mask = causal_mask(length, start + length, tokens.device)
    if start == 0:
        words = padding_mask(tokens, pad_id)
        words[..., 0] = True  # BOS, even if it is the padding token (Marian)
        mask = mask & words
    return as_bias(mask, like.dtype)

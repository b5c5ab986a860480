"""An encoder with one output for the whole text: a from-scratch sibling of BERT classifiers."""

from torch import nn

from .config import TransformerConfig
from .dropout import Dropout
from .embedding import Embedding
from .encoder import Encoder
from .initialization import initialize
from .masks import as_bias, padding_mask
from .shapes import Float, Int, Tensor


class EncoderClassifier(nn.Module):
    """logits = W mean(encoder(source)) + b, the mean over the tokens that are not padding.

    With `num_labels` 0 there is no W: `encode` and `pool` still give features of a text.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = Embedding(config.source_vocab_size, config)
        self.encoder = Encoder(config, config.num_encoder_layers)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(config.d_model, config.num_labels) if config.num_labels else None
        initialize(self, config)

    def encode(self, source: Int[Tensor, "batch source"]) -> Float[Tensor, "batch source d_model"]:
        """One vector for every token."""
        x = self.source_embedding(source)
        bias = as_bias(padding_mask(source, self.config.pad_id), x.dtype)
        return self.encoder(x, bias)

    def pool(
        self,
        hidden: Float[Tensor, "batch source d_model"],
        source: Int[Tensor, "batch source"],
    ) -> Float[Tensor, "batch d_model"]:
        """The mean over the tokens that are not padding; 0 for a text without any."""
        real = (source != self.config.pad_id).to(hidden.dtype)
        total = (real[:, None, :] @ hidden).squeeze(1)
        return total / real.sum(dim=1, keepdim=True).clamp(min=1)

    def forward(self, source: Int[Tensor, "batch source"]) -> Float[Tensor, "batch labels"]:
        """Raises ValueError on a model without labels."""
        if self.output is None:
            raise ValueError("num_labels is 0: this model has features but no logits")
        pooled = self.pool(self.encode(source), source)
        return self.output(self.dropout(pooled))

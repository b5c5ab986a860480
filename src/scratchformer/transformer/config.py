"""Every choice of a model in one frozen object, saved beside the weights as config.json."""

from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from .dropout import LARGEST as LARGEST_DROPOUT


@dataclass(frozen=True)
class TransformerConfig:
    """The defaults are the base model of "Attention Is All You Need" (table 3, first row).

    An encoder reads `source_vocab_size`, a decoder reads `target_vocab_size`; a model that has
    no such side leaves the number at 0. Raises ValueError on values that make no model.
    """

    source_vocab_size: int = 0
    target_vocab_size: int = 0
    d_model: int = 512  # width of every layer's input and output
    num_heads: int = 8  # divides d_model
    d_ff: int = 2048  # width inside the feed-forward network
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    dropout: float = 0.1  # P_drop of §5.4: after each sub-layer and after the embeddings
    norm: Literal["layer", "rms"] = "layer"
    norm_position: Literal["pre", "post"] = "post"  # the paper: post
    activation: Literal["relu", "gelu", "silu", "swiglu"] = "relu"  # the paper: relu
    positions: Literal["sinusoidal", "sinusoidal_halves", "learned", "rotary", "alibi"] = (
        "sinusoidal"
    )
    max_length: int = 512  # tokens: the longest sequence that positions are made for
    tie_embeddings: Literal["none", "decoder", "all"] = "all"  # the paper: all (§3.4)
    initialization: Literal["xavier", "depth_scaled"] = "xavier"
    attention: Literal["fused", "explicit"] = "fused"  # one kernel, or the equation written out
    num_labels: int = 0  # EncoderClassifier only
    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2

    # Not in the paper; some libraries have them, and their weights need them to mean the same.
    num_kv_heads: int = (
        0  # heads of keys and values; divides num_heads; 0: as many (LLaMA 2: fewer)
    )
    attention_dropout: float = 0.0  # on attention weights (tensor2tensor, BERT)
    activation_dropout: float = 0.0  # inside the feed-forward network (tensor2tensor)
    norm_epsilon: float = 1e-5  # BERT: 1e-12
    scale_embeddings: bool = True  # times √d_model, §3.4; BERT: False
    embedding_norm: bool = False  # a norm after the embeddings (BERT)
    position_offset: int = 0  # number of the first position (M2M100: pad_id + 1)
    slowest_wave_is_exact: bool = False  # other sinusoid frequencies (tensor2tensor, M2M100)
    output_bias: bool = False  # a bias on the logits (Marian)

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(TransformerConfig).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                choices = ", ".join(get_args(kind))
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {choices}")
        for name in ("d_model", "num_heads", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            if not 0 <= getattr(self, name) <= LARGEST_DROPOUT:
                raise ValueError(
                    f"{name} ({getattr(self, name)}) must be at least 0 and at most "
                    f"{LARGEST_DROPOUT:.5f}: something has to be left"
                )
        if self.d_model % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide d_model ({self.d_model})")
        if self.num_kv_heads < 0 or self.num_heads % self.kv_heads:
            raise ValueError(
                f"num_kv_heads ({self.num_kv_heads}) must divide num_heads ({self.num_heads})"
            )
        if self.positions.startswith("sinusoidal") and self.d_model % 2:
            raise ValueError(f"sinusoidal positions need an even d_model, not {self.d_model}")
        if self.positions == "rotary" and self.d_head % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.d_head}")
        sizes = {self.source_vocab_size, self.target_vocab_size}
        if self.tie_embeddings == "all" and len(sizes) == 2 and 0 not in sizes:
            raise ValueError(f"tie_embeddings 'all' needs one vocabulary, not two of {sizes} ids")

    @property
    def d_head(self) -> int:
        """Width of one head: d_k = d_v = d_model / h in the paper."""
        return self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Heads of the keys and of the values (grouped-query attention has fewer)."""
        return self.num_kv_heads or self.num_heads

    @property
    def kv_width(self) -> int:
        """Width of the keys of all heads together, and of the values."""
        return self.kv_heads * self.d_head

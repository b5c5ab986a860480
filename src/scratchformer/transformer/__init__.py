"""The Transformer, from scratch, in the order to read it.

1. attention       equation 1, heads, self- and cross-attention; their matrices: fused_linear
2. positions       sinusoidal, learned, rotary, ALiBi
3. embedding       tokens to vectors, and back to logits
4. feed_forward    equation 2
5. normalization   LayerNorm, RMSNorm
6. residual        pre-norm and post-norm, with its dropout
7. masks           padding, the future
8. encoder, decoder, model              the parts put together
9. classifier, decoder_only             two more models from the same parts
10. initialization                      first values of every parameter
11. generation, sampling, beam_search   one token after the other, with a `cache`; `largest`
12. attention_maps, weights             looking inside; saving and loading

`config` lists every choice, `shapes` the names used in annotations. The folder needs torch and
safetensors and imports nothing else of this project.
"""

from .attention_maps import AttentionMaps, collect_attention
from .beam_search import beam_search
from .classifier import EncoderClassifier
from .config import TransformerConfig
from .decoder_only import DecoderOnly
from .generation import Generated, forced_score, greedy
from .model import Memory, Transformer
from .sampling import sample
from .weights import load_model, save_model

__all__ = [
    "AttentionMaps",
    "DecoderOnly",
    "EncoderClassifier",
    "Generated",
    "Memory",
    "Transformer",
    "TransformerConfig",
    "beam_search",
    "collect_attention",
    "forced_score",
    "greedy",
    "load_model",
    "sample",
    "save_model",
]

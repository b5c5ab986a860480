"""Weights to and from `transformers`: one file a family, found here by `model_type`."""

from collections.abc import Callable
from typing import Any

from scratchformer.base.registry import Registry
from scratchformer.pretrained.conversion import bert, seq2seq
from scratchformer.transformer import EncoderClassifier, Transformer

# How the weights of a family come to us. A family has a file of its own, or shares one.
LOADERS: Registry[Callable[[Any], Transformer | EncoderClassifier]] = Registry(
    "model_type",
    {
        **dict.fromkeys(seq2seq.FAMILIES, seq2seq.load),
        **dict.fromkeys(bert.FAMILIES, bert.load),
    },
)


def to_transformers(model: Transformer) -> Any:
    """A model of `transformers` that computes the same logits from the same token numbers.

    Post-norm becomes MarianMTModel. Pre-norm becomes M2M100 if its positions are M2M100's, and
    Pegasus otherwise. `generate` writes what our greedy and beam search write. Raises
    ParamsError for what no model there has: rotary positions, RMSNorm, SwiGLU.
    """
    return seq2seq.export(model)


def from_transformers(model: Any) -> Transformer | EncoderClassifier:
    """Our model with the weights of a `transformers` model, in evaluation mode.

    Marian, M2M100 and Pegasus give a Transformer. BertModel and RobertaModel give an
    EncoderClassifier without labels: `encode` gives their last hidden state. Raises ParamsError
    for other models and for settings that our code does not have.
    """
    return LOADERS[model.config.model_type](model)

"""Weights to and from `transformers`: one file a family, found here by `model_type`."""

from typing import Any

from scratchformer.base.errors import ParamsError
from scratchformer.pretrained.conversion import bert, seq2seq
from scratchformer.transformer import EncoderClassifier, Transformer


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
    kind = model.config.model_type
    if kind in seq2seq.FAMILIES:
        return seq2seq.load(model)
    if kind in bert.FAMILIES:
        return bert.load(model)
    known = ", ".join((*seq2seq.FAMILIES, *bert.FAMILIES))
    raise ParamsError(f"model_type {kind!r} is none of {known}: its weights cannot be mapped")

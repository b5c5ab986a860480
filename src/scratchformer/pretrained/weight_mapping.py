"""Our models as `transformers` models and back: the same numbers under other names.

`to_transformers` turns an encoder-decoder of ours into a model that any tool of that library
runs; `from_transformers` runs real pretrained weights in our code. Which tensor is which stands
in rules, one list a family, read forwards or backwards:

- weight_mapping_seq2seq.py: Marian, M2M100, Pegasus
- weight_mapping_bert.py: BERT, RoBERTa
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scratchformer.errors import ParamsError
from scratchformer.transformer import EncoderClassifier, Transformer


@dataclass(frozen=True)
class Rule:
    """Our tensor `ours` is their tensors `theirs`, one below the other."""

    ours: str
    theirs: tuple[str, ...]


def linear(ours: str, *theirs: str) -> list[Rule]:
    """Weight and bias of a linear layer of ours that holds theirs side by side."""
    return [
        Rule(f"{ours}.{kind}", tuple(f"{name}.{kind}" for name in theirs))
        for kind in ("weight", "bias")
    ]


def norm(ours: str, theirs: str) -> list[Rule]:
    """A LayerNorm: what we call the gain, as the paper does, torch calls the weight."""
    return [Rule(f"{ours}.gain", (f"{theirs}.weight",)), Rule(f"{ours}.bias", (f"{theirs}.bias",))]


def named(model: torch.nn.Module) -> dict[str, Tensor]:
    """Every parameter under each of its names (a tied one has several), and the buffers."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}


@torch.no_grad()
def copy_in(
    rules: Sequence[Rule], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> None:
    """Fill our tensors from theirs. Raises ParamsError if one of ours or theirs is missing."""
    for rule in rules:
        target = _find(ours, rule.ours)
        source = torch.cat([_find(theirs, name) for name in rule.theirs])
        target.copy_(_same_shape(source, target, rule))


@torch.no_grad()
def copy_out(
    rules: Sequence[Rule], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> None:
    """Fill their tensors from ours."""
    for rule in rules:
        parts = _find(ours, rule.ours).chunk(len(rule.theirs))
        for name, part in zip(rule.theirs, parts, strict=True):
            target = _find(theirs, name)
            target.copy_(_same_shape(part, target, rule))


def _find(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ParamsError(f"the model has no weight {name}, which its configuration asks for")
    return tensors[name]


def _same_shape(source: Tensor, target: Tensor, rule: Rule) -> Tensor:
    if source.numel() != target.numel():
        raise ParamsError(f"{rule}: shapes {tuple(source.shape)} and {tuple(target.shape)} differ")
    return source.reshape(target.shape)  # Marian keeps its bias as [1, vocab]


def check_complete(rules: Sequence[Rule], ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Raise ParamsError if a learned weight of either model is in no rule.

    The tables of sinusoids are not learned, although `transformers` counts them as parameters.
    """
    for model, names in (
        (ours, {rule.ours for rule in rules}),
        (theirs, {name for rule in rules for name in rule.theirs}),
    ):
        known = {id(tensor) for name, tensor in named(model).items() if name in names}
        for name, parameter in model.named_parameters():
            if id(parameter) not in known and "embed_positions" not in name:
                raise ParamsError(f"{type(model).__name__}.{name} has no counterpart")


def to_transformers(model: Transformer) -> Any:
    """A model of `transformers` that computes the same logits from the same token numbers.

    Post-norm becomes MarianMTModel. Pre-norm becomes M2M100 if its positions are M2M100's, and
    Pegasus otherwise. `generate` writes what our greedy and beam search write. Raises
    ParamsError for what no model there has: rotary positions, RMSNorm, SwiGLU.
    """
    from scratchformer.pretrained import weight_mapping_seq2seq

    return weight_mapping_seq2seq.export(model)


def from_transformers(model: Any) -> Transformer | EncoderClassifier:
    """Our model with the weights of a `transformers` model, in evaluation mode.

    Marian, M2M100 and Pegasus give a Transformer. BertModel and RobertaModel give an
    EncoderClassifier without labels: `encode` gives their last hidden state. Raises ParamsError
    for other models and for settings that our code does not have.
    """
    from scratchformer.pretrained import weight_mapping_bert, weight_mapping_seq2seq

    kind = model.config.model_type
    if kind in weight_mapping_seq2seq.FAMILIES:
        return weight_mapping_seq2seq.load(model)
    if kind in weight_mapping_bert.FAMILIES:
        return weight_mapping_bert.load(model)
    known = ", ".join((*weight_mapping_seq2seq.FAMILIES, *weight_mapping_bert.FAMILIES))
    raise ParamsError(f"model_type {kind!r} is none of {known}: its weights cannot be mapped")

"""Our models as `transformers` models and back: the same numbers under other names.

`to_transformers` turns an encoder-decoder of ours into a model that any tool of that library
runs; `from_transformers` runs real pretrained weights in our code. Which tensor is which stands
in rules, one list a family, read forwards or backwards:

- seq2seq.py: Marian, M2M100, Pegasus
- bert.py: BERT, RoBERTa
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.base.errors import ParamsError
from scratchformer.transformer.fused_linear import FusedLinear


@dataclass(frozen=True)
class Rule:
    """Our tensor `ours` is their tensor `theirs`."""

    ours: str
    theirs: str


def linear(ours: str, theirs: str) -> list[Rule]:
    """Weight and bias of a linear layer."""
    return [Rule(f"{ours}.{kind}", f"{theirs}.{kind}") for kind in ("weight", "bias")]


def norm(ours: str, theirs: str) -> list[Rule]:
    """A LayerNorm: what we call the gain, as the paper does, torch calls the weight."""
    return [Rule(f"{ours}.gain", f"{theirs}.weight"), Rule(f"{ours}.bias", f"{theirs}.bias")]


def named(model: torch.nn.Module) -> dict[str, Tensor]:
    """Every parameter under each of its names (a tied one has several), and the buffers.

    Of layers that are stored side by side, also each one's rows: `….query_key_value.key.weight`.
    """
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers()),
    }
    for rows in _side_by_side(model).values():
        tensors |= rows
    return tensors


def _side_by_side(model: torch.nn.Module) -> dict[str, dict[str, Tensor]]:
    """The parameters that hold several layers, each with the rows of these by their names."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, FusedLinear):
            for kind in ("weight", "bias"):
                rows = module.split_rows(getattr(module, kind).detach())
                found[f"{name}.{kind}"] = {
                    f"{name}.{part}.{kind}": row for part, row in rows.items()
                }
    return found


@torch.no_grad()
def copy_in(
    rules: Sequence[Rule], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> None:
    """Fill our tensors from theirs. Raises ParamsError if one of ours or theirs is missing."""
    for rule in rules:
        target = _find(ours, rule.ours)
        target.copy_(_same_shape(_find(theirs, rule.theirs), target, rule))


@torch.no_grad()
def copy_out(
    rules: Sequence[Rule], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> None:
    """Fill their tensors from ours."""
    for rule in rules:
        target = _find(theirs, rule.theirs)
        target.copy_(_same_shape(_find(ours, rule.ours), target, rule))


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
        (theirs, {rule.theirs for rule in rules}),
    ):
        whole = {name for name, rows in _side_by_side(model).items() if rows.keys() <= names}
        known = {id(tensor) for name, tensor in named(model).items() if name in names | whole}
        for name, parameter in model.named_parameters():
            if id(parameter) not in known and "embed_positions" not in name:
                raise ParamsError(f"{type(model).__name__}.{name} has no counterpart")

"""The same function from other weights: rewritings that a foreign model's layout asks for."""

from dataclasses import replace

import torch
from torch import Tensor

from scratchformer.transformer import Transformer

NEVER = -1e4  # logit of a token that no one may write; finite in every precision


@torch.no_grad()
def with_halves(model: Transformer) -> Transformer:
    """Sines first, then cosines, instead of in turn: the axes of d_model in another order.

    No layer cares which axis is which, so long as all that write to the residual stream and all
    that read from it agree. Their matrices are reordered with the positions.
    """
    config = replace(model.config, positions="sinusoidal_halves")
    result = Transformer(config).eval()
    axes = torch.arange(config.d_model)
    order = torch.cat([axes[0::2], axes[1::2]])
    targets = dict(result.named_parameters())
    for name, parameter in model.named_parameters():
        targets[name].copy_(_reorder(name, parameter, order))
    return result


def _reorder(name: str, parameter: Tensor, order: Tensor) -> Tensor:
    """Along the axis of `parameter` that is the residual stream, if it has one."""
    module, _, kind = name.rpartition(".")
    writes = module.endswith(("attention.output", "feed_forward.outer"))
    if "norm" in module or (writes and kind == "bias"):
        return parameter[order]
    if kind == "bias":  # of queries, keys, values, inner widths or logits
        return parameter
    return parameter[order] if writes else parameter[:, order]


@torch.no_grad()
def with_one_vocabulary(model: Transformer) -> Transformer:
    """Source and target vocabulary filled up to one size, the new target tokens never written."""
    size = max(model.config.source_vocab_size, model.config.target_vocab_size)
    config = replace(
        model.config,
        source_vocab_size=size,
        target_vocab_size=size,
        tie_embeddings="none",
        output_bias=True,
    )
    result = Transformer(config).eval()
    result.output.bias[model.config.target_vocab_size :] = NEVER
    targets = dict(result.named_parameters())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if len(parameter) < len(targets[name]) and parameter.dim() == 2:
            targets[name].zero_()
        targets[name][: len(parameter)] = parameter
    return result

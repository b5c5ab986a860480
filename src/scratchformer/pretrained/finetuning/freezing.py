"""Which parameters a fine-tuning leaves as they are."""

import re
from typing import TYPE_CHECKING, Any, Literal

from scratchformer.base.errors import ParamsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def freeze(model: "PreTrainedModel", what: Literal["none", "embeddings"], layers: int = 0) -> None:
    """Take parameters out of the training: no gradient, no optimizer state, no backward pass.

    Args:
        what: "none", or "embeddings" (all of them: words, positions, segments and their norm).
        layers: this many of the lowest blocks too, together with the embeddings (a gradient that
            reaches the embeddings runs through all blocks anyway).

    Raises:
        ParamsError: the model has fewer blocks than that.
    """
    if what == "none":
        return
    body = model.base_model
    for embedding in _embeddings(model):
        embedding.requires_grad_(False)
    blocks = _blocks(model) if layers else []
    if layers > len(blocks):
        raise ParamsError(
            f"finetune.frozen_layers: {layers}, but {type(body).__name__} has {len(blocks)} layers"
        )
    for block in blocks[:layers]:
        block.requires_grad_(False)


def _embeddings(model: "PreTrainedModel") -> list[Any]:
    """What stands before the blocks: tables, their norm and their projection, by whatever name
    (`embeddings`, `wte` and `wpe`, `layernorm_embedding`, `embedding_hidden_mapping_in`)."""
    from torch.nn import Embedding

    return [
        module
        for name, module in model.base_model.named_modules()
        if (isinstance(module, Embedding) or "embed" in name.lower())
        and not re.search(r"\.\d+(\.|$)", name)  # T5 keeps distances in its first block
    ]


def _blocks(model: "PreTrainedModel") -> Any:
    """The list of encoder blocks, whatever the architecture calls it."""
    from torch.nn import ModuleList

    config, depth = model.config, model.config.num_hidden_layers
    if getattr(config, "num_hidden_groups", depth) < depth:
        raise ParamsError(
            f"finetune.frozen_layers: the {depth} layers of {type(model.base_model).__name__} "
            "share their weights, so the lowest cannot be frozen alone; set frozen_layers: 0"
        )
    for module in model.base_model.modules():
        if isinstance(module, ModuleList) and len(module) == depth:
            return module
    raise ParamsError(
        f"finetune.frozen_layers: {type(model.base_model).__name__} has no list of {depth} layers"
    )

"""Which parameters a fine-tuning leaves as they are."""

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
    embeddings = getattr(body, "embeddings", None) or model.get_input_embeddings()
    embeddings.requires_grad_(False)
    blocks = _blocks(model) if layers else []
    if layers > len(blocks):
        raise ParamsError(
            f"finetune.frozen_layers: {layers}, but {type(body).__name__} has {len(blocks)} layers"
        )
    for block in blocks[:layers]:
        block.requires_grad_(False)


def _blocks(model: "PreTrainedModel") -> Any:
    """The list of encoder blocks, whatever the architecture calls it."""
    from torch.nn import ModuleList

    depth = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, ModuleList) and len(module) == depth:
            return module
    raise ParamsError(
        f"finetune.frozen_layers: {type(model.base_model).__name__} has no list of {depth} layers"
    )

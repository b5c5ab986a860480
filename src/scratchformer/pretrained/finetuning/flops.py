"""What the batches of a fine-tuning cost, by the formula of monitoring/flops.py."""

from typing import TYPE_CHECKING, Any

from scratchformer.monitoring.flops import Flops, Shape, Utilisation
from scratchformer.monitoring.machine_rate import busiest_layer, machine_rate
from scratchformer.pretrained.finetuning.tasks import NO_LABEL, FinetuneTask

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def shape_of(inputs: "dict[str, Tensor]") -> Shape:
    """Of what a task collates."""
    rows, source = inputs["input_ids"].shape
    source_tokens = int(inputs["attention_mask"].sum())
    labels = inputs["labels"]
    if labels.ndim == 1:  # one a row: a classification
        return Shape(rows, source, 0, source_tokens, 0)
    return Shape(rows, source, labels.shape[1], source_tokens, int((labels != NO_LABEL).sum()))


def flops_of(model: "PreTrainedModel") -> Flops:
    """Per weight: 2 forward; 2 for the gradient of the layer's input, if anything below it is
    trained; 2 for that of the weight, if it is trained itself. All trained, that is 6.

    Two approximations, of a few per cent at most: layers side by side count as one above the
    other, and the decoder's keys and values of the source as if source and target were equally
    long.
    """
    config: Any = model.config
    # ALBERT applies the same weights in every layer.
    uses = config.num_hidden_layers / (getattr(config, "num_hidden_groups", 0) or
                                       config.num_hidden_layers)  # fmt: skip
    weights = {"encoder": 0.0, "decoder": 0.0}
    flops = {"encoder": 0.0, "decoder": 0.0}
    backward = False
    for name, module in model.base_model.named_modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 2 and _is_matrix(module) and "pooler" not in name:
                side = "decoder" if name.startswith(("decoder.", "model.decoder.", "lm_head")) \
                    else "encoder"
                weights[side] += 2 * uses * parameter.numel()
                flops[side] += 2 * uses * parameter.numel() * (
                    1 + backward + parameter.requires_grad
                )
            backward = backward or parameter.requires_grad
    return Flops(flops["encoder"], flops["decoder"])


def _is_matrix(module: Any) -> bool:
    """Whether the module multiplies by its weights instead of looking them up."""
    from torch import nn

    return not isinstance(module, nn.Embedding)

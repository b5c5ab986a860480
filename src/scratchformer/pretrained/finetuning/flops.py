"""What the batches of a fine-tuning cost, by the formula of monitoring/flops.py."""

from typing import TYPE_CHECKING, Any

from scratchformer.monitoring.flops import Flops, Shape, Utilisation
from scratchformer.monitoring.machine_rate import busiest_layer, machine_rate
from scratchformer.pretrained.finetuning.tasks.task import FinetuneTask
from scratchformer.pretrained.inference import NO_LABEL
from scratchformer.runtime.device import machine

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

DECODER = ("decoder.", "model.decoder.", "lm_head")


def shape_of(inputs: "dict[str, Tensor]") -> Shape:
    """Of what a task collates."""
    rows, source = inputs["input_ids"].shape
    source_tokens = int(inputs["attention_mask"].sum())
    labels = inputs["labels"]
    if labels.ndim == 1:  # one a row: a classification
        return Shape(rows, source, 0, source_tokens, 0)
    return Shape(rows, source, labels.shape[1], source_tokens, int((labels != NO_LABEL).sum()))


def flops_of(model: "PreTrainedModel") -> Flops:
    """Each weight costs 2 operations a position forward, 2 for the gradient of its layer's input
    where anything below is trained, and 2 for its own gradient where it is trained itself: 6 in
    a model of which all is trained.

    Within a few per cent (tested against torch's counter): heads that see one vector a row are
    left out, layers side by side count as one above the other, and the decoder's keys and values
    of the source count as if the source were as long as the target.
    """
    encoder = decoder = encoder_forward = decoder_forward = 0.0
    gradient_arrives = False
    repeats = _uses_of_a_weight(model.config)
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 2 and _multiplies(name, module):
                forward = 2 * repeats * parameter.numel()
                cost = forward * (1 + gradient_arrives + parameter.requires_grad)
                if name.startswith(DECODER):
                    decoder, decoder_forward = decoder + cost, decoder_forward + forward
                else:
                    encoder, encoder_forward = encoder + cost, encoder_forward + forward
            gradient_arrives = gradient_arrives or parameter.requires_grad
    # Attention has a backward pass where its layer has one.
    encoder_pair, decoder_pair = _attention(model.config)
    decoder_share = decoder / decoder_forward if decoder_forward else 0.0
    return Flops(
        source=encoder,
        target=decoder,
        source_pair=encoder_pair * encoder / encoder_forward,
        target_pair=decoder_pair * decoder_share,
        cross_pair=decoder_pair * decoder_share,
    )


def utilisation_of(task: FinetuneTask, batch_size: int) -> Utilisation:
    """Measures the machine with products as large as those of a usual batch, in the precision in
    which the training multiplies."""
    import torch

    like = torch.ones((), dtype=getattr(torch, machine().precision), device=task.model.device)
    positions = max(1, int(task.lengths.mean() * batch_size))
    return Utilisation(
        flops_of(task.model), machine_rate(busiest_layer(task.model), positions, like)
    )


def _multiplies(name: str, module: Any) -> bool:
    """Whether the module multiplies every position by its weights: no embedding, which looks them
    up, and no head, which sees one vector a row."""
    from torch import nn

    heads = ("pooler", "classifier", "classification_head", "score")
    return not isinstance(module, nn.Embedding) and not any(head in name for head in heads)


def _uses_of_a_weight(config: Any) -> float:
    """ALBERT applies one layer's weights in all layers; others have their own in each."""
    groups = getattr(config, "num_hidden_groups", None)
    return float(config.num_hidden_layers / groups) if groups else 1.0


def _attention(config: Any) -> tuple[float, float]:
    """Operations of a (query, key), forward, all layers: 4·L·H·Q; of encoder and decoder."""
    heads = config.num_attention_heads
    head_width = getattr(config, "d_kv", None) or config.hidden_size // heads
    names = ("num_decoder_layers", "decoder_layers")
    decoder_layers = next((n for n in (getattr(config, x, None) for x in names) if n), 0)
    per_layer = 4 * heads * head_width
    return per_layer * config.num_hidden_layers, per_layer * decoder_layers

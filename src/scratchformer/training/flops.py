"""What the batches of the from-scratch model cost, by the formula of monitoring/flops.py."""

import numpy as np
import torch
from torch import nn

from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.monitoring.flops import Flops, Shape, Utilisation
from scratchformer.monitoring.machine_rate import busiest_layer, machine_rate
from scratchformer.runtime.device import device_of, machine
from scratchformer.runtime.processes import world_size
from scratchformer.transformer import EncoderClassifier, Transformer


def shape_of(batch: Batch) -> Shape:
    rows, source = batch.source.shape
    source_tokens = int(np.count_nonzero(batch.source))  # padding is id 0
    if batch.target is None:
        return Shape(rows, source, 0, source_tokens, 0)
    return Shape(rows, source, batch.target.shape[1], source_tokens, batch.tokens)


def flops_of(model: Transformer | EncoderClassifier) -> Flops:
    """The keys and values of a source are made once for each of its positions, by the decoder."""
    config = model.config
    encoder, _ = _weights(model.encoder)
    decoder, read = _weights(model.decoder) if isinstance(model, Transformer) else (0, 0)
    per_layer = 12 * config.d_model
    decoder_pair = per_layer * config.num_decoder_layers if decoder else 0
    return Flops(
        source=6 * (encoder + read),
        target=6 * decoder,
        token=6 * config.d_model * config.target_vocab_size,
        source_pair=per_layer * config.num_encoder_layers,
        target_pair=decoder_pair,
        cross_pair=decoder_pair,
    )


def utilisation_of(
    model: Transformer | EncoderClassifier, data: TokenBatches, passes: int = 1
) -> Utilisation:
    """Measures the machine with products as large as those of a usual batch; several processes
    reach as many times the rate of this one.

    Where a loss asks for several `passes` of every batch, it does each at its share of the rate.
    """
    like = torch.ones((), dtype=getattr(torch, machine().precision), device=device_of(model))
    rate = machine_rate(busiest_layer(model), data.batch(0).source.size, like)
    return Utilisation(flops_of(model), rate * world_size() / passes)


def _weights(stack: nn.Module) -> tuple[int, int]:
    """Weights of the matrices of a stack: (applied to its own positions, to those it reads)."""
    own = read = 0
    for name, parameter in stack.named_parameters():
        if parameter.ndim == 2:
            reads = "cross_attention.key" in name or "cross_attention.value" in name
            own, read = own + parameter.numel() * (not reads), read + parameter.numel() * reads
    return own, read

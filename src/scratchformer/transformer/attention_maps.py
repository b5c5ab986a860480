"""Looking at attention from outside, without a line in the models' `forward`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import setitem

import torch
from torch import nn

from .decoder import DecoderLayer
from .shapes import Tensor


@dataclass
class AttentionMaps:
    """Attention weights of the last forward pass, by layer: [batch, heads, query, key].

    Rows sum to 1; dropout has not touched them. A kind that the model lacks is an empty list.
    """

    encoder: list[Tensor] = field(default_factory=list)  # source looks at source
    decoder: list[Tensor] = field(default_factory=list)  # target looks at target
    cross: list[Tensor] = field(default_factory=list)  # target looks at source


@contextmanager
def collect_attention(model: nn.Module) -> Iterator[AttentionMaps]:
    """Fill the yielded maps at every forward pass inside the block.

    Inside, attention takes its explicit path; outside, the model runs as if this did not exist.
    """
    maps = AttentionMaps()
    watched = []
    for stack_name in ("encoder", "decoder"):
        stack = getattr(model, stack_name, None)
        for layer in stack.layers if stack is not None else ():
            watched.append((layer.self_attention, getattr(maps, stack_name)))
            if isinstance(layer, DecoderLayer):
                watched.append((layer.cross_attention, maps.cross))
    for attention, kind in watched:
        kind.append(torch.empty(0))
        attention.on_weights = partial(setitem, kind, len(kind) - 1)
    try:
        yield maps
    finally:
        for attention, _ in watched:
            attention.on_weights = None

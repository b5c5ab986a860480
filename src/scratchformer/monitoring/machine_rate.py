"""How many operations this machine does in a second, when it multiplies matrices of a model's size.

The denominator of model FLOPs utilisation. Data sheets name a peak that small matrices never
reach; what the same products reach when nothing else is done is the fair comparison.
"""

import time
from typing import Any

import torch
from torch import nn

REPETITIONS = 5  # of each product that is timed; the fastest counts
MAX_POSITIONS = 512  # rows of the left matrix: keeps the measurement under a second


def machine_rate(layer: tuple[int, int], positions: int, like: torch.Tensor) -> float:
    """Operations a second of the three products of a linear layer: y = x Wᵀ, and the gradients of
    x and of W.

    Args:
        layer: (outputs, inputs).
        positions: rows of x and y; more than MAX_POSITIONS count as that many.
        like: a tensor of the type and on the device that are measured; torch's present number
            of threads works.
    """
    positions = min(positions, MAX_POSITIONS)
    x, weight = like.new_ones(positions, layer[1]), like.new_ones(layer)
    y = like.new_ones(positions, layer[0])
    seconds = sum(
        min(_seconds(left, right) for _ in range(REPETITIONS))
        for left, right in ((x, weight.T), (y, weight), (y.T, x))
    )
    return 3 * 2 * positions * layer[0] * layer[1] / seconds


def busiest_layer(model: nn.Module) -> tuple[int, int]:
    """(outputs, inputs) of the linear layers that together hold the most weights."""
    weights: dict[tuple[int, int], int] = {}
    for module in model.modules():
        weight: Any = getattr(module, "weight", None)
        if isinstance(module, nn.Embedding) or getattr(weight, "ndim", 0) != 2:
            continue
        shape = (len(weight), weight.shape[1])
        weights[shape] = weights.get(shape, 0) + weight.numel()
    return max(weights, key=lambda shape: weights[shape])


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.mm(left, right).view(-1)[0].item()  # a GPU works on after mm returns; this waits for it
    return time.perf_counter() - start

"""How many floating-point operations a batch costs in matrix products, and how many the machine can
do in a second: model FLOPs utilisation (Chowdhery et al. 2022, PaLM, appendix B).

Operations are those of the model's own products, forward and backward, the products of queries
with keys and of weights with values among them. What a kernel computes twice to save memory
counts once, as in the paper; products with padding count, because they are made.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

REPETITIONS = 5  # of each product that is timed; the fastest counts
MOST_POSITIONS = 512  # rows of the left matrix, at most: keeps the measurement under a second


@dataclass(frozen=True)
class Shape:
    """Of a padded batch. A model with one input has no target: 0."""

    rows: int
    source: int  # positions of a row
    target: int
    source_tokens: int  # positions of all rows that are not padding
    target_tokens: int

    @property
    def positions(self) -> int:
        return self.rows * (self.source + self.target)

    @property
    def padding(self) -> int:
        """Positions that hold padding."""
        return self.positions - self.source_tokens - self.target_tokens


Pass = tuple[Shape, Callable[[], object]]


class MatrixProducts:
    """What a training's batches cost, and what the machine can do.

    The cost of a batch is a polynomial of its shape: linear layers work position by position,
    attention on pairs of positions, the projection to the vocabulary on tokens. Its coefficients
    come from counting a few small passes, so that any architecture, with any part frozen, is
    counted for what it computes.

    Args:
        model: only looked at for the size of its linear layers.
        passes: shape → a forward and backward pass of a batch of that shape.
        positions: of a usual batch.
        dtype: in which the training multiplies.
    """

    def __init__(
        self,
        model: nn.Module,
        passes: Iterable[Pass],
        positions: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        with _one_thread():
            counted = [(shape, _count(run)) for shape, run in passes]
        terms = np.array([_terms(shape) for shape, _ in counted])
        self._scale = np.maximum(terms.max(axis=0), 1.0)
        operations = np.array([count for _, count in counted], dtype=np.float64)
        self._coefficients = np.linalg.lstsq(terms / self._scale, operations, rcond=None)[0]
        device = next(model.parameters()).device
        like = torch.ones((), dtype=dtype, device=device)
        self.rate = machine_rate(_busiest_layer(model), min(positions, MOST_POSITIONS), like)

    def operations(self, shape: Shape) -> float:
        """Floating-point operations of a forward and backward pass."""
        return float(_terms(shape) / self._scale @ self._coefficients)

    def share(self, shapes: Iterable[Shape], seconds: float) -> float:
        """Of the machine's rate that batches of these shapes reached, 0 to 1."""
        return sum(map(self.operations, shapes)) / (seconds * self.rate)


def probes(*sides: Sequence[int] | npt.NDArray[np.int64]) -> list[list[int]]:
    """Records to count: five of each side, from the shortest to the longest, and an uneven pair.

    Args:
        sides: lengths of the sources, and of the targets if there are any.
    """
    chosen: list[list[int]] = []
    for lengths in sides:
        order = np.argsort(lengths, kind="stable")
        places = np.linspace(0, len(order) - 1, 5).astype(int)
        shortest, *_, longest = some = order[places].tolist()
        chosen += [[record] for record in some] + [[shortest, longest]]
    return chosen


def machine_rate(layer: tuple[int, int], positions: int, like: torch.Tensor) -> float:
    """Operations in a second of the three products of a linear layer: y = x Wᵀ, and the gradients
    of x and of W.

    Args:
        layer: (outputs, inputs).
        positions: rows of x and y.
        like: a tensor of the type and on the device that are measured; torch's present number
            of threads works.
    """
    x, weight = like.new_ones(positions, layer[1]), like.new_ones(layer)
    y = like.new_ones(positions, layer[0])
    seconds = sum(
        min(_seconds(left, right) for _ in range(REPETITIONS))
        for left, right in ((x, weight.T), (y, weight), (y.T, x))
    )
    return 3 * 2 * positions * layer[0] * layer[1] / seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads would only wait for each other over passes as small as those that are counted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.mm(left, right).view(-1)[0].item()  # a GPU works on after mm returns; this waits for it
    return time.perf_counter() - start


def _busiest_layer(model: nn.Module) -> tuple[int, int]:
    """(outputs, inputs) of the linear layers that together hold the most weights."""
    weights: dict[tuple[int, int], int] = {}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            shape = (module.out_features, module.in_features)
            weights[shape] = weights.get(shape, 0) + shape[0] * shape[1]
    return max(weights, key=lambda shape: weights[shape])


def _terms(shape: Shape) -> npt.NDArray[np.float64]:
    """What the cost is linear in."""
    source, target = float(shape.source), float(shape.target)
    each = (1.0, source, source**2, target, target**2, source * target)
    return np.array([*(shape.rows * term for term in each), shape.target_tokens])


def _count(run: Callable[[], object]) -> int:
    # torch's counter does not know the CPU's kernel of attention (2.13).
    kernels: dict[Any, Any] = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    with FlopCounterMode(display=False, custom_mapping=kernels) as counter:
        run()
    return int(counter.get_total_flops())


def _attention(query: Sequence[int], key: Sequence[int], *_: Any, **__: Any) -> int:
    """Q Kᵀ, then weights times V: [batch, heads, query, d] and [batch, heads, key, d]."""
    batch, heads, queries, width = query
    return 2 * 2 * batch * heads * queries * key[2] * width


def _attention_backward(_: Any, query: Any, key: Any, *__: Any, **___: Any) -> int:
    return 2 * _attention(query, key)

"""What the processes of one training decide together.

All weights stay equal, and what one process alone knows (a signal, the time, the scores of a
validation) goes through the functions here: all take the same decisions at the same update. A
process that is alone gets back what it gave.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch import distributed as group

from scratchformer.runtime.processes import world_size


def all_reduce_sum(values: Sequence[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    return _exchange(values, device, lambda tensor: group.all_reduce(tensor, group.ReduceOp.SUM))


def all_reduce_max(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest over all processes, each value for itself."""
    return _exchange(values, device, lambda tensor: group.all_reduce(tensor, group.ReduceOp.MAX))


def broadcast_from_first(values: Sequence[float], device: torch.device) -> list[float]:
    """The values of the first process; the others give as many of any kind."""
    return _exchange(values, device, lambda tensor: group.broadcast(tensor, src=0))


def wait_for_first(device: torch.device) -> None:
    """Go on when the first process has come to this line too."""
    broadcast_from_first([0.0], device)


def _exchange(
    values: Sequence[float], device: torch.device, how: Callable[[Tensor], object]
) -> list[float]:
    if world_size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    how(tensor)
    return [float(value) for value in tensor]

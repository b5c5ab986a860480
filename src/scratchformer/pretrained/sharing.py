"""What the processes of one training share: the rows of every batch, and decisions.

Process r of n takes rows r, r + n, … of each batch. accelerate joins the processes and averages
their gradients; the loss is divided by the items of the whole batch and multiplied by n, so that
the average is the gradient of the whole batch. All weights stay equal, and what one process alone
knows (a signal, the time, the scores of a validation) goes through the functions here: all take the
same decisions at the same update. A process that is alone gets back what it gave.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch import distributed as group

from scratchformer.pretrained.tasks import NO_LABEL
from scratchformer.processes import process_count, process_rank

Collate = Callable[[list[int]], dict[str, Tensor]]


def collate_share(collate: Collate) -> Collate:
    """A collator that takes the rows of this process out of a batch."""
    if process_count() == 1:
        return collate

    def collated(records: list[int]) -> dict[str, Tensor]:
        if share := records[process_rank() :: process_count()]:
            return collate(share)
        # A last batch smaller than the processes are many: a row that counts for nothing.
        filler = collate(records[:1])
        return {**filler, "labels": torch.full_like(filler["labels"], NO_LABEL)}

    return collated


def count_tokens(inputs: Mapping[str, Tensor]) -> int:
    """Input tokens of the rows that count, without padding."""
    labels = inputs["labels"]
    real = (labels != NO_LABEL).view(len(labels), -1).any(dim=1)
    return int(inputs["attention_mask"][real].sum())


def added_up(values: Sequence[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    return _exchange(values, device, lambda tensor: group.all_reduce(tensor, group.ReduceOp.SUM))


def largest(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest over all processes, each value for itself."""
    return _exchange(values, device, lambda tensor: group.all_reduce(tensor, group.ReduceOp.MAX))


def of_first(values: Sequence[float], device: torch.device) -> list[float]:
    """The values of the first process; the others give as many of any kind."""
    return _exchange(values, device, lambda tensor: group.broadcast(tensor, src=0))


def wait_for_first(device: torch.device) -> None:
    """Go on when the first process has come to this line too."""
    of_first([0.0], device)


def _exchange(
    values: Sequence[float], device: torch.device, how: Callable[[Tensor], object]
) -> list[float]:
    if process_count() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    how(tensor)
    return [float(value) for value in tensor]

"""The rows of a batch, dealt out to the processes of one training.

Process r of n takes rows r, r + n, … of each batch. accelerate joins the processes and averages
their gradients; the loss is divided by the items of the whole batch and multiplied by n, so that
the average is the gradient of the whole batch.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from scratchformer.pretrained.inference import NO_LABEL
from scratchformer.runtime.processes import rank, world_size

Collate = Callable[[list[int]], dict[str, Tensor]]


def collate_share(collate: Collate) -> Collate:
    """A collator that takes the rows of this process out of a batch."""
    if world_size() == 1:
        return collate

    def collated(records: list[int]) -> dict[str, Tensor]:
        if share := records[rank() :: world_size()]:
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

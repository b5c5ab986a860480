"""The arguments of the Trainer, for one device a process."""

from dataclasses import dataclass

from transformers import TrainingArguments


@dataclass
class OneDeviceArguments(TrainingArguments):  # type: ignore[misc]
    """A process trains on one GPU, however many it sees.

    transformers would spread one process over all of them by torch.nn.DataParallel: with batches
    that many times larger, and outputs that the loss and the counts of tokens here do not fit.
    Several GPUs are used by several processes: `torchrun --nproc_per_node 2`.
    """

    @property
    def n_gpu(self) -> int:
        """0 on the CPU, else 1."""
        return min(1, int(super().n_gpu))

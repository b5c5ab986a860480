"""What a fine-tuning gets: what is trained, and how it is scored.

A task turns row numbers into model inputs and scores the model on the validation split. The loss
is the same for all: cross-entropy per item, an item being a row or a target token.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from scratchformer.data.tokenized.columns import Ids
from scratchformer.params import Pretrained

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

VALIDATION_BATCH = 128  # rows


class FinetuneTask(Protocol):
    """What `finetune` needs to know."""

    model: "PreTrainedModel"
    columns: tuple[str, ...]  # the scores of a validation, in the order of valid.csv
    lengths: Ids  # [rows] input tokens of every training row
    sides: tuple[Ids, ...]  # those lengths, and with answers of several tokens their lengths

    def collate(self, records: list[int]) -> "dict[str, Tensor]":
        """Model inputs of these training rows, with `labels`."""
        ...

    def score(self) -> dict[str, float]:
        """The scores on the validation split, without label smoothing."""
        ...

    def better(self, scores: Mapping[str, float]) -> tuple[float, ...]:
        """What decides between two validations: the larger one is better."""
        ...


class TaskMaker(Protocol):
    """Loads the pretrained model of a task and puts it together with the rows."""

    def __call__(
        self,
        pretrained: Pretrained,
        info: Mapping[str, Any],
        train: pa.Table,
        valid: pa.Table,
        seed: int,
    ) -> FinetuneTask:
        """`info` is data/tokenized/finetune/info.json; `seed` draws what is new in the model."""

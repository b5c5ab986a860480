"""What a training minimises and how it is validated: the one thing that differs between tasks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from scratchformer.data.tokenized.batches import Batch
from scratchformer.runtime.device import machine
from scratchformer.transformer import EncoderClassifier, Transformer


@dataclass(frozen=True)
class Sample:
    """A validation row as the model answers it now, in token ids without marks."""

    row: int
    source: list[int]
    prediction: list[int]
    references: list[list[int]]


@dataclass(frozen=True)
class Validation:
    """One validation: `values` are the columns of valid.csv, `loss` among them."""

    values: Mapping[str, float]
    samples: list[Sample]


class Objective(ABC):
    """See seq2seq.py and classification.py, one file a task.

    Attributes:
        model: what is trained.
        columns: of valid.csv, `loss` first.
    """

    model: Transformer | EncoderClassifier
    columns: tuple[str, ...]
    _smoothing: float
    _on_trial = False

    @abstractmethod
    def backward(self, batch: Batch, tokens_of_update: int) -> float:
        """Add the gradient of loss / tokens_of_update; return the loss, summed over tokens."""

    @abstractmethod
    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """([tokens, classes] logits, [tokens] right answers), row after row, without padding."""

    @abstractmethod
    def validate(self) -> Validation:
        """Loss without smoothing and the scores of the whole validation split."""

    def for_trial(self, label_smoothing: float | None = None) -> Self:
        """The same over a copy of the model, without dropout: whatever happens to it stays there.

        In float32, whatever the precision of the training: what is asked of a copy is exact.

        `label_smoothing` replaces that of the training; None keeps it.
        """
        trial = copy(self)
        trial.model = deepcopy(self.model).eval()
        trial._on_trial = True
        if label_smoothing is not None:
            trial._smoothing = label_smoothing
        return trial

    def _autocast(self) -> AbstractContextManager[object]:
        """Around every forward pass."""
        return nullcontext() if self._on_trial else machine().autocast()


def in_full(logits: Tensor) -> Tensor:
    """Logits of half precision in float32, for the loss; others as they are."""
    return logits.float() if logits.dtype is torch.bfloat16 else logits

"""What a training minimises and how it is validated: the one thing that differs between tasks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from scratchformer.data.tokenized.batches import Batch
from scratchformer.params import TrainScratch
from scratchformer.runtime.device import machine
from scratchformer.training.objectives.losses.cross_entropy import CrossEntropy
from scratchformer.training.objectives.losses.token_loss import TokenLoss
from scratchformer.transformer import EncoderClassifier, Transformer, TransformerConfig


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
        loss: what is minimised; validation is always by cross-entropy without smoothing.
        columns: of valid.csv, `loss` first.
    """

    model: Transformer | EncoderClassifier
    columns: tuple[str, ...]
    loss: TokenLoss
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

        In float32, whatever the precision of the training: what is asked of a copy is exact. And
        by cross-entropy, whatever the loss: only of that one it is known what guessing costs.

        `label_smoothing` replaces that of the training; None keeps it.
        """
        trial = copy(self)
        trial.model = deepcopy(self.model).eval()
        trial._on_trial = True
        kept = self.loss.smoothing if label_smoothing is None else label_smoothing
        trial.loss = CrossEntropy(kept)
        return trial

    def _autocast(self) -> AbstractContextManager[object]:
        """Around every forward pass."""
        return nullcontext() if self._on_trial else machine().autocast()


def model_config(settings: TrainScratch, info: dict[str, Any]) -> TransformerConfig:
    """The model that the parameters ask for, with the sizes that the data have.

    Args:
        settings: section `train_scratch`.
        info: data/tokenized/scratch/info.json; classifiers have no side of the target, the others
            no labels.
    """
    sizes = {"source_vocab_size", "target_vocab_size", "num_labels"} & info.keys()
    lengths = {"max_source_length", "max_target_length"} & info.keys()
    return TransformerConfig(
        **{name: info[name] for name in sizes},
        max_length=max(info[name] for name in lengths),
        **settings.model.model_dump(),
    )


def in_full(logits: Tensor) -> Tensor:
    """Logits of half precision in float32, for the loss; others as they are."""
    return logits.float() if logits.dtype is torch.bfloat16 else logits

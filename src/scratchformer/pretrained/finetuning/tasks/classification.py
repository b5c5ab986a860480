"""Fine-tuning a classifier: one label a row."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scratchformer.base.statistics import macro_f1_of
from scratchformer.data.tokenized.columns import Ids, InputColumns
from scratchformer.params import Pretrained
from scratchformer.pretrained.finetuning.tasks.task import VALIDATION_BATCH
from scratchformer.pretrained.inference import logits, padded_inputs
from scratchformer.pretrained.models.loading import load_classifier

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def make_classification(
    pretrained: Pretrained, info: Mapping[str, Any], train: pa.Table, valid: pa.Table, seed: int
) -> "Classification":
    """See `TaskMaker`."""
    return Classification(load_classifier(pretrained, info["labels"], seed), train, valid)


class Classification:
    """Rows with `source` and `label`. The best accuracy wins, then the lower loss."""

    columns: tuple[str, ...] = ("loss", "accuracy", "macro_f1")

    def __init__(self, model: "PreTrainedModel", train: pa.Table, valid: pa.Table) -> None:
        self.model, self.valid = model, valid
        model.config.problem_type = "single_label_classification"
        self._inputs = InputColumns.of(train)
        self.lengths = self._inputs.lengths
        self.sides: tuple[Ids, ...] = (self.lengths,)
        self.labels = train.column("label").to_numpy().astype(np.int64)

    def collate(self, records: list[int]) -> "dict[str, Tensor]":
        import torch

        rows = np.asarray(records)
        inputs = padded_inputs(self.model, self._inputs, rows)
        return {**inputs, "labels": torch.from_numpy(self.labels[rows])}

    def score(self) -> dict[str, float]:
        """Loss in nats per row, accuracy, macro-F1."""
        from scipy.special import log_softmax

        gold = self.valid.column("label").to_numpy()
        scores = logits(self.model, self.valid, VALIDATION_BATCH)
        predicted = scores.argmax(axis=1)
        log_likelihood = log_softmax(scores, axis=1)[np.arange(len(gold)), gold]
        return {
            "loss": float(-log_likelihood.mean()),
            "accuracy": float((predicted == gold).mean()),
            "macro_f1": macro_f1_of(predicted, gold, scores.shape[1]),
        }

    def better(self, scores: Mapping[str, float]) -> tuple[float, ...]:
        return scores["accuracy"], -scores["loss"]

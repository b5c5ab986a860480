"""What is trained and how it is scored: classification, and sequence to sequence.

A task turns row numbers into model inputs and scores the model on the validation split. The loss
is the same for both: cross-entropy per item, an item being a row or a target token.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from scratchformer.base.statistics import macro_f1_of
from scratchformer.base.tasks import TaskName
from scratchformer.data.tokenized.columns import Ids, InputColumns, TokenColumn
from scratchformer.pretrained.inference import logits, padded_inputs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

VALIDATION_BATCH = 128  # rows
NO_LABEL = -100  # target positions that count for nothing, the value transformers uses


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


class Sequences:
    """Records with `source` and `target` (ids of the answer with EOS).

    The model predicts every token of the answer from those before it (teacher forcing); the lower
    loss wins.
    """

    columns: tuple[str, ...] = ("loss", "perplexity", "token_accuracy")

    def __init__(self, model: "PreTrainedModel", train: pa.Table, valid: pa.Table) -> None:
        self.model, self.valid = model, valid
        self._inputs = InputColumns.of(train)
        self._answers = TokenColumn(train.column("target"))
        self.lengths = self._inputs.lengths
        self.sides: tuple[Ids, ...] = (self.lengths, self._answers.lengths)

    def collate(self, records: list[int]) -> "dict[str, Tensor]":
        return self._collate(self._inputs, self._answers, np.asarray(records))

    def score(self) -> dict[str, float]:
        """Loss in nats per answer token, its exponential, and the share of tokens that come
        first when the right ones before them are given."""
        import torch

        nats, right, tokens = 0.0, 0, 0
        self.model.eval()
        with torch.inference_mode():
            for batch in self._validation_batches():
                labels = batch.pop("labels")
                scores = self.model(**batch).logits.double()
                real = labels != NO_LABEL
                likelihood = scores.log_softmax(-1)[real].gather(1, labels[real][:, None])
                nats -= float(likelihood.sum())
                right += int((scores.argmax(-1) == labels)[real].sum())
                tokens += int(real.sum())
        loss = nats / tokens
        return {
            "loss": loss, "perplexity": float(np.exp(loss)), "token_accuracy": right / tokens,
        }

    def better(self, scores: Mapping[str, float]) -> tuple[float, ...]:
        return (-scores["loss"],)

    def _validation_batches(self) -> "Iterator[dict[str, Tensor]]":
        inputs, answers = InputColumns.of(self.valid), TokenColumn(self.valid.column("target"))
        order = np.argsort(-inputs.lengths, kind="stable")
        for start in range(0, len(order), VALIDATION_BATCH):
            batch = self._collate(inputs, answers, order[start : start + VALIDATION_BATCH])
            yield {name: tensor.to(self.model.device) for name, tensor in batch.items()}

    def _collate(
        self, inputs: InputColumns, answers: TokenColumn, records: Ids
    ) -> "dict[str, Tensor]":
        import torch

        labels = torch.from_numpy(answers.padded(records, NO_LABEL))
        return {
            **padded_inputs(self.model, inputs, records),
            "decoder_input_ids": self.model.prepare_decoder_input_ids_from_labels(labels),
            "labels": labels,
        }


def make_task(
    task: TaskName, model: "PreTrainedModel", train: pa.Table, valid: pa.Table
) -> FinetuneTask:
    """The task by its name in params.yaml."""
    if task == "classification":
        return Classification(model, train, valid)
    return Sequences(model, train, valid)

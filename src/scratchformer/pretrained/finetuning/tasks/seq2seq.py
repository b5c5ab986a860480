"""Fine-tuning an encoder-decoder: the answer is text."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scratchformer.base.layout import TOKENIZERS
from scratchformer.data.tokenized.columns import Ids, InputColumns, TokenColumn, longest_first
from scratchformer.params import Pretrained
from scratchformer.pretrained.finetuning.tasks.task import VALIDATION_BATCH
from scratchformer.pretrained.hub.inputs import tell_target_language
from scratchformer.pretrained.inference import NO_LABEL, answer_scores, padded_inputs
from scratchformer.pretrained.models.loading import load_seq2seq
from scratchformer.runtime.sharing import Result, Rows, shared_out

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def make_sequences(
    pretrained: Pretrained, info: Mapping[str, Any], train: pa.Table, valid: pa.Table, seed: int
) -> "Sequences":
    """See `TaskMaker`. The model knows how long its answers are and in which language."""
    model = load_seq2seq(pretrained)
    # Else whoever loads the model gets the answers cut after the default of 20 tokens.
    model.generation_config.max_new_tokens = info["max_target_length"]
    tell_target_language(model, TOKENIZERS / "finetune")
    return Sequences(model, train, valid)


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

        inputs, answers = InputColumns.of(self.valid), TokenColumn(self.valid.column("target"))

        def run(rows: Rows) -> Result:
            return answer_scores(self.model, inputs, answers, rows)

        nats, right, tokens = 0.0, 0, 0
        self.model.eval()
        with torch.inference_mode():
            batches = longest_first(inputs.lengths, VALIDATION_BATCH)
            for _, (nll, is_right) in shared_out(batches, run):
                nats += float(nll.sum(dtype=np.float64))
                right += int(is_right.sum())
                tokens += len(nll)
        loss = nats / tokens
        return {
            "loss": loss, "perplexity": float(np.exp(loss)), "token_accuracy": right / tokens,
        }

    def better(self, scores: Mapping[str, float]) -> tuple[float, ...]:
        return (-scores["loss"],)

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

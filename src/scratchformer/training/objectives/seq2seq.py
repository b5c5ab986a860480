"""Sequence to sequence: teacher forcing to train; to validate, greedy decoding as well."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.params import TrainScratch
from scratchformer.runtime.device import device_of, machine, to_device_of, to_train
from scratchformer.runtime.distributed import all_reduce_sum, sum_tensor
from scratchformer.runtime.processes import dealt, is_mine
from scratchformer.runtime.randomness import derive_seed
from scratchformer.training.objectives.loss import (
    LOGITS_AT_ONCE,
    backward_in_chunks,
    smoothed_cross_entropy,
    without_padding,
)
from scratchformer.training.objectives.losses.make import make_loss
from scratchformer.training.objectives.losses.token_loss import TokenLoss
from scratchformer.training.objectives.losses.unlikelihood import earlier_tokens
from scratchformer.training.objectives.objective import (
    Objective,
    Sample,
    Validation,
    in_full,
    model_config,
)
from scratchformer.transformer import Transformer, greedy

ROWS_DECODED_TOGETHER = 128


class Seq2SeqObjective(Objective):
    """The loss of every next target token, given the right ones before it.

    Args:
        model: its `config` names the special ids.
        loss: what is minimised.
        valid: the validation split; all references of a row count for the decoding scores.
        decode_samples: how many validation rows are decoded greedily; always the same ones.
        seed: decides which.
    """

    columns = ("loss", "perplexity", "token_accuracy", "exact_match", "error_rate")

    def __init__(
        self,
        model: Transformer,
        loss: TokenLoss,
        valid: TokenBatches,
        decode_samples: int,
        seed: int,
    ) -> None:
        self.model: Transformer = model
        self.loss = loss
        self._valid = valid
        self._sample_batches, self._samples = self._draw(decode_samples, seed)

    @classmethod
    def build(
        cls, settings: TrainScratch, info: dict[str, Any], valid: TokenBatches, seed: int
    ) -> Self:
        """A new model with its weights drawn; the arguments are those of `build_objective`."""
        model = to_train(Transformer(model_config(settings, info)))
        return cls(model, make_loss(settings), valid, settings.decode_samples, seed)

    def backward(self, batch: Batch, tokens_of_update: int) -> float:
        passes = [self._hidden(batch) for _ in range(self.loss.passes)]
        earlier = None
        if self.loss.reads_earlier:
            assert batch.target is not None
            earlier = earlier_tokens(to_device_of(self.model, batch.target))
        return backward_in_chunks(
            [hidden for hidden, _ in passes],
            passes[0][1],
            earlier,
            self._project,
            self.model.config.target_vocab_size,
            self.loss,
            tokens_of_update,
        )

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        hidden, target = self._hidden(batch)
        return self._project(hidden), target

    @torch.inference_mode()
    def validate(self) -> Validation:
        self.model.eval()
        loss, right, tokens = 0.0, 0.0, 0.0
        chunk = max(1, LOGITS_AT_ONCE // self.model.config.target_vocab_size)
        for batch in dealt(self._valid.in_length_order()):
            hidden, target = self._hidden(batch)
            parts = zip(torch.split(hidden, chunk), torch.split(target, chunk), strict=True)
            for part, ids in parts:
                logits = self._project(part)
                loss += smoothed_cross_entropy(logits, ids).item()
                right += int((logits.argmax(dim=-1) == ids).sum())
            tokens += batch.tokens
        loss, right, tokens = all_reduce_sum([loss, right, tokens], device_of(self.model))
        samples = self._decode()
        self.model.train()
        exact, errors, length = score_samples(samples)
        values = {
            "loss": loss / tokens,
            "perplexity": math.exp(min(loss / tokens, 700.0)),
            "token_accuracy": right / tokens,
            "exact_match": exact / len(samples),
            "error_rate": errors / max(length, 1),
        }
        return Validation(values, samples)

    def _hidden(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """([tokens, d_model] decoder outputs, [tokens] ids they should predict)."""
        assert batch.target is not None
        source, target = (to_device_of(self.model, ids) for ids in (batch.source, batch.target))
        begin = target.new_full((len(target), 1), self.model.config.bos_id)
        # The EOS that is shifted in behind short rows is read where only padding is predicted.
        target_input = torch.cat([begin, target[:, :-1]], dim=1)
        with self._autocast():
            hidden = self.model.decode_hidden(target_input, self.model.encode(source))
        return without_padding(hidden, target, self.model.config.pad_id)

    def _project(self, hidden: Tensor) -> Tensor:
        with self._autocast():
            return in_full(self.model.project(hidden))

    def _decode(self) -> list[Sample]:
        """Greedy answers to the drawn rows; each process writes its batches, and all get all."""
        longest = max(len(reference) for row in self._samples for reference in row.references)
        # An answer half as long again as any reference is wrong, whatever follows.
        limit = min(longest * 3 // 2 + 1, self.model.config.max_length)
        shape = (len(self._samples), limit)
        written = torch.zeros(shape, dtype=torch.int64, device=device_of(self.model))
        last = 0
        for place, batch in enumerate(self._sample_batches):
            first, last = last, last + len(batch.rows)
            if not is_mine(place):
                continue
            source = to_device_of(self.model, batch.source)
            with self._autocast(), machine().eager():
                ids = greedy(self.model, source, limit).ids
            written[first:last] = self.model.config.pad_id
            written[first:last, : ids.shape[1]] = ids
        return [
            replace(sample, prediction=self._text_ids(ids))
            for sample, ids in zip(self._samples, sum_tensor(written).tolist(), strict=True)
        ]

    def _draw(self, count: int, seed: int) -> tuple[list[Batch], list[Sample]]:
        """`count` validation rows (or all) drawn at random: batches by length, and their texts."""
        random = np.random.default_rng(derive_seed(seed, "samples"))
        rows, first_record = np.unique(self._valid.rows, return_index=True)
        drawn = random.choice(len(rows), min(count, len(rows)), replace=False)
        records = first_record[drawn]
        records = records[np.argsort(self._valid.source_lengths[records], kind="stable")]
        batches = [
            self._valid.collate(records[first : first + ROWS_DECODED_TOGETHER])
            for first in range(0, len(records), ROWS_DECODED_TOGETHER)
        ]
        references: dict[int, list[list[int]]] = {}
        every = self._valid.collate(np.flatnonzero(np.isin(self._valid.rows, rows[drawn])))
        assert every.target is not None
        for row, ids in zip(every.rows.tolist(), every.target.tolist(), strict=True):
            references.setdefault(row, []).append(self._text_ids(ids))
        samples = [
            Sample(row, self._text_ids(ids), [], references[row])
            for batch in batches
            for row, ids in zip(batch.rows.tolist(), batch.source.tolist(), strict=True)
        ]
        return batches, samples

    def _text_ids(self, ids: list[int]) -> list[int]:
        """Without padding and EOS."""
        config = self.model.config
        return [number for number in ids if number not in (config.pad_id, config.eos_id)]


def score_samples(samples: Sequence[Sample]) -> tuple[int, int, int]:
    """(exactly right, edits to the nearest reference, tokens of those references)."""
    exact = errors = length = 0
    for sample in samples:
        edits, nearest = min(
            (Levenshtein.distance(sample.prediction, reference), len(reference))
            for reference in sample.references
        )
        exact += edits == 0
        errors += edits
        length += nearest
    return exact, errors, length

"""What the gates look at: copies of the model, and a handful of short rows."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.data.tokenized.columns import Ids
from scratchformer.params import TrainScratch
from scratchformer.training.objectives.objective import Objective

ROWS, LENGTH = 8, 12  # a handful: enough to tell a learner from a parrot, cheap enough to repeat
BATCHES_SEARCHED = 4
MEMORISED = 0.05  # nats a token
MOST_STEPS, WARMUP = 120, 10
# Times 1/√d_model. Deep post-norm models learn nothing at the first, in so short a warm-up
# (Xiong et al. 2020); the others are done with it before the second is tried.
PEAKS = (0.03, 0.006)


class RedGateError(Exception):
    """What a gate found, when that is wrong."""


@dataclass(frozen=True)
class Trial:
    """How well a copy could learn a handful of rows by heart."""

    loss: float  # nats a token
    steps: int
    peak: float  # of PEAKS


class Subject:
    """A training about to begin. Nothing a gate does to it is seen by the training.

    Args:
        objective: with the model as its first values were drawn.
        batches: the training split.
        settings: section `train_scratch`.
    """

    def __init__(self, objective: Objective, batches: TokenBatches, settings: TrainScratch) -> None:
        self.objective, self.batches, self.settings = objective, batches, settings
        self.warnings: list[str] = []
        self.pad_id, self.eos_id = objective.model.config.pad_id, objective.model.config.eos_id

    @property
    def classes(self) -> int:
        """Tokens of the target vocabulary, or labels."""
        config = self.objective.model.config
        return config.num_labels or config.target_vocab_size

    @cached_property
    def batch(self) -> Batch:
        """The one with the longest rows of the first few: rows of one token show little."""
        some = [self.batches.batch(index) for index in range(BATCHES_SEARCHED)]
        return max(some, key=lambda batch: batch.source.shape[1])

    @cached_property
    def few(self) -> Batch:
        """Up to `ROWS` rows that differ in source and in answer, cut to `LENGTH` tokens."""
        longest = min(LENGTH, self.objective.model.config.max_length - 1)  # the rest: padding
        sources: set[bytes] = set()
        answers: set[bytes] = set()
        chosen: list[int] = []
        for index in range(BATCHES_SEARCHED):
            batch = cut(self.batches.batch(index), longest, self.pad_id)
            for row, record in enumerate(batch.records.tolist()):
                source, answer = fingerprints(batch, row)
                if source in sources or (answer in answers and batch.label is None):
                    continue
                sources.add(source)
                answers.add(answer)
                chosen.append(record)
        # Every so many of them, so that all batches, and all labels, have their share.
        kept = np.array(chosen[:: max(1, len(chosen) // ROWS)][:ROWS])
        return cut(self.batches.collate(kept), longest, self.pad_id)

    @cached_property
    def seeing(self) -> Trial:
        """A copy that learns the handful by heart, at the first rate at which it can."""
        trials = (self.memorise(self.few, MOST_STEPS, peak) for peak in PEAKS)
        tried = []
        for trial in trials:
            tried.append(trial)
            if trial.loss < MEMORISED:
                break
        return tried[-1]

    def memorise(self, batch: Batch, steps: int, peak: float, until: float = MEMORISED) -> Trial:
        """Train a copy on this one batch with Adam, until its loss is below `until`."""
        trial = self.objective.for_trial(label_smoothing=0.0)
        rate = peak / math.sqrt(trial.model.config.d_model)
        optimizer = torch.optim.Adam(trial.model.parameters(), betas=(0.9, 0.98), fused=True)
        loss = math.inf
        for step in range(1, steps + 1):
            loss = trial.backward(batch, batch.tokens) / batch.tokens
            if loss < until or not math.isfinite(loss):
                return Trial(loss, step, peak)
            torch.nn.utils.clip_grad_norm_(trial.model.parameters(), 1.0, foreach=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, step / WARMUP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return Trial(loss, steps, peak)


def cut(batch: Batch, longest: int, pad_id: int) -> Batch:
    """The first `longest` tokens of both sides."""
    if batch.target is None:
        return replace(batch, source=batch.source[:, :longest])
    target = batch.target[:, :longest]
    return replace(
        batch,
        source=batch.source[:, :longest],
        target=target,
        tokens=int(np.count_nonzero(target != pad_id)),
    )


def fingerprints(batch: Batch, row: int) -> tuple[bytes, bytes]:
    """(source, answer) of a row; equal bytes mean equal tokens."""
    answer = batch.label if batch.target is None else batch.target
    assert answer is not None
    return _bytes(batch.source[row]), _bytes(answer[row])


def _bytes(ids: Ids) -> bytes:
    """Trailing zeros depend on the neighbours of a row, not on the row."""
    return ids.tobytes().rstrip(b"\0")

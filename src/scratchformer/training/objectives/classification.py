"""Classification with an encoder: one label for a whole text."""

from typing import Any, Self

import torch
from torch import Tensor

from scratchformer.base.errors import ParamsError
from scratchformer.base.statistics import macro_f1_of
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.params import TrainScratch
from scratchformer.runtime.device import device_of, to_device_of, to_train
from scratchformer.runtime.distributed import all_reduce_sum, sum_tensor
from scratchformer.runtime.processes import is_mine
from scratchformer.training.objectives.loss import smoothed_cross_entropy
from scratchformer.training.objectives.losses.make import make_loss
from scratchformer.training.objectives.losses.token_loss import TokenLoss
from scratchformer.training.objectives.objective import (
    Objective,
    Validation,
    in_full,
    model_config,
)
from scratchformer.transformer import EncoderClassifier


class ClassificationObjective(Objective):
    """The loss of the label; what the loops call a token is one row here.

    Args:
        model: an encoder with one logit for each label.
        loss: what is minimised.
        valid: the validation split.

    Raises:
        ParamsError: the loss asks for tokens before the answer; a label has none.
    """

    columns = ("loss", "accuracy", "macro_f1")

    def __init__(self, model: EncoderClassifier, loss: TokenLoss, valid: TokenBatches) -> None:
        if loss.reads_earlier:
            raise ParamsError(
                "train_scratch.loss.kind: this loss is about repeating earlier target tokens, and "
                "a label has none; choose cross_entropy, focal or r_drop"
            )
        self.model: EncoderClassifier = model
        self.loss = loss
        self._valid = valid

    @classmethod
    def build(
        cls, settings: TrainScratch, info: dict[str, Any], valid: TokenBatches, seed: int
    ) -> Self:
        """A new encoder with its weights drawn; the arguments are those of `build_objective`."""
        model = to_train(EncoderClassifier(model_config(settings, info)))
        return cls(model, make_loss(settings), valid)

    def backward(self, batch: Batch, tokens_of_update: int) -> float:
        passes = [self.predict(batch) for _ in range(self.loss.passes)]
        loss = self.loss([logits for logits, _ in passes], passes[0][1])
        (loss / tokens_of_update).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.label is not None
        source, label = (to_device_of(self.model, ids) for ids in (batch.source, batch.label))
        with self._autocast():
            return in_full(self.model(source)), label

    @torch.inference_mode()
    def validate(self) -> Validation:
        self.model.eval()
        device, rows = device_of(self.model), len(self._valid.rows)
        found = torch.zeros((2, rows), dtype=torch.int64, device=device)  # labels, answers
        loss, last = 0.0, 0
        for place, batch in enumerate(self._valid.in_length_order()):
            first, last = last, last + batch.tokens
            if not is_mine(place):
                continue
            logits, label = self.predict(batch)
            loss += smoothed_cross_entropy(logits, label).item()
            found[:, first:last] = torch.stack([label, logits.argmax(dim=-1)])
        self.model.train()
        (loss,) = all_reduce_sum([loss], device)
        label_ids, answer_ids = sum_tensor(found).cpu().numpy()
        values = {
            "loss": loss / len(label_ids),
            "accuracy": float((label_ids == answer_ids).mean()),
            "macro_f1": macro_f1_of(answer_ids, label_ids, self.model.config.num_labels),
        }
        return Validation(values, samples=[])

"""Classification with an encoder: one label for a whole text."""

from typing import Any, Self

import torch
from torch import Tensor

from scratchformer.base.statistics import macro_f1_of
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.params import TrainScratch
from scratchformer.runtime.device import device_of, to_device_of, to_train
from scratchformer.runtime.distributed import all_reduce_sum, sum_tensor
from scratchformer.runtime.processes import is_mine
from scratchformer.training.objectives.loss import smoothed_cross_entropy
from scratchformer.training.objectives.objective import Objective, Validation, in_full
from scratchformer.transformer import EncoderClassifier, TransformerConfig


class ClassificationObjective(Objective):
    """Cross-entropy of the label; what the loops call a token is one row here."""

    columns = ("loss", "accuracy", "macro_f1")

    def __init__(
        self, model: EncoderClassifier, label_smoothing: float, valid: TokenBatches
    ) -> None:
        self.model: EncoderClassifier = model
        self._smoothing = label_smoothing
        self._valid = valid

    @classmethod
    def build(
        cls, settings: TrainScratch, info: dict[str, Any], valid: TokenBatches, seed: int
    ) -> Self:
        """A new encoder with its weights drawn; the arguments are those of `build_objective`."""
        config = TransformerConfig(
            source_vocab_size=info["source_vocab_size"],
            max_length=info["max_source_length"],
            num_labels=info["num_labels"],
            **settings.model.model_dump(),
        )
        return cls(to_train(EncoderClassifier(config)), settings.label_smoothing, valid)

    def backward(self, batch: Batch, tokens_of_update: int) -> float:
        logits, label = self.predict(batch)
        loss = smoothed_cross_entropy(logits, label, self._smoothing)
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

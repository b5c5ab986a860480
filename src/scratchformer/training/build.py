"""From parameters to a model with its objective."""

from typing import Any

import torch

from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import TrainScratch
from scratchformer.runtime.randomness import counted_seed
from scratchformer.training.objectives.classification import ClassificationObjective
from scratchformer.training.objectives.objective import Objective
from scratchformer.training.objectives.seq2seq import Seq2SeqObjective
from scratchformer.transformer import EncoderClassifier, Transformer, TransformerConfig


def build_objective(
    settings: TrainScratch, info: dict[str, Any], valid: TokenBatches, seed: int
) -> Objective:
    """A new model, its weights drawn from `seed`, and what it minimises.

    Args:
        settings: section `train_scratch`.
        info: data/tokenized/scratch/info.json: task, vocabulary sizes, largest lengths, labels.
        valid: validation split.
    """
    torch.manual_seed(counted_seed(seed, "weights"))
    choices = settings.model.model_dump()
    if info["task"] == "classification":
        config = TransformerConfig(
            source_vocab_size=info["source_vocab_size"],
            max_length=info["max_source_length"],
            num_labels=info["num_labels"],
            **choices,
        )
        return ClassificationObjective(EncoderClassifier(config), settings.label_smoothing, valid)
    config = TransformerConfig(
        source_vocab_size=info["source_vocab_size"],
        target_vocab_size=info["target_vocab_size"],
        max_length=max(info["max_source_length"], info["max_target_length"]),
        **choices,
    )
    return Seq2SeqObjective(
        Transformer(config), settings.label_smoothing, valid, settings.decode_samples, seed
    )

"""From parameters to a model with its objective."""

from collections.abc import Callable
from typing import Any

import torch

from scratchformer.base.registry import Registry
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import TrainScratch
from scratchformer.runtime.randomness import derive_seed
from scratchformer.training.objectives.classification import ClassificationObjective
from scratchformer.training.objectives.objective import Objective
from scratchformer.training.objectives.seq2seq import Seq2SeqObjective

Build = Callable[[TrainScratch, dict[str, Any], TokenBatches, int], Objective]

OBJECTIVES: Registry[Build] = Registry(
    "task",
    {"seq2seq": Seq2SeqObjective.build, "classification": ClassificationObjective.build},
)


def build_objective(
    settings: TrainScratch, info: dict[str, Any], valid: TokenBatches, seed: int
) -> Objective:
    """A new model, its weights drawn from `seed`, and what it minimises.

    The weights are drawn on the CPU, the same for every device, and then put on the machine's.

    Args:
        settings: section `train_scratch`.
        info: data/tokenized/scratch/info.json: task, vocabulary sizes, largest lengths, labels.
        valid: validation split.
    """
    torch.manual_seed(derive_seed(seed, "weights"))
    return OBJECTIVES[info["task"]](settings, info, valid, seed)

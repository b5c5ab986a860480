"""From the section `train_scratch.loss` to a loss."""

from collections.abc import Callable
from typing import Any

from scratchformer.base.registry import Registry
from scratchformer.params import TrainScratch
from scratchformer.training.objectives.losses.cross_entropy import CrossEntropy
from scratchformer.training.objectives.losses.focal import Focal
from scratchformer.training.objectives.losses.r_drop import RDrop
from scratchformer.training.objectives.losses.token_loss import TokenLoss
from scratchformer.training.objectives.losses.unlikelihood import Unlikelihood

LOSSES: Registry[Callable[[Any, float], TokenLoss]] = Registry(
    "loss",
    {
        "cross_entropy": lambda loss, smoothing: CrossEntropy(smoothing),
        "focal": lambda loss, smoothing: Focal(loss.gamma),
        "r_drop": lambda loss, smoothing: RDrop(loss.alpha, smoothing),
        "unlikelihood": lambda loss, smoothing: Unlikelihood(loss.alpha, smoothing),
    },
)


def make_loss(settings: TrainScratch) -> TokenLoss:
    """What `train_scratch.loss` and `label_smoothing` choose.

    Raises:
        ParamsError: there is no loss of that kind.
    """
    return LOSSES[settings.loss.kind](settings.loss, settings.label_smoothing)

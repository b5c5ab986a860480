"""Cross-entropy with label smoothing: the loss of the paper (section 5.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from scratchformer.training.objectives.loss import smoothed_cross_entropy
from scratchformer.training.objectives.losses.token_loss import TokenLoss


@dataclass(frozen=True)
class CrossEntropy(TokenLoss):
    """Σ_t -Σ_k q_k log p_k with q the smoothed target, see `smoothed_cross_entropy`."""

    smoothing: float = 0.0

    def __call__(
        self, logits: Sequence[Tensor], target: Tensor, earlier: Tensor | None = None
    ) -> Tensor:
        return smoothed_cross_entropy(logits[0], target, self.smoothing)

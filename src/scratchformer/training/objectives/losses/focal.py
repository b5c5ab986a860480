"""Focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002, equation 4).

    FL(p) = -(1 - p)^γ log p,   p the probability of the right answer

An answer that is nearly certain counts for next to nothing, so the gradient comes from what is
still wrong. γ = 0 is cross-entropy; the paper's best is 2. Its equation 5 multiplies by a weight
α of the class, which is 1 here.

The gradient is that of cross-entropy times a number for each token:

    ∂FL/∂z_k = w · (p_k - [k = y]),   w = (1 - p)^γ (1 - γ p log p / (1 - p))
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.runtime.device import widest_float
from scratchformer.training.objectives.losses.token_loss import TokenLoss, with_gradient


@dataclass(frozen=True)
class Focal(TokenLoss):
    """See the head of this file. There is no smoothing in it: it would ask for doubt, where the
    loss already takes no notice of answers that are sure enough."""

    gamma: float = 2.0

    def __call__(
        self, logits: Sequence[Tensor], target: Tensor, earlier: Tensor | None = None
    ) -> Tensor:
        rows = torch.arange(len(target), device=target.device)
        log_p = torch.log_softmax(logits[0].detach(), dim=-1)
        own = log_p[rows, target]
        missed = -torch.expm1(own)  # 1 - p, without loss of digits where p is near 1
        value = -(missed**self.gamma * own).sum(dtype=widest_float(own.device))
        ratio = torch.where(missed > 0, own / missed, -1.0)  # log p / (1 - p) → -1 as p → 1
        weight = missed**self.gamma * (1 - self.gamma * own.exp() * ratio)
        gradient = log_p.exp_()
        gradient[rows, target] -= 1
        gradient *= weight[:, None]
        return with_gradient(value.to(own.dtype), logits[:1], [gradient])

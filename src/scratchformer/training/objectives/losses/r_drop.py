"""R-Drop (Liang et al. 2021, https://arxiv.org/abs/2106.14448, equations 1 to 4).

Every batch passes through the model twice, with two draws of dropout. Both predictions p and q are
to be right, and they are to agree:

    L = ½ (CE(p) + CE(q)) + α/2 · ½ (KL(p‖q) + KL(q‖p))

This is equation 4 divided by two: α is the paper's (5 for translation), and without the divergence
the loss is the mean of two passes, so it goes with the learning rates of cross-entropy. An update
takes twice the time.

With d = log p - log q, the gradients of both divergences together are

    ∂/∂z(p) = p (d - KL(p‖q)) + p - q,   ∂/∂z(q) = q (-d - KL(q‖p)) + q - p
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.runtime.device import widest_float
from scratchformer.training.objectives.loss import smoothed_cross_entropy
from scratchformer.training.objectives.losses.token_loss import TokenLoss, with_gradient


@dataclass(frozen=True)
class RDrop(TokenLoss):
    """See the head of this file; the cross-entropies are smoothed, as in the paper."""

    passes = 2
    alpha: float = 5.0
    smoothing: float = 0.0

    def __call__(
        self, logits: Sequence[Tensor], target: Tensor, earlier: Tensor | None = None
    ) -> Tensor:
        one, other = logits
        both = sum(smoothed_cross_entropy(each, target, self.smoothing) for each in logits)
        return both / 2 + self.alpha / 4 * divergence(one, other)


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(p‖q) + KL(q‖p) of two [tokens, classes] logits, summed over the tokens, in nats."""
    log_p, log_q = (torch.log_softmax(each.detach(), dim=-1) for each in (one, other))
    p, q, difference = log_p.exp(), log_q.exp(), log_p - log_q
    forward = (p * difference).sum(dim=-1, keepdim=True)
    backward = -(q * difference).sum(dim=-1, keepdim=True)
    value = (forward + backward).sum(dtype=widest_float(one.device)).to(one.dtype)
    gradients = [p * (difference - forward) + p - q, q * (-difference - backward) + q - p]
    return with_gradient(value, [one, other], gradients)

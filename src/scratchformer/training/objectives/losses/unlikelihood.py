"""Token-level unlikelihood (Welleck et al. 2020, https://arxiv.org/abs/1908.04319, equation 5).

What the row has said already is to be unlikely, unless it is the right answer now:

    L = CE + α Σ_t Σ_c -log(1 - p_t(c)),   c in {y_1 … y_(t-1)} without y_t

Models that are only taught what is likely repeat themselves when they decode. The paper's α is 1.

With r_c = p_c / (1 - p_c), 0 for what is no candidate, the gradient of the sum is

    ∂/∂z_k = r_k - p_k Σ_c r_c
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.runtime.device import widest_float
from scratchformer.training.objectives.loss import smoothed_cross_entropy
from scratchformer.training.objectives.losses.token_loss import TokenLoss, with_gradient

LEAST = 1e-5  # of 1 - p: the loss of a repetition that is certain stays finite (the paper's code)
PADDING = 0


@dataclass(frozen=True)
class Unlikelihood(TokenLoss):
    """See the head of this file. A label has nothing before it, so classifiers refuse it."""

    reads_earlier = True
    alpha: float = 1.0
    smoothing: float = 0.0

    def __call__(
        self, logits: Sequence[Tensor], target: Tensor, earlier: Tensor | None = None
    ) -> Tensor:
        assert earlier is not None, "see `reads_earlier`"
        likely = smoothed_cross_entropy(logits[0], target, self.smoothing)
        return likely + self.alpha * unlikelihood(logits[0], target, earlier)


def unlikelihood(logits: Tensor, target: Tensor, earlier: Tensor) -> Tensor:
    """Σ -log(1 - p(c)) over the candidates of every token; the arguments are those of the loss."""
    candidate = torch.zeros_like(logits, dtype=torch.bool)
    candidate.scatter_(1, earlier, True)  # a set: what came twice counts once
    candidate[:, PADDING] = False
    candidate[torch.arange(len(target), device=target.device), target] = False
    p = torch.softmax(logits.detach(), dim=-1)
    rest = (1 - p).clamp_(min=LEAST)
    value = -rest.log().mul_(candidate).sum(dtype=widest_float(logits.device))
    odds = (p / rest).mul_(candidate)
    gradient = odds - p * odds.sum(dim=-1, keepdim=True)
    return with_gradient(value.to(logits.dtype), [logits], [gradient])


def earlier_tokens(target: Tensor) -> Tensor:
    """[batch, length] padded ids → [tokens, length]: what stands before each token of its row.

    The tokens are those without padding, row after row; free places hold padding.
    """
    length = target.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=target.device).tril(-1)
    return (target[:, None, :] * before)[target != PADDING]

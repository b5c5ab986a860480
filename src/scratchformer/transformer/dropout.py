"""Dropout (Srivastava et al. 2014): "Attention Is All You Need" §5.4.

Written by hand because torch's takes a quarter of a small model's training time on a CPU: it
draws a number of its own for every entry. A probability needs no more than 16 random bits.
"""

import torch
from torch import nn

from .shapes import Float, Tensor

STEPS = 2**16  # probabilities are rounded to a multiple of 1 / STEPS
LARGEST = 1 - 1 / STEPS  # beyond it a probability rounds to 1, where there is no mean to keep


def keep_factors(x: Float[Tensor, "*shape"], p: float) -> Float[Tensor, "*shape"]:
    """1 / (1 - p) with probability 1 - p, else 0, independently for each entry of x."""
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    words.random_(-(2**63), None)  # 64 even bits: four numbers from -STEPS / 2 to STEPS / 2 - 1
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    dropped = round(p * STEPS)
    factors = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    torch.ge(bits, dropped - STEPS // 2, out=factors)
    return factors.mul_(STEPS / (STEPS - dropped))


class Dropout(nn.Module):
    """In training, set each entry to 0 with probability p; scale the others to keep the mean.

    Raises ValueError unless 0 ≤ p ≤ LARGEST.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= LARGEST:
            raise ValueError(f"dropout ({p}) must be at least 0 and at most {LARGEST:.5f}")
        self.p = p

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or self.p == 0:
            return x
        return x * keep_factors(x, self.p)

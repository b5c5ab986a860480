"""Normalisation: every position's vector is brought to one scale, by itself.

LayerNorm: Ba et al. 2016, equation 3. RMSNorm: Zhang and Sennrich 2019, equation 4.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .config import TransformerConfig
from .shapes import Float, Tensor


class LayerNorm(nn.Module):
    """gain ⊙ (x - mean) / √(variance + ε) + bias, with the moments over d_model."""

    def __init__(self, d_model: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        # The formula takes seven passes over the data, torch's kernel takes one.
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias, self.epsilon)


class RMSNorm(nn.Module):
    """gain ⊙ x / √(mean(x²) + ε): LayerNorm without the centring and without the bias."""

    def __init__(self, d_model: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d_model))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        mean_square = x.square().mean(dim=-1, keepdim=True)
        return x * torch.rsqrt(mean_square + self.epsilon) * self.gain


NORMS = {"layer": LayerNorm, "rms": RMSNorm}


def make_norm(config: TransformerConfig) -> nn.Module:
    """The norm that the configuration names."""
    return NORMS[config.norm](config.d_model, config.norm_epsilon)

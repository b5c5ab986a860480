"""The residual connection around every sub-layer: "Attention Is All You Need" §3.1 and §5.4.

Post-norm is the paper. Pre-norm (Xiong et al. 2020) leaves a path from the last layer to the
first that no norm interrupts: gradients arrive evenly, and training needs less warm-up.
"""

from collections.abc import Callable

from torch import nn

from .config import TransformerConfig
from .dropout import Dropout
from .normalization import make_norm
from .shapes import Float, Tensor


class Residual(nn.Module):
    """post: LayerNorm(x + Dropout(Sublayer(x)));  pre: x + Dropout(Sublayer(LayerNorm(x)))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = make_norm(config)
        self.dropout = Dropout(config.dropout)
        self.pre = config.norm_position == "pre"

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        sublayer: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "batch length d_model"]:
        if self.pre:
            return x + self.dropout(sublayer(self.norm(x)))
        return self.norm(x + self.dropout(sublayer(x)))


def make_final_norm(config: TransformerConfig) -> nn.Module:
    """What stands after the last layer: post-norm has normalised already, pre-norm has not."""
    return make_norm(config) if config.norm_position == "pre" else nn.Identity()

"""The position-wise feed-forward network: "Attention Is All You Need" §3.3, equation 2.

GELU and SiLU: Hendrycks and Gimpel 2016 (BERT and GPT; Marian). SwiGLU: Shazeer 2020, equation 6.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from .config import TransformerConfig
from .dropout import Dropout
from .fused_linear import FusedLinear
from .shapes import Float, Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "swiglu": F.silu,
}


class FeedForward(nn.Module):
    """FFN(x) = max(0, x W1 + b1) W2 + b2, for each position by itself.

    SwiGLU multiplies by a gate: (SiLU(x W) ⊙ x V) W2, with W and V side by side in `inner`.
    That is a third matrix; with d_ff · 2/3 the number of parameters is that of the others again.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.inner = (
            FusedLinear(config.d_model, gate=config.d_ff, value=config.d_ff)
            if config.activation == "swiglu"
            else nn.Linear(config.d_model, config.d_ff)
        )
        self.outer = nn.Linear(config.d_ff, config.d_model)
        self.dropout = Dropout(config.activation_dropout)

    def forward(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        x, activation = self.inner(x), ACTIVATIONS[self.activation]
        if isinstance(self.inner, FusedLinear):
            parts = self.inner.split(x)
            x = activation(parts["gate"]) * parts["value"]
        else:
            x = activation(x)
        return self.outer(self.dropout(x))

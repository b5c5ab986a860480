"""The position-wise feed-forward network: "Attention Is All You Need" §3.3, equation 2.

GELU and SiLU: Hendrycks and Gimpel 2016 (BERT and GPT; Marian). SwiGLU: Shazeer 2020, equation 6.
"""

import torch.nn.functional as F
from torch import nn

from .config import TransformerConfig
from .dropout import Dropout
from .shapes import Float, Tensor


class FeedForward(nn.Module):
    """FFN(x) = max(0, x W1 + b1) W2 + b2, for each position by itself.

    SwiGLU multiplies by a gate: (SiLU(x W) ⊙ x V) W2, with W|V side by side in `inner`. It has a
    third matrix more; d_ff · 2/3 brings the number of parameters back to that of the others.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = config.activation
        branches = 2 if config.activation == "swiglu" else 1
        self.inner = nn.Linear(config.d_model, branches * config.d_ff)
        self.outer = nn.Linear(config.d_ff, config.d_model)
        self.dropout = Dropout(config.activation_dropout)

    def forward(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_model"]:
        x = self.inner(x)
        if self.activation == "relu":
            x = F.relu(x)
        elif self.activation == "gelu":
            x = F.gelu(x)
        elif self.activation == "silu":
            x = F.silu(x)
        else:
            gate, x = x.chunk(2, dim=-1)
            x = F.silu(gate) * x
        return self.outer(self.dropout(x))

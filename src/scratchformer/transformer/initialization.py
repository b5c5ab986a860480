"""The first values of every parameter, in one place."""

import torch
from torch import nn

from .config import TransformerConfig
from .decoder import DecoderLayer
from .embedding import OutputProjection
from .encoder import EncoderLayer
from .fused_linear import FusedLinear
from .positions import LearnedPositions


@torch.no_grad()
def initialize(model: nn.Module, config: TransformerConfig) -> None:
    """Draw every parameter anew from torch's random numbers.

    | parameter                        | distribution                        | source            |
    |----------------------------------|-------------------------------------|-------------------|
    | matrices [out, in]: W^Q, W^K,    | U(-a, a), a = √(6 / (in + out)):    | Glorot and Bengio |
    |   W^V, W^O, W1, W2, classifier   |   variance 2 / (in + out)           |   2010, eq. 16    |
    | … that end a residual branch     | the same, divided by √branches of   | Radford et al.    |
    |   (W^O, W2), if `depth_scaled`   |   the stack (2 a layer; decoder: 3) |   2019, §2.3      |
    | token embeddings, learned        | N(0, 1/d_model): times √d_model     | tensor2tensor,    |
    |   positions, output projection   |   their variance is 1               |   fairseq         |
    | gains of norms                   | 1                                   | Ba et al. 2016    |
    | biases                           | 0                                   | tensor2tensor     |

    W^Q, W^K and W^V share one tensor, as do the two halves of SwiGLU, but each is drawn as the
    matrix that it is: `in` and `out` do not depend on how matrices are stored.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, FusedLinear):
            for part in module.split_rows(module.weight).values():
                nn.init.xavier_uniform_(part)
        elif isinstance(module, nn.Embedding | OutputProjection):
            nn.init.normal_(module.weight, std=config.d_model**-0.5)
        elif isinstance(module, LearnedPositions):
            nn.init.normal_(module.table, std=config.d_model**-0.5)
    if config.initialization == "depth_scaled":
        _scale_by_depth(model)


def _scale_by_depth(model: nn.Module) -> None:
    """The sum of n independent branches has variance n; divided by √n each, it has 1 again."""
    for kind, branches in ((EncoderLayer, 2), (DecoderLayer, 3)):
        layers = [module for module in model.modules() if isinstance(module, kind)]
        for layer in layers:
            for name, parameter in layer.named_parameters():
                if name.endswith(("attention.output.weight", "feed_forward.outer.weight")):
                    parameter.div_((branches * len(layers)) ** 0.5)

"""Decoding at random: temperature, top-k (Fan et al. 2018) and top-p (Holtzman et al. 2020)."""

import torch

from .decoder_only import DecoderOnly
from .generation import Generated, decode
from .model import Transformer
from .shapes import Float, Int, Tensor


def sample(
    model: Transformer | DecoderOnly,
    source: Int[Tensor, "batch source"],
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Generated:
    """Draw each token at random from what `reshape` leaves of the model's distribution.

    The scores are those of the model's own distribution, as everywhere.
    """

    def choose(log_probs: Tensor) -> Tensor:
        probabilities = reshape(log_probs, temperature, top_k, top_p).exp()
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)

    return decode(model, source, max_length, choose)


def reshape(
    log_probs: Float[Tensor, "rows vocab"], temperature: float, top_k: int, top_p: float
) -> Float[Tensor, "rows vocab"]:
    """p^(1/temperature), of which only the likeliest tokens stay; renormalised log-probabilities.

    `top_k`: the k likeliest (0: all; Fan et al. 2018). `top_p`: the likeliest ones that reach
    that probability together, one at least (Holtzman et al. 2020).
    """
    if temperature <= 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"temperature ({temperature}) must be above 0, top_k ({top_k}) at least 0, "
            f"top_p ({top_p}) above 0 and at most 1"
        )
    log_probs = (log_probs / temperature).log_softmax(dim=-1)
    if 0 < top_k < log_probs.shape[-1]:
        least = log_probs.topk(top_k).values[:, -1:]
        log_probs = log_probs.masked_fill(log_probs < least, -torch.inf).log_softmax(dim=-1)
    if top_p < 1:
        ranked, order = log_probs.sort(dim=-1, descending=True)
        before = ranked.exp().cumsum(dim=-1) - ranked.exp()
        dropped = (before >= top_p).scatter(1, order, before >= top_p)
        log_probs = log_probs.masked_fill(dropped, -torch.inf).log_softmax(dim=-1)
    return log_probs

"""The largest of very many numbers, in two steps: first the best groups, then the best in them.

A beam search asks for the 2k largest of k × vocabulary sums at every step. `topk` keeps a sorted
list as it reads; a maximum is one instruction for eight pairs of numbers. The `count` largest
numbers lie in the `count` groups with the largest maxima, so everything else need not be looked
at again. The result is that of `topk`, number for number.
"""

import torch

from .shapes import Float, Tensor

GROUP = 64  # neighbours that share a maximum


def largest_sums(
    scores: Float[Tensor, "source beam"], gains: Float[Tensor, "source beam vocab"], count: int
) -> tuple[Float[Tensor, "source count"], Tensor]:
    """(scores[..., None] + gains).flatten(1).topk(count), without making all the sums.

    Returns the sums, the largest first, and their places among the beam × vocab of a source.
    """
    vocab = gains.shape[-1]
    groups = -(-vocab // GROUP)  # of one beam; the last one may be smaller
    if groups < 2 * count:
        return _topk((scores[..., None] + gains).flatten(1), count)
    whole = vocab // GROUP
    best = gains[..., : whole * GROUP].view(*gains.shape[:2], whole, GROUP).amax(dim=-1)
    if whole < groups:
        best = torch.cat([best, gains[..., whole * GROUP :].amax(dim=-1, keepdim=True)], dim=-1)
    chosen = (scores[..., None] + best).flatten(1).topk(count).indices

    beam, group = chosen // groups, chosen % groups
    token = group[..., None] * GROUP + torch.arange(GROUP, device=gains.device)
    outside = token >= vocab
    place = (beam[..., None] * vocab + token.clamp(max=vocab - 1)).flatten(1)
    sums = scores.gather(1, beam).repeat_interleave(GROUP, dim=1)
    sums = (sums + gains.flatten(1).gather(1, place)).masked_fill(outside.flatten(1), -torch.inf)
    values, index = _topk(sums, count)
    return values, place.gather(1, index)


def _topk(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    found = values.topk(count)
    return found.values, found.indices

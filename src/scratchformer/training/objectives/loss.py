"""Cross-entropy over the vocabulary, with and without label smoothing, cheap on a CPU.

All losses are **sums over tokens** in nats. The caller divides by the number of tokens of the
whole update, which makes the gradient of several accumulated batches exactly that of the joint
batch (a mean of means would weigh the tokens of short batches more).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scratchformer.runtime.device import widest_float
from scratchformer.training.objectives.losses.token_loss import TokenLoss

# Logits held at once, in numbers (8 MB of float32): measured best on a vocabulary of 8,000.
LOGITS_AT_ONCE = 1 << 21


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Computes the gradient in the forward pass and keeps one [tokens, vocabulary] array.

    With q the smoothed target (1 - e on the right token plus e / V everywhere), the loss of a
    token is  logsumexp(z) - sum_v q_v z_v  and its gradient  softmax(z) - q.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        rows = torch.arange(len(target), device=target.device)
        exact = widest_float(logits.device)
        gradient = torch.softmax(logits, dim=-1)
        # logsumexp from numbers at hand: log p = z - logsumexp(z), taken where p is largest
        # (at least 1/V), so that the logarithm is never near zero. Two maxima without their places
        # take a tenth of the time of one with it.
        log_sum = logits.amax(dim=-1) - gradient.amax(dim=-1).log()
        right = logits[rows, target]
        loss = log_sum.sum(dtype=exact) - (1 - smoothing) * right.sum(dtype=exact)
        gradient[rows, target] -= 1 - smoothing
        if smoothing:
            vocabulary = logits.shape[-1]
            loss = loss - smoothing * logits.mean(dim=-1).sum(dtype=exact)
            gradient -= smoothing / vocabulary
        ctx.save_for_backward(gradient)
        return loss.to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        # In place: nobody else holds this array, and it is needed once.
        return gradient.mul_(outer[0]), None, None


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum over tokens of the cross-entropy against smoothed targets (Szegedy et al. 2016, sec. 7).

    Args:
        logits: [tokens, vocabulary]; no padding in it (see `without_padding`).
        target: [tokens] ids.
        smoothing: share of the probability spread evenly over the vocabulary, the right token
            included, as `torch.nn.functional.cross_entropy` does. 0 gives the plain negative
            log-likelihood, the one that perplexity is made of.

    The gradient may be asked for once (`backward` twice over one graph is an error of torch).
    """
    return _SmoothedCrossEntropy.apply(logits, target, smoothing)  # type: ignore[no-any-return, no-untyped-call]


def without_padding(hidden: Tensor, target: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """[batch, length, width] and [batch, length] → [tokens, width] and [tokens], padding left out.

    Done before the projection to the vocabulary, so that no logits are computed for padding.
    """
    flat_hidden, flat_target = hidden.flatten(0, 1), target.flatten()
    real = (flat_target != pad_id).nonzero().squeeze(1)
    if len(real) == len(flat_target):
        return flat_hidden, flat_target
    return flat_hidden[real], flat_target[real]


def backward_in_chunks(
    hidden: Sequence[Tensor],
    target: Tensor,
    earlier: Tensor | None,
    project: Callable[[Tensor], Tensor],
    vocabulary: int,
    token_loss: TokenLoss,
    tokens_of_update: int,
) -> float:
    """Project, compute the loss and propagate it back, a chunk of tokens at a time.

    The [tokens, vocabulary] logits of a large vocabulary are by far the largest array of a step.
    Here only `LOGITS_AT_ONCE` of them exist at any time.

    Args:
        hidden: [tokens, width] the decoder's output, of every pass that `token_loss` asks for;
            gradients flow from them into the model.
        target: [tokens] ids.
        earlier: see `TokenLoss`.
        project: hidden → logits, not of half precision.
        vocabulary: size of the last axis of the logits.
        token_loss: what is minimised.
        tokens_of_update: what the gradient is divided by: tokens of all accumulated batches.

    Returns:
        The sum of the loss over the tokens, in nats, not divided.
    """
    losses: list[Tensor] = []
    gradients: list[list[Tensor]] = [[] for _ in hidden]
    size = max(1, LOGITS_AT_ONCE // (vocabulary * len(hidden)))
    for start in range(0, len(target), size):
        chunk = slice(start, start + size)
        parts = [each.detach()[chunk].requires_grad_() for each in hidden]
        before = None if earlier is None else earlier[chunk]
        loss = token_loss([project(part) for part in parts], target[chunk], before)
        (loss / tokens_of_update).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        for found, part in zip(gradients, parts, strict=True):
            assert part.grad is not None
            found.append(part.grad)
    whole = [torch.cat(each) if len(each) > 1 else each[0] for each in gradients]
    torch.autograd.backward(list(hidden), whole)
    return float(sum(loss.item() for loss in losses))  # asked for now, so that no chunk waits

"""What all losses share: they are sums over tokens, and most know their gradient themselves.

The caller divides by the number of tokens of the whole update, so the gradient of several
accumulated batches, or of several processes, is exactly that of the joint batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class TokenLoss(ABC):
    """What `train_scratch.loss` chooses; one file each in this folder.

    Attributes:
        passes: forward passes of every batch, each with dropout of its own.
        reads_earlier: whether it asks which target tokens came before.
        smoothing: the label smoothing in it.
    """

    passes: ClassVar[int] = 1
    reads_earlier: ClassVar[bool] = False
    smoothing: float = 0.0

    @abstractmethod
    def __call__(
        self, logits: Sequence[Tensor], target: Tensor, earlier: Tensor | None = None
    ) -> Tensor:
        """The loss in nats, summed over the tokens.

        Args:
            logits: one [tokens, classes] for each of `passes`; no padding in it.
            target: [tokens] ids of the right answers.
            earlier: [tokens, most] target ids that came before each in its row, filled up with
                0 (padding); only where `reads_earlier`.
        """


def with_gradient(value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """`value`, a number, with the gradient that is known for each of `inputs`.

    The gradients are used up: `backward` may be called once.
    """
    return _Known.apply(value, *inputs, *gradients)  # type: ignore[no-any-return, no-untyped-call]


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[len(tensors) // 2 :])
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        # In place: nobody else holds these arrays, and they are needed once.
        known = (gradient.mul_(outer[0]) for gradient in gradients)
        return (None, *known, *(None for _ in gradients))

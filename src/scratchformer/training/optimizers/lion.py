"""Lion: only the sign of the direction counts, and one moment is enough."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.training.optimizers.rule import State


@dataclass(frozen=True)
class Lion:
    """Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2.

        c = β₁·m + (1-β₁)·g
        w ← w - η · (sign(c) + λ·w)
        m ← β₂·m + (1-β₂)·g

    Every weight moves by exactly η (and decay), so η is a third to a tenth of Adam's, and λ as
    many times larger (section 5 there). The state is half of Adam's.
    """

    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    def initial_state(self, weight: Tensor) -> State:
        return {"mean": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, state: State, step: int, learning_rate: float
    ) -> tuple[Tensor, State]:
        beta1, beta2 = self.betas
        direction = (beta1 * state["mean"] + (1 - beta1) * gradient).sign()
        mean = beta2 * state["mean"] + (1 - beta2) * gradient
        return weight - learning_rate * (direction + self.weight_decay * weight), {"mean": mean}

"""Adam and AdamW: every weight has a step length of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.training.optimizers.rule import State


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015, algorithm 1.

        m ← β₁·m + (1-β₁)·g      mean of the gradients, the later the heavier
        v ← β₂·v + (1-β₂)·g²     mean of their squares
        w ← w - η · m̂ / (√v̂ + ε),   m̂ = m / (1-β₁ᵗ),   v̂ = v / (1-β₂ᵗ)

    Both means start at zero; the hats undo that bias. A weight whose gradients agree moves by about
    η an update, however large they are; one whose gradients are noise moves less.

    `decoupled` chooses what weight decay λ means. False: λ·w is added to the gradient and divided
    by √v̂ like everything else (L2 regularisation). True: w ← (1-ηλ)·w first, the same share of
    every weight (AdamW; Loshchilov & Hutter 2019, algorithm 2).
    """

    betas: tuple[float, float] = (0.9, 0.98)  # Vaswani et al. 2017, section 5.3
    epsilon: float = 1e-9
    weight_decay: float = 0.0
    decoupled: bool = True

    def initial_state(self, weight: Tensor) -> State:
        return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, state: State, step: int, learning_rate: float
    ) -> tuple[Tensor, State]:
        beta1, beta2 = self.betas
        if self.decoupled:
            weight = (1 - learning_rate * self.weight_decay) * weight
        else:
            gradient = gradient + self.weight_decay * weight
        mean = beta1 * state["mean"] + (1 - beta1) * gradient
        square = beta2 * state["square"] + (1 - beta2) * gradient**2
        unbiased_mean = mean / (1 - beta1**step)
        unbiased_square = square / (1 - beta2**step)
        weight = weight - learning_rate * unbiased_mean / (unbiased_square.sqrt() + self.epsilon)
        return weight, {"mean": mean, "square": square}

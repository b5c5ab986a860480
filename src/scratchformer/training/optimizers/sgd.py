"""Stochastic gradient descent, with momentum and Nesterov's look ahead."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.training.optimizers.rule import State


@dataclass(frozen=True)
class SGD:
    """w ← w - η·d, where the direction d comes from the gradient g.

    - momentum 0: d = g (Robbins & Monro 1951).
    - momentum μ: v ← μ·v + g and d = v (Polyak 1964): past directions go on, damped.
    - nesterov: d = g + μ·v, the gradient where momentum will carry the weight (Sutskever et al.
      2013, section 2, in the form that needs no second set of weights).

    Weight decay λ is added to the gradient: g ← g + λ·w. For plain gradient descent that is the
    same as shrinking the weight; with momentum the pull is carried on too.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def initial_state(self, weight: Tensor) -> State:
        return {"velocity": torch.zeros_like(weight)} if self.momentum else {}

    def update(
        self, weight: Tensor, gradient: Tensor, state: State, step: int, learning_rate: float
    ) -> tuple[Tensor, State]:
        gradient = gradient + self.weight_decay * weight
        if not self.momentum:
            return weight - learning_rate * gradient, {}
        velocity = self.momentum * state["velocity"] + gradient
        direction = gradient + self.momentum * velocity if self.nesterov else velocity
        return weight - learning_rate * direction, {"velocity": velocity}

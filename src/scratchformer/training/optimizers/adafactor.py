"""Adafactor: Adam's second moment of a matrix from the means of its rows and columns."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.training.optimizers.rule import State


@dataclass(frozen=True)
class Adafactor:
    """Shazeer & Stern 2018, algorithm 4, as torch.optim has it.

    A matrix of n × m weights keeps n + m numbers instead of 2·n·m: v is taken to be the outer
    product of its row means and column means, divided by their common mean. With
    β = 1 - t^decay (at t = 1 nothing is remembered) and u = g / √v:

        w ← w - α · u / max(1, rms(u)/d),   α = max(ε₂, rms(w)) · min(η, 1/√t)

    The step is relative to the size of the weight, there is no first moment, and updates whose
    root mean square is above d are cut. Vectors keep all of v.
    """

    beta2_decay: float = -0.8
    epsilon: float = 1e-3  # ε₂: the least size that a weight is taken to have
    clip: float = 1.0  # d
    weight_decay: float = 0.0

    def initial_state(self, weight: Tensor) -> State:
        if weight.ndim < 2:
            return {"square": torch.zeros_like(weight)}
        return {
            "row": torch.zeros_like(weight.mean(-1, keepdim=True)),
            "column": torch.zeros_like(weight.mean(-2, keepdim=True)),
        }

    def update(
        self, weight: Tensor, gradient: Tensor, state: State, step: int, learning_rate: float
    ) -> tuple[Tensor, State]:
        fresh = step**self.beta2_decay  # 1 - β
        size = max(self.epsilon, _rms(weight))
        weight = (1 - learning_rate * self.weight_decay) * weight
        tiny = torch.finfo(weight.dtype).eps
        square = gradient**2
        if weight.ndim < 2:
            new = {"square": state["square"].lerp(square, fresh)}
            variance = new["square"]
        else:
            new = {
                "row": state["row"].lerp(square.mean(-1, keepdim=True), fresh),
                "column": state["column"].lerp(square.mean(-2, keepdim=True), fresh),
            }
            scale = new["row"].mean(-2, keepdim=True).clamp(min=tiny)
            variance = new["row"] @ new["column"] / scale
        update = gradient / variance.clamp(min=tiny**2).sqrt()
        update = update / max(1.0, _rms(update) / self.clip)
        return weight - size * min(learning_rate, step**-0.5) * update, new


def _rms(tensor: Tensor) -> float:
    """Root mean square."""
    return float(tensor.square().mean().sqrt())

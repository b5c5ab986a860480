"""Muon: the update of a matrix turns all its directions by the same amount."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scratchformer.training.optimizers.rule import State

# Jordan 2024 (kellerjordan.github.io/posts/muon): the quintic a·x + b·x³ + c·x⁵ whose slope at 0 is
# as steep as possible, so that small singular values grow fast. Five rounds bring all of them
# into about 0.7 … 1.2, not to 1.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


@dataclass(frozen=True)
class Muon:
    """Momentum, then the nearest orthogonal matrix: w ← (1-ηλ)·w - η·s·O.

    With M = U·Σ·Vᵀ the momentum of a matrix, O ≈ U·Vᵀ: a rare direction (a small singular value)
    moves as far as a common one. Found without an SVD by Newton-Schulz iterations (matrix products
    only). s = √max(1, rows/columns) keeps the size of what the matrix computes.

    For matrices inside the model only. Vectors, embeddings and the output, whose rows are tokens
    and not directions, are left to AdamW: see optimizer.py.

    `dtype` is that of the iterations: bfloat16, as published, where the machine multiplies it
    faster; None keeps that of the weight.
    """

    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.0
    dtype: torch.dtype | None = None

    def initial_state(self, weight: Tensor) -> State:
        if weight.ndim != 2:
            raise ValueError(f"Muon updates matrices; found a weight of {weight.ndim} dimensions")
        return {"velocity": torch.zeros_like(weight)}

    def update(
        self, weight: Tensor, gradient: Tensor, state: State, step: int, learning_rate: float
    ) -> tuple[Tensor, State]:
        velocity = state["velocity"].lerp(gradient, 1 - self.momentum)
        direction = gradient.lerp(velocity, self.momentum) if self.nesterov else velocity
        turned = orthogonalized(direction.to(self.dtype or weight.dtype)).to(weight.dtype)
        scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
        weight = (1 - learning_rate * self.weight_decay) * weight
        return weight - learning_rate * scale * turned, {"velocity": velocity}


def orthogonalized(matrix: Tensor) -> Tensor:
    """About U·Vᵀ of a matrix U·Σ·Vᵀ, of the same shape `[rows, columns]`.

    A polynomial of odd powers, X ← a·X + (b·X·Xᵀ + c·(X·Xᵀ)²)·X, changes the singular values and
    leaves U and V. Dividing by the Frobenius norm first puts them into [0, 1].
    """
    a, b, c = QUINTIC
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # the smaller square
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram: Tensor = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    turned: Tensor = wide.T if matrix.shape[0] > matrix.shape[1] else wide
    return turned

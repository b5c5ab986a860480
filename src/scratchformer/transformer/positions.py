"""Where a token stands. Attention alone cannot tell: permute its input and the output permutes.

Sinusoidal: "Attention Is All You Need" §3.5. Learned: the same section, table 3 row (E).
Rotary: RoFormer (Su et al. 2021), §3.2, equation 34.
"""

import torch
from torch import nn

from .config import TransformerConfig
from .shapes import Float, Tensor


def wave_angles(
    length: int, width: int, slowest_is_exact: bool = False
) -> Float[Tensor, "length half"]:
    """pos / 10000^(2i / width) for every position and every i < width / 2, in float64.

    The wavelengths grow geometrically from 2π towards 10000 · 2π; with `slowest_is_exact` the
    last one is exactly that, as in tensor2tensor, instead of one step short, as in the paper.
    """
    half = width // 2
    steps = max(half - 1, 1) if slowest_is_exact else half
    exponent = torch.arange(half, dtype=torch.float64) / steps
    return torch.arange(length, dtype=torch.float64)[:, None] / 10000**exponent


def check_length(end: int, longest: int) -> None:
    """Raise ValueError if positions up to `end` are wanted but only `longest` exist."""
    if end > longest:
        raise ValueError(f"a sequence of {end} tokens is longer than max_length ({longest})")


class SinusoidalPositions(nn.Module):
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(pos / 10000^(2i/d)).

    PE(pos + k) is a rotation of PE(pos) by angles that depend on k alone, so relative distances
    are easy to read off. The layout "sinusoidal_halves" holds the same numbers in another order:
    all the sines, then all the cosines (Marian).
    """

    table: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.offset = config.position_offset
        length = config.max_length + self.offset
        angles = wave_angles(length, config.d_model, config.slowest_wave_is_exact)
        waves = torch.stack([angles.sin(), angles.cos()])  # [2, length, d_model / 2]
        if config.positions == "sinusoidal_halves":
            table = waves.transpose(0, 1).flatten(1)
        else:
            table = waves.permute(1, 2, 0).flatten(1)
        self.register_buffer("table", table.to(torch.get_default_dtype()), persistent=False)

    def forward(self, start: int, length: int) -> Float[Tensor, "length d_model"]:
        """Vectors of the positions start, …, start + length - 1."""
        start += self.offset
        check_length(start + length - self.offset, len(self.table) - self.offset)
        return self.table[start : start + length]


class LearnedPositions(nn.Module):
    """One free vector for every position (Gehring et al. 2017)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.offset = config.position_offset
        self.table = nn.Parameter(torch.empty(config.max_length + self.offset, config.d_model))

    def forward(self, start: int, length: int) -> Float[Tensor, "length d_model"]:
        """Vectors of the positions start, …, start + length - 1."""
        start += self.offset
        check_length(start + length - self.offset, len(self.table) - self.offset)
        return self.table[start : start + length]


class RotaryPositions(nn.Module):
    """Turn each pair (x_i, x_{i + d/2}) of a query or key by the angle pos / 10000^(2i/d).

    The dot product of a turned query and a turned key depends on their distance only. Nothing is
    added to the embeddings. RoFormer pairs neighbours; pairing the halves is the same up to the
    order of the columns of W^Q and W^K, and is what LLaMA and GPT-NeoX do.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        angles = wave_angles(config.max_length, config.d_head).repeat(1, 2)
        dtype = torch.get_default_dtype()
        self.register_buffer("cos", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sin", angles.sin().to(dtype), persistent=False)

    def forward(
        self, x: Float[Tensor, "batch heads length d_head"], start: int
    ) -> Float[Tensor, "batch heads length d_head"]:
        """Turn the vectors of the positions start, …, start + length - 1."""
        end = start + x.shape[2]
        check_length(end, len(self.cos))
        left, right = x.chunk(2, dim=-1)
        quarter_turn = torch.cat([-right, left], dim=-1)
        return x * self.cos[start:end] + quarter_turn * self.sin[start:end]

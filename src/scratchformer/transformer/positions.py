"""Where a token stands. Attention alone cannot tell: permute its input and the output permutes.

Sinusoidal: "Attention Is All You Need" §3.5. Learned: the same section, table 3 row (E).
Rotary: RoFormer (Su et al. 2021), equation 15, computed as in equation 34 (§3.4.2).
ALiBi: Press et al. 2022, §3. The table SCHEMES at the end says which scheme acts where.
"""

from collections.abc import Callable

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


class PositionsInAttention(nn.Module):
    """What self-attention does with positions: nothing, unless a scheme overrides it.

    Cross-attention does none of this: a place in the target and one in the source have no distance.
    """

    def turn(
        self, x: Float[Tensor, "batch heads length d_head"], start: int
    ) -> Float[Tensor, "batch heads length d_head"]:
        """Queries or keys of the positions start, …, start + length - 1."""
        return x

    def add_bias(
        self,
        bias: Float[Tensor, "#batch #heads #query key"] | None,
        query: Float[Tensor, "batch heads query d_head"],
        key: Float[Tensor, "batch kv_heads key d_head"],
    ) -> Float[Tensor, "#batch #heads #query key"] | None:
        """What is added to the scores; the queries are the last ones of the keys' positions."""
        return bias


class RotaryPositions(PositionsInAttention):
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

    def turn(
        self, x: Float[Tensor, "batch heads length d_head"], start: int
    ) -> Float[Tensor, "batch heads length d_head"]:
        """Raises ValueError beyond the last position."""
        end = start + x.shape[2]
        check_length(end, len(self.cos))
        left, right = x.chunk(2, dim=-1)
        quarter_turn = torch.cat([-right, left], dim=-1)
        return x * self.cos[start:end] + quarter_turn * self.sin[start:end]


class AlibiPositions(PositionsInAttention):
    """Take slope · |distance| from the score: the farther a key, the less it counts.

    Head k of h has the slope 2^(-8k/h): the first heads look near, the last ones far. Nothing is
    learned and no table ends, so any length can be read. Press et al. have a causal model; in the
    encoder the distance counts both ways. Their code gives other slopes where h is no power of 2.
    """

    slopes: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        exponents = torch.arange(1, config.num_heads + 1) * -8 / config.num_heads
        slopes = torch.exp2(exponents.double()).to(torch.get_default_dtype())
        self.register_buffer("slopes", slopes, persistent=False)

    def add_bias(
        self,
        bias: Float[Tensor, "#batch #heads #query key"] | None,
        query: Float[Tensor, "batch heads query d_head"],
        key: Float[Tensor, "batch kv_heads key d_head"],
    ) -> Float[Tensor, "#batch heads query key"]:
        places = torch.arange(key.shape[2], device=key.device)
        distance = (places[-query.shape[2] :, None] - places).abs()  # [query, key]
        alibi = -self.slopes[:, None, None] * distance
        return alibi[None] if bias is None else bias + alibi


Added = SinusoidalPositions | LearnedPositions
SCHEMES: dict[
    str,
    tuple[Callable[[TransformerConfig], Added] | None, Callable[..., PositionsInAttention] | None],
] = {
    # config.positions: what is added to the embeddings, what self-attention does
    "sinusoidal": (SinusoidalPositions, None),
    "sinusoidal_halves": (SinusoidalPositions, None),
    "learned": (LearnedPositions, None),
    "rotary": (None, RotaryPositions),
    "alibi": (None, AlibiPositions),
}


def make_added_positions(config: TransformerConfig) -> Added | None:
    """What the embeddings add, if anything."""
    make, _ = SCHEMES[config.positions]
    return None if make is None else make(config)


def make_positions_in_attention(config: TransformerConfig) -> PositionsInAttention:
    """What every layer's self-attention does."""
    _, make = SCHEMES[config.positions]
    return PositionsInAttention() if make is None else make(config)

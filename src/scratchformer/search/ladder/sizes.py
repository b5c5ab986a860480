"""The smaller sizes of a recipe.

The width is scaled by whole attention heads, which keep their own width: d_model, num_heads and
d_ff shrink by the same factor f, depth stays. The number of weights goes with f², so the updates
(warm-up and validations too) are scaled by f²: tokens per weight stay what they are in params.yaml,
as Hoffmann et al. 2022 (arXiv:2203.15556, table 3) found best, and compute goes with f⁴. The
learning rate is that of params.yaml divided by √f: the rule of Vaswani et al. 2017 (equation 3).
"""

from dataclasses import dataclass
from typing import Any

from scratchformer.base.errors import ParamsError
from scratchformer.params import Params

STEPS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Size:
    """One step of the ladder: its width, and what it changes in params.yaml."""

    width: int
    values: dict[str, Any]


def sizes_of(params: Params) -> list[Size]:
    """Four sizes, the smallest first; the last one is params.yaml as it is.

    Raises:
        ParamsError: the model has too few heads for four widths.
    """
    settings = params.train_scratch
    heads, width = settings.model.num_heads, settings.model.d_model // settings.model.num_heads
    if heads < len(STEPS) or settings.model.num_kv_heads:
        raise ParamsError(
            f"train_scratch.model: the ladder takes heads away, so it needs num_heads of at least "
            f"{len(STEPS)} (found {heads}) and num_kv_heads 0 (found {settings.model.num_kv_heads})"
        )
    return [_size(params, max(1, round(step * heads)), width) for step in STEPS]


def _size(params: Params, heads: int, head_width: int) -> Size:
    settings = params.train_scratch
    share = heads / settings.model.num_heads
    if share == 1.0:
        return Size(settings.model.d_model, {})

    def scaled(updates: int) -> int:
        return max(1, round(updates * share**2))

    changed = {
        "model.num_heads": heads,
        "model.d_model": heads * head_width,
        "model.d_ff": max(1, round(settings.model.d_ff * share)),
        "optimizer.learning_rate": settings.optimizer.learning_rate / share**0.5,
        "max_steps": scaled(settings.max_steps),
        "validate_every": scaled(settings.validate_every),
        "warmup_steps": round(settings.warmup_steps * share**2),
    }
    values = {f"train_scratch.{key}": value for key, value in changed.items()}
    return Size(heads * head_width, values)

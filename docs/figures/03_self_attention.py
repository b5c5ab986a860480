"""Who looks at whom in one untrained self-attention layer, under each mask."""

import itertools

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.attention import SelfAttention
from scratchformer.transformer.masks import as_bias, causal_mask, padding_mask

TOKENS = ["b", "o", "o", "k", "pad", "pad"]


def draw() -> Figure:
    torch.manual_seed(3)
    length = len(TOKENS)
    layer = SelfAttention(TransformerConfig(d_model=32, num_heads=1))
    x = 2.5 * torch.randn(1, length, 32)  # large enough that some keys stand out
    padding = padding_mask(torch.tensor([[int(token != "pad") for token in TOKENS]]), pad_id=0)
    future = causal_mask(length, length)
    masks = {
        "no mask": None,
        "padding (encoder)": padding,
        "padding and future (decoder)": padding & future,
    }
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (title, mask) in zip(axes, masks.items(), strict=True):
        seen: list[torch.Tensor] = []
        layer.on_weights = seen.append
        with torch.no_grad():
            layer(x, None if mask is None else as_bias(mask, x.dtype))
        weights = seen[0][0, 0].numpy()
        image = ax.imshow(weights, cmap="Blues", vmin=0, vmax=1)
        for query, key in itertools.product(range(length), repeat=2):
            if mask is not None and not mask.expand(1, 1, length, length)[0, 0, query, key]:
                ax.add_patch(hidden(key, query))
                continue
            weight = float(weights[query, key])
            colour = "white" if weight > 0.6 else "black"
            ax.text(key, query, f"{weight:.0%}"[:-1], ha="center", va="center", color=colour)
        ax.set_xticks(range(length), TOKENS)
        ax.set_yticks(range(length), TOKENS)
        ax.set(xlabel="key", ylabel="query", title=title)
        ax.grid(False)
    figure.colorbar(image, ax=axes, label="weight", shrink=0.75)
    return figure


def hidden(key: int, query: int) -> Rectangle:
    """A cell that the mask forbids."""
    return Rectangle(
        (key - 0.5, query - 0.5), 1, 1, facecolor="#eeeeee", edgecolor="#bbbbbb", hatch="///"
    )

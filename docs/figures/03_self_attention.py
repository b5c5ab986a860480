"""Who looks at whom in one untrained self-attention layer, under each mask."""

import torch
from matplotlib.figure import Figure

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.attention import SelfAttention
from scratchformer.transformer.masks import as_bias, causal_mask, padding_mask
from scratchformer.visualization.plots.style import ORDERED

TOKENS = ["t", "h", "e", "b", "o", "o", "k", "pad", "pad"]


def draw() -> Figure:
    torch.manual_seed(3)
    length = len(TOKENS)
    layer = SelfAttention(TransformerConfig(d_model=32, num_heads=1))
    x = 1.5 * torch.randn(1, length, 32)
    padding = padding_mask(torch.tensor([[int(token != "pad") for token in TOKENS]]), pad_id=0)
    future = causal_mask(length, length)
    masks = {
        "no mask": None,
        "padding (encoder)": padding,
        "padding and future (decoder)": padding & future,
    }
    figure = Figure(figsize=(9.2, 3.3), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (title, mask) in zip(axes, masks.items(), strict=True):
        seen: list[torch.Tensor] = []
        layer.on_weights = seen.append
        with torch.no_grad():
            layer(x, None if mask is None else as_bias(mask, x.dtype))
        image = ax.imshow(seen[0][0, 0], cmap=ORDERED, vmin=0, vmax=1)
        ax.set_xticks(range(length), TOKENS)
        ax.set_yticks(range(length), TOKENS)
        ax.set(xlabel="key", ylabel="query", title=title)
        ax.grid(False)
    figure.colorbar(image, ax=axes, label="weight", shrink=0.75)
    return figure

"""One input position is changed: which output positions notice?"""

import torch
from matplotlib.figure import Figure

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.encoder import EncoderLayer
from scratchformer.transformer.initialization import initialize
from scratchformer.visualization.plots.style import ORDERED

LENGTH, WIDTH, CHANGED = 12, 32, 4


@torch.no_grad()
def draw() -> Figure:
    torch.manual_seed(0)
    config = TransformerConfig(d_model=WIDTH, num_heads=4, d_ff=64, dropout=0.0)
    layer = EncoderLayer(config).eval()
    initialize(layer, config)
    x = torch.randn(1, LENGTH, WIDTH)
    changed = x.clone()
    changed[0, CHANGED] = torch.randn(WIDTH)
    blocks = {
        "feed-forward": layer.feed_forward,
        "self-attention": lambda y: layer.self_attention(y, None),
        "the whole layer": lambda y: layer(y, None),
    }
    figure = Figure(figsize=(9.2, 2.9), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (title, block) in zip(axes, blocks.items(), strict=True):
        difference = (block(changed) - block(x)).abs()[0]
        image = ax.imshow(difference.T + 1e-9, cmap=ORDERED, aspect="auto",
                          norm="log", vmin=1e-3, vmax=3)  # fmt: skip
        ax.set(xlabel="position", title=title, xticks=range(0, LENGTH, 2))
        ax.grid(False)
    axes[0].set_ylabel("feature")
    bar = figure.colorbar(image, ax=axes, label="change of the output", ticks=[1e-3, 1e-2, 0.1, 1])
    bar.ax.set_yticklabels(["≤ 0.001", "0.01", "0.1", "1"])
    return figure

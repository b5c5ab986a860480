"""The three kinds of attention of one encoder-decoder, and what each may look at."""

import torch
from matplotlib.figure import Figure
from reverser import spell, trained

from scratchformer.transformer import collect_attention
from scratchformer.visualization.plots.style import ORDERED

WORD = "decoder"


def draw() -> Figure:
    model = trained()
    source, target_input, letters, written = spell(WORD)
    with collect_attention(model) as maps, torch.no_grad():
        model(source, target_input)
    read = ["BOS", *written[:-1]]
    panels = (
        ("encoder: source looks at source", maps.encoder, letters, letters),
        ("decoder: target looks at its past", maps.decoder, read, read),
        ("cross: target looks at source", maps.cross, written, letters),
    )
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, (title, layers, queries, keys) in zip(axes, panels, strict=True):
        mean = torch.stack(layers).mean(dim=(0, 1, 2))  # over layers, batch and heads
        image = ax.imshow(mean, cmap=ORDERED, vmin=0, vmax=1)
        ax.set_xticks(range(len(keys)), keys, rotation=60)
        ax.set_yticks(range(len(queries)), queries)
        ax.set(xlabel="key", ylabel="query", title=title)
        ax.grid(False)
    figure.colorbar(image, ax=axes, label="weight, mean of layers and heads", shrink=0.85)
    return figure

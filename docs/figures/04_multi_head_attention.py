"""The four heads of one encoder and one cross-attention layer, trained, on one word."""

import torch
from matplotlib.figure import Figure
from reverser import spell, trained

from scratchformer.transformer import collect_attention
from scratchformer.visualization.plots.style import ORDERED

WORD = "attention"


def draw() -> Figure:
    model = trained()
    source, target_input, letters, written = spell(WORD)
    with collect_attention(model) as maps, torch.no_grad():
        model(source, target_input)
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    axes = figure.subplots(2, 4)
    for row, (name, layers) in enumerate((("encoder", maps.encoder), ("cross", maps.cross))):
        for head, ax in enumerate(axes[row]):
            image = ax.imshow(layers[0][0, head], cmap=ORDERED, vmin=0, vmax=1)
            labels = written if name == "cross" else letters
            ax.set_xticks(range(len(letters)), letters, rotation=60)
            ax.set_yticks(range(len(labels)), labels)
            ax.set_title(f"{name}, head {head + 1}")
            ax.grid(False)
    figure.supxlabel("key", fontsize=9)
    figure.supylabel("query", fontsize=9)
    figure.colorbar(image, ax=axes, label="weight", shrink=0.6)
    return figure

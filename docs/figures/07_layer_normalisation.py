"""Positions of very different size and offset, before and after the two norms."""

import torch
from matplotlib.figure import Figure

from scratchformer.transformer.normalization import LayerNorm, RMSNorm
from scratchformer.visualization.plots.style import BLUE

POSITIONS, WIDTH = 8, 256


def draw() -> Figure:
    torch.manual_seed(0)
    sizes = torch.logspace(-1, 1, POSITIONS)[:, None]
    offsets = torch.linspace(-6, 6, POSITIONS)[:, None]
    x = torch.randn(POSITIONS, WIDTH) * sizes + offsets
    panels = {
        "before": x,
        "after LayerNorm": LayerNorm(WIDTH)(x),
        "after RMSNorm": RMSNorm(WIDTH)(x),
    }
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    for ax, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        parts = ax.violinplot(list(values.detach()), range(POSITIONS), widths=0.8, showmeans=True)
        for body in parts["bodies"]:
            body.set_facecolor(BLUE)
        ax.set(xlabel="position", title=title)
        if title != "before":
            ax.set_ylim(-4, 4)
    figure.axes[0].set_ylabel("the 256 features of a position")
    return figure

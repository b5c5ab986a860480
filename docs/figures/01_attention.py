"""Why the scores are divided by √d_k: without it, attention looks at one key only."""

import numpy as np
import torch
from matplotlib.figure import Figure

from scratchformer.transformer.attention import attention_weights
from scratchformer.visualization.plots.style import BLUE, ORDERED, VERMILLION

KEYS, WIDTHS = 12, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


def weights(d_k: int, rows: int, scaled: bool) -> np.ndarray:
    """Attention of random queries to random keys, all entries N(0, 1): [rows, KEYS]."""
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, rows, d_k), torch.randn(1, 1, KEYS, d_k)
    if not scaled:
        query = query * d_k**0.5  # undoes the division
    return attention_weights(query, key)[0, 0].numpy()


def draw() -> Figure:
    figure = Figure(figsize=(9.2, 3.0), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    for ax, scaled in zip(axes, (False, True), strict=False):
        image = ax.imshow(weights(64, KEYS, scaled), cmap=ORDERED, vmin=0, vmax=1)
        ax.set(xticks=[0, 5, 10], yticks=[0, 5, 10])
        ax.set_title("divided by √d_k" if scaled else "not divided")
        ax.set_xlabel("key")
        ax.set_ylabel("query")
        ax.grid(False)
    figure.colorbar(image, ax=axes[1], label="weight, d_k = 64")
    figure.get_layout_engine().set(wspace=0.06)
    for scaled, colour in ((False, VERMILLION), (True, BLUE)):
        largest = [weights(d_k, 400, scaled).max(axis=1).mean() for d_k in WIDTHS]
        label = "divided by √d_k" if scaled else "not divided"
        axes[2].plot(WIDTHS, largest, "o-" if scaled else "s--", color=colour, label=label)
    axes[2].axhline(1 / KEYS, color="black", linewidth=0.8, linestyle=":", label="all keys alike")
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks(WIDTHS, [str(d_k) for d_k in WIDTHS])
    axes[2].set(ylim=(0, 1), xlabel="d_k", ylabel="largest weight of a query, mean")
    axes[2].set_title(f"{KEYS} random keys")
    axes[2].legend()
    return figure

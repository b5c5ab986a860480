"""How much each token contributes to one position, under one or several models."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from scratchformer.visualization.plots.labels import line_pitch, token_label
from scratchformer.visualization.plots.style import AFTER, BEFORE, PAGE_WIDTH, styled


@styled
def token_bars(
    shares: Mapping[str, NDArray[np.float32]], tokens: Sequence[str], title: str
) -> Figure:
    """Shares `[tokens]` of "before" and "after" as bars, in the order of the sentence."""
    places = np.arange(len(tokens))
    height = 0.8 / len(shares)
    figure = Figure(figsize=(PAGE_WIDTH * 0.6, max(1.2, len(tokens) * line_pitch() * 1.6)))
    axes = figure.add_subplot(title=_wrapped(title), xlabel="share")
    axes.grid(False, axis="y")
    colors = (BEFORE, AFTER)
    for index, (name, values) in enumerate(shares.items()):
        offset = (index - (len(shares) - 1) / 2) * height
        axes.barh(places + offset, values, height=height, color=colors[index % 2], label=name)
    axes.set_yticks(places, [token_label(token) for token in tokens])
    axes.set_ylim(len(tokens) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def _wrapped(title: str) -> str:
    return "\n".join(textwrap.fill(line, 90) for line in title.splitlines())

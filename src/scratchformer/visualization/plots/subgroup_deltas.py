"""What changed from one system to another for each kind of row: each class, each length."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.visualization.plots.labels import line_pitch, printable, shorten
from scratchformer.visualization.plots.style import (
    AFTER,
    BEFORE,
    GREY,
    PAGE_WIDTH,
    SMALL,
    TITLE,
    styled,
)

_LABELS, _NUMBERS = 3.6, 1.6  # inches left and right of the panel
MOST_KINDS = 60  # more do not fit on a page


@styled
def subgroup_deltas(
    effect: pd.DataFrame, title: str, measure: str, sides: tuple[str, str] = ("before", "after")
) -> Figure:
    """One line a kind of row, from the first system to the second, in the order given.

    Args:
        effect: the columns `kind, rows, before, after, difference, low, high`, as
            `evaluation.reports.subgroup_deltas` makes them. The paired difference is written beside
            each line, in bold where its interval leaves out zero.
    """
    effect = effect.head(MOST_KINDS)
    places = np.arange(len(effect))
    height = max(0.4, len(effect) * line_pitch() * 1.5)
    page = (PAGE_WIDTH, height + 1.1)
    figure = Figure(figsize=page)
    width = page[0] - _LABELS - _NUMBERS
    axes = figure.add_axes((_LABELS / page[0], 0.6 / page[1], width / page[0], height / page[1]))
    figure.text(0, 1, title, fontsize=TITLE, va="top")
    axes.hlines(places, effect["before"], effect["after"], color=GREY, linewidth=1.4, zorder=1)
    axes.scatter(effect["before"], places, color=BEFORE, marker="s", s=26, label=sides[0], zorder=2)
    axes.scatter(effect["after"], places, color=AFTER, marker="o", s=30, label=sides[1], zorder=3)
    axes.set_yticks(
        places,
        [
            f"{shorten(printable(str(kind)), 42)}  (n = {rows:,})"
            for kind, rows in zip(effect["kind"], effect["rows"], strict=True)
        ],
    )
    for place, row in zip(places, effect.to_dict("records"), strict=True):
        certain = row["low"] > 0 or row["high"] < 0
        ends = f"[{row['low']:+.2f}, {row['high']:+.2f}]"
        axes.annotate(
            f"{row['difference']:+.2f} {ends if row['low'] == row['low'] else 'n too small'}",
            (1.02, place),
            xycoords=("axes fraction", "data"), va="center", fontsize=SMALL,
            fontweight="bold" if certain else "normal",
        )  # fmt: skip
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(len(effect) - 0.2, -0.8)
    axes.set_xlabel(measure)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0)
    return figure

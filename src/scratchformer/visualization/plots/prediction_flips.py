"""Rows that one system gets right and another gets wrong, as arrows."""

import pandas as pd
from matplotlib.figure import Figure

from scratchformer.visualization.plots.labels import line_pitch, printable, shorten
from scratchformer.visualization.plots.style import AFTER, BEFORE, GREY, PAGE_WIDTH, TITLE, styled

_LABELS, _GAP = 4.4, 0.65  # inches left of the panels, and between them


@styled
def flip_arrows(
    improved: pd.DataFrame,
    regressed: pd.DataFrame,
    title: str,
    measure: str,
    sides: tuple[str, str] = ("before", "after"),
) -> Figure:
    """Every row an arrow from the first system to the second; improved rows above, regressed ones
    below. `measure` names the scores."""
    parts = [("most improved", improved), ("most regressed", regressed)]
    parts = [(name, part) for name, part in parts if len(part)]
    rows_high = line_pitch() * 1.6
    heights = [max(len(part) * rows_high, 0.3) for _, part in parts]
    page = (PAGE_WIDTH, sum(heights) + len(parts) * _GAP + 0.6)
    figure = Figure(figsize=page)
    top = page[1] - 0.6
    figure.text(0, 1 - 0.1 / page[1], title, fontsize=TITLE, va="top")
    for place, (name, part) in enumerate(parts):
        top -= heights[place]
        width = page[0] - _LABELS - 0.8  # the legend stands to the right
        axes = figure.add_axes(
            (_LABELS / page[0], top / page[1], width / page[0], heights[place] / page[1])
        )
        top -= _GAP
        axes.set_title(name, fontsize="medium")
        moves = zip(part["score_before"], part["score_after"], strict=True)
        for row, (before, after) in enumerate(moves):
            axes.annotate(
                "", (after, row), (before, row), annotation_clip=False,
                arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 2},
            )  # fmt: skip
        rows = range(len(part))
        axes.scatter(part["score_before"], rows, color=BEFORE, marker="s", s=24, label=sides[0])
        axes.scatter(part["score_after"], rows, color=AFTER, marker="o", s=28, label=sides[1])
        axes.set_yticks(
            rows,
            [
                f"{shorten(printable(str(text)), 52)}  [{shorten(printable(str(label)), 18)}]"
                for text, label in zip(part["text"], part["label"], strict=True)
            ],
        )
        axes.set_ylim(len(part) - 0.4, -0.6)
        low = min(0.0, float(part[["score_before", "score_after"]].to_numpy().min()))
        axes.set_xlim(low - 0.04, 1.04)
        if place == 0:
            axes.legend(loc="lower left", bbox_to_anchor=(1.01, 0))
    figure.axes[-1].set_xlabel(measure)
    return figure

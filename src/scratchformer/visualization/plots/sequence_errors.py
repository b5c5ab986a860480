"""The errors of a sequence model as figures: frequent edits, and error rates by length."""

from collections import Counter

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.visualization.plots.labels import line_pitch, token_label
from scratchformer.visualization.plots.style import BLUE, PAGE_WIDTH, SMALL, VERMILLION, styled


@styled
def common_edits(counts: Counter[tuple[str, str]], title: str, shown: int = 20) -> Figure:
    """The most frequent edits, as bars of their share of all edits."""
    total = sum(counts.values())
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:shown]
    figure = Figure(figsize=(PAGE_WIDTH * 0.6, max(1.2, len(top) * line_pitch() * 1.5)))
    axes = figure.add_subplot(title=title, xlabel="share of all edits")
    axes.grid(False, axis="y")
    axes.barh(range(len(top)), [count / total for _, count in top], color=BLUE, height=0.7)
    for row, (_, count) in enumerate(top):
        axes.annotate(
            f"{count:,}", (count / total, row), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=SMALL,
        )  # fmt: skip
    axes.set_yticks(
        range(len(top)), [f"{token_label(was)} → {token_label(became)}" for (was, became), _ in top]
    )
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.margins(x=0.12)
    return figure


@styled
def error_by_length(rates: pd.DataFrame, title: str) -> Figure:
    """Error rate of tokens and of whole rows against the length of the reference."""
    figure = Figure(figsize=(PAGE_WIDTH * 0.72, 3.2))
    axes = figure.add_subplot(title=title, xlabel="reference length in tokens (rows below)")
    places = np.arange(len(rates))
    axes.plot(
        places, rates["row_error"], color=VERMILLION, marker="s", label="rows not exactly right"
    )
    axes.plot(places, rates["token_error"], color=BLUE, marker="o", label="token edits")
    labels = zip(rates["length"], rates["rows"], strict=True)
    axes.set_xticks(places, [f"{length}\n{rows:,}" for length, rows in labels])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.set_ylabel("error rate")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure

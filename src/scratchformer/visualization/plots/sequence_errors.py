"""Where a sequence model goes wrong: which tokens it confuses, and at which lengths."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.visualization.analysis.text import line_pitch, token_label
from scratchformer.visualization.plots.style import BLUE, PAGE_WIDTH, SMALL, VERMILLION, styled

NOTHING = "∅"


def edits(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """The (reference token, predicted token) pairs that turn the nearest reference into the
    prediction; `NOTHING` stands for a token that was left out or put in.

    >>> edits(["B", "AA"], [["B", "AE", "T"]])
    [('AE', 'AA'), ('T', '∅')]
    """
    from rapidfuzz.distance import Levenshtein

    nearest = min(references, key=lambda reference: Levenshtein.distance(reference, predicted))
    pairs = []
    for operation in Levenshtein.editops(nearest, predicted):
        was = NOTHING if operation.tag == "insert" else nearest[operation.src_pos]
        became = NOTHING if operation.tag == "delete" else predicted[operation.dest_pos]
        pairs.append((was, became))
    return pairs


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


def rates_by_length(predictions: pd.DataFrame, most: int = 12) -> pd.DataFrame:
    """Error rates by reference length in tokens: `length, rows, token_error, row_error`.

    Lengths are joined into at most `most` groups of about equally many rows.
    """
    groups = predictions["reference_length"]
    if groups.nunique() > most:
        groups = pd.qcut(groups, most, duplicates="drop")
    rows = []
    for _, part in predictions.groupby(groups, observed=True):
        low, high = part["reference_length"].min(), part["reference_length"].max()
        rows.append(
            {
                "length": f"{low}" if low == high else f"{low}–{high}",
                "rows": len(part),
                "token_error": part["distance"].sum() / max(part["reference_length"].sum(), 1),
                "row_error": 1 - part["exact"].mean(),
            }
        )
    return pd.DataFrame(rows)


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

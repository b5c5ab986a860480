"""Which classes are taken for which."""

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.visualization.plots.labels import every, printable, shorten
from scratchformer.visualization.plots.style import ORDERED, PAGE_WIDTH, SMALL, styled

_MIN_CELL_WITH_NUMBER = 0.27  # inches: three digits of 8 points


@styled
def confusion_matrix(
    truth: Sequence[str], predicted: Sequence[str], names: Sequence[str], title: str
) -> Figure:
    """Rows: true class, with its number of test rows; columns: what the system said.

    A cell is the share of its row in percent, so the diagonal is the recall of each class.
    `names` are the classes in the order of their ids; "07 · Eye and adnexa" is written in full
    beside a row and as "07" below a column.
    """
    from sklearn.metrics import confusion_matrix as count

    with warnings.catch_warnings():  # it advises to name the labels, also where they are named
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        counts = count(list(truth), list(predicted), labels=list(names))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    short = [printable(name).split(" · ")[0] for name in names]
    cell = float(np.clip((PAGE_WIDTH - 3.6) / len(names), 0.04, 0.5))
    side = cell * len(names)
    figure = Figure(figsize=(side + 3.6, side + 1.0))
    width, height = figure.get_size_inches()
    axes = figure.add_axes((3.0 / width, 0.6 / height, side / width, side / height), title=title)
    image = axes.imshow(shares, cmap=ORDERED, vmin=0, vmax=1, interpolation="none")
    axes.grid(False)
    axes.set_xlabel("predicted class")
    step = every(len(names), side)
    places = range(0, len(names), step)
    full = [shorten(printable(name), 42) for name in names]
    axes.set_yticks(places, [f"{full[i]}  ({totals[i, 0]:,})" for i in places])
    longest = max(map(len, short))
    axes.set_xticks(places, [shorten(short[i], 16) for i in places])
    axes.tick_params(axis="x", rotation=90 if longest * 0.09 > cell * step else 0)
    if cell >= _MIN_CELL_WITH_NUMBER:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(
                column, row, f"{shares[row, column] * 100:.0f}", ha="center", va="center",
                fontsize=SMALL, color="black" if shares[row, column] > 0.6 else "white",
            )  # fmt: skip
    bar_height = min(side, 1.8)
    bottom = (0.6 + side - bar_height) / height
    bar = figure.add_axes(((3.15 + side) / width, bottom, 0.12 / width, bar_height / height))
    figure.colorbar(image, cax=bar, format=PercentFormatter(xmax=1))
    bar.set_title("share of row", fontsize=SMALL, loc="left")
    return figure


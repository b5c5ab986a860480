"""Pictures of embeddings: the tokens of the from-scratch model, and texts before and after."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scratchformer.visualization.analysis.inspection.projection import Vectors
from scratchformer.visualization.plots.labels import printable, shorten, token_label
from scratchformer.visualization.plots.style import (
    GREY,
    NORMAL,
    PAGE_WIDTH,
    SMALL,
    class_style,
    styled,
)

MAX_TOKEN_LABELS = 150  # more would cover each other


@styled
def token_map(
    points: Vectors,
    tokens: Sequence[str],
    kinds: Sequence[str],
    shares: tuple[float, float],
    title: str,
) -> Figure:
    """Token embeddings `[n, 2]`, each written at its place and coloured by its kind.

    `shares` are the shares of the variance that the two axes hold. Of large vocabularies only the
    first `MAX_TOKEN_LABELS` tokens (the most frequent, as tokenizers number them) are labelled.
    """
    figure = Figure(figsize=(PAGE_WIDTH * 0.85, PAGE_WIDTH * 0.65))
    axes = figure.add_subplot(
        title=title,
        xlabel=f"first principal component ({shares[0]:.0%} of the variance)",
        ylabel=f"second principal component ({shares[1]:.0%})",
    )
    for index, kind in enumerate(dict.fromkeys(kinds)):
        chosen = np.array([each == kind for each in kinds])
        color, marker = class_style(index)
        x, y = points[chosen].T
        axes.scatter(x, y, color=color, marker=marker, s=22, label=kind)
    axes.margins(0.06)
    labels = [token_label(token) for token in tokens[:MAX_TOKEN_LABELS]]
    for label, point, offset in zip(labels, points, _offsets(axes, points, labels), strict=False):
        axes.annotate(
            label, point, xytext=offset, textcoords="offset points", ha="center", va="center",
            fontsize=SMALL,
        )  # fmt: skip
    if len(set(kinds)) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


@styled
def sentence_map(
    panels: Sequence[tuple[str, Vectors]], labels: Sequence[str], names: Sequence[str], title: str
) -> Figure:
    """The same texts under several models, one panel `(title, points [n, 2])` each.

    `labels` is the class of every point and `names` all classes in the order of their ids. Colour
    and marker tell the classes apart, and each class is named at the median of its points.
    """
    figure = Figure(figsize=(PAGE_WIDTH, PAGE_WIDTH / len(panels) + 0.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    classes = np.array(labels)
    present = [name for name in names if (classes == name).any()]
    for index, (caption, points) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), index)
        axes.set_title(caption, fontsize=NORMAL)
        axes.grid(False)
        axes.spines[:].set(visible=True, color="#d0d0d0")
        axes.set_xticks([])
        axes.set_yticks([])
        for name in present:
            color, marker = class_style(names.index(name))
            x, y = points[classes == name].T
            axes.scatter(
                x, y,
                color=color, marker=marker, s=9, linewidths=0, alpha=0.75, label=name,
                rasterized=len(points) > 3000,  # the vector file would grow with every point
            )  # fmt: skip
        if len(present) <= 40:
            for name in present:
                _name_at(axes, np.median(points[classes == name], axis=0), name)
    if len(present) <= 40:
        handles, _ = figure.axes[0].get_legend_handles_labels()
        shown = [shorten(printable(name), 40) for name in present]
        figure.legend(
            handles, shown, loc="outside lower center",
            ncols=_legend_columns(shown), markerscale=1.8, handletextpad=0.2, columnspacing=1.2,
        )  # fmt: skip
    else:
        figure.text(0.01, 0, f"{len(present)} classes, too many to name", color=GREY, va="top")
    return figure


def _offsets(axes: Any, points: Vectors, labels: Sequence[str]) -> list[tuple[float, float]]:
    """Where each label stands relative to its point, in typographic points.

    The first free place of several around the point, so that labels cover neither each other nor
    a point; in a crowd, where none is free, the first one.
    """
    centres = axes.transData.transform(points) / axes.figure.dpi * 72
    # x, y, half width: first of the points' own markers, then of the labels placed so far.
    taken = [(float(x), float(y), 3.0) for x, y in centres]
    offsets = []
    for (x, y), label in zip(centres, labels, strict=False):
        half = len(label) * SMALL * 0.36
        side, height = half + 5, SMALL * 1.15
        places = [
            (distance * dx, distance * dy)
            for distance in (1, 2)
            for dx, dy in (
                (side, height / 2), (side, -height / 2), (-side, height / 2), (-side, -height / 2),
                (0, height), (0, -height),
            )
        ]  # fmt: skip
        chosen = next(
            (
                (dx, dy)
                for dx, dy in places
                if not any(
                    abs(x + dx - other_x) < half + other_half and abs(y + dy - other_y) < height
                    for other_x, other_y, other_half in taken
                )
            ),
            places[0],
        )
        taken.append((x + chosen[0], y + chosen[1], half))
        offsets.append(chosen)
    return offsets


def _name_at(axes: Any, place: Vectors, name: str) -> None:
    axes.annotate(
        shorten(printable(name).split(" · ")[0], 16), place, ha="center", va="center",
        fontsize=SMALL, fontweight="bold",
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def _legend_columns(shown: Sequence[str]) -> int:
    longest = max(map(len, shown)) * 0.075 + 0.4  # inches
    return max(1, int(PAGE_WIDTH / longest))

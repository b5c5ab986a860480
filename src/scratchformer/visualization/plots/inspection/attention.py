"""Pictures of attention: every layer and head side by side, and one map large enough to read.

An attention map is a matrix `[query, key]` whose rows sum to one: how much the position of the row
takes from each position of the columns.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scratchformer.visualization.plots.labels import every, line_pitch, numbered, token_label
from scratchformer.visualization.plots.style import (
    NORMAL,
    ORDERED,
    PAGE_WIDTH,
    SMALL,
    TITLE,
    styled,
)

Maps = NDArray[np.float32]

_LEFT, _BOTTOM, _TOP, _BAR = 0.9, 0.75, 0.5, 0.7  # inches around the maps
_MAX_CELL = 0.26  # inches of one token in the small maps; short words do not fill the page


@styled
def attention_grid(
    maps: Maps,
    query_tokens: Sequence[str],
    key_tokens: Sequence[str],
    title: str,
    query_name: str,
    key_name: str,
    highest: float | None = None,
) -> Figure:
    """Small multiples of all maps `[layers, heads, query, key]`: a row a layer, a column a head.

    Tokens label the outer maps where there is room; otherwise positions are numbered and the
    numbers are explained below. The colour scale is common to all maps and ends at `highest`
    (default: the largest weight), so that two pictures can be given the same one.

    All maps are tiles of one image: dozens of separate axes would take seconds to draw.
    """
    layers, heads, queries, keys = maps.shape
    if (queries, keys) != (len(query_tokens), len(key_tokens)):
        raise ValueError(
            f"maps of {queries} x {keys} positions for "
            f"{len(query_tokens)} x {len(key_tokens)} tokens"
        )
    gap = max(1, round(max(queries, keys) / 10))
    tiles = np.full((layers * (queries + gap) - gap, heads * (keys + gap) - gap), np.nan)
    for layer in range(layers):
        for head in range(heads):
            top, left = layer * (queries + gap), head * (keys + gap)
            tiles[top : top + queries, left : left + keys] = maps[layer, head]

    cell = min(_MAX_CELL, (PAGE_WIDTH - _LEFT - _BAR) / tiles.shape[1])
    named = cell >= line_pitch()
    figure, axes = _image_page(tiles, cell, title, highest or float(maps.max()))
    for position in ("left", "bottom"):
        axes.spines[position].set_visible(False)
    _tile_ticks(axes.yaxis, query_tokens, layers, gap, cell, named, last=False)
    _tile_ticks(axes.xaxis, key_tokens, heads, gap, cell, named, last=True)
    room = _label_points(query_tokens) if named else 12
    for layer in range(layers):
        middle = layer * (queries + gap) + (queries - 1) / 2
        axes.annotate(
            f"layer {layer + 1}", (0, middle), xycoords=("axes fraction", "data"),
            xytext=(-(room + 16), 0), textcoords="offset points",
            rotation=90, ha="center", va="center", fontsize=NORMAL,
        )  # fmt: skip
    for head in range(heads):
        middle = head * (keys + gap) + (keys - 1) / 2
        label = f"head {head + 1}" if keys * cell > 0.5 else f"{head + 1}"
        axes.annotate(
            label, (middle, 1), xycoords=("data", "axes fraction"),
            xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=NORMAL,
        )  # fmt: skip
    below = f"rows: {query_name}, columns: {key_name}"
    if not named:
        below += "\n" + _key_to_numbers(query_tokens, key_tokens)
    depth = _label_points(key_tokens) if named and _long(key_tokens, cell) else 10
    axes.annotate(
        below, (0, 0), xycoords="axes fraction", xytext=(-60, -(depth + 12)),
        textcoords="offset points", ha="left", va="top", fontsize=SMALL,
    )  # fmt: skip
    return figure


@styled
def attention_map(
    weights: Maps,
    query_tokens: Sequence[str],
    key_tokens: Sequence[str],
    title: str,
    query_name: str,
    key_name: str,
) -> Figure:
    """One map `[query, key]`, large, with a token at every row and column."""
    cell = min(0.42, (PAGE_WIDTH - _LEFT - _BAR) / max(weights.shape))
    figure, axes = _image_page(weights, cell, title, float(weights.max()))
    for axis, tokens in ((axes.yaxis, query_tokens), (axes.xaxis, key_tokens)):
        step = every(len(tokens), cell * len(tokens))
        axis.set_ticks(range(0, len(tokens), step), [token_label(t) for t in tokens[::step]])
    axes.tick_params(axis="x", rotation=90 if _long(key_tokens, cell) else 0)
    axes.set_xlabel(key_name)
    axes.set_ylabel(query_name)
    axes.grid(False)
    if weights.size <= 400 and cell >= 0.4:
        for row, column in zip(*np.nonzero(weights >= 0.05), strict=True):
            value = weights[row, column]
            color = "black" if value > 0.6 * weights.max() else "white"
            axes.text(
                column, row, f"{value:.2f}"[1:] if value < 0.995 else "1",
                ha="center", va="center", fontsize=SMALL, color=color,
            )  # fmt: skip
    return figure


def _image_page(
    tiles: NDArray[Any], cell: float, title: str, highest: float
) -> tuple[Figure, Any]:
    """A figure just large enough for an image with cells of `cell` inches and a colour bar."""
    height, width = (side * cell for side in tiles.shape)
    page = (_LEFT + width + _BAR, _TOP + height + _BOTTOM)
    figure = Figure(figsize=page)
    axes = figure.add_axes((_LEFT / page[0], _BOTTOM / page[1], width / page[0], height / page[1]))
    image = axes.imshow(
        tiles, cmap=ORDERED, vmin=0, vmax=highest, aspect="auto", interpolation="none"
    )
    axes.grid(False)
    axes.annotate(
        textwrap.fill(title, 95), (0, 1), xycoords="axes fraction",
        xytext=(-60, 24), textcoords="offset points", ha="left", va="bottom", fontsize=TITLE,
    )  # fmt: skip
    bar_height = min(height, 1.6)
    bar = figure.add_axes(
        (
            (_LEFT + width + 0.15) / page[0],
            (_BOTTOM + height - bar_height) / page[1],
            0.12 / page[0],
            bar_height / page[1],
        )
    )
    figure.colorbar(image, cax=bar).ax.set_title("weight", fontsize=SMALL, loc="left")
    return figure, axes


def _tile_ticks(
    axis: Any, tokens: Sequence[str], tiles: int, gap: int, cell: float, named: bool, last: bool
) -> None:
    """Ticks of a row of tiles: numbers in each of them, or the tokens themselves.

    Numbers need room for two digits along the axis; tokens are written across it.
    """
    count = len(tokens)
    step = 1 if named else every(count, cell * count, 0.22)
    places = range(0, count, step)
    offsets = [tile * (count + gap) for tile in range(tiles)]
    axis.set_ticks(
        [offset + place for offset in offsets for place in places],
        [
            token_label(tokens[place], 10) if named else str(place + 1)
            for _ in offsets
            for place in places
        ],
    )
    if last:
        axis.set_tick_params(rotation=90 if named and _long(tokens, cell) else 0)
    axis.set_tick_params(length=2, pad=2)


def _label_points(tokens: Sequence[str], length: int = 10) -> float:
    """About how many points the widest token label takes; letters are 0.75 as wide as high."""
    return max(len(token_label(token, length)) for token in tokens) * SMALL * 0.75


def _long(tokens: Sequence[str], cell: float) -> bool:
    """Whether some label is wider than a cell when written along the axis."""
    return _label_points(tokens, 14) / 72 > cell


def _key_to_numbers(query_tokens: Sequence[str], key_tokens: Sequence[str]) -> str:
    if list(query_tokens) == list(key_tokens):
        return textwrap.fill("positions: " + numbered(key_tokens), 135)
    rows, columns = (
        textwrap.fill(f"{name}: " + numbered(tokens), 135)
        for name, tokens in (("rows", query_tokens), ("columns", key_tokens))
    )
    return f"{rows}\n{columns}"


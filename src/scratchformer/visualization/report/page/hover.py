"""Where the points of a saved figure lie in the picture, so that a page can show their values."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, PercentFormatter
from matplotlib.transforms import Bbox

MAX_POINTS = 400  # of one line; more are closer together than a hand can point


def line_points(figure: Figure, box: Bbox) -> list[list[dict[str, Any]]]:
    """The lines of each panel that has any.

    Args:
        figure: laid out.
        box: the part of it that the picture shows, in inches.

    Returns:
        One list of lines a panel: `name`, and `points` of (left, top, x, y); left and top are
        shares of the picture's width and height, x and y are texts.
    """
    panels = ([_line(axes, line, box) for line in _lines(axes)] for axes in figure.axes)
    return [panel for panel in panels if panel]


def _lines(axes: Axes) -> list[Any]:
    """Curves over the data of a panel: no bars with intervals, no rulers across the panel, and
    beside named curves no unnamed ones (they help the eye)."""
    if axes.patches:
        return []
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    return named or lines


def _line(axes: Axes, line: Any, box: Bbox) -> dict[str, Any]:
    x, y = (np.asarray(values, float) for values in line.get_data())
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    few = min(len(finite), MAX_POINTS)
    kept = finite[np.linspace(0, len(finite) - 1, few).round().astype(int)]
    inches = axes.transData.transform(np.column_stack([x[kept], y[kept]])) / axes.figure.dpi
    left = (inches[:, 0] - box.x0) / box.width
    top = 1 - (inches[:, 1] - box.y0) / box.height
    label = str(line.get_label())
    name = axes.get_title(loc="left") if label.startswith("_") else label.split(", lowest")[0]
    said = zip(
        left.round(4).tolist(), top.round(4).tolist(),
        _texts(axes.xaxis, x[kept]), _texts(axes.yaxis, y[kept]), strict=True,
    )  # fmt: skip
    return {"name": name, "points": [list(point) for point in said]}


def _texts(axis: Any, values: Any) -> list[str]:
    """Values as the axis would write them, with more digits."""
    formatter = axis.get_major_formatter()
    if isinstance(formatter, PercentFormatter):
        return [f"{value / formatter.xmax:.1%}" for value in values]
    if isinstance(formatter, FixedFormatter):
        named = dict(zip(axis.get_ticklocs(), formatter.seq, strict=False))
        return [str(named.get(value, f"{value:g}")).split("\n")[0] for value in values]
    return [f"{value:,.0f}" if value == round(value) else f"{value:.4g}" for value in values]

"""Pictures of a search, in the look of all figures: plain numbers in, a figure out.

Optuna draws the same kinds with pyplot, in colours of its own and with a state that nothing else
here has; the pictures are a few lines each, so they are drawn here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation

from scratchformer.search.report.importance import Importance
from scratchformer.visualization.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    ORDERED,
    PAGE_WIDTH,
    VERMILLION,
    styled,
)


@dataclass(frozen=True)
class Point:
    """A trial: `value` is that of its end, or what it had last; None if it had none."""

    number: int
    state: str
    value: float | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """How a key is drawn: along its numbers, along their logarithms, or choice by choice."""

    key: str
    log: bool
    choices: Sequence[Any] | None

    @property
    def name(self) -> str:
        return self.key.split(".", 1)[1]

    def place(self, value: Any) -> float:
        """Where a value lies, in the units of the axis."""
        if self.choices is not None:
            return float(list(self.choices).index(value))
        return math.log10(value) if self.log else float(value)

    def of(self, point: Point) -> float:
        """Where a trial lies that has the key."""
        return self.place(point.settings[self.key])

    def dress(self, axis: Any) -> None:
        """Ticks of a matplotlib axis on which places are drawn."""
        if self.choices is not None:
            axis.set_ticks(range(len(self.choices)), [str(choice) for choice in self.choices])
        elif self.log:
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(lambda place, _: f"{10**place:.2g}")


@styled
def history(points: Sequence[Point], measure: str, higher: bool) -> Figure:
    """Values in the order of the trials, and the best so far."""
    figure = Figure(figsize=(PAGE_WIDTH * 0.8, 3.4))
    axes = figure.add_subplot(xlabel="trial", ylabel=measure)
    _scatter(axes, points, lambda point: point.number)
    done = [each for each in points if each.state == "complete" and each.value is not None]
    if done:
        run = np.maximum if higher else np.minimum
        best = run.accumulate(np.array([each.value for each in done], float))
        numbers = [each.number for each in done]
        axes.step(numbers, best, where="post", color=BLUE, label="best so far")
    failed = [each.number for each in points if each.state == "fail"]
    if failed:
        bottom = axes.get_ylim()[0]
        axes.plot(failed, [bottom] * len(failed), "x", color=VERMILLION, label="failed")
    axes.legend()
    return figure


@styled
def slices(points: Sequence[Point], axes_of: Sequence[Axis], measure: str) -> Figure:
    """The value against each key alone."""
    columns = min(3, len(axes_of))
    rows = -(-len(axes_of) // columns)
    figure = Figure(figsize=(PAGE_WIDTH * columns / 3, 2.6 * rows), layout="constrained")
    for place, axis in enumerate(axes_of, 1):
        axes = figure.add_subplot(rows, columns, place, xlabel=axis.name)
        if (place - 1) % columns == 0:
            axes.set_ylabel(measure)
        with_key = [point for point in points if axis.key in point.settings]
        _scatter(axes, with_key, axis.of)
        axis.dress(axes.xaxis)
        if axis.choices:
            for label in axes.get_xticklabels():
                label.set(rotation=30, horizontalalignment="right")
    return figure


@styled
def contour(points: Sequence[Point], x: Axis, y: Axis, measure: str) -> Figure:
    """The value over two keys: every point that has one, and colours between them."""
    figure = Figure(figsize=(PAGE_WIDTH * 0.6, 4.0), layout="constrained")
    axes = figure.add_subplot(xlabel=x.name, ylabel=y.name)
    rows = [
        (x.of(point), y.of(point), point.value)
        for point in points
        if point.value is not None and x.key in point.settings and y.key in point.settings
    ]
    across, up, values = np.array(rows, float).T
    if len(set(across)) > 1 and len(set(up)) > 1 and len(rows) > 3:
        try:
            axes.tricontourf(Triangulation(across, up), values, levels=12, cmap=ORDERED, alpha=0.7)
        except RuntimeError:  # all on one line: there is nothing between them
            axes.set_title("the trials lie on one line")
    dots = axes.scatter(across, up, c=values, cmap=ORDERED, edgecolors="black", s=28, zorder=3)
    figure.colorbar(dots, ax=axes, label=measure)
    x.dress(axes.xaxis)
    y.dress(axes.yaxis)
    return figure


@styled
def parallel(points: Sequence[Point], axes_of: Sequence[Axis], measure: str) -> Figure:
    """One line a completed trial through all its values; colour and last axis are the measure."""
    import matplotlib

    figure = Figure(figsize=(PAGE_WIDTH, 3.8), layout="constrained")
    axes = figure.add_subplot()
    done = [point for point in points if point.state == "complete" and point.value is not None]
    ends = [_ends([axis.of(point) for point in done if axis.key in point.settings])
            for axis in axes_of]  # fmt: skip
    low, high = _ends([point.value for point in done if point.value is not None])
    colours = matplotlib.colormaps[ORDERED]
    for point in done:
        assert point.value is not None
        share = (point.value - low) / (high - low)
        line = [
            (axis.of(point) - a) / (b - a)
            if axis.key in point.settings else math.nan  # searched under a condition
            for axis, (a, b) in zip(axes_of, ends, strict=True)
        ]  # fmt: skip
        axes.plot([*line, share], color=colours(share), linewidth=1.2, alpha=0.8)
    for place, (axis, (a, b)) in enumerate(zip(axes_of, ends, strict=True)):
        axes.text(place, 1.04, _value_at(axis, b), ha="center", fontsize="small")
        axes.text(place, -0.04, _value_at(axis, a), ha="center", va="top", fontsize="small")
    axes.text(len(axes_of), 1.04, f"{high:.4g}", ha="center", fontsize="small")
    axes.text(len(axes_of), -0.04, f"{low:.4g}", ha="center", va="top", fontsize="small")
    names = [axis.name.rpartition(".")[2] for axis in axes_of]
    axes.set_xticks(range(len(axes_of) + 1), [*names, measure])
    axes.tick_params(axis="x", pad=14)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.02)
    return figure


@styled
def shares(groups: Mapping[str, Sequence[Importance]]) -> Figure:
    """Importances as dots with their intervals, one colour a group of trials."""
    keys = list(dict.fromkeys(each.key for found in groups.values() for each in found))
    figure = Figure(figsize=(PAGE_WIDTH * 0.8, 0.8 + 0.5 * len(keys)), layout="constrained")
    axes = figure.add_subplot(xlabel="share of the variance between trials")
    for place, (name, found) in enumerate(groups.items()):
        rows = [keys.index(each.key) + 0.2 * place for each in found]
        middles = [each.share for each in found]
        errors = np.abs([[e.share - e.low for e in found], [e.high - e.share for e in found]])
        colour = (BLUE, ORANGE)[place % 2]
        axes.errorbar(middles, rows, xerr=errors, fmt="o", color=colour, capsize=3, label=name)
    axes.set_yticks(range(len(keys)), [key.split(".", 1)[1] for key in keys])
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.legend()
    return figure


@styled
def confirmed(settings: Sequence[Mapping[str, Any]], measure: str) -> Figure:
    """What the search found, and what fresh seeds gave: every value, the mean, its interval."""
    figure = Figure(figsize=(PAGE_WIDTH * 0.8, 1.0 + 0.5 * len(settings)), layout="constrained")
    axes = figure.add_subplot(xlabel=measure)
    for place, each in enumerate(settings):
        error = [[each["mean"] - each["low"]], [each["high"] - each["mean"]]]
        label = "mean with fresh seeds, 95 %" if place == 0 else None
        axes.errorbar(each["mean"], place, xerr=error, fmt="o", color=BLUE, capsize=4, label=label)
        axes.plot(each["again"], [place + 0.2] * len(each["again"]), "|", color=BLUE)
        if each["found"] is not None:
            label = "found by the search" if place == 1 else None
            axes.plot(each["found"], place, "D", color=ORANGE, label=label)
    axes.set_yticks(range(len(settings)), [each["name"] for each in settings])
    axes.invert_yaxis()
    axes.legend()
    return figure


def _scatter(axes: Axes, points: Sequence[Point], x: Callable[[Point], float]) -> None:
    for state, face, edge, label in (
        ("complete", BLUE, BLUE, "completed"),
        ("pruned", "none", GREY, "stopped early: the value it had"),
    ):
        across = [(x(each), each.value) for each in points if each.state == state]
        some = [(place, value) for place, value in across if value is not None]
        if some:
            places, values = zip(*some, strict=True)
            axes.scatter(places, values, s=22, facecolors=face, edgecolors=edge, label=label)


def _ends(places: Sequence[float]) -> tuple[float, float]:
    low, high = min(places, default=0.0), max(places, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _value_at(axis: Axis, place: float) -> str:
    if axis.choices is not None:
        return str(axis.choices[min(max(round(place), 0), len(axis.choices) - 1)])
    return f"{10**place if axis.log else place:.3g}"

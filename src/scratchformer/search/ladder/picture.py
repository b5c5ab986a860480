"""The ladder as a picture: loss against compute, both on logarithmic axes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from scratchformer.search.ladder.fit import Law
from scratchformer.visualization.plots.style import BLUE, GREY, ORANGE, PAGE_WIDTH, styled


@styled
def ladder_figure(
    compute: Sequence[float], loss: Sequence[float], law: Law, target: float
) -> Figure:
    """Every training a dot, the law with its 95 % band, and the prediction at `target`."""
    figure = Figure(figsize=(PAGE_WIDTH * 0.7, 4.2), layout="constrained")
    axes = figure.add_subplot(
        xlabel="compute, floating-point operations", ylabel="validation loss, nats per item",
        xscale="log", yscale="log",
    )  # fmt: skip
    line = np.geomspace(min(compute), target, 80)
    curve = [law.at(float(place)) for place in line]
    axes.fill_between(line, [t.low for t in curve], [t.high for t in curve], color=BLUE, alpha=0.15)
    axes.plot(line, [t.value for t in curve], color=BLUE, label="power law with a floor, 95 %")
    if law.floor.value > 0:  # a logarithmic axis has no place for 0
        floor = law.floor.value
        axes.axhline(floor, color=GREY, linestyle=":", label=f"floor {floor:.3g}")
    axes.plot(compute, loss, "o", color=ORANGE, markersize=5, label="trained")
    end = curve[-1]
    error = [[max(end.value - end.low, 0)], [max(end.high - end.value, 0)]]
    axes.errorbar(target, end.value, yerr=error, fmt="D", color=BLUE, capsize=4,
                  label=f"predicted {end.value:.3g} [{end.low:.3g}, {end.high:.3g}]")  # fmt: skip
    axes.xaxis.set_major_formatter("{x:.0e}")  # matplotlib's own is a formula, see style.py
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend()
    return figure

"""Is a system right as often as it says?"""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.evaluation.measures.calibration import ReliabilityBin, expected_calibration_error
from scratchformer.visualization.plots.style import AFTER, BEFORE, GREY, PAGE_WIDTH, styled

_STYLES = ((BEFORE, "s"), (AFTER, "o"))


@styled
def reliability_diagram(curves: Mapping[str, Sequence[ReliabilityBin]], title: str) -> Figure:
    """One curve a system; the faint area of a point is the share of its rows.

    A single curve has the colour of the second system of a pair: it is the model, not a "before".
    """
    figure = Figure(figsize=(PAGE_WIDTH * 0.5, PAGE_WIDTH * 0.45))
    axes = figure.add_subplot(title=title, xlabel="confidence of the answer", ylabel="share right")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2)
    for (name, bins), (color, marker) in zip(curves.items(), _STYLES[-len(curves) :], strict=True):
        confidence = [each.confidence for each in bins]
        accuracy = [each.accuracy for each in bins]
        rows = [each.rows for each in bins]
        label = f"{name} (ECE {expected_calibration_error(list(bins)):.3f})"
        axes.plot(confidence, accuracy, color=color, marker=marker, markersize=4, label=label)
        axes.scatter(
            confidence, accuracy, s=[400 * count / sum(rows) for count in rows],
            color=color, marker=marker, alpha=0.3, linewidths=0,
        )  # fmt: skip
    axes.set_xlim(0, 1.03)
    axes.set_ylim(-0.02, 1.05)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1))
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure

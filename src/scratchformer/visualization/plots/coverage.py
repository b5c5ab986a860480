"""What a classifier gains by not answering where it is unsure."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.evaluation.measures.coverage import CoveragePoint
from scratchformer.visualization.plots.style import AFTER, GREY, PAGE_WIDTH, styled


@styled
def coverage_curve(
    curve: Sequence[CoveragePoint], chosen: Sequence[CoveragePoint], title: str
) -> Figure:
    """Accuracy against the share of rows that are answered; a mark for each chosen threshold."""
    figure = Figure(figsize=(PAGE_WIDTH * 0.5, PAGE_WIDTH * 0.35))
    axes = figure.add_subplot(title=title, xlabel="share answered", ylabel="share right of these")
    axes.plot(
        [point.answered for point in curve], [point.accuracy for point in curve], color=AFTER
    )
    for point in chosen:
        axes.plot(point.answered, point.accuracy, marker="o", color=AFTER)
        axes.annotate(
            f"≥ {point.threshold:.2f}", (point.answered, point.accuracy), color=GREY,
            xytext=(-4, -11), textcoords="offset points", ha="right",
        )  # fmt: skip
    axes.set_xlim(0, 1.03)
    axes.margins(y=0.12)  # room for the lowest label
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1))
    return figure

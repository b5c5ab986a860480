"""Systems side by side: one panel a measure, one bar a system, with its interval."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scratchformer.visualization.analysis.results import Score
from scratchformer.visualization.plots.labels import printable, shorten
from scratchformer.visualization.plots.style import (
    AFTER,
    BEFORE,
    CONTROL,
    PAGE_WIDTH,
    SMALL,
    styled,
)

ROLE_COLORS: Mapping[str, str] = {"before": BEFORE, "after": AFTER, "control": CONTROL}


@styled
def score_bars(scores: Sequence[Score], title: str) -> Figure:
    """Horizontal bars from zero, values written beside them."""
    measures = list(dict.fromkeys(score.measure for score in scores))
    systems = list(dict.fromkeys(score.system for score in scores))
    figure = Figure(
        figsize=(PAGE_WIDTH * 0.75, len(measures) * (0.3 * len(systems) + 0.75) + 0.4),
        layout="constrained",
    )
    figure.suptitle(title, x=0.01, ha="left")
    for index, measure in enumerate(measures, 1):
        axes = figure.add_subplot(len(measures), 1, index)
        better = "higher" if measure.higher_is_better else "lower"
        axes.set_title(f"{measure.title} ({better} is better)", fontsize="medium")
        axes.grid(False, axis="y")
        shown = [score for score in scores if score.measure == measure]
        for row, score in enumerate(shown):
            axes.barh(row, score.value, color=ROLE_COLORS[score.role], height=0.62)
            end = score.value
            if score.low is not None and score.high is not None:
                axes.plot([score.low, score.high], [row, row], color="black", linewidth=1.6)
                end = max(score.high, end)
            axes.annotate(
                score.text(), (end, row), xytext=(5, 0), textcoords="offset points",
                va="center", fontsize=SMALL,
            )  # fmt: skip
        axes.set_yticks(
            range(len(shown)), [shorten(printable(score.system), 40) for score in shown]
        )
        axes.invert_yaxis()
        largest = max(max(score.high or 0, score.value) for score in shown)
        axes.set_xlim(0, max(1.0, largest) if largest <= 1 else largest * 1.05)
        if measure.percent:
            axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    return figure


@styled
def headline_dots(panels: Mapping[str, Sequence[Score]]) -> Figure:
    """One panel a track, one dot a system with its interval, all in the track's first measure."""
    rows = [len(scores) for scores in panels.values()]
    figure = Figure(
        figsize=(PAGE_WIDTH * 0.8, 0.26 * sum(rows) + 0.75 * len(panels)), layout="constrained"
    )
    ratios = [count + 1 for count in rows]
    grid = figure.add_gridspec(len(panels), 1, height_ratios=ratios)
    for place, (title, scores) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[place])
        measure = scores[0].measure
        better = "higher" if measure.higher_is_better else "lower"
        axes.set_title(f"{title}: {measure.title} ({better} is better)", fontsize="medium")
        for row, score in enumerate(scores):
            color = ROLE_COLORS[score.role]
            if score.low is not None and score.high is not None:
                axes.hlines(row, score.low, score.high, color=color, linewidth=2.4)
            axes.scatter(score.value, row, color=color, s=34, zorder=3)
            axes.annotate(
                score.text(), (1.01, row), xycoords=("axes fraction", "data"), va="center",
                fontsize=SMALL, fontweight="bold" if score.role == "after" else "normal",
            )  # fmt: skip
        axes.set_yticks(
            range(len(scores)), [shorten(printable(score.system), 40) for score in scores]
        )
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        if measure.percent:
            axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    return figure

"""Systems side by side: one panel a metric, one bar a system, with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from scratchformer.visualization.analysis.text import printable, shorten
from scratchformer.visualization.plots.style import (
    AFTER,
    BEFORE,
    CONTROL,
    PAGE_WIDTH,
    SMALL,
    styled,
)

ROLE_COLORS: Mapping[str, str] = {"before": BEFORE, "after": AFTER, "control": CONTROL}


@dataclass(frozen=True)
class Score:
    """One number of one system. `low` and `high` are null where no interval was computed."""

    system: str
    role: str  # before | after | control
    metric: str
    value: float
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        """ "0.812 [0.801, 0.823]" """
        interval = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{interval}"


@styled
def score_bars(scores: Sequence[Score], title: str, better: Mapping[str, str]) -> Figure:
    """Horizontal bars from zero, values written beside them; `better` is "higher" or "lower"."""
    metrics = list(dict.fromkeys(score.metric for score in scores))
    systems = list(dict.fromkeys(score.system for score in scores))
    figure = Figure(
        figsize=(PAGE_WIDTH * 0.75, len(metrics) * (0.3 * len(systems) + 0.75) + 0.4),
        layout="constrained",
    )
    figure.suptitle(title, x=0.01, ha="left")
    for index, metric in enumerate(metrics, 1):
        axes = figure.add_subplot(len(metrics), 1, index)
        axes.set_title(f"{metric} ({better.get(metric, 'higher')} is better)", fontsize="medium")
        axes.grid(False, axis="y")
        shown = [score for score in scores if score.metric == metric]
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
    return figure

"""Rows that one system gets right and another gets wrong, and the other way round."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scratchformer.visualization.analysis.text import line_pitch, printable, shorten
from scratchformer.visualization.plots.style import AFTER, BEFORE, GREY, PAGE_WIDTH, TITLE, styled

OUTCOMES = ("fixed", "broken", "still right", "still wrong")
_LABELS, _GAP = 4.4, 0.65  # inches left of the panels, and between them


def sequence_changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Two prediction tables of the same rows, in the form that `evaluate` gives for classes:
    `outcome, id, text, label, before, after, score_before, score_after, gain`.

    `before` and `after` are the answers; the scores are the shares of tokens that are right,
    1 - edits / reference length (negative when there are more edits than tokens). `outcome` is
    one of `OUTCOMES`.
    """
    both = before.merge(after, on="id", suffixes=("_before", "_after"), validate="one_to_one")
    changes = pd.DataFrame(
        {
            "id": both["id"],
            "text": both["source_after"],
            "label": [references[0] for references in both["references_after"]],
            "before": both["prediction_before"],
            "after": both["prediction_after"],
        }
    )
    for side in ("before", "after"):
        length = both[f"reference_length_{side}"].clip(lower=1)
        changes[f"score_{side}"] = 1 - both[f"distance_{side}"] / length
    changes["gain"] = changes["score_after"] - changes["score_before"]
    right_before, right_after = both["exact_before"], both["exact_after"]
    changes["outcome"] = np.select(
        [~right_before & right_after, right_before & ~right_after, right_before & right_after],
        OUTCOMES[:3],
        OUTCOMES[3],
    )
    return changes


def most_changed(changes: pd.DataFrame, outcome: str, count: int) -> pd.DataFrame:
    """The `count` rows of an outcome that moved most; ties go by `id`, never by chance."""
    chosen = changes[changes["outcome"] == outcome]
    order = chosen.sort_values(["gain", "id"], ascending=[outcome == "broken", True])
    return order.head(count)


@styled
def change_arrows(
    improved: pd.DataFrame,
    regressed: pd.DataFrame,
    title: str,
    measure: str,
    sides: tuple[str, str] = ("before", "after"),
) -> Figure:
    """Every row an arrow from the first system to the second; improved rows above, regressed ones
    below. `measure` names the scores."""
    parts = [("most improved", improved), ("most regressed", regressed)]
    parts = [(name, part) for name, part in parts if len(part)]
    rows_high = line_pitch() * 1.6
    heights = [max(len(part) * rows_high, 0.3) for _, part in parts]
    page = (PAGE_WIDTH, sum(heights) + len(parts) * _GAP + 0.6)
    figure = Figure(figsize=page)
    top = page[1] - 0.6
    figure.text(0, 1 - 0.1 / page[1], title, fontsize=TITLE, va="top")
    for place, (name, part) in enumerate(parts):
        top -= heights[place]
        width = page[0] - _LABELS - 0.8  # the legend stands to the right
        axes = figure.add_axes(
            (_LABELS / page[0], top / page[1], width / page[0], heights[place] / page[1])
        )
        top -= _GAP
        axes.set_title(name, fontsize="medium")
        moves = zip(part["score_before"], part["score_after"], strict=True)
        for row, (before, after) in enumerate(moves):
            axes.annotate(
                "", (after, row), (before, row), annotation_clip=False,
                arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 2},
            )  # fmt: skip
        rows = range(len(part))
        axes.scatter(part["score_before"], rows, color=BEFORE, marker="s", s=24, label=sides[0])
        axes.scatter(part["score_after"], rows, color=AFTER, marker="o", s=28, label=sides[1])
        axes.set_yticks(
            rows,
            [
                f"{shorten(printable(str(text)), 52)}  [{shorten(printable(str(label)), 18)}]"
                for text, label in zip(part["text"], part["label"], strict=True)
            ],
        )
        axes.set_ylim(len(part) - 0.4, -0.6)
        low = min(0.0, float(part[["score_before", "score_after"]].to_numpy().min()))
        axes.set_xlim(low - 0.04, 1.04)
        if place == 0:
            axes.legend(loc="lower left", bbox_to_anchor=(1.01, 0))
    figure.axes[-1].set_xlabel(measure)
    return figure

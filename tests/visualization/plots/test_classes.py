"""Confusions, effects, calibration and scores show the numbers they are given."""

import numpy as np
import pytest
from tests.visualization.conftest import effect_table, overlapping, texts_of

from scratchformer.base.measures import MEASURES
from scratchformer.evaluation.measures.calibration import ReliabilityBin
from scratchformer.visualization.analysis.results import Score
from scratchformer.visualization.plots.calibration import reliability_diagram
from scratchformer.visualization.plots.confusion import confusion_matrix
from scratchformer.visualization.plots.scores import score_bars
from scratchformer.visualization.plots.subgroup_deltas import subgroup_deltas

LONG = [f"{n:02d} · Diseases of a system with a name that is too long to write" for n in range(21)]


def test_cells_are_shares_of_the_true_class() -> None:
    names = ["a", "b", "c"]
    figure = confusion_matrix(["a", "a", "a", "b"], ["a", "a", "b", "c"], names, "t")
    axes = figure.axes[0]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0], [0, 0, 1], [0, 0, 0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a  (3)", "b  (1)", "c  (0)"]
    assert sorted(text.get_text() for text in axes.texts) == ["100", "33", "67"]


@pytest.mark.parametrize("names", [["only"], ["no", "yes"], LONG, [f"c{n}" for n in range(150)]])
def test_labels_of_confusions_are_readable(names: list[str]) -> None:
    truth = names * 3
    figure = confusion_matrix(truth, names[:1] * len(truth), names, "t")
    assert all(text.get_fontsize() >= 8 for text in texts_of(figure))
    axes = figure.axes[0]
    assert overlapping(axes.get_xticklabels()) == []
    assert overlapping(axes.get_yticklabels()) == []


def test_columns_have_the_short_names() -> None:
    axes = confusion_matrix(LONG, LONG, LONG, "t").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["00", "01"]


def test_effects_are_lines_with_their_interval() -> None:
    effect = effect_table(["gains", "in few groups", "loses"])
    effect.loc[1, ["low", "high"]] = np.nan  # as the file reads that has no interval there
    figure = subgroup_deltas(effect, "t", "share right")
    axes = figure.axes[0]
    before, after = (scatter.get_offsets()[:, 0].tolist() for scatter in axes.collections[1:])
    assert (before, after) == (effect["before"].tolist(), effect["after"].tolist())
    numbers = {text.get_text(): text.get_fontweight() for text in axes.texts}
    assert numbers == {
        "+0.70 [+0.50, +0.90]": "bold",
        "+0.30 n too small": "normal",
        "-0.10 [-0.30, +0.10]": "normal",
    }
    assert axes.yaxis_inverted()


def test_effects_of_many_classes_are_readable() -> None:
    figure = subgroup_deltas(effect_table(LONG), "t", "share right")
    assert all(text.get_fontsize() >= 8 for text in texts_of(figure))
    assert overlapping(figure.axes[0].get_yticklabels()) == []


def test_reliability_and_its_error() -> None:
    bins = [ReliabilityBin(0.4, 0.5, 3, 0.45, 0.5), ReliabilityBin(0.9, 1.0, 1, 0.95, 0.0)]
    axes = reliability_diagram({"before": bins, "after": bins[:1]}, "t").axes[0]
    assert list(axes.get_lines()[1].get_xdata()) == [0.45, 0.95]
    assert list(axes.get_lines()[1].get_ydata()) == [0.5, 0.0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["before (ECE 0.275)", "after (ECE 0.050)"]


def test_a_system_has_the_same_look_alone_and_as_the_second_of_two() -> None:
    bins = [ReliabilityBin(0.4, 0.5, 3, 0.45, 0.5)]
    pair = reliability_diagram({"before": bins, "after": bins}, "t").axes[0].get_lines()
    alone = reliability_diagram({"after": bins}, "t").axes[0].get_lines()
    assert alone[1].get_color() == pair[2].get_color() != pair[1].get_color()


def test_bars_carry_values_and_intervals() -> None:
    scores = [
        Score("majority", "control", MEASURES["accuracy"], 0.1),
        Score("after", "after", MEASURES["accuracy"], 0.8, 0.75, 0.85),
        Score("after", "after", MEASURES["bleu"], 35.0, 33.0, 37.0),
    ]
    figure = score_bars(scores, "t")
    accuracy, bleu = figure.axes
    assert [bar.get_width() for bar in accuracy.patches] == [0.1, 0.8]
    assert [text.get_text() for text in accuracy.texts] == ["10.0 %", "80.0 % [75.0, 85.0]"]
    assert list(accuracy.get_lines()[0].get_xdata()) == [0.75, 0.85]
    assert accuracy.get_xlim()[0] == 0  # bars that do not start at zero lie
    assert bleu.get_xlim()[1] > 35
    colors = {bar.get_facecolor() for bar in accuracy.patches}
    assert len(colors) == 2

"""Examples are picked by rule, and edits are those of the nearest reference."""

from collections import Counter

import pandas as pd
import pytest
from tests.visualization.conftest import PHONES, WORDS, overlapping, sequence_predictions, texts_of

from scratchformer.visualization.analysis.prediction_flips import most_changed, sequence_flips
from scratchformer.visualization.analysis.sequence_errors import (
    NOTHING,
    count_edits,
    edits,
    rates_by_length,
)
from scratchformer.visualization.plots.prediction_flips import flip_arrows
from scratchformer.visualization.plots.sequence_errors import common_edits, error_by_length

ANSWERS = [" ".join(PHONES[letter] for letter in word) for word in WORDS]


def test_the_largest_change_comes_first_and_ties_go_by_id() -> None:
    changes = pd.DataFrame(
        {
            "id": ["d", "b", "a", "c", "e"],
            "outcome": ["fixed", "fixed", "fixed", "broken", "broken"],
            "gain": [0.3, 0.3, 0.9, -0.1, -0.6],
        }
    )
    assert list(most_changed(changes, "fixed", 2)["id"]) == ["a", "b"]
    assert list(most_changed(changes, "broken", 5)["id"]) == ["e", "c"]
    assert most_changed(changes, "still wrong", 5).empty


def test_sequences_are_compared_row_by_row() -> None:
    before, after = sequence_predictions(ANSWERS, seed=1), sequence_predictions(ANSWERS, seed=2)
    shuffled = before.sample(frac=1, random_state=0)
    changes = sequence_flips(shuffled, after).set_index("id")
    for word in WORDS:
        was = bool(before.set_index("id").loc[word, "exact"])
        now = bool(after.set_index("id").loc[word, "exact"])
        expected = {(True, True): "still right", (False, True): "fixed",
                    (True, False): "broken", (False, False): "still wrong"}[was, now]
        assert changes.loc[word, "outcome"] == expected
    assert set(changes["outcome"]) >= {"fixed", "broken"}
    one_edit = before[~before["exact"]].iloc[0]
    row = changes.loc[one_edit["id"]]
    assert row["score_before"] == pytest.approx(1 - 1 / one_edit["reference_length"])


def test_arrows_go_from_the_first_system_to_the_second() -> None:
    rows = pd.DataFrame(
        {"text": ["<script>$x$", "y" * 300], "label": ["K", "L" * 99],
         "score_before": [0.1, 0.2], "score_after": [0.9, 0.7]}
    )
    figure = flip_arrows(rows, rows.head(0), "t", "probability", ("zero-shot", "tuned"))
    (axes,) = figure.axes  # no empty panel for the direction without rows
    before, after = (scatter.get_offsets()[:, 0].tolist() for scatter in axes.collections)
    assert (before, after) == ([0.1, 0.2], [0.9, 0.7])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "<script>$x$  [K]" and len(labels[1]) <= 76
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["zero-shot", "tuned"]


@pytest.mark.parametrize("count", [1, 12])
def test_labels_of_arrows_are_readable(count: int) -> None:
    rows = pd.DataFrame(
        {"text": ["a long description " * 5] * count, "label": ["09"] * count,
         "score_before": [0.1] * count, "score_after": [-0.5] * count}
    )
    figure = flip_arrows(rows, rows, "t", "probability")
    assert all(text.get_fontsize() >= 8 for text in texts_of(figure))
    for axes in figure.axes:
        assert overlapping(axes.get_yticklabels()) == []
        assert axes.get_xlim()[0] < -0.5


def test_edits_turn_the_nearest_reference_into_the_answer() -> None:
    references = [["B", "AH", "T", "S"], ["B", "AE", "T"]]
    assert edits(["B", "AA", "T"], references) == [("AE", "AA")]
    assert edits(["B", "AE"], references) == [("T", NOTHING)]
    assert edits(["B", "AE", "T", "T"], references) == [(NOTHING, "T")]
    assert edits([], [["A"]]) == [("A", NOTHING)]


def test_edits_of_wrong_rows_are_counted_in_the_unit_of_the_answers() -> None:
    rows = pd.DataFrame(
        {"prediction": ["B AA T", "K AE T", "B AA T S"], "references": [["B AE T"]] * 3,
         "exact": [False, True, False]}
    )
    assert count_edits(rows) == Counter({("AE", "AA"): 2, (NOTHING, "S"): 1})
    letters = pd.DataFrame(
        {"prediction": ["abd"], "references": [["abc"]], "exact": [False]}
    )
    assert count_edits(letters) == Counter({("c", "d"): 1})


def test_frequent_edits_are_sorted_and_counted() -> None:
    counts = Counter({("AE", "AA"): 6, ("T", NOTHING): 3, ("B", "P"): 3})
    axes = common_edits(counts, "t", shown=2).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["AE → AA", "B → P"]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.25]
    assert [text.get_text() for text in axes.texts] == ["6", "3"]


def test_error_rates_by_length() -> None:
    predictions = pd.DataFrame(
        {"reference_length": [1, 1, 2, 4], "distance": [0, 1, 0, 2],
         "exact": [True, False, True, False]}
    )
    rates = rates_by_length(predictions)
    assert list(rates["length"]) == ["1", "2", "4"]
    assert list(rates["rows"]) == [2, 1, 1]
    assert list(rates["token_error"]) == [0.5, 0.0, 0.5]
    assert list(rates["row_error"]) == [0.5, 0.0, 1.0]
    joined = rates_by_length(predictions, most=2)
    assert list(joined["rows"]) == [2, 2]
    assert list(joined["length"]) == ["1", "2–4"]
    axes = error_by_length(rates, "t").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n2", "2\n1", "4\n1"]


def test_one_length_is_one_point() -> None:
    predictions = pd.DataFrame({"reference_length": [3], "distance": [3], "exact": [False]})
    rates = rates_by_length(predictions)
    assert list(rates["length"]) == ["3"] and list(rates["token_error"]) == [1.0]

"""Answers withheld where the model is unsure: the curve, and thresholds chosen on other rows."""

import numpy as np
import pytest

from scratchformer.evaluation.measures.coverage import at_threshold, coverage, threshold_for

CONFIDENCE = [0.9, 0.5, 0.8, 0.8, 0.6]
RIGHT = [True, False, True, False, True]


def test_the_curve_goes_from_the_surest_row_to_all() -> None:
    points = coverage(CONFIDENCE, RIGHT)
    assert [point.threshold for point in points] == [0.9, 0.8, 0.8, 0.6, 0.5]
    assert [point.answered for point in points] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [point.accuracy for point in points] == pytest.approx([1, 1, 2 / 3, 3 / 4, 3 / 5])
    many = coverage(np.linspace(0, 1, 1000), np.ones(1000))
    assert len(many) == 100 and many[-1].answered == 1.0


def test_a_threshold_keeps_its_promise_on_the_rows_it_was_chosen_on() -> None:
    assert threshold_for(0.7, CONFIDENCE, RIGHT) == 0.6
    assert threshold_for(0.6, CONFIDENCE, RIGHT) == 0.5
    # Not 0.8 at the first of two equal rows: both are answered, and one of them is wrong.
    assert threshold_for(0.9, CONFIDENCE, RIGHT) == 0.9
    assert threshold_for(0.9, [0.5], [False]) is None
    for target in (0.6, 0.7, 0.9):
        threshold = threshold_for(target, CONFIDENCE, RIGHT)
        assert threshold is not None
        assert at_threshold(threshold, CONFIDENCE, RIGHT).accuracy >= target
    assert at_threshold(0.95, CONFIDENCE, RIGHT).answered == 0

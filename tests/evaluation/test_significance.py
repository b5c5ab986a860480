"""The intervals hold the truth as often as they claim, and the tests agree with the libraries."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from scratchformer.evaluation.significance.bootstrap import (
    Resampling,
    bootstrap,
    bootstrap_difference,
    mcnemar,
    permutation_p_value,
)


def share(sums: Any) -> Any:
    return sums["right"] / sums["rows"]


def resampling(groups: Any, seed: int = 0, resamples: int = 1000) -> Resampling:
    return Resampling(list(groups), resamples=resamples, confidence=0.95, seed=seed)


def clustered(random: np.random.Generator, groups: int, size: int) -> tuple[Any, Any]:
    """Rows that are right with a chance that their group draws: mean 0.7, rows alike."""
    chance = random.beta(1.4, 0.6, size=groups)
    right = random.random((groups, size)) < chance[:, None]
    return right.ravel().astype(float), np.repeat(np.arange(groups), size)


@pytest.fixture(scope="module")
def coverage() -> dict[str, float]:
    """How often intervals over 300 simulated test sets hold the true 0.7."""
    random = np.random.default_rng(7)
    held = {"by group": 0, "by row": 0}
    trials = 300
    for seed in range(trials):
        right, groups = clustered(random, groups=60, size=8)
        for name, unit in (("by group", groups), ("by row", np.arange(len(right)))):
            drawn = bootstrap({"right": right}, {"x": share}, resampling(unit, seed, 300))["x"]
            held[name] += drawn.low <= 0.7 <= drawn.high
    return {name: count / trials for name, count in held.items()}


def test_a_95_percent_interval_by_group_holds_the_truth_that_often(
    coverage: dict[str, float],
) -> None:
    assert 0.91 <= coverage["by group"] <= 0.99  # 95 % ± three standard errors of 300 trials


def test_rows_taken_as_independent_give_intervals_that_are_too_narrow(
    coverage: dict[str, float],
) -> None:
    assert coverage["by row"] < 0.85


def test_the_paired_difference_covers_and_is_narrower_than_an_unpaired_one() -> None:
    random = np.random.default_rng(11)
    held, widths, unpaired_widths, trials = 0, [], [], 200
    for seed in range(trials):
        hard = random.random(400)
        before = (hard < 0.5).astype(float)
        after = (hard + random.normal(0, 0.05, 400) < 0.6).astype(float)
        drawn = bootstrap_difference(
            {"right": after}, {"right": before}, {"x": share}, resampling(range(400), seed, 200)
        )["x"]
        held += drawn.low <= 0.1 <= drawn.high
        widths.append(drawn.high - drawn.low)
        unpaired_widths.append(2 * 1.96 * np.sqrt(after.var() / 400 + before.var() / 400))
    assert 0.91 <= held / trials <= 0.99
    assert np.mean(widths) < 0.6 * np.mean(unpaired_widths)


def test_the_same_interval_as_scipy() -> None:
    random = np.random.default_rng(3)
    edits, length = random.poisson(1.0, 300), random.integers(1, 10, 300)
    ours = bootstrap(
        {"edits": edits, "length": length},
        {"rate": lambda sums: sums["edits"] / sums["length"]},
        resampling(range(300), resamples=6000),
    )["rate"]
    theirs = stats.bootstrap(
        (edits, length),
        lambda e, n, axis: e.sum(axis=axis) / n.sum(axis=axis),
        paired=True, vectorized=True, n_resamples=6000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert ours.value == pytest.approx(edits.sum() / length.sum())
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    right = np.random.default_rng(0).integers(0, 2, 97).astype(float)
    first = bootstrap({"right": right}, {"x": share}, resampling(range(97)))
    assert first == bootstrap({"right": right}, {"x": share}, resampling(range(97)))
    assert first != bootstrap({"right": right}, {"x": share}, resampling(range(97), seed=1))


def test_many_rows_are_drawn_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    right = np.random.default_rng(0).integers(0, 2, 50).astype(float)
    drawn = []

    def count(sums: Any) -> Any:
        drawn.append(len(sums["rows"]))
        return share(sums)

    monkeypatch.setattr("scratchformer.evaluation.significance.bootstrap._CELLS_AT_ONCE", 50 * 300)
    bootstrap({"right": right}, {"x": count}, resampling(range(50)))
    assert drawn == [1, 300, 300, 300, 100]


def test_all_right_still_has_an_uncertainty() -> None:
    found = bootstrap({"right": np.ones(40)}, {"x": share}, resampling(range(40)), shares=["x"])
    exact = stats.binomtest(40, 40).proportion_ci(0.95, method="exact")
    assert (found["x"].low, found["x"].high) == pytest.approx((exact.low, exact.high))
    wrong = bootstrap({"right": np.zeros(40)}, {"x": share}, resampling(range(40)), shares=["x"])
    assert (wrong["x"].low, wrong["x"].high) == pytest.approx((0, 1 - exact.low))


def test_a_rare_column_that_a_draw_lacks_is_skipped() -> None:
    columns = {"right": np.r_[1.0, 0.0, 0.0], "asked": np.r_[1.0, 0.0, 0.0]}
    found = bootstrap(columns, {"x": lambda s: s["right"] / s["asked"]}, resampling(range(3)))
    assert found["x"] == type(found["x"])(1.0, 1.0, 1.0)


def test_mcnemar_is_the_exact_binomial_test_on_the_disagreements() -> None:
    before = np.array([1] * 30 + [0] * 10 + [1] * 2 + [0] * 8)
    after = np.array([1] * 30 + [1] * 10 + [0] * 2 + [0] * 8)
    found = mcnemar(after, before)
    assert (found["fixed"], found["broken"], found["statistic"]) == (10, 2, 2)
    assert found["p_value"] == pytest.approx(stats.binomtest(2, 12).pvalue)


def test_permutation_of_single_rows_agrees_with_mcnemar() -> None:
    random = np.random.default_rng(5)
    before = random.random(200) < 0.5
    after = np.where(random.random(200) < 0.2, random.random(200) < 0.8, before)
    p_value = permutation_p_value(after, before, resampling(range(200), resamples=5000))
    assert p_value == pytest.approx(mcnemar(after, before)["p_value"], abs=0.02)


def test_permutation_by_group_is_not_fooled_by_copies_of_a_row() -> None:
    """One changed row, written down twenty times, is no evidence."""
    before = np.zeros(100)
    after = np.r_[np.ones(20), np.zeros(80)]
    groups = np.r_[np.zeros(20), np.arange(1, 81)]
    assert permutation_p_value(after, before, resampling(range(100))) < 0.01
    assert permutation_p_value(after, before, resampling(groups)) > 0.9

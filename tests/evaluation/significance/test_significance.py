"""The intervals hold the truth as often as they claim, and the tests agree with the libraries."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from scratchformer.base.statistics import macro_f1
from scratchformer.evaluation.significance.bootstrap import (
    FEWEST_GROUPS,
    Interval,
    bootstrap,
    bootstrap_difference,
)
from scratchformer.evaluation.significance.paired_tests import (
    mcnemar,
    p_value_text,
    permutation_p_values,
)
from scratchformer.evaluation.significance.resampling import GroupSums, Resampling


def share(sums: Any) -> Any:
    return sums["right"] / sums["rows"]


def resampling(seed: int = 0, resamples: int = 1000) -> Resampling:
    return Resampling(resamples=resamples, confidence=0.95, seed=seed)


def interval(columns: Any, groups: Any, settings: Resampling, statistic: Any = share,
             shares: Any = ()) -> Interval:  # fmt: skip
    return bootstrap(GroupSums.of(columns, list(groups)), {"x": statistic}, settings, shares)["x"]


def p_value(after: Any, before: Any, groups: Any, settings: Resampling) -> float:
    one, other = (GroupSums.of({"right": each}, list(groups)) for each in (after, before))
    return permutation_p_values(one, other, {"x": share}, settings)["x"]


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
            drawn = interval({"right": right}, unit, resampling(seed, 300))
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
        sides = (GroupSums.of({"right": each}, range(400)) for each in (after, before))
        drawn = bootstrap_difference(*sides, {"x": share}, resampling(seed, 200))["x"]
        held += drawn.low <= 0.1 <= drawn.high
        widths.append(drawn.high - drawn.low)
        unpaired_widths.append(2 * 1.96 * np.sqrt(after.var() / 400 + before.var() / 400))
    assert 0.91 <= held / trials <= 0.99
    assert np.mean(widths) < 0.6 * np.mean(unpaired_widths)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_same_interval_as_scipy(seed: int) -> None:
    """BCa of a ratio of skewed sums, where it differs from percentiles."""
    random = np.random.default_rng(seed)
    edits, length = random.exponential(1.0, 30) ** 2, random.integers(1, 10, 30)
    ours = interval(
        {"edits": edits, "length": length}, range(30), resampling(resamples=20_000),
        lambda sums: sums["edits"] / sums["length"],
    )  # fmt: skip
    theirs = {
        method: stats.bootstrap(
            (edits, length),
            lambda e, n, axis: e.sum(axis=axis) / n.sum(axis=axis),
            paired=True, vectorized=True, n_resamples=20_000, method=method, rng=1,
        ).confidence_interval
        for method in ("BCa", "percentile")
    }  # fmt: skip
    assert ours.value == pytest.approx(edits.sum() / length.sum())
    assert ours.low == pytest.approx(theirs["BCa"].low, rel=0.03)
    assert ours.high == pytest.approx(theirs["BCa"].high, rel=0.03)
    assert theirs["percentile"].high < 0.95 * ours.high


def test_draws_that_equal_the_value_count_half_below_it_as_in_scipy() -> None:
    right = np.r_[np.ones(9), np.zeros(3)]
    ours = interval({"right": right}, range(12), resampling(resamples=20_000))
    theirs = stats.bootstrap(
        (right,), np.mean, n_resamples=20_000, method="BCa", rng=1
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_percentiles_of_macro_f1_hang_below_and_bca_does_not() -> None:
    """Of 40 labels most are rare: a drawn test set lacks rows of some and its F1 is lower."""
    random = np.random.default_rng(0)
    gold = random.integers(0, 40, 150)
    predicted = np.where(random.random(150) < 0.75, gold, random.integers(0, 40, 150))
    ones = np.eye(40)
    columns = {"gold": ones[gold], "predicted": ones[predicted],
               "hits": ones[gold] * (gold == predicted)[:, None]}  # fmt: skip
    sums = GroupSums.of(columns, range(150))
    drawn = np.concatenate([
        macro_f1(sums.weighted(counts)) for counts in resampling(resamples=2000).drawn_counts(150)
    ])
    found = interval(columns, range(150), resampling(resamples=2000), macro_f1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (drawn < found.value).mean() > 0.6
    assert found.low is not None and found.high is not None
    assert found.low > low + 0.005 and found.high > high + 0.005


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    right = np.random.default_rng(0).integers(0, 2, 97).astype(float)
    first = interval({"right": right}, range(97), resampling())
    assert first == interval({"right": right}, range(97), resampling())
    assert first != interval({"right": right}, range(97), resampling(seed=1))


def test_many_rows_are_drawn_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    right = np.random.default_rng(0).integers(0, 2, 50).astype(float)
    whole = interval({"right": right}, range(50), resampling())
    drawn = []

    def count(sums: Any) -> Any:
        drawn.append(len(sums["rows"]))
        return share(sums)

    place = "scratchformer.evaluation.significance.resampling.CELLS_AT_ONCE"
    monkeypatch.setattr(place, 20 * 2)
    assert interval({"right": right}, range(50), resampling(resamples=3), count).value == share(
        {"right": right.sum(), "rows": 50}
    )
    # The value, three draws one by one, and the jackknife 20 groups at a time.
    assert drawn == [1, 1, 1, 1, 20, 20, 10]
    monkeypatch.setattr(place, 50 * 300)
    assert interval({"right": right}, range(50), resampling()) == whole


def test_all_right_still_has_an_uncertainty() -> None:
    found = interval({"right": np.ones(40)}, range(40), resampling(), shares=["x"])
    exact = stats.binomtest(40, 40).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    wrong = interval({"right": np.zeros(40)}, range(40), resampling(), shares=["x"])
    assert (wrong.low, wrong.high) == pytest.approx((0, 1 - exact.low))
    assert interval({"right": np.ones(40)}, range(40), resampling()) == Interval(1.0)


@pytest.mark.parametrize("groups", [1, FEWEST_GROUPS - 1, FEWEST_GROUPS])
def test_few_groups_have_no_interval(groups: int) -> None:
    right = np.tile([1.0, 0.0], 30)
    right[:9] = 1
    found = interval({"right": right}, np.arange(60) % groups, resampling())
    assert (found.low is None) == (found.high is None) == (groups < FEWEST_GROUPS)
    assert found.value == right.mean()


def test_a_number_that_hangs_on_one_group_has_no_interval() -> None:
    columns = {"right": np.r_[1.0, np.zeros(9)], "asked": np.r_[1.0, np.zeros(9)]}
    found = interval(columns, range(10), resampling(), lambda s: s["right"] / s["asked"])
    assert found == Interval(1.0)


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
    found = p_value(after, before, range(200), resampling(resamples=5000))
    assert found == pytest.approx(mcnemar(after, before)["p_value"], abs=0.02)


def test_permutation_by_group_is_not_fooled_by_copies_of_a_row() -> None:
    """One changed row, written down twenty times, is no evidence."""
    before = np.zeros(100)
    after = np.r_[np.ones(20), np.zeros(80)]
    groups = np.r_[np.zeros(20), np.arange(1, 81)]
    assert p_value(after, before, range(100), resampling()) < 0.01
    assert p_value(after, before, groups, resampling()) == 1


def test_no_p_value_is_below_what_the_draws_can_tell() -> None:
    settings = resampling(resamples=200)
    found = p_value(np.ones(60), np.zeros(60), range(60), settings)
    assert found == settings.smallest_p == 1 / 201


def test_few_groups_are_swapped_in_every_way() -> None:
    after, before = np.array([3.0, 1.0, 2.0, 0.5]), np.zeros(4)
    exact = stats.permutation_test(
        (after, before), lambda a, b, axis: (a - b).mean(axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=1000,
    )  # fmt: skip
    assert p_value(after, before, range(4), resampling()) == exact.pvalue == 2 / 16


def test_the_permutation_test_of_a_mean_is_scipys() -> None:
    random = np.random.default_rng(8)
    before = random.normal(0, 1, 80)
    after = before + random.normal(0.2, 1, 80)
    theirs = stats.permutation_test(
        (after, before), lambda a, b, axis: (a - b).mean(axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=20_000, rng=0,
    ).pvalue  # fmt: skip
    ours = p_value(after, before, range(80), resampling(resamples=20_000))
    assert ours == pytest.approx(theirs, abs=0.01)


def test_under_the_null_hypothesis_a_small_p_value_is_as_rare_as_it_says() -> None:
    """Of macro-F1, whose statistic is no mean: two systems with the same chance of being right."""
    random = np.random.default_rng(2)
    ones, small, trials = np.eye(4), 0, 200
    for seed in range(trials):
        gold = random.integers(0, 4, 60)
        sides = []
        for _ in range(2):
            predicted = np.where(random.random(60) < 0.6, gold, random.integers(0, 4, 60))
            hits = ones[gold] * (gold == predicted)[:, None]
            columns = {"gold": ones[gold], "predicted": ones[predicted], "hits": hits}
            sides.append(GroupSums.of(columns, np.arange(60) // 2))
        found = permutation_p_values(*sides, {"x": macro_f1}, resampling(seed, 200))
        small += found["x"] <= 0.1
    assert 0.04 <= small / trials <= 0.16


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 2001, "p ≤ 0.0005"), (2 / 2001, "p = 0.0010"), (0.03, "p = 0.0300"),
        (1.0, "p = 1.0000"),
    ],
)  # fmt: skip
def test_p_values_as_they_are_shown(value: float, text: str) -> None:
    assert p_value_text(round(value, 9), 1 / 2001) == text


def test_an_exact_p_value_has_no_limit_of_resamples() -> None:
    assert p_value_text(1e-30) == p_value_text(0.99e-4) == "p < 0.0001"
    assert p_value_text(1e-4) == "p = 0.0001"

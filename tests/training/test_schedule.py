"""Learning rates: the paper's formula, the end points, and no state."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchformer.base.errors import ParamsError
from scratchformer.params import TrainScratch
from scratchformer.training.schedule import SCHEDULES, learning_rate

NAMES = tuple(SCHEDULES)


@pytest.mark.parametrize("step", [1, 7, 3999, 4000, 4001, 100_000])
def test_inverse_sqrt_is_equation_3_of_the_paper(step):
    d_model, warmup = 512, 4000
    paper = d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
    peak = (d_model * warmup) ** -0.5
    assert learning_rate(step, "inverse_sqrt", peak, warmup, 1) == pytest.approx(paper, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_warm_up_is_a_straight_line_to_the_peak(name):
    rates = [learning_rate(step, name, 0.5, 10, 100) for step in range(1, 11)]
    assert rates == pytest.approx([0.05 * step for step in range(1, 11)])


@pytest.mark.parametrize(("name", "middle"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_half_way_and_end(name, middle):
    assert learning_rate(10 + 45, name, 1.0, 10, 99) == pytest.approx(middle)
    last = learning_rate(99, name, 1.0, 10, 99)
    assert 0 < last <= 1
    if name != "constant":
        assert last < 0.02
        assert learning_rate(100, name, 1.0, 10, 99) == pytest.approx(0, abs=1e-12)


def test_one_cycle_and_warmup_stable_decay_turn_where_their_papers_say():
    """100 updates after 20 of warm-up: place 110 is 90% of the way to update 121."""

    def rate(name, step):
        return learning_rate(step, name, 1.0, 21, 120)

    assert rate("one_cycle", 21 + 90) == pytest.approx(1 / 25)
    assert rate("one_cycle", 21 + 45) == pytest.approx((1 + 1 / 25) / 2)
    assert rate("one_cycle", 21 + 95) == pytest.approx(1 / 50)
    stable = [rate("warmup_stable_decay", 21 + place) for place in (1, 40, 80, 85, 95)]
    assert stable == pytest.approx([1, 1, 1, 0.5, 1 - 0.75**0.5])


@given(
    st.sampled_from(NAMES), st.integers(1, 500), st.integers(0, 50), st.integers(1, 300)
)
def test_never_above_the_peak_never_negative_and_falling_after_warm_up(name, step, warmup, last):
    rate = learning_rate(step, name, 0.3, warmup, max(last, warmup + 1))
    after = learning_rate(step + 1, name, 0.3, warmup, max(last, warmup + 1))
    assert 0 <= rate <= 0.3 * (1 + 1e-12)
    if step >= max(warmup, 1):
        assert after <= rate


def test_an_unknown_schedule_is_an_error_and_the_schema_offers_the_known_ones():
    with pytest.raises(ParamsError, match=r"unknown schedule 'cosin'; did you mean cosine\?"):
        learning_rate(20, "cosin", 1.0, 10, 100)
    assert set(get_args(TrainScratch.model_fields["schedule"].annotation)) == SCHEDULES.keys()


def test_updates_are_counted_from_one():
    with pytest.raises(ValueError, match="from 1"):
        learning_rate(0, "cosine", 1.0, 10, 100)

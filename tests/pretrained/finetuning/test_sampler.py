"""Length grouping whose order is a function of (seed, epoch)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchformer.pretrained.finetuning.sampler import LengthGroupedSampler


@given(
    st.lists(st.integers(1, 30), max_size=60), st.integers(1, 9), st.integers(0, 2**31 - 1),
    st.integers(0, 5),
)
def test_every_row_once_and_in_the_same_order_whoever_asks(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    sampler = LengthGroupedSampler(np.array(lengths, np.int64), batch_size, seed)
    sampler.set_epoch(epoch + 1)
    list(sampler)  # what was drawn before does not matter
    sampler.set_epoch(epoch)
    fresh = LengthGroupedSampler(np.array(lengths, np.int64), batch_size, seed)
    assert list(sampler) == fresh.order(epoch).tolist()
    assert sorted(sampler) == list(range(len(lengths)))


def test_epochs_and_seeds_differ() -> None:
    lengths = np.full(50, 7)
    orders = {
        tuple(LengthGroupedSampler(lengths, 4, seed).order(epoch))
        for seed in (1, 2)
        for epoch in (0, 1, 2)
    }
    assert len(orders) == 6


@pytest.mark.parametrize("rows", [320, 333])
def test_batches_hold_little_padding_and_come_in_random_order(rows: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 40, rows)
    order = LengthGroupedSampler(lengths, 8, 1).order(0)
    batches = [lengths[order[start : start + 8]] for start in range(0, rows, 8)]
    positions = sum(len(batch) * batch.max() for batch in batches)
    assert 1 - lengths.sum() / positions < 0.05
    means = np.array([batch.mean() for batch in batches])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5
    assert [len(batch) for batch in batches[:-1]] == [8] * (len(batches) - 1)


def test_rows_of_equal_length_meet_others_in_another_epoch() -> None:
    sampler = LengthGroupedSampler(np.full(64, 5), 8, 1)
    first, second = ({frozenset(sampler.order(e)[i : i + 8]) for i in range(0, 64, 8)}
                     for e in (0, 1))
    assert not first & second

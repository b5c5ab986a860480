"""No row and no group is in two splits, whatever the source gives."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchformer.base.errors import DataError
from scratchformer.base.layout import SPLITS, SplitName
from scratchformer.data.preparation.digests import normalised
from scratchformer.data.preparation.ledger import Ledger, entries_of
from scratchformer.data.preparation.rows import Row
from scratchformer.data.preparation.splits import (
    DROPPED,
    TEST,
    TRAIN,
    VALID,
    Plan,
    plan_splits,
)
from scratchformer.params import Split

SHARES = Split(valid=0.2, test=0.3)


def entered(
    rows: Sequence[tuple[Row, int]], seed: int = 0, *, labelled: bool = False
) -> Ledger:
    ledger = Ledger()
    for given_split, some in groupby(rows, key=lambda entry: entry[1]):
        entries, _ = entries_of([row for row, _ in some], seed, labelled=labelled)
        ledger.extend(entries, given_split)
    return ledger


def plan(
    rows: Sequence[tuple[Row, int]],
    cut: Sequence[SplitName] = ("valid", "test"),
    *,
    labelled: bool = False,
    merge: bool = False,
    seed: int = 0,
) -> Plan:
    ledger = entered(rows, seed, labelled=labelled)
    return plan_splits(ledger, SHARES, cut, merge=merge)


def row(text: str, answer: str = "x", group: str | None = None) -> Row:
    return Row(text, (text,), (answer,), group)


@st.composite
def corpora(draw: st.DrawFn) -> list[tuple[Row, int]]:
    """Few texts, answers, groups and given splits, so that all of them collide."""
    texts = st.sampled_from(["a", "A", "b", "ｂ", "c  c", "C c", "d", "e", "f", "g"])
    groups = st.sampled_from([None, "1", "2", "3", "4", "5", "6"])
    answers = st.sampled_from(["x", "y", "z"])
    entry = st.tuples(st.builds(row, texts, answers, groups), st.sampled_from([TRAIN, VALID, TEST]))
    rows: list[tuple[Row, int]] = draw(st.lists(entry, min_size=3, max_size=40))
    return rows


@settings(max_examples=200, deadline=None)
@given(
    rows=corpora(), cut=st.sets(st.sampled_from(["valid", "test"])), labelled=st.booleans(),
    merge=st.booleans(),
)
def test_nothing_is_in_two_splits(
    rows: list[tuple[Row, int]], cut: set[SplitName], labelled: bool, merge: bool
) -> None:
    absent = {SPLITS.index(name) for name in cut}
    rows = [(r, TRAIN if s in absent else s) for r, s in rows]
    try:
        result = plan(rows, sorted(cut), labelled=labelled, merge=merge and not labelled)
    except DataError:
        return  # so few rows often leave a split empty or a label untaught
    homes: dict[tuple[str, str], set[int]] = defaultdict(set)
    for (entry, _), split in zip(rows, result.split, strict=True):
        if split != DROPPED:
            homes["text", normalised(entry.inputs[0])].add(int(split))
            homes["group", entry.group or normalised(entry.inputs[0])].add(int(split))
    assert all(len(splits) == 1 for splits in homes.values())
    kept = result.kept
    assert all(kept[into] for into in result.merged_into[result.split != DROPPED])
    # A given test split loses nothing.
    for (_, given_split), split in zip(rows, result.split, strict=True):
        assert split == TEST or given_split != TEST
    if cut:  # splits of our own making hold no row twice
        ours = [
            (entry.inputs[0], () if labelled else entry.targets)
            for (entry, given_split), split in zip(rows, result.split, strict=True)
            if given_split == TRAIN and split != DROPPED
        ]
        assert len(set(ours)) == len(ours)
    if labelled:
        taught = {r.targets for (r, _), s in zip(rows, result.split, strict=True) if s == TRAIN}
        used = {r.targets for (r, _), s in zip(rows, result.split, strict=True) if s != DROPPED}
        assert used == taught


def many(count: int = 2000) -> list[tuple[Row, int]]:
    return [(row(f"text {i}", "xy"[i % 2], f"g{i // 4}"), TRAIN) for i in range(count)]


def test_shares_are_as_asked_for() -> None:
    split = plan(many()).split
    assert abs((split == VALID).mean() - 0.2) < 0.05
    assert abs((split == TEST).mean() - 0.3) < 0.05


def test_a_row_keeps_its_split_when_rows_are_added_or_reordered() -> None:
    few, more = plan(many(1000)).split, plan(many(2000)).split
    assert (few == more[:1000]).all()
    assert (plan(many(2000)[::-1]).split == more[::-1]).all()


def test_the_seed_decides() -> None:
    first, second = plan(many()).split, plan(many(), seed=1).split
    # Independent draws agree in 0.5² + 0.2² + 0.3² = 38 of 100 rows.
    assert abs((first == second).mean() - 0.38) < 0.08


def test_given_splits_stay_whole_and_train_gives_way() -> None:
    rows = [(row("both"), TRAIN), (row("only train"), TRAIN), (row("twice"), TRAIN),
            (row("twice"), TRAIN), (row("valid too"), TRAIN), (row("Valid  TOO"), VALID),
            (row("all three"), VALID), (row("v"), VALID), (row("both"), TEST),
            (row("Both"), TEST), (row("all three"), TEST)]
    result = plan(rows, cut=())
    assert result.split.tolist() == [
        DROPPED, TRAIN, TRAIN, TRAIN, DROPPED, VALID, DROPPED, VALID, TEST, TEST, TEST,
    ]
    assert result.counts["across_splits"] == 3
    assert result.counts["duplicates"] == 0


def test_our_splits_lose_repetitions_and_contradictions() -> None:
    rows = [*many(400), (row("text 7", "y"), TRAIN), (row("text 8", "y"), TRAIN)]
    result = plan(rows, labelled=True)
    assert result.split[-2:].tolist() == [DROPPED, DROPPED]
    assert (result.counts["duplicates"], result.counts["conflicting_labels"]) == (1, 1)
    result = plan(rows)  # as sequences, another target is another translation
    assert result.split[-2] == DROPPED
    assert result.counts["duplicates"] == 1


@pytest.mark.parametrize("twins", [("polish", "Polish"), ("x2", "x²"), ("ｂus", "bus")])
def test_texts_that_are_only_alike_are_two_rows_of_one_split(twins: tuple[str, str]) -> None:
    """Neither merged nor called repeated or contradicting; never learned from and tested on."""
    alike = [(row(text, target), TRAIN) for text, target in zip(twins, "xy", strict=True)]
    rows = [*many(400), *alike]
    for options in ({"labelled": True}, {"merge": True}, {}):
        for seed in range(8):
            result = plan(rows, seed=seed, **options)
            assert result.kept[-2:].all() and result.split[-1] == result.split[-2]
            assert result.counts["duplicates"] == result.counts["conflicting_labels"] == 0
    apart = [(entry._replace(group=entry.id), split) for entry, split in alike]
    for seed in range(8):
        first, second = plan([*many(400), *apart], seed=seed).split[-2:]
        assert first == second or DROPPED in (first, second)


def test_one_label_is_no_classification() -> None:
    rows = [(row(f"text {i}", "spam"), TRAIN) for i in range(60)]
    with pytest.raises(DataError, match=r"every row of train has the label 'spam'.*two labels"):
        plan(rows, labelled=True)
    assert plan(rows).kept.all()


def test_one_file_as_all_three_splits_is_told() -> None:
    rows = [(row(f"text {i}", "xy"[i % 2]), split) for split in (0, 1, 2) for i in range(30)]
    with pytest.raises(DataError, match=r"no row left for the split train.*30 rows also stand in"):
        plan(rows, cut=(), labelled=True)


def test_rows_of_one_text_are_merged_only_when_asked() -> None:
    rows = [*((row(f"w{i}"), TRAIN) for i in range(50)), (row("w3", "y"), TRAIN)]
    merged, apart = plan(rows, merge=True), plan(rows)
    assert merged.merged_into[-1] == 3 and not merged.kept[-1]
    assert apart.merged_into[-1] == 50 and apart.split[-1] == apart.split[3]


def test_a_rare_label_is_taught_first() -> None:
    for number in range(20):  # wherever chance puts the two groups of the rare label
        rows = [*((row(f"t{i}", "common"), TRAIN) for i in range(60)),
                (row(f"rare {number}", "rare"), TRAIN), (row(f"rarer {number}", "rare"), TRAIN)]
        split = plan(rows, labelled=True).split
        assert TRAIN in split[-2:]


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(DataError, match="no row left for the split"):
        plan([(row("a"), TRAIN), (row("b"), TRAIN)])


def test_tens_of_thousands_of_rows_take_a_moment() -> None:
    """Sorting, not comparing: doubling the rows about doubles the time."""
    import time

    def cpu(count: int) -> float:
        ledger = entered(many(count))
        start = time.process_time()
        plan_splits(ledger, SHARES, ("valid", "test"), merge=True)
        return time.process_time() - start

    cpu(1000)
    assert cpu(80_000) < 12 * max(cpu(20_000), 0.005)


def test_counts_are_plain_numbers() -> None:
    assert all(type(value) is int for value in plan(many(), labelled=True).counts.values())
    assert isinstance(plan(many()).split, np.ndarray)


def test_the_texts_of_a_pair_do_not_run_together() -> None:
    pairs = [("a man", "sleeps now"), ("a man sleeps", "now"), ("a man", "sleeps now")]
    rows = [(Row(str(n), pair, ("x",), None), TRAIN) for n, pair in enumerate(pairs)]
    result = plan([*many(200), *rows], labelled=True)
    assert result.counts["duplicates"] == 1  # the last is the first once more
    assert result.split[-1] == DROPPED != result.split[-2]

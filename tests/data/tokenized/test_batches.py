"""Every row once an epoch, budgets kept, and an order that depends on (seed, epoch) alone."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.tokenized.batches import TokenBatches

PAD = 0
lengths = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=60)


def table_of(sizes: list[tuple[int, int]], chunks: int = 1) -> pa.Table:
    """Row i holds the ids 1000 i + 1, 1000 i + 2, …, so that every token tells where it is from."""

    def ids(side: int) -> list[list[int]]:
        return [[1000 * i + k + 1 for k in range(size[side])] for i, size in enumerate(sizes)]

    table = pa.table({
        "row": pa.array(range(len(sizes)), pa.int32()),
        "source": pa.array(ids(0), pa.list_(pa.int32())),
        "target": pa.array(ids(1), pa.list_(pa.int32())),
    })
    cuts = np.linspace(0, len(sizes), chunks + 1).astype(int)
    parts = [table.slice(a, b - a) for a, b in pairwise(cuts)]
    return pa.concat_tables(parts)


def epoch_of(batches: TokenBatches, epoch: int) -> list[list[int]]:
    first = epoch * len(batches)
    return [batches.batch(first + i).records.tolist() for i in range(len(batches))]


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(12, 60), st.integers(0, 5), st.integers(0, 3), st.integers(1, 4))
def test_every_row_once_within_the_budget_with_its_own_tokens(sizes, budget, seed, epoch, chunks):
    batches = TokenBatches(table_of(sizes, chunks), budget, seed)
    seen, padded, real = [], 0, 0
    for index in range(epoch * len(batches), (epoch + 1) * len(batches)):
        batch = batches.batch(index)
        assert batch.source.size <= budget and batch.target.size <= budget
        for side, block in enumerate((batch.source, batch.target)):
            assert block.shape[1] == max(sizes[i][side] for i in batch.records)
            for record, ids in zip(batch.records, block, strict=True):
                expected = [1000 * record + k + 1 for k in range(sizes[record][side])]
                assert ids.tolist() == expected + [PAD] * (len(ids) - len(expected))
                real += len(expected)
            padded += block.size
        assert batch.tokens == sum(sizes[i][1] for i in batch.records)
        seen += batch.records.tolist()
    assert sorted(seen) == list(range(len(sizes)))
    assert batches.padding_share == pytest.approx(1 - real / padded)


def test_the_order_is_a_function_of_seed_and_epoch():
    table = table_of([(1 + i % 7, 1 + i % 5) for i in range(300)])
    batches = TokenBatches(table, 40, seed=3)
    late_first = epoch_of(batches, 5)
    assert epoch_of(batches, 0) != late_first
    assert epoch_of(TokenBatches(table, 40, seed=3), 5) == late_first
    assert epoch_of(batches, 5) == late_first
    assert epoch_of(TokenBatches(table, 40, seed=4), 5) != late_first


def test_rows_of_one_length_change_company_between_epochs():
    batches = TokenBatches(table_of([(4, 4)] * 200), 40, seed=0)
    companies = [{frozenset(records) for records in epoch_of(batches, e)} for e in (0, 1)]
    assert not companies[0] & companies[1]


def test_validation_order_is_fixed_and_complete():
    batches = TokenBatches(table_of([(1 + i % 7, 3) for i in range(50)]), 21, seed=0)
    first, second = ([b.records.tolist() for b in batches.in_length_order()] for _ in range(2))
    assert first == second
    assert sorted(record for records in first for record in records) == list(range(50))


def test_buckets_save_most_of_the_padding():
    random = np.random.default_rng(0)
    sizes = [(int(n), int(n)) for n in random.integers(2, 40, 3000)]
    batches = TokenBatches(table_of(sizes), 800, seed=0)
    assert batches.padding_share < 0.05
    plain = sum(20 * max(s[0] for s in sizes[i : i + 20]) for i in range(0, len(sizes), 20))
    assert 1 - sum(s[0] for s in sizes) / plain > 0.4


def test_tokens_are_read_in_place_from_the_mapped_file(tmp_path):
    table = table_of([(5, 4)] * 1000, chunks=3)
    path = tmp_path / "split.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    before = pa.total_allocated_bytes()
    batches = TokenBatches(pa.ipc.open_file(pa.memory_map(str(path))).read_all(), 100, seed=0)
    assert batches.batch(0).tokens > 0
    assert pa.total_allocated_bytes() - before < 8000  # the tokens alone are 36,000 bytes


@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_is_a_shuffle_sorted_by_the_longer_side_then_source_then_target(epoch):
    draw = np.random.default_rng(1)
    sizes = draw.integers(1, 40, (3000, 2))
    batches = TokenBatches(table_of(sizes, chunks=2), 400, seed=5)
    shuffled = np.random.default_rng([5, epoch]).permutation(len(sizes)).tolist()
    expected = sorted(shuffled, key=lambda row: (max(sizes[row]), *sizes[row]))
    order, _ = batches._epoch(epoch)
    assert order.tolist() == expected
    in_order = [row for batch in batches.in_length_order() for row in batch.records]
    assert in_order == sorted(range(len(sizes)), key=lambda row: (max(sizes[row]), *sizes[row]))


def test_a_row_takes_few_bytes_of_memory(tmp_path):
    import tracemalloc

    def held(rows: int) -> int:
        offsets = pa.array(np.arange(rows + 1) * 2, pa.int32())
        ids = pa.ListArray.from_arrays(offsets, pa.array(np.arange(2 * rows), pa.int32()))
        columns = {"row": pa.array(np.arange(rows), pa.int32()), "source": ids, "target": ids}
        table, path = pa.table(columns), tmp_path / f"{rows}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        mapped = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        tracemalloc.start()
        batches = TokenBatches(mapped, 100_000, seed=0)
        batches.batch(0)
        bytes_held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return bytes_held

    held(1000)  # what is imported late
    assert held(300_000) - held(100_000) < 200_000 * 17


def test_classification_has_labels_and_no_target():
    table = table_of([(3, 1), (5, 1)]).drop_columns("target")
    table = table.append_column("label", pa.array([7, 8], pa.int32()))
    batch = next(TokenBatches(table, 20, seed=0).in_length_order())
    assert batch.target is None and batch.tokens == 2
    assert batch.label.tolist() == [batch.records[0] + 7, batch.records[1] + 7]


def test_a_row_longer_than_the_budget_is_refused_by_name():
    with pytest.raises(ParamsError, match=r"batch_tokens: 10 is below the 11 tokens of record 1"):
        TokenBatches(table_of([(3, 3), (4, 11)]), 10, seed=0)


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="no rows"):
        TokenBatches(table_of([(1, 1)]).slice(0, 0), 10, seed=0)

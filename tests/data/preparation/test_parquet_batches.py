"""Parquet files larger than the memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scratchformer.data.preparation.parquet_batches import batches_of

GROUP, GROUPS = 900, 40


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Row groups of random texts, 100 bytes each, which dictionaries do not make smaller."""
    draw = np.random.default_rng(0)
    texts = [draw.bytes(50).hex() for _ in range(GROUP * GROUPS)]
    targets = pa.array([[text] for text in reversed(texts)])  # of lists, Arrow kept everything
    table = pa.table({"id": range(len(texts)), "text": texts, "targets": targets})
    file = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    pq.write_table(table, file, row_group_size=GROUP)
    return file


@pytest.mark.parametrize("rows", [7, 450, GROUP, 1000, 2000, GROUP * GROUPS + 1])
def test_batches_are_those_of_arrow_wherever_the_groups_end(path: Path, rows: int) -> None:
    with pq.ParquetFile(path) as file:
        found = list(batches_of(file, rows, ["text", "id"]))
        whole = list(file.iter_batches(rows, columns=["text", "id"]))
    assert [len(batch) for batch in found] == [len(batch) for batch in whole]
    assert all(ours.equals(theirs) for ours, theirs in zip(found, whole, strict=True))


def test_a_file_without_rows_has_no_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    with pq.ParquetFile(tmp_path / "none.parquet") as file:
        assert list(batches_of(file, 10)) == []


def test_memory_does_not_grow_with_the_file(path: Path) -> None:
    """What Arrow holds; tracemalloc does not see it."""
    before = pa.total_allocated_bytes()
    with pq.ParquetFile(path) as file:
        held = [pa.total_allocated_bytes() - before for _ in batches_of(file, 1000)]
    assert len(held) == GROUP * GROUPS // 1000
    assert max(held) < GROUP * GROUPS * 200 / 4  # a quarter of the texts

"""One table holds the systems of both tracks only if they answer the same rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.evaluation.conftest import prepare

from scratchformer.evaluation.tracks.same_rows import same_rows


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def fill(scratch: str, finetune: str) -> None:
        prepare("scratch", scratch)
        prepare("finetune", finetune)

    return fill


@pytest.mark.parametrize("kind", ["classes", "words"])
def test_the_same_source_gives_the_same_rows(both: Any, kind: str) -> None:
    both(kind, kind)
    assert same_rows()


def test_other_tasks_and_other_rows_do_not(both: Any) -> None:
    both("classes", "words")
    assert not same_rows()


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("column", ["text", "text_pair", "label", "id"])
def test_one_other_cell_is_another_row(both: Any, split: str, column: str) -> None:
    both("classes", "classes")
    path = Path("data/prepared/finetune") / f"{split}.parquet"
    table = pq.read_table(path)
    cells = [*table.column(column).to_pylist()[:-1], "other"]
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(cells, pa.string())), path)
    assert not same_rows()

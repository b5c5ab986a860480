"""The numbers of data.json: counts, lengths, balance of labels, and coverage.

Coverage is the share of the characters and words of a held-out split (every occurrence counted)
that also occur in train: what no model of that training set can have seen.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scratchformer.base.errors import DataError
from scratchformer.base.layout import SPLITS
from scratchformer.base.tasks import TASKS, Task, TaskName
from scratchformer.data.preparation.digests import digest
from scratchformer.data.preparation.rows import BATCH_ROWS

QUANTILES = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def quantiles(lengths: NDArray[Any]) -> dict[str, int]:
    """Lengths that really occur: the smallest that covers at least the share."""
    if not len(lengths):
        return dict.fromkeys(QUANTILES, 0)
    values = np.quantile(lengths, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, values.astype(int).tolist(), strict=True))


@dataclass
class _Column:
    """Running figures of one text column of one split."""

    texts: int = 0
    characters: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    character_lengths: list[Any] = field(default_factory=list)
    word_lengths: list[Any] = field(default_factory=list)

    def add(self, texts: pa.Array) -> None:
        self.texts += len(texts)
        words = pc.utf8_split_whitespace(texts)
        self.character_lengths.append(pc.utf8_length(texts).to_numpy(zero_copy_only=False))
        self.word_lengths.append(pc.list_value_length(words).to_numpy(zero_copy_only=False))
        for pair in pc.value_counts(words.flatten()):
            self.words[pair["values"].as_py()] += pair["counts"].as_py()
        self.characters.update("".join(texts.to_pylist()))

    def lengths(self) -> dict[str, dict[str, int]]:
        return {
            "characters": quantiles(np.concatenate(self.character_lengths)),
            "words": quantiles(np.concatenate(self.word_lengths)),
        }


@dataclass
class _Split:
    """Running figures of one split."""

    columns: dict[str, _Column]
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    groups: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, batch: pa.RecordBatch, task: Task) -> None:
        self.rows += len(batch)
        self.groups.extend(map(digest, batch["group"].to_pylist()))
        for name, column in self.columns.items():
            if name == task.answer_field:
                column.add(batch[task.answer_column].flatten())
            else:
                column.add(batch[name])
        if task.labelled:
            self.labels.update(batch[task.answer_column].to_pylist())

    def figures(self, task: Task) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "groups": len(np.unique(np.array(self.groups, dtype=np.uint64))),
            **({} if task.labelled else {"references": self.columns[task.answer_field].texts}),
            "lengths": {name: column.lengths() for name, column in self.columns.items()},
            **({"labels": dict(sorted(self.labels.items()))} if task.labelled else {}),
        }


def describe(folder: Path, name: TaskName, *, pairs: bool) -> dict[str, Any]:
    """Figures of the three splits in `folder`.

    Raises:
        DataError: two splits have a group in common (a defect of ours: checked on the files).
    """
    task = TASKS[name]
    texts = [task.input_field]
    if pairs and task.pair_field is not None:
        texts.append(task.pair_field)
    if not task.labelled:
        texts.append(task.answer_field)
    splits = {split: _Split({name: _Column() for name in texts}) for split in SPLITS}
    for split, running in splits.items():
        with pq.ParquetFile(folder / f"{split}.parquet") as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                running.add(batch, task)
    _demand_disjoint({split: running.groups for split, running in splits.items()})
    return {
        "splits": {split: running.figures(task) for split, running in splits.items()},
        "coverage": {
            split: _coverage(splits[split].columns, splits["train"].columns)
            for split in ("valid", "test")
        },
    }


def _coverage(
    held_out: Mapping[str, _Column], train: Mapping[str, _Column]
) -> dict[str, dict[str, float]]:
    return {
        name: {
            "characters": _seen(column.characters, train[name].characters),
            "words": _seen(column.words, train[name].words),
        }
        for name, column in held_out.items()
    }


def _seen(held_out: Counter[str], train: Counter[str]) -> float:
    seen = sum(times for token, times in held_out.items() if token in train)
    return round(seen / held_out.total(), 6)


def _demand_disjoint(groups: Mapping[str, "array[int]"]) -> None:
    for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
        ours, theirs = (np.array(groups[split], dtype=np.uint64) for split in (first, second))
        if shared := len(np.intersect1d(ours, theirs)):
            raise DataError(f"{shared} groups are in both {first} and {second}")

"""The numbers of data.json: counts, lengths, balance of labels, and coverage.

Coverage is the share of the characters and words of a held-out split (every occurrence counted)
that also occur in train: what no model of that training set can have seen.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scratchformer.base.errors import DataError
from scratchformer.base.layout import SPLITS, SplitName
from scratchformer.base.tasks import TASKS, Task, TaskName
from scratchformer.data.preparation.digests import digests
from scratchformer.data.preparation.parquet_batches import batches_of
from scratchformer.data.preparation.rows import BATCH_ROWS
from scratchformer.runtime.workers import in_order

QUANTILES = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def quantiles(counts: NDArray[Any]) -> dict[str, int]:
    """Lengths that really occur: the smallest that covers at least the share.

    Args:
        counts: [length] how many texts have it.
    """
    lengths = np.flatnonzero(counts)
    if not len(lengths):
        return dict.fromkeys(QUANTILES, 0)
    shares = list(QUANTILES.values())
    values = np.quantile(lengths, shares, weights=counts[lengths], method="inverted_cdf")
    return dict(zip(QUANTILES, values.astype(int).tolist(), strict=True))


def added(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """The sum of two rows of counts; the shorter one has no more of the rest."""
    short, long = sorted((first, second), key=len)
    total = long.copy()
    total[: len(short)] += short
    return total


def _count_characters(texts: pa.Array) -> NDArray[np.int64]:
    """[code point] how often it occurs; a few texts at a time, as it takes 12 bytes a character."""
    counts = _none()
    for start in range(0, len(texts), 500):
        some = "".join(texts.slice(start, 500).to_pylist())
        counts = added(counts, np.bincount(np.frombuffer(some.encode("utf-32-le"), np.uint32)))
    return counts


def _none() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass
class _Column:
    """Figures of one text column of some rows; those of more rows are added to it.

    Counts stand in arrays: of characters by code point, of texts by their length.
    """

    texts: int = 0
    words: Counter[str] = field(default_factory=Counter)
    characters: NDArray[np.int64] = field(default_factory=_none)
    character_lengths: NDArray[np.int64] = field(default_factory=_none)
    word_lengths: NDArray[np.int64] = field(default_factory=_none)

    @classmethod
    def of(cls, texts: pa.Array) -> Self:
        words = pc.utf8_split_whitespace(texts)
        values, times = pc.value_counts(words.flatten()).flatten()
        return cls(
            len(texts),
            Counter(dict(zip(values.to_pylist(), times.to_pylist(), strict=True))),
            _count_characters(texts),
            np.bincount(pc.utf8_length(texts).to_numpy(zero_copy_only=False)),
            np.bincount(pc.list_value_length(words).to_numpy(zero_copy_only=False)),
        )

    def add(self, other: "_Column") -> None:
        self.texts += other.texts
        self.words.update(other.words)
        self.characters = added(self.characters, other.characters)
        self.character_lengths = added(self.character_lengths, other.character_lengths)
        self.word_lengths = added(self.word_lengths, other.word_lengths)

    def lengths(self) -> dict[str, dict[str, int]]:
        return {
            "characters": quantiles(self.character_lengths),
            "words": quantiles(self.word_lengths),
        }


@dataclass
class _Split:
    """Figures of some rows of one split; those of more rows are added to it."""

    columns: dict[str, _Column]
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    groups: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, other: "_Split") -> None:
        self.rows += other.rows
        self.labels.update(other.labels)
        self.groups.extend(other.groups)
        for name, column in self.columns.items():
            column.add(other.columns[name])

    def figures(self, task: Task, groups: int) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "groups": groups,
            **({} if task.labelled else {"references": self.columns[task.answer_field].texts}),
            "lengths": {name: column.lengths() for name, column in self.columns.items()},
            **({"labels": dict(sorted(self.labels.items()))} if task.labelled else {}),
        }


class _Part(NamedTuple):
    """Some rows of a split."""

    split: SplitName
    rows: pa.RecordBatch


def _parts(folder: Path) -> Iterator[_Part]:
    for split in SPLITS:
        with pq.ParquetFile(folder / f"{split}.parquet") as file:
            for rows in batches_of(file, BATCH_ROWS):
                yield _Part(split, rows)


def _measured(part: _Part, name: TaskName, texts: Sequence[str]) -> tuple[SplitName, _Split]:
    """The figures of a part, in whichever process."""
    task, rows = TASKS[name], part.rows
    columns = {
        field: _Column.of(
            rows[task.answer_column].flatten() if field == task.answer_field else rows[field]
        )
        for field in texts
    }
    labels = rows[task.answer_column].to_pylist() if task.labelled else ()
    groups = array("Q", digests(rows["group"].to_pylist()).tobytes())
    return part.split, _Split(columns, len(rows), Counter(labels), groups)


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
    measure = partial(_measured, name=name, texts=texts)
    for split, figures in in_order(measure, _parts(folder)):
        splits[split].add(figures)
    groups: dict[SplitName, NDArray[np.uint64]] = {
        split: np.unique(np.asarray(running.groups)) for split, running in splits.items()
    }
    _demand_disjoint(groups)
    return {
        "splits": {
            split: running.figures(task, len(groups[split])) for split, running in splits.items()
        },
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
            "characters": _share_seen(
                int(
                    column.characters[: len(train[name].characters)]
                    @ (train[name].characters[: len(column.characters)] > 0)
                ),
                int(column.characters.sum()),
            ),
            "words": _share_seen(
                sum(n for word, n in column.words.items() if word in train[name].words),
                column.words.total(),
            ),
        }
        for name, column in held_out.items()
    }


def _share_seen(seen: int, total: int) -> float:
    return round(seen / total, 6)


def _demand_disjoint(groups: Mapping[SplitName, NDArray[np.uint64]]) -> None:
    for first, second in combinations(SPLITS, 2):
        if shared := len(np.intersect1d(groups[first], groups[second], assume_unique=True)):
            raise DataError(f"{shared} groups are in both {first} and {second}")

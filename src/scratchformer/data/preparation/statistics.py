"""The figures of data.json: counts, lengths, balance of labels, and coverage.

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
from scratchformer.base.tasks import TaskName
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

    characters: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    character_lengths: list[Any] = field(default_factory=list)
    word_lengths: list[Any] = field(default_factory=list)

    def add(self, texts: pa.Array) -> None:
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


def describe(folder: Path, task: TaskName) -> dict[str, Any]:
    """Figures of the three splits in `folder`.

    Raises:
        DataError: two splits have a group in common (a defect of ours: checked on the files).
    """
    splits: dict[str, Any] = {}
    columns: dict[str, dict[str, _Column]] = {}
    groups: dict[str, NDArray[np.uint64]] = {}
    for split in SPLITS:
        text, answer = _Column(), _Column()
        labels: Counter[str] = Counter()
        rows = references = 0
        seen = array("Q")
        with pq.ParquetFile(folder / f"{split}.parquet") as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                rows += len(batch)
                seen.extend(map(digest, batch["group"].to_pylist()))
                if task == "seq2seq":
                    text.add(batch["source"])
                    targets = batch["targets"].flatten()
                    references += len(targets)
                    answer.add(targets)
                else:
                    text.add(batch["text"])
                    labels.update(batch["label"].to_pylist())
        groups[split] = np.unique(np.array(seen, dtype=np.uint64))
        columns[split] = {"source": text, "target": answer} if task == "seq2seq" else {"text": text}
        splits[split] = {
            "rows": rows,
            "groups": len(groups[split]),
            **({"references": references} if task == "seq2seq" else {}),
            "lengths": {name: column.lengths() for name, column in columns[split].items()},
            **({"labels": dict(sorted(labels.items()))} if task == "classification" else {}),
        }
    _demand_disjoint(groups)
    return {
        "splits": splits,
        "coverage": {
            split: {
                name: {
                    "characters": _seen(column.characters, columns["train"][name].characters),
                    "words": _seen(column.words, columns["train"][name].words),
                }
                for name, column in columns[split].items()
            }
            for split in ("valid", "test")
        },
    }


def _seen(held_out: Counter[str], train: Counter[str]) -> float:
    seen = sum(times for token, times in held_out.items() if token in train)
    return round(seen / held_out.total(), 6)


def _demand_disjoint(groups: Mapping[str, NDArray[np.uint64]]) -> None:
    for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = np.intersect1d(groups[first], groups[second], assume_unique=True)
        if len(shared):
            raise DataError(f"{len(shared)} groups are in both {first} and {second}")

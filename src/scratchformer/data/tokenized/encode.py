"""Prepared text to token ids, batch by batch, with the counts for tokens.json."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scratchformer.base.files import write_json
from scratchformer.base.layout import SPLITS, SplitName, TrackName
from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.digests import digests
from scratchformer.data.preparation.prepared import Info, iterate_split, load_info
from scratchformer.data.preparation.rows import BATCH_ROWS
from scratchformer.data.preparation.statistics import added, quantiles
from scratchformer.data.tokenized.read import schema_of
from scratchformer.runtime.workers import in_order
from scratchformer.text.inputs import Encoded, ModelInputs


@dataclass
class _Figures:
    """Figures of the ids of one side of some rows; those of more rows are added to them."""

    texts: int = 0
    unknown: int = 0
    cut: int = 0
    special: int = 0
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, encoded: Encoded) -> Self:
        lengths = np.fromiter(map(len, encoded.ids), np.int64, len(encoded.ids))
        return cls(
            len(lengths), encoded.unknown, encoded.cut, encoded.special, np.bincount(lengths)
        )

    def add(self, other: "_Figures") -> None:
        self.texts += other.texts
        self.unknown += other.unknown
        self.cut += other.cut
        self.special += other.special
        self.lengths = added(self.lengths, other.lengths)

    def summary(self) -> dict[str, Any]:
        """`unknown_rate` is a share of the tokens that stand for text: EOS and its like, which are
        always known, are not counted."""
        tokens = int(self.lengths @ np.arange(len(self.lengths)))
        return {
            "tokens": tokens,
            "unknown_rate": round(self.unknown / max(tokens - self.special, 1), 6),
            "truncated_share": round(self.cut / self.texts, 6),
            "lengths": quantiles(self.lengths),
        }


class _Part(NamedTuple):
    """Consecutive rows of a split; `start` is the place of the first."""

    split: SplitName
    start: int
    rows: pa.RecordBatch


class _Done(NamedTuple):
    """A part as it is written."""

    split: SplitName
    rows: int
    records: pa.RecordBatch
    figures: dict[str, _Figures]  # by side


def encode_track(
    track: TrackName,
    inputs: ModelInputs,
    folder: Path,
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Encode the three splits of a track into `folder`, with info.json; returns the figures."""
    folder.mkdir(parents=True)
    info = load_info(track)
    labelled = TASKS[info.task].labelled
    sides = ("source",) if labelled else ("source", "target")
    figures = {split: {side: _Figures() for side in sides} for split in SPLITS}
    schema = schema_of(info.task, segments=inputs.rules.segments)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                pa.ipc.new_file(
                    stack.enter_context(pa.OSFile(str(folder / f"{split}.arrow"), "wb")), schema
                )
            )
            for split in SPLITS
        }
        for done in in_order(partial(_encoded, info=info, inputs=inputs), _parts(track)):
            writers[done.split].write_batch(done.records)
            for side, some in done.figures.items():
                figures[done.split][side].add(some)
            advance(done.rows)
    sizes: dict[str, int | None] = {
        "source_vocab_size": inputs.source.vocab_size,
        "max_source_length": inputs.rules.max_source_length,
    }
    if inputs.target is not None:
        sizes |= {
            "target_vocab_size": inputs.target.vocab_size,
            "max_target_length": inputs.rules.max_target_length,
        }
    values: dict[str, Any] = {"task": info.task, **sizes}
    if labelled:
        values |= {"num_labels": len(info.labels), "labels": [label.name for label in info.labels]}
    write_json(folder / "info.json", values)
    summaries = {
        split: {side: each.summary() for side, each in sums.items()}
        for split, sums in figures.items()
    }
    return {**sizes, "splits": summaries}


def _parts(track: TrackName) -> Iterator[_Part]:
    for split in SPLITS:
        start = 0
        for rows in iterate_split(track, split, BATCH_ROWS):
            yield _Part(split, start, rows)
            start += len(rows)


def _encoded(part: _Part, info: Info, inputs: ModelInputs) -> _Done:
    """A part as ids, in whichever process. A row of several references gives several consecutive
    records."""
    task, rows = TASKS[info.task], part.rows
    seconds = rows["text_pair"].to_pylist() if info.pairs else None
    read = inputs.encode(rows[task.input_field].to_pylist(), seconds)
    figures = {"source": _Figures.of(read)}
    place = np.arange(len(rows))
    answers: list[Any]
    if task.labelled:
        label_ids = {label.name: index for index, label in enumerate(info.labels)}
        answers = [label_ids[label] for label in rows["label"].to_pylist()]
    else:
        place = np.repeat(place, pc.list_value_length(rows["targets"]).to_numpy())
        targets = inputs.encode_targets(rows["targets"].flatten().to_pylist())
        figures["target"] = _Figures.of(targets)
        answers = targets.ids
    columns = [(part.start + place).astype(np.int32), [read.ids[row] for row in place]]
    if inputs.rules.segments:
        assert read.segments is not None
        columns.append([read.segments[row] for row in place])
    schema = schema_of(info.task, segments=inputs.rules.segments)
    arrays = [
        pa.array(column, field.type)
        for column, field in zip([*columns, answers], schema, strict=True)
    ]
    return _Done(part.split, len(rows), pa.record_batch(arrays, schema=schema), figures)


def training_texts(track: TrackName, most: int, *columns: str) -> Iterator[str]:
    """The texts of the training split, one column after the other.

    Args:
        most: rows. Of more, about as many are drawn by the digest of their id, which is the same
            on every machine and does not change when rows are added around it.
    """
    share = most / load_info(track).counts["train"]
    for column in columns:
        for batch in iterate_split(track, "train"):
            texts = batch[column]
            if share < 1:
                drawn = digests(f"tokenizer/{name}" for name in batch["id"].to_pylist())
                texts = texts.filter(pa.array(drawn < np.uint64(share * 2.0**64)))
            yield from (texts.flatten() if column == "targets" else texts).to_pylist()

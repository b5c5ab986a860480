"""Prepared text to token ids, batch by batch, with the counts for tokens.json."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scratchformer.base.files import write_json
from scratchformer.base.layout import SPLITS, SplitName, TrackName
from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.prepared import Info, iterate_split, load_info
from scratchformer.data.preparation.statistics import added, quantiles
from scratchformer.data.tokenized.read import schema_of
from scratchformer.text.inputs import Encoded, ModelInputs


@dataclass
class _Figures:
    """Running figures of the ids of one side of one split."""

    texts: int = 0
    unknown: int = 0
    cut: int = 0
    special: int = 0
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, encoded: Encoded) -> None:
        self.texts += len(encoded.ids)
        self.unknown += encoded.unknown
        self.cut += encoded.cut
        self.special += encoded.special
        lengths = np.fromiter(map(len, encoded.ids), np.int64, len(encoded.ids))
        self.lengths = added(self.lengths, np.bincount(lengths))

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


def encode_track(
    track: TrackName,
    inputs: ModelInputs,
    folder: Path,
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Encode the three splits of a track into `folder`, with info.json; returns the figures."""
    folder.mkdir(parents=True)
    info = load_info(track)
    splits = {
        split: _encode_split(track, split, info, inputs, folder / f"{split}.arrow", advance)
        for split in SPLITS
    }
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
    if TASKS[info.task].labelled:
        values |= {"num_labels": len(info.labels), "labels": [label.name for label in info.labels]}
    write_json(folder / "info.json", values)
    return {**sizes, "splits": splits}


def _encode_split(
    track: TrackName,
    split: SplitName,
    info: Info,
    inputs: ModelInputs,
    path: Path,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """A row of several references gives several consecutive records."""
    task = TASKS[info.task]
    schema = schema_of(info.task, segments=inputs.rules.segments)
    figures = {"source": _Figures()} | ({} if task.labelled else {"target": _Figures()})
    label_ids = {label.name: index for index, label in enumerate(info.labels)}
    start = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in iterate_split(track, split):
            seconds = batch["text_pair"].to_pylist() if info.pairs else None
            read = inputs.encode(batch[task.input_field].to_pylist(), seconds)
            figures["source"].add(read)
            place = np.arange(len(batch))
            answers: list[Any]
            if task.labelled:
                answers = [label_ids[label] for label in batch["label"].to_pylist()]
            else:
                place = np.repeat(place, pc.list_value_length(batch["targets"]).to_numpy())
                targets = inputs.encode_targets(batch["targets"].flatten().to_pylist())
                figures["target"].add(targets)
                answers = targets.ids
            columns = [(start + place).astype(np.int32), [read.ids[row] for row in place]]
            if inputs.rules.segments:
                assert read.segments is not None
                columns.append([read.segments[row] for row in place])
            arrays = [
                pa.array(column, field.type)
                for column, field in zip([*columns, answers], schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            start += len(batch)
            advance(len(batch))
    return {side: each.summary() for side, each in figures.items()}


def training_texts(track: TrackName, *columns: str) -> Iterator[str]:
    """The texts of the training split, one column after the other."""
    for column in columns:
        for batch in iterate_split(track, "train"):
            texts = batch[column]
            yield from (texts.flatten() if column == "targets" else texts).to_pylist()

"""Prepared text to token ids, batch by batch, with the figures of tokens.json."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scratchformer.base.files import write_json
from scratchformer.base.layout import SPLITS, SplitName, TrackName
from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.prepared import Info, iterate_split, load_info
from scratchformer.data.preparation.statistics import quantiles
from scratchformer.data.tokenized.read import schema_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


class Encode(Protocol):
    """Texts to ids, cut to a largest length; see `scratch_encoder` and `pretrained_encoder`.

    `pairs` are the second texts, one for each of `texts`.
    """

    def __call__(self, texts: list[str], pairs: list[str] | None = None) -> "Encoded": ...


@dataclass
class Encoded:
    """Ids of some texts. `cut` counts the texts that were longer than allowed."""

    ids: list[list[int]]
    unknown: int
    cut: int


@dataclass
class _Side:
    """Running figures of one column of one split."""

    texts: int = 0
    unknown: int = 0
    cut: int = 0
    lengths: list[Any] = field(default_factory=list)

    def add(self, encoded: Encoded) -> None:
        self.texts += len(encoded.ids)
        self.unknown += encoded.unknown
        self.cut += encoded.cut
        self.lengths.append(np.fromiter(map(len, encoded.ids), np.int32, len(encoded.ids)))

    def figures(self) -> dict[str, Any]:
        lengths = np.concatenate(self.lengths)
        tokens = int(lengths.sum())
        return {
            "tokens": tokens,
            "unknown_rate": round(self.unknown / tokens, 6),
            "truncated_share": round(self.cut / self.texts, 6),
            "lengths": quantiles(lengths),
        }


def scratch_encoder(tokenizer: "Tokenizer", max_length: int) -> Encode:
    """Ids with EOS, at most `max_length` of them. Changes the tokenizer's truncation."""
    from scratchformer.text.tokenizers import UNK_ID

    tokenizer.enable_truncation(max_length)

    def encode(texts: list[str], pairs: list[str] | None = None) -> Encoded:
        if pairs is not None:
            texts = [f"{text}\t{pair}" for text, pair in zip(texts, pairs, strict=True)]
        encodings = tokenizer.encode_batch_fast(texts)
        ids = [encoding.ids for encoding in encodings]
        cut = sum(bool(encoding.overflowing) for encoding in encodings)
        return Encoded(ids, sum(row.count(UNK_ID) for row in ids), cut)

    return encode


def pretrained_encoder(
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    *,
    prefix: str = "",
    target: bool = False,
) -> Encode:
    """Ids with the model's special tokens.

    Args:
        prefix: see `input_sides`.
        target: as texts of the decoder's side.
    """

    def encode(texts: list[str], pairs: list[str] | None = None) -> Encoded:
        side = {"text_target": texts} if target else input_sides(texts, prefix, pairs)
        batch = tokenizer(
            **side, truncation=True, max_length=max_length, return_attention_mask=False
        )
        ids: list[list[int]] = batch["input_ids"]
        cut = sum(bool(encoding.overflowing) for encoding in batch.encodings)
        unknown = tokenizer.unk_token_id
        return Encoded(ids, sum(row.count(unknown) for row in ids), cut)

    return encode


def input_sides(
    texts: Sequence[str], prefix: str, pairs: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """What a tokenizer of transformers is given: `text`, each behind `prefix` (T5 is told its task
    so), and `text_pair` where there are second texts."""
    sides = {"text": [prefix + text for text in texts]}
    return sides if pairs is None else {**sides, "text_pair": list(pairs)}


def encode_track(
    track: TrackName,
    encoders: Mapping[str, Encode],
    sizes: Mapping[str, int | str],
    folder: Path,
    advance: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Encode the three splits of a track into `folder`, with info.json; returns the figures.

    `encoders` names the columns of ids: one for the input and, if answers are text, one for them.
    """
    folder.mkdir(parents=True)
    info = load_info(track)
    splits = {
        split: _encode_split(track, split, info, encoders, folder / f"{split}.arrow", advance)
        for split in SPLITS
    }
    values: dict[str, Any] = {"task": info.task, **sizes}
    if info.task == "classification":
        values |= {"num_labels": len(info.labels), "labels": [label.name for label in info.labels]}
    write_json(folder / "info.json", values)
    return {**sizes, "splits": splits}


def _encode_split(
    track: TrackName,
    split: SplitName,
    info: Info,
    encoders: Mapping[str, Encode],
    path: Path,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """A row of several references gives several consecutive records."""
    (name, encode), *answer = encoders.items()
    schema = schema_of(info.task, *encoders)
    sides = {column: _Side() for column in encoders}
    label_ids = {label.name: index for index, label in enumerate(info.labels)}
    start = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in iterate_split(track, split):
            rows = np.arange(start, start + len(batch), dtype=np.int32)
            start += len(batch)
            seconds = batch["text_pair"].to_pylist() if info.pairs else None
            inputs = encode(batch[TASKS[info.task].input_field].to_pylist(), seconds)
            sides[name].add(inputs)
            if answer:
                (answer_name, encode_answer), = answer
                references = pc.list_value_length(batch["targets"]).to_numpy()
                place = np.repeat(np.arange(len(batch)), references)
                answers = encode_answer(batch["targets"].flatten().to_pylist())
                sides[answer_name].add(answers)
                columns = [rows[place], [inputs.ids[row] for row in place], answers.ids]
            else:
                labels = [label_ids[label] for label in batch["label"].to_pylist()]
                columns = [rows, inputs.ids, labels]
            arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            advance(len(batch))
    return {column: side.figures() for column, side in sides.items()}


def training_texts(track: TrackName, *columns: str) -> Iterator[str]:
    """The texts of the training split, one column after the other."""
    for column in columns:
        for batch in iterate_split(track, "train"):
            texts = batch[column]
            yield from (texts.flatten() if column == "targets" else texts).to_pylist()

"""Sequence-to-sequence systems of a track on the test split: its model, and controls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scratchformer.base.layout import FINETUNED_MODEL, TRACKS, SplitName, TrackName
from scratchformer.base.output_kind import Unit
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import Info, load_split
from scratchformer.data.tokenized.read import load_tokenized_info, open_split
from scratchformer.evaluation.controls.left_out import CannotFitError
from scratchformer.evaluation.controls.sampling import TRAIN_ROWS, draw, draw_texts, draw_words
from scratchformer.evaluation.controls.sequence import letters_by_context, nearest_targets
from scratchformer.evaluation.reports.comparison import Record
from scratchformer.evaluation.reports.scores import Scored
from scratchformer.evaluation.reports.sequences import (
    SequenceRows,
    columns_of,
    exact_rows,
    prediction_table,
)
from scratchformer.evaluation.reports.subgroup_deltas import length_buckets, subgroup_deltas
from scratchformer.evaluation.significance.paired_tests import mcnemar
from scratchformer.evaluation.systems.outputs import SequenceOutput
from scratchformer.evaluation.systems.pretrained import pretrained_output
from scratchformer.evaluation.tracks.report import (
    Settings,
    TrackReport,
    prediction_file,
    track_metrics,
)
from scratchformer.evaluation.tracks.same_rows import same_rows
from scratchformer.evaluation.tracks.scratch_models import scratch_output, target_is_lowercase
from scratchformer.pretrained.hub.inputs import tell_target_language
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.models.loading import load_finetuned, load_seq2seq
from scratchformer.record.systems import SYSTEMS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TITLES: Mapping[SplitName, str] = {"train": "training", "valid": "validation", "test": "test"}
VALID_ROWS = 2_000  # validation rows that are decoded, at most: decoding is what takes time


@dataclass(frozen=True)
class _Split:
    """Rows of a split, and the same rows tokenized (`row` is the place in `rows`)."""

    name: str
    rows: SequenceRows
    tokenized: pa.Table


@dataclass(frozen=True)
class _Track:
    """A track, and the warnings of its evaluation, which grow as it goes on."""

    name: TrackName
    settings: Settings
    valid: _Split
    test: _Split
    warnings: list[str] = field(default_factory=list)


Outputs = tuple[SequenceOutput, SequenceOutput]  # on valid and on test


def evaluate_seq2seq(track: TrackName, info: Info, settings: Settings) -> TrackReport:
    """Score the model of the track, and everything that it is compared with, on the same rows."""
    lowercase = track == "scratch" and target_is_lowercase()
    test = SequenceRows.of(load_split(track, "test"), lowercase)
    both = _Track(
        track,
        settings,
        _some(track, "valid", VALID_ROWS, test, settings.seed),
        _Split("test rows", test, open_split(track, "test")),
    )
    outputs = {**_MODELS[track](both), **_controls(both)}
    tables = {name: prediction_table(test, each[1]) for name, each in outputs.items()}
    scored = {name: _scored(both, each, tables[name]) for name, each in outputs.items()}
    own = TRACKS[track].system
    train = _some(track, "train", TRAIN_ROWS, test, settings.seed)
    (on_train,) = _OWN[track]([train], settings)
    of_train, _ = columns_of(train.rows, on_train, prediction_table(train.rows, on_train))
    other = "before" if "before" in tables else _strongest(tables, own)
    facts: dict[str, object] = {"task": info.task, "output": test.kind}
    if "before" in tables and len(set(test.groups)) == len(test.groups):
        facts["mcnemar"] = mcnemar(exact_rows(tables[own]), exact_rows(tables["before"]))
    over = "" if other == "before" else f"-over-{other}"
    return TrackReport(
        track_metrics(track, scored, test.groups, settings.resampling, of_train, facts),
        {prediction_file(track, name): table for name, table in tables.items()},
        {f"effect-by-length{over}": _by_length(both, tables[own], tables[other])},
        both.warnings,
    )


def _some(track: TrackName, name: SplitName, limit: int, test: SequenceRows, seed: int) -> _Split:
    """At most `limit` rows of another split, scored as the test rows are."""
    split = load_split(track, name)
    drawn = draw(split.num_rows, limit, seed)
    columns = split.take(pa.array(drawn.rows)).to_pydict()
    rows = SequenceRows(
        columns["id"], columns["source"], columns["targets"], columns["group"],
        test.kind, test.unit, test.lowercase,
    )  # fmt: skip
    tokenized = open_split(track, name)
    row = tokenized.column("row")
    kept = tokenized.filter(pc.is_in(row, value_set=pa.array(drawn.rows, row.type)))
    place = pa.array(np.searchsorted(drawn.rows, kept.column("row").to_numpy()), row.type)
    index = kept.schema.get_field_index("row")
    return _Split(f"{_TITLES[name]} rows", rows, kept.set_column(index, "row", place))


def _scored(both: _Track, outputs: Outputs, table: pa.Table) -> Scored:
    valid_rows, (valid, test) = both.valid.rows, outputs
    columns, signatures = columns_of(both.test.rows, test, table)
    of_valid, _ = columns_of(valid_rows, valid, prediction_table(valid_rows, valid))
    return Scored(columns, of_valid, signatures)


def _scratch_model(both: _Track) -> dict[str, Outputs]:
    valid, test = _scratch_outputs([both.valid, both.test], both.settings)
    return {"scratch": (valid, test)}


def _pretrained_models(both: _Track) -> dict[str, Outputs]:
    """Before and after fine-tuning; the from-scratch model if it has the same rows."""
    splits, settings = [both.valid, both.test], both.settings
    model = load_seq2seq(settings.pretrained)
    tell_target_language(model, FINETUNED_MODEL)
    before = _decoded(model, splits, settings, "before")
    after = _finetuned_outputs(splits, settings)
    outputs: dict[str, Outputs] = {
        "before": (before[0], before[1]),
        "after": (after[0], after[1]),
    }
    if same_rows():
        valid = _some("scratch", "valid", VALID_ROWS, both.test.rows, settings.seed)
        test = _Split(both.test.name, both.test.rows, open_split("scratch", "test"))
        outputs |= _scratch_model(_Track("scratch", settings, valid, test))
    return outputs


def _scratch_outputs(splits: Sequence[_Split], settings: Settings) -> list[SequenceOutput]:
    """What the from-scratch model predicts."""
    return [
        scratch_output(split.tokenized, len(split.rows.ids), settings, split.name)
        for split in splits
    ]


def _finetuned_outputs(splits: Sequence[_Split], settings: Settings) -> list[SequenceOutput]:
    """What the fine-tuned model predicts."""
    model = load_finetuned(FINETUNED_MODEL, task="seq2seq")
    return _decoded(model, splits, settings, "after")


def _decoded(
    model: "PreTrainedModel", splits: Sequence[_Split], settings: Settings, when: str
) -> list[SequenceOutput]:
    """What a pretrained model predicts, without or with fine-tuning."""
    tokenizer = load_tokenizer_folder(FINETUNED_MODEL)
    outputs = []
    for split in splits:
        rows = len(split.rows.ids)
        with progress(f"evaluate: decoding {split.name}, {when}", rows) as bar:
            outputs.append(
                pretrained_output(
                    model,
                    tokenizer,
                    split.tokenized,
                    rows,
                    beam_size=settings.beam_size,
                    max_length=load_tokenized_info("finetune")["max_target_length"],
                    batch_size=settings.batch_size,
                    advance=bar.advance,
                )
            )
    return outputs


def _controls(both: _Track) -> dict[str, Outputs]:
    """`copy` of the source; `igtree` for words, the `nearest` row's target for sentences."""
    kind, unit = both.test.rows.kind, both.test.rows.unit
    name, draw, predict = _CLASSICAL[kind]
    split = load_split(both.name, "train")
    drawn = draw(split.column("source").to_pylist(), both.settings.seed)
    if not drawn.all:
        both.warnings.append(f"{both.name}: {SYSTEMS[name].title} learned from {drawn}")
    split = split.take(pa.array(drawn.rows))
    train = (split.column("source").to_pylist(), split.column("targets").to_pylist())
    valid, test = both.valid.rows.sources, both.test.rows.sources
    controls = {"copy": (SequenceOutput(valid), SequenceOutput(test))}
    try:
        predictions = predict(train, [*valid, *test], unit)
    except CannotFitError as reason:
        both.warnings.append(f"{both.name}: {SYSTEMS[name].title} is left out: {reason}")
        return controls
    first, rest = predictions[: len(valid)], predictions[len(valid) :]
    return {**controls, name: (SequenceOutput(first), SequenceOutput(rest))}


def _nearest(
    train: tuple[list[str], list[list[str]]], sources: list[str], unit: Unit
) -> list[str]:
    with progress("evaluate: looking for similar training rows", len(sources)) as bar:
        return nearest_targets(train, sources, bar.advance)


def _by_length(both: _Track, after: pa.Table, before: pa.Table) -> list[Record]:
    """Share of exactly right rows before and after, by the length of the source."""
    rows = both.test.rows
    bucket, names = length_buckets(rows.sources)
    return subgroup_deltas(
        bucket, names, exact_rows(before), exact_rows(after), rows.groups,
        both.settings.resampling,
    )  # fmt: skip


def _strongest(tables: Mapping[str, pa.Table], own: str) -> str:
    """The other system with the most exact rows."""
    return max((name for name in tables if name != own), key=lambda n: exact_rows(tables[n]).sum())


_CLASSICAL = {
    "words": ("igtree", draw_words, letters_by_context),
    "sentences": ("nearest", draw_texts, _nearest),
}
_OWN: Mapping[TrackName, Callable[[Sequence[_Split], Settings], list[SequenceOutput]]] = {
    "scratch": _scratch_outputs,
    "finetune": _finetuned_outputs,
}
_MODELS: Mapping[TrackName, Callable[[_Track], dict[str, Outputs]]] = {
    "scratch": _scratch_model,
    "finetune": _pretrained_models,
}

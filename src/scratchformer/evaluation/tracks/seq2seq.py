"""Sequence-to-sequence systems of a track on the test split: its model, and controls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from scratchformer.base.layout import TRACKS, TrackName
from scratchformer.base.output_kind import Unit
from scratchformer.base.phases import phase
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import Info, load_split
from scratchformer.evaluation.controls.left_out import CannotFitError
from scratchformer.evaluation.controls.sampling import draw_texts, draw_words
from scratchformer.evaluation.controls.sequence import letters_by_context, nearest_targets
from scratchformer.evaluation.reports.comparison import Record
from scratchformer.evaluation.reports.scores import Scored
from scratchformer.evaluation.reports.sequences import columns_of, exact_rows, prediction_table
from scratchformer.evaluation.reports.subgroup_deltas import length_buckets, subgroup_deltas
from scratchformer.evaluation.significance.paired_tests import mcnemar
from scratchformer.evaluation.systems.outputs import SequenceOutput
from scratchformer.evaluation.tracks.report import (
    Settings,
    TrackReport,
    prediction_file,
    track_metrics,
)
from scratchformer.evaluation.tracks.sequence_models import ModelRuns, Outputs, Splits, run_models
from scratchformer.record.systems import SYSTEMS


@dataclass(frozen=True)
class _Track:
    """A track, and the warnings of its evaluation, which grow as it goes on."""

    name: TrackName
    info: Info
    settings: Settings
    splits: Splits
    warnings: list[str] = field(default_factory=list)


def evaluate_seq2seq(
    track: TrackName, info: Info, settings: Settings
) -> Callable[[], TrackReport]:
    """Run the models of the track; returns what scores them, and everything that the own one is
    compared with, on the same rows."""
    splits = Splits.of(track, settings.seed)
    runs = run_models(track, splits, settings)
    return lambda: _report(_Track(track, info, settings, splits), runs)


def _report(track: _Track, runs: ModelRuns) -> TrackReport:
    test, train, settings = track.splits.test.rows, track.splits.train.rows, track.settings
    with phase("controls"):
        outputs = {**runs.outputs, **_controls(track)}
    tables = {name: prediction_table(test, each[1]) for name, each in outputs.items()}
    scored = {name: _scored(track.splits, each, tables[name]) for name, each in outputs.items()}
    own = TRACKS[track.name].system
    of_train, _ = columns_of(train, runs.on_train, prediction_table(train, runs.on_train))
    other = "before" if "before" in tables else _strongest(tables, own)
    facts: dict[str, object] = {"task": track.info.task, "output": test.kind}
    if "before" in tables and len(set(test.groups)) == len(test.groups):
        facts["mcnemar"] = mcnemar(exact_rows(tables[own]), exact_rows(tables["before"]))
    over = "" if other == "before" else f"-over-{other}"
    return TrackReport(
        track_metrics(track.name, scored, test.groups, settings.resampling, of_train, facts),
        {prediction_file(track.name, name): table for name, table in tables.items()},
        {f"effect-by-length{over}": _by_length(track, tables[own], tables[other])},
        track.warnings,
    )


def _scored(splits: Splits, outputs: Outputs, table: pa.Table) -> Scored:
    valid_rows, (valid, test) = splits.valid.rows, outputs
    columns, signatures = columns_of(splits.test.rows, test, table)
    of_valid, _ = columns_of(valid_rows, valid, prediction_table(valid_rows, valid))
    return Scored(columns, of_valid, signatures)


def _controls(track: _Track) -> dict[str, Outputs]:
    """`copy` of the source; `igtree` for words, the `nearest` row's target for sentences."""
    test, valid = track.splits.test.rows, track.splits.valid.rows.sources
    name, draw, predict = _CLASSICAL[test.kind]
    split = load_split(track.name, "train")
    drawn = draw(split.column("source").to_pylist(), track.settings.seed)
    if not drawn.all:
        track.warnings.append(f"{track.name}: {SYSTEMS[name].title} learned from {drawn}")
    split = split.take(pa.array(drawn.rows))
    train = (split.column("source").to_pylist(), split.column("targets").to_pylist())
    controls = {"copy": (SequenceOutput(valid), SequenceOutput(test.sources))}
    try:
        predictions = predict(train, [*valid, *test.sources], test.unit)
    except CannotFitError as reason:
        track.warnings.append(f"{track.name}: {SYSTEMS[name].title} is left out: {reason}")
        return controls
    first, rest = predictions[: len(valid)], predictions[len(valid) :]
    return {**controls, name: (SequenceOutput(first), SequenceOutput(rest))}


def _nearest(
    train: tuple[list[str], list[list[str]]], sources: list[str], unit: Unit
) -> list[str]:
    with progress("evaluate: looking for similar training rows", len(sources)) as bar:
        return nearest_targets(train, sources, bar.advance)


def _by_length(track: _Track, after: pa.Table, before: pa.Table) -> list[Record]:
    """Share of exactly right rows before and after, by the length of the source."""
    rows = track.splits.test.rows
    bucket, names = length_buckets(rows.sources)
    return subgroup_deltas(
        bucket, names, exact_rows(before), exact_rows(after), rows.groups,
        track.settings.resampling,
    )  # fmt: skip


def _strongest(tables: Mapping[str, pa.Table], own: str) -> str:
    """The other system with the most exact rows."""
    return max((name for name in tables if name != own), key=lambda n: exact_rows(tables[n]).sum())


_CLASSICAL = {
    "words": ("igtree", draw_words, letters_by_context),
    "sentences": ("nearest", draw_texts, _nearest),
}

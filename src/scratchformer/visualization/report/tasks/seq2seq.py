"""The report's sections on tasks whose answers are texts."""

from collections.abc import Iterator
from itertools import chain

from scratchformer.base.layout import FINETUNED_MODEL, TrackName
from scratchformer.data.preparation.prepared import Info
from scratchformer.params import Params
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.models.loading import load_finetuned, load_seq2seq
from scratchformer.visualization.analysis.prediction_flips import sequence_flips
from scratchformer.visualization.analysis.predictions import (
    UnavailableError,
    best_control,
    load_predictions,
    load_table,
)
from scratchformer.visualization.analysis.sequence_errors import count_edits, rates_by_length
from scratchformer.visualization.plots.sequence_errors import common_edits, error_by_length
from scratchformer.visualization.plots.subgroup_deltas import subgroup_deltas
from scratchformer.visualization.report.flips import cut, flip_items
from scratchformer.visualization.report.page.items import Item, Picture, Section, Table, or_missing
from scratchformer.visualization.report.pretrained import PretrainedPair, attention_items
from scratchformer.visualization.report.tasks.task_sections import Systems, TaskSections


def errors(track: TrackName, systems: Systems, info: Info, count: int) -> Section:
    """Errors of systems that write texts; what changed between two, or against a control."""
    compared = len(systems) == 2
    *_, own = systems
    return Section(
        f"errors-{track}",
        "Errors before and after fine-tuning" if compared else "Errors of the from-scratch model",
        "All rows are of the test split. Examples are picked by rule, the largest change first, "
        "and not by hand.",
        chain(
            or_missing("Effect by length", _by_length(track)) if compared else (),
            or_missing("Errors", _errors(track, own, systems[own], count)),
            or_missing("Rows that changed", _flips(track, systems, count))
            if compared
            else or_missing("Compared with a control", _against_control(track, systems, count)),
        ),
    )


def _by_length(track: TrackName) -> Iterator[Item]:
    effect = load_table(f"{track}-effect-by-length", ["kind"])
    yield Picture(
        f"{track}-effect-by-length",
        "Effect of fine-tuning by length",
        "Share of exactly right rows before and after for each length of the source, and the "
        "paired difference with its interval; bold where the interval leaves out zero.",
        subgroup_deltas(
            effect,
            f"Share of exactly right rows by length, {effect['rows'].sum():,} test rows",
            "share of exactly right rows",
        ),
    )


def _errors(track: TrackName, role: str, name: str, count: int) -> Iterator[Item]:
    predictions = load_predictions(f"{track}-{role}")
    n = f"{len(predictions):,} test rows"
    yield Picture(
        f"{track}-error-by-length",
        "Errors by length",
        "Longer outputs have more places to go wrong, so the share of imperfect rows rises; a "
        "rise of the share of edited tokens means that the model loses its place.",
        error_by_length(rates_by_length(predictions), f"{name}: errors by reference length, {n}"),
    )
    counts = count_edits(predictions)
    if not counts:
        raise UnavailableError("Every test row is right.")
    yield Picture(
        f"{track}-edits",
        "Most frequent edits",
        "Reference token → what was written instead; ∅ on the right is a token left out, on the "
        "left one too many. Pairs that sound or look alike are the expected ones.",
        common_edits(counts, f"{name}: {counts.total():,} edits to the nearest reference, {n}"),
    )
    wrong = predictions[~predictions["exact"]]
    worst = wrong.assign(share=wrong["distance"] / wrong["reference_length"].clip(lower=1))
    worst = worst.sort_values(["share", "id"], ascending=[False, True]).head(count)
    yield Table(
        "Worst rows",
        "The rows with the most edits per reference token.",
        ["source", "written", "references", "edits"],
        [
            [cut(row["source"]), cut(row["prediction"]), cut(" | ".join(row["references"])),
             f"{row['distance']} of {row['reference_length']}"]
            for row in worst.to_dict("records")
        ],
        ["edits"],
    )  # fmt: skip


def _flips(track: TrackName, systems: Systems, count: int) -> Iterator[Item]:
    first, second = systems
    before, after = (load_predictions(f"{track}-{role}") for role in (first, second))
    flips = sequence_flips(before, after)
    yield from flip_items(track, flips, "share of right tokens", ("before", "after"), count, False)


def _against_control(track: TrackName, systems: Systems, count: int) -> Iterator[Item]:
    control = best_control(track)
    if control is None:
        raise UnavailableError("There are no predictions of a control.")
    (own,) = systems
    flips = sequence_flips(load_predictions(control), load_predictions(f"{track}-{own}"))
    sides = (control.removeprefix(f"{track}-").replace("_", " "), systems[own])
    yield from flip_items(track, flips, "share of right tokens", sides, count, False)


def pretrained(params: Params, info: Info) -> Section:
    """Attention of an encoder-decoder while it writes its own answers, before and after."""
    pair = PretrainedPair(
        before=load_seq2seq(params.pretrained, "eager"),
        after=load_finetuned(FINETUNED_MODEL, "eager", task="seq2seq"),
        tokenizer=load_tokenizer_folder(FINETUNED_MODEL),
        inputs=load_inputs(FINETUNED_MODEL),
    )
    return Section(
        "finetune-inside",
        "Inside the pretrained model, before and after",
        "The same sources and the same answers, those of the fine-tuned model, under the weights "
        "as they were published and as fine-tuning left them. Attention is a view of the "
        "machinery, not an explanation of the answer (Jain and Wallace 2019).",
        or_missing(
            "Attention before and after",
            attention_items(
                pair, info, params.visualize.attention_examples, params.visualize.texts.finetune
            ),
        ),
    )


SEQ2SEQ = TaskSections("nats per target token", pretrained, errors)

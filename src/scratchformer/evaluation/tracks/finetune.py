"""The pretrained model before and after fine-tuning, beside its controls, for either task."""

from typing import Any

from scratchformer.base.layout import FINETUNED_MODEL
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import load_info, load_split
from scratchformer.data.tokenized.read import load_tokenized_info, open_split
from scratchformer.evaluation.reports import sequences
from scratchformer.evaluation.reports.sequences import SequenceOutput, SequenceTest
from scratchformer.evaluation.systems import sequence_systems
from scratchformer.evaluation.systems.pretrained_predictions import pretrained_answers
from scratchformer.evaluation.tracks.finetuned_classifier import evaluate_classifier
from scratchformer.evaluation.tracks.report import TrackReport, in_brief, same_test_rows
from scratchformer.evaluation.tracks.scratch import scratch_answers, scratch_probabilities
from scratchformer.params import Params
from scratchformer.pretrained.hub.loading import (
    load_finetuned,
    load_seq2seq,
    load_tokenizer_folder,
)


def evaluate_finetune(params: Params) -> TrackReport:
    """Score the pretrained model before and after, and everything it is compared with.

    The from-scratch model is one of the systems where both tracks have the same test rows.
    """
    if load_info("finetune").task == "classification":
        scratch = scratch_probabilities(params) if same_test_rows() else None
        return evaluate_classifier(params, scratch)
    return _sequences(params)


def _sequences(params: Params) -> TrackReport:
    test = SequenceTest.of(load_split("finetune", "test"))
    rows = len(test.ids)
    outputs = {
        "after": _answers(params, rows, before=False),
        "before": _answers(params, rows, before=True),
        **sequence_systems.sequence_controls("finetune", test, params.run.seed),
    }
    if same_test_rows():
        outputs["scratch"] = scratch_answers(params, rows)
    predictions = {name: sequences.prediction_table(test, each) for name, each in outputs.items()}
    reports = sequence_systems.sequence_reports(test, outputs, predictions, params)
    tests = {
        name: sequence_systems.sequence_tests(test, predictions["after"], table, params)
        for name, table in predictions.items()
        if name != "after"
    }
    baselines = [name for name in outputs if name not in ("before", "after")]
    metrics: dict[str, Any] = {
        "before": reports["before"],
        "after": reports["after"],
        **tests["before"],
        "baselines": {name: reports[name] for name in baselines},
        "against": {name: in_brief(tests[name], test.headline) for name in baselines},
        "n": rows,
        "groups": len(set(test.groups)),
    }
    tables = {
        "effect-by-length": sequence_systems.effect_by_length(
            test, predictions["after"], predictions["before"], params
        )
    }
    return TrackReport(metrics, predictions, tables)


def _answers(params: Params, rows: int, *, before: bool) -> SequenceOutput:
    """What the pretrained model writes without, or with, fine-tuning."""
    model = (
        load_seq2seq(params.pretrained)
        if before
        else load_finetuned(FINETUNED_MODEL, task="seq2seq")
    )
    settings = params.evaluate
    with progress(f"evaluate: writing answers {'before' if before else 'after'}", rows) as bar:
        return pretrained_answers(
            model,
            load_tokenizer_folder(FINETUNED_MODEL),
            open_split("finetune", "test"),
            rows,
            beam_size=settings.beam_size,
            max_length=load_tokenized_info("finetune")["max_target_length"],
            batch_size=settings.batch_size,
            advance=bar.advance,
        )

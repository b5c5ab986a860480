"""The systems of a sequence-to-sequence track side by side: controls, metrics, differences."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scratchformer.base.layout import TrackName
from scratchformer.data.preparation.prepared import load_split
from scratchformer.evaluation.controls.linear import letters_by_context, nearest_answers
from scratchformer.evaluation.reports.comparison import Record, effect_by, length_buckets
from scratchformer.evaluation.reports.sequences import (
    SequenceOutput,
    SequenceTest,
    sequence_difference,
    sequence_report,
    translation_comparison,
)
from scratchformer.evaluation.significance.bootstrap import mcnemar, permutation_p_value
from scratchformer.evaluation.tracks.report import drawn, resampling_of
from scratchformer.params import Params

CONTROL_ROWS = 500_000  # training rows that the controls learn from, at most


def sequence_controls(track: TrackName, test: SequenceTest, seed: int) -> dict[str, SequenceOutput]:
    """`copy` of the source; and `letter_context` for words, `nearest` answer for sentences."""
    split = load_split(track, "train")
    split = split.take(pa.array(drawn(split.num_rows, CONTROL_ROWS, seed)))
    train = (split.column("source").to_pylist(), split.column("targets").to_pylist())
    controls = {"copy": SequenceOutput(test.sources)}
    if test.single_words:
        answers = letters_by_context(train, test.sources, test.unit)
        controls["letter_context"] = SequenceOutput(answers)
    else:
        controls["nearest"] = SequenceOutput(nearest_answers(train, test.sources))
    return controls


def sequence_reports(
    test: SequenceTest,
    outputs: Mapping[str, SequenceOutput],
    predictions: Mapping[str, pa.Table],
    params: Params,
) -> dict[str, dict[str, Any]]:
    """The metrics of every system with intervals; of translations also BLEU and chrF, for which
    sacrebleu resamples and tests each system against the first one (`p_value`)."""
    resampling = resampling_of(params, test.groups)
    reports = {
        name: sequence_report(test, output, predictions[name], resampling)
        for name, output in outputs.items()
    }
    if not test.single_words:
        compared = translation_comparison(test, outputs, params.evaluate.bootstrap_resamples)
        for name, found in compared.items():
            for metric, entry in found.items():
                reports[name]["intervals"][metric] = entry
    return reports


def sequence_tests(
    test: SequenceTest, after: pa.Table, before: pa.Table, params: Params
) -> dict[str, Any]:
    """Two systems over the same rows: `delta` of the error rates with paired intervals; McNemar's
    test and the permutation of groups on the rows that are exactly right."""
    resampling = resampling_of(params, test.groups)
    right_after, right_before = exact_rows(after), exact_rows(before)
    return {
        "delta": sequence_difference(test, after, before, resampling),
        "mcnemar": mcnemar(right_after, right_before),
        "permutation": {"p_value": permutation_p_value(right_after, right_before, resampling)},
    }


def effect_by_length(
    test: SequenceTest, after: pa.Table, before: pa.Table, params: Params
) -> list[Record]:
    """Share of exactly right rows before and after, by the length of the source."""
    bucket, names = length_buckets(test.sources)
    resampling = resampling_of(params, test.groups)
    return effect_by(bucket, names, exact_rows(before), exact_rows(after), resampling)


def exact_rows(predictions: pa.Table) -> NDArray[np.bool_]:
    """Whether each row is exactly right, `[rows]`."""
    return np.asarray(predictions.column("exact").to_numpy())

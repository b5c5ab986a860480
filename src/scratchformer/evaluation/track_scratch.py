"""The from-scratch model on its test split, beside its controls."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from scratchformer.data.prepared import Info, load_info, load_split
from scratchformer.data.tokenized import load_tokenized_info, open_split
from scratchformer.errors import DataError
from scratchformer.evaluation import classification, sequences
from scratchformer.evaluation.baselines import letters_by_context, nearest_answers
from scratchformer.evaluation.calibration import reliability, reliability_records
from scratchformer.evaluation.classification import ClassificationTest
from scratchformer.evaluation.comparison import Record, effect_by, length_buckets
from scratchformer.evaluation.scoring import class_probabilities, token_losses, write_answers
from scratchformer.evaluation.sequences import SequenceOutput, SequenceTest
from scratchformer.evaluation.track_report import (
    Probabilities,
    TrackReport,
    classification_controls,
    drawn,
    resampling_of,
    right_rows,
)
from scratchformer.layout import SCRATCH_MODEL
from scratchformer.params import Params
from scratchformer.terminal import progress
from scratchformer.tokenization import load_tokenizers

if TYPE_CHECKING:
    from scratchformer.transformer import Transformer

_SEQUENCE_CONTROL_ROWS = 500_000  # training rows that the controls of sequences learn from


def evaluate_scratch(params: Params) -> TrackReport:
    """Score models/scratch on the test split of its track.

    Raises:
        DataError: models/scratch does not fit the task of the track.
    """
    info = load_info("scratch")
    if info.task == "classification":
        return _classification(params, info)
    return _sequences(params)


def scratch_probabilities(params: Params) -> Probabilities:
    """What the from-scratch classifier says on the test split, `[rows, labels]`."""
    from scratchformer.transformer import EncoderClassifier

    model: EncoderClassifier = _load(EncoderClassifier)
    table = open_split("scratch", "test")
    return class_probabilities(model, table, batch_size=params.evaluate.batch_size)


def _sequences(params: Params) -> TrackReport:
    from scratchformer.transformer import Transformer

    tokenizer = load_tokenizers(SCRATCH_MODEL).target
    if tokenizer is None:
        raise DataError(f"{SCRATCH_MODEL}/target.json not found; make it with: dvc repro")
    normalizer = tokenizer.normalizer
    lowercase = normalizer is not None and normalizer.normalize_str("A") == "a"
    test = SequenceTest.of(load_split("scratch", "test"), lowercase)
    model: Transformer = _load(Transformer)
    outputs = {"model": _model_output(params, model, tokenizer, len(test.ids))}
    outputs |= _sequence_controls(test, params.run.seed)

    resampling = resampling_of(params, test.groups)
    predictions = {
        name: sequences.prediction_table(test, output) for name, output in outputs.items()
    }
    reports = {
        name: sequences.sequence_report(test, output, predictions[name], resampling)
        for name, output in outputs.items()
    }
    if not test.single_words:
        _add_translation_intervals(reports, test, outputs, params)
    controls = [name for name in outputs if name != "model"]
    against = {
        name: sequences.sequence_difference(
            test, predictions["model"], predictions[name], resampling
        )
        for name in controls
    }
    metrics = {
        **reports["model"],
        "baselines": {name: reports[name] for name in controls},
        "against": against,
        "n": len(test.ids),
        "groups": len(set(test.groups)),
    }
    tables = {}
    if controls:
        strongest = max(controls, key=lambda name: reports[name]["exact_match"])
        tables[f"lengths-{strongest}-to-model"] = _by_length(
            test, predictions[strongest], predictions["model"], params
        )
    return TrackReport(metrics, predictions, tables)


def _model_output(
    params: Params, model: "Transformer", tokenizer: Any, rows: int
) -> SequenceOutput:
    """Answers in words, and the model's probabilities of its answers and of the references."""
    settings = params.evaluate
    table = open_split("scratch", "test")
    max_length = load_tokenized_info("scratch")["max_target_length"]
    with progress("evaluate: writing answers", rows) as bar:
        written = write_answers(
            model,
            table,
            rows,
            beam_size=settings.beam_size,
            max_length=max_length,
            batch_size=settings.batch_size,
            advance=bar.advance,
        )
    losses = token_losses(model, table, rows, batch_size=settings.batch_size)
    texts = tokenizer.decode_batch(written.ids, skip_special_tokens=True)
    return SequenceOutput(texts, written.scores.tolist(), losses)


def _sequence_controls(test: SequenceTest, seed: int) -> dict[str, SequenceOutput]:
    """Copy of the source; and letters by context for words, the nearest answer for sentences."""
    split = load_split("scratch", "train")
    split = split.take(pa.array(drawn(split.num_rows, _SEQUENCE_CONTROL_ROWS, seed)))
    train = (split.column("source").to_pylist(), split.column("targets").to_pylist())
    controls = {"copy": SequenceOutput(test.sources)}
    if test.single_words:
        controls["letter_context"] = SequenceOutput(
            letters_by_context(train, test.sources, test.unit)
        )
    else:
        controls["nearest"] = SequenceOutput(nearest_answers(train, test.sources))
    return controls


def _add_translation_intervals(
    reports: dict[str, dict[str, Any]],
    test: SequenceTest,
    outputs: dict[str, SequenceOutput],
    params: Params,
) -> None:
    """BLEU and chrF are not in `bootstrap`'s reach; sacrebleu resamples them itself."""
    compared = sequences.translation_comparison(
        test, outputs, params.evaluate.bootstrap_resamples
    )
    for name, found in compared.items():
        for metric, entry in found.items():
            reports[name]["intervals"][metric] = {"low": entry["low"], "high": entry["high"]}
            if "p_value" in entry:
                reports[name].setdefault("against_model", {})[metric] = {
                    "p_value": entry["p_value"]
                }


def _by_length(
    test: SequenceTest, before: pa.Table, after: pa.Table, params: Params
) -> list[Record]:
    bucket, names = length_buckets(test.sources)
    exact_before, exact_after = (table.column("exact").to_numpy() for table in (before, after))
    resampling = resampling_of(params, test.groups)
    return effect_by(bucket, names, exact_before, exact_after, resampling)


def _classification(params: Params, info: Info) -> TrackReport:
    labels = [label.name for label in info.labels]
    test = ClassificationTest.of(load_split("scratch", "test"), labels)
    controls = classification_controls("scratch", info, test, params.run.seed)
    systems = {"model": scratch_probabilities(params), **controls.probabilities}
    resampling = resampling_of(params, test.groups)
    reports = {
        name: classification.classification_report(test, said, resampling)
        | controls.chosen.get(name, {})
        for name, said in systems.items()
    }
    model = systems["model"]
    metrics = {
        **reports["model"],
        "baselines": {name: reports[name] for name in controls.probabilities},
        "against": {
            name: classification.classification_difference(test, model, said, resampling)
            for name, said in controls.probabilities.items()
        },
        "n": len(test.ids),
        "groups": len(set(test.groups)),
    }
    bins = reliability(model.max(axis=1), right_rows(test, model))
    return TrackReport(
        metrics,
        {name: classification.prediction_table(test, said) for name, said in systems.items()},
        {"calibration": reliability_records(bins, "model")},
        controls.warnings,
    )


def _load(kind: type[Any]) -> Any:
    """models/scratch, which must be of this class."""
    from scratchformer.transformer import load_model

    try:
        model = load_model(SCRATCH_MODEL)
    except (OSError, ValueError) as error:
        fix = "make it with: dvc repro train_scratch"
        raise DataError(f"{SCRATCH_MODEL}: {error}; {fix}") from None
    if not isinstance(model, kind):
        raise DataError(
            f"{SCRATCH_MODEL}: holds a {type(model).__name__}, the task needs a {kind.__name__}; "
            "train it again with: dvc repro train_scratch"
        )
    return model

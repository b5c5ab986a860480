"""The from-scratch model on its test split, beside its controls."""

from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.base.layout import SCRATCH_MODEL
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import Info, load_info, load_split
from scratchformer.data.tokenized.read import load_tokenized_info, open_split
from scratchformer.evaluation.measures.calibration import reliability, reliability_records
from scratchformer.evaluation.reports import classification, sequences
from scratchformer.evaluation.reports.classification import ClassificationTest
from scratchformer.evaluation.reports.sequences import SequenceOutput, SequenceTest
from scratchformer.evaluation.systems import sequence_systems
from scratchformer.evaluation.systems.scoring import (
    class_probabilities,
    token_losses,
    write_answers,
)
from scratchformer.evaluation.tracks.report import (
    Probabilities,
    TrackReport,
    classification_controls,
    in_brief,
    resampling_of,
    right_rows,
)
from scratchformer.params import Params
from scratchformer.text.tokenizers import load_tokenizers


def evaluate_scratch(params: Params) -> TrackReport:
    """Score models/scratch on the test split of its track.

    Raises:
        DataError: models/scratch is missing or does not fit the task of the track.
    """
    info = load_info("scratch")
    if info.task == "classification":
        return _classification(params, info)
    return _sequences(params)


def scratch_probabilities(params: Params) -> Probabilities:
    """What the from-scratch classifier says on its test split, `[rows, labels]`."""
    from scratchformer.transformer import EncoderClassifier

    model: EncoderClassifier = _load(EncoderClassifier)
    table = open_split("scratch", "test")
    return class_probabilities(model, table, batch_size=params.evaluate.batch_size)


def scratch_answers(params: Params, rows: int) -> SequenceOutput:
    """What the from-scratch model writes on its test split of `rows` rows, and its losses on the
    references."""
    from scratchformer.transformer import Transformer

    model: Transformer = _load(Transformer)
    tokenizer = load_tokenizers(SCRATCH_MODEL).target
    if tokenizer is None:
        raise DataError(f"{SCRATCH_MODEL}/target.json not found; make it with: dvc repro")
    settings = params.evaluate
    table = open_split("scratch", "test")
    with progress("evaluate: writing answers", rows) as bar:
        written = write_answers(
            model,
            table,
            rows,
            beam_size=settings.beam_size,
            max_length=load_tokenized_info("scratch")["max_target_length"],
            batch_size=settings.batch_size,
            advance=bar.advance,
        )
    losses = token_losses(model, table, rows, batch_size=settings.batch_size)
    texts = tokenizer.decode_batch(written.ids, skip_special_tokens=True)
    return SequenceOutput(texts, written.scores.tolist(), losses)


def _sequences(params: Params) -> TrackReport:
    test = SequenceTest.of(load_split("scratch", "test"), _target_is_lowercase())
    outputs = {
        "model": scratch_answers(params, len(test.ids)),
        **sequence_systems.sequence_controls("scratch", test, params.run.seed),
    }
    predictions = {name: sequences.prediction_table(test, each) for name, each in outputs.items()}
    reports = sequence_systems.sequence_reports(test, outputs, predictions, params)
    model, *controls = outputs
    strongest = max(controls, key=lambda name: float(reports[name]["exact_match"]))
    metrics = {
        **reports[model],
        "baselines": {name: reports[name] for name in controls},
        "against": {
            name: in_brief(
                sequence_systems.sequence_tests(
                    test, predictions[model], predictions[name], params
                ),
                test.headline,
            )
            for name in controls
        },
        "n": len(test.ids),
        "groups": len(set(test.groups)),
    }
    tables = {
        f"effect-by-length-over-{strongest}": sequence_systems.effect_by_length(
            test, predictions[model], predictions[strongest], params
        )
    }
    return TrackReport(metrics, predictions, tables)


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
            name: in_brief(
                classification.classification_difference(test, model, said, resampling), "accuracy"
            )
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


def _target_is_lowercase() -> bool:
    """Whether the vocabulary of the target knows no capitals."""
    target = load_tokenizers(SCRATCH_MODEL).target
    normalizer = target.normalizer if target else None
    return normalizer is not None and normalizer.normalize_str("A") == "a"


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

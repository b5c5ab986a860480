"""A pretrained classifier before and after fine-tuning, beside a probe and the controls."""

from typing import Any

import numpy as np

from scratchformer.base.layout import FINETUNED_MODEL
from scratchformer.data.preparation.prepared import Info, load_info, load_split
from scratchformer.data.tokenized.read import load_tokenized_info, open_split
from scratchformer.evaluation.controls.linear import regression
from scratchformer.evaluation.measures.calibration import reliability, reliability_records
from scratchformer.evaluation.reports import classification, comparison
from scratchformer.evaluation.reports.classification import ClassificationTest
from scratchformer.evaluation.reports.comparison import Record
from scratchformer.evaluation.significance.bootstrap import Resampling
from scratchformer.evaluation.tracks.report import (
    Probabilities,
    TrackReport,
    classification_controls,
    in_brief,
    labelled_texts,
    resampling_of,
    right_rows,
)
from scratchformer.params import Params
from scratchformer.pretrained.hub.loading import load_encoder, load_tokenizer
from scratchformer.pretrained.inference import classify_probabilities
from scratchformer.pretrained.zero_shot import TextEncoder, ZeroShot


def evaluate_classifier(params: Params, scratch: Probabilities | None) -> TrackReport:
    """Score the pretrained model before and after, and everything it is compared with.

    Args:
        scratch: what the from-scratch classifier says of the same rows, if it was asked.
    """
    info = load_info("finetune")
    labels = [label.name for label in info.labels]
    test = ClassificationTest.of(load_split("finetune", "test"), labels)
    controls = classification_controls("finetune", info, test, params.run.seed)
    before, probe, choices = _frozen_model(params, info, test)
    after = classify_probabilities(
        FINETUNED_MODEL, open_split("finetune", "test"), params.evaluate.batch_size
    )
    baselines = {**controls.probabilities, "probe": probe}
    if scratch is not None:
        baselines["scratch"] = scratch

    resampling = resampling_of(params, test.groups)
    systems = {"before": before, "after": after, **baselines}
    chosen = {**controls.chosen, **choices}
    reports = {
        name: classification.classification_report(test, said, resampling) | chosen.get(name, {})
        for name, said in systems.items()
    }
    tables = _tables(params, test, before, after, resampling)
    metrics = {
        "before": reports["before"],
        "after": reports["after"],
        **classification.classification_difference(test, after, before, resampling),
        "baselines": {name: reports[name] for name in baselines},
        "against": {
            name: in_brief(
                classification.classification_difference(test, after, said, resampling), "accuracy"
            )
            for name, said in baselines.items()
        },
        "near_duplicates": _without(test, after, tables["near-duplicates"]),
        "prompt": reports["before"].pop("prompt"),
        "n": len(test.ids),
        "groups": len(set(test.groups)),
    }
    return TrackReport(
        metrics,
        {name: classification.prediction_table(test, said) for name, said in systems.items()},
        tables,
        controls.warnings,
    )


def _frozen_model(
    params: Params, info: Info, test: ClassificationTest
) -> tuple[Probabilities, Probabilities, dict[str, dict[str, Any]]]:
    """What the pretrained model knows before any training: zero-shot by similarity to the label
    descriptions, and a linear probe on its vectors. Prompt and strength are chosen on valid."""
    encode = TextEncoder(
        load_encoder(params.pretrained),
        load_tokenizer(params.pretrained),
        load_tokenized_info("finetune")["max_source_length"],
        params.evaluate.batch_size,
    )
    train, valid = (labelled_texts("finetune", split, info) for split in ("train", "valid"))
    labels = [(label.name, label.description) for label in info.labels]
    chosen = ZeroShot.choose(encode, params.evaluate.prompts, labels, valid[0], valid[1].tolist())
    vectors = encode(test.texts)
    probe = regression(
        (encode(train[0]), train[1]), (encode(valid[0]), valid[1]), vectors, len(labels)
    )
    choices: dict[str, dict[str, Any]] = {
        "before": {
            "prompt": chosen.prompt,
            "valid_accuracy": chosen.valid_accuracy[chosen.prompt],
            "scale": chosen.scale,
        },
        "probe": {"strength": probe.strength, "valid_accuracy": probe.valid_accuracy},
    }
    return chosen.probabilities(vectors), probe.probabilities, choices


def _tables(
    params: Params,
    test: ClassificationTest,
    before: Probabilities,
    after: Probabilities,
    resampling: Resampling,
) -> dict[str, list[Record]]:
    """What fine-tuning changed, in examples and by kind of row."""
    pair = {"before": before, "after": after}
    right = {name: right_rows(test, said) for name, said in pair.items()}
    bucket, names = comparison.length_buckets(test.texts)
    train_texts = load_split("finetune", "train").column("text").to_pylist()
    duplicates = comparison.near_duplicates(train_texts, test.ids, test.texts)
    seen = {record["id"] for record in duplicates}
    return {
        "changes": [
            {**record, "near_duplicate": record["id"] in seen}
            for record in comparison.changed_rows(test, before, after)
        ],
        "confident-errors": comparison.confident_errors(test, after),
        "confusions": comparison.confusion_pairs(test, pair),
        "classes": comparison.class_table(test, pair),
        "effect-by-class": comparison.effect_by(
            test.gold, test.labels, right["before"], right["after"], resampling
        ),
        "effect-by-length": comparison.effect_by(
            bucket, names, right["before"], right["after"], resampling
        ),
        "calibration": [
            record
            for name, said in pair.items()
            for record in reliability_records(reliability(said.max(axis=1), right[name]), name)
        ],
        "near-duplicates": duplicates,
    }


def _without(
    test: ClassificationTest, after: Probabilities, duplicates: list[Record]
) -> dict[str, float]:
    """How many test rows stand nearly so in training, and the accuracy on all others."""
    seen = {record["id"] for record in duplicates}
    others = np.array([row not in seen for row in test.ids])
    found: dict[str, float] = {"rows": len(seen), "share": len(seen) / len(test.ids)}
    if others.any():
        found["accuracy_without"] = float(right_rows(test, after)[others].mean())
    return found

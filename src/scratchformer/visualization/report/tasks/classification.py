"""The report's sections on tasks whose answers are labels."""

from collections.abc import Iterator
from itertools import chain

import numpy as np

from scratchformer.base.layout import FINETUNED_MODEL, TrackName
from scratchformer.data.preparation.prepared import Info
from scratchformer.data.tokenized.columns import input_table
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.evaluation.measures.calibration import ReliabilityBin
from scratchformer.evaluation.measures.coverage import CoveragePoint
from scratchformer.params import Params
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.inference import embed
from scratchformer.pretrained.models.loading import encoder_of, load_encoder, load_finetuned
from scratchformer.visualization.analysis.inspection.projection import (
    neighbour_agreement,
    neighbourhoods,
)
from scratchformer.visualization.analysis.predictions import (
    Names,
    load_predictions,
    load_table,
    names_of,
    pairs_of,
    shown_text,
)
from scratchformer.visualization.plots.calibration import reliability_diagram
from scratchformer.visualization.plots.confusion import confusion_matrix
from scratchformer.visualization.plots.coverage import coverage_curve
from scratchformer.visualization.plots.inspection.embeddings import sentence_map
from scratchformer.visualization.plots.subgroup_deltas import subgroup_deltas
from scratchformer.visualization.report.attribution import attribution_items
from scratchformer.visualization.report.flips import cut, flip_items
from scratchformer.visualization.report.page.items import Item, Picture, Section, Table, or_missing
from scratchformer.visualization.report.pretrained import PretrainedPair, attention_items
from scratchformer.visualization.report.tasks.task_sections import Systems, TaskSections

_BATCH = 128  # texts embedded together


def errors(track: TrackName, systems: Systems, info: Info, count: int) -> Section:
    """Errors of classifiers; with two systems, "before" and "after", also what changed."""
    compared, names = len(systems) == 2, names_of(info)
    return Section(
        f"errors-{track}",
        "Errors before and after fine-tuning" if compared else "Errors of the from-scratch model",
        "All rows are of the test split. Examples are picked by rule, the largest change first, "
        "and not by hand.",
        chain(
            or_missing("Confusion matrices", _confusions(track, systems, names)),
            or_missing("Effect by class", _effects(track, "class", names)) if compared else (),
            or_missing("Effect by length", _effects(track, "length", names)) if compared else (),
            or_missing("Calibration", _calibration(track, systems)),
            or_missing("Answers withheld", _coverage(track)),
            or_missing("Rows that changed", _flips(track, names, count)) if compared else (),
            or_missing("Near duplicates", _near_duplicates(track, count)) if compared else (),
        ),
    )


def _confusions(track: TrackName, systems: Systems, names: Names) -> Iterator[Item]:
    for role, name in systems.items():
        table = load_predictions(f"{track}-{role}")
        yield Picture(
            f"{track}-confusion-{role}",
            f"Confusion matrix: {name}",
            "Rows are true classes (test rows in brackets), columns are answers, cells are "
            "percent of the row. A bright diagonal is right; a bright cell off it is a pair of "
            "classes that are taken for each other; a bright column is a favourite answer.",
            confusion_matrix(
                names.show(table["label"]), names.show(table["prediction"]), names.all_shown,
                f"{name}, {len(table):,} test rows",
            ),
        )  # fmt: skip


def _effects(track: TrackName, kind: str, names: Names) -> Iterator[Item]:
    effect = load_table(f"{track}-effect-by-{kind}", ["kind"])
    if kind == "class":
        effect["kind"] = names.show(effect["kind"])
        effect = effect.sort_values(["difference", "kind"], ascending=[False, True])
    yield Picture(
        f"{track}-effect-by-{kind}",
        f"Effect of fine-tuning by {kind}",
        "Share of right rows before and after for each kind of row, and the paired difference "
        "with its interval; bold where the interval leaves out zero. With many kinds, one in "
        "twenty would do so by chance.",
        subgroup_deltas(
            effect,
            f"Share of right rows by {kind}, {effect['rows'].sum():,} test rows",
            "share of right rows",
        ),
    )


def _calibration(track: TrackName, systems: Systems) -> Iterator[Item]:
    table = load_table(f"{track}-calibration", ["system"])
    curves = {
        name: [
            ReliabilityBin(row["low"], row["high"], row["rows"], row["confidence"], row["accuracy"])
            for row in table[table["system"] == role].to_dict("records")
        ]
        for role, name in systems.items()
    }
    rows = sum(each.rows for each in next(iter(curves.values())))
    yield Picture(
        f"{track}-calibration",
        "Calibration",
        "Rows are grouped by the confidence of the answer. On the dotted line, answers given with "
        "80% confidence are right in 80% of the cases; below it a system is too sure of itself. "
        "ECE, the expected calibration error, is the mean distance to that line over rows.",
        reliability_diagram(curves, f"Calibration, {rows:,} test rows"),
    )


def _coverage(track: TrackName) -> Iterator[Item]:
    table = load_table(f"{track}-coverage", [])
    thresholds = load_table(f"{track}-thresholds", [])
    curve = [
        CoveragePoint(row["threshold"], row["answered"], row["accuracy"])
        for row in table.to_dict("records")
    ]
    chosen = thresholds.to_dict("records")
    yield Picture(
        f"{track}-coverage",
        "Answers withheld where the model is unsure",
        "With `scratchformer predict --threshold` the model answers only where its probability is "
        "high enough: fewer answers (to the left), and more of them right. The marks are "
        "thresholds that reach a wanted accuracy on the validation split.",
        coverage_curve(
            curve,
            [
                CoveragePoint(row["threshold"], row["test_answered"], row["test_accuracy"])
                for row in chosen
            ],
            "Accuracy of the answered test rows",
        ),
    )
    yield Table(
        "Thresholds for a wanted accuracy",
        "Chosen on the validation split, then tried on the test split, whose rows may be harder.",
        ["wanted", "threshold", "validation: answered", "right", "test: answered", "right "],
        [
            [
                f"{row['target']:.0%}",
                f"{row['threshold']:.3f}",
                *(f"{row[key]:.1%}" for key in (
                    "valid_answered", "valid_accuracy", "test_answered", "test_accuracy",
                )),
            ]
            for row in chosen
        ],
        ["threshold", "validation: answered", "right", "test: answered", "right "],
    )


def _flips(track: TrackName, names: Names, count: int) -> Iterator[Item]:
    words = ["id", "outcome", "text", "text_pair", "label", "before", "after"]
    flips = load_table(f"{track}-changes", words)
    flips["text"] = [shown_text(*texts) for texts in pairs_of(flips)]
    for column in ("label", "before", "after"):
        flips[column] = names.show(flips[column])
    flips = flips.rename(columns=lambda name: name.replace("probability_", "score_"))
    sides = ("before", "after")
    yield from flip_items(track, flips, "probability of the true class", sides, count, True)


def _near_duplicates(track: TrackName, count: int) -> Iterator[Item]:
    table = load_table(f"{track}-near-duplicates", ["id", "text", "train_text"])
    yield Table(
        "Test rows with a near-duplicate in the training split",
        f"{len(table):,} test rows are almost, though not exactly, a training row; these are the "
        "nearest. The results without them are in reports/metrics.json.",
        ["test row", "training row", "similarity"],
        [
            [cut(row["text"]), cut(row["train_text"]), f"{row['similarity']:.2f}"]
            for row in table.head(count).to_dict("records")
        ],
        ["similarity"],
    )


def pretrained(params: Params, info: Info) -> Section:
    """A map of the test rows, attention and attributions of an encoder, before and after."""
    names, settings, seed = names_of(info), params.visualize, params.run.seed
    pair = PretrainedPair(
        before=load_encoder(params.pretrained, "eager"),
        after=load_finetuned(FINETUNED_MODEL, "eager"),
        tokenizer=load_tokenizer_folder(FINETUNED_MODEL),
        inputs=load_inputs(FINETUNED_MODEL),
    )
    return Section(
        "finetune-inside",
        "Inside the pretrained model, before and after",
        "The same sentences under the weights as they were published and as fine-tuning left "
        "them. Attention is a view of the machinery, not an explanation of the answer (Jain and "
        "Wallace 2019).",
        chain(
            or_missing(
                "Map of the test rows", _rows_map(pair, names, settings.projection_points, seed)
            ),
            or_missing(
                "Attention before and after",
                attention_items(
                    pair, info, settings.attention_examples, settings.texts.finetune
                ),
            ),
            or_missing(
                "Gradient attribution",
                attribution_items(pair, info, settings.attention_examples),
            ),
        ),
    )


def _rows_map(
    pair: PretrainedPair, names: Names, points: int, seed: int) -> Iterator[Item]:
    table = load_predictions("finetune-after")
    if len(table) > points:
        table = table.sample(points, random_state=seed).sort_index()
    labels = np.array(names.show(table["label"]))
    texts = pairs_of(table)
    seconds = [second for _, second in texts if second is not None] or None
    read = input_table(encode_texts(pair.inputs, [text for text, _ in texts], seconds))
    panels = []
    for side, model in (("before", pair.before), ("after", pair.after)):
        vectors = embed(encoder_of(model), read, _BATCH)
        agreement = neighbour_agreement(vectors, labels)
        caption = f"{side}: {agreement:.0%} of the 10 nearest rows share the class"
        panels.append((caption, neighbourhoods(vectors, seed)))
    yield Picture(
        "finetune-embeddings",
        "Map of the test rows",
        "Each point is a test row: the mean of its last hidden states, the same formula for both "
        "models, laid out by t-SNE so that near rows stay near (distances between clusters mean "
        "nothing). The percentages are measured before the projection.",
        sentence_map(
            panels, labels.tolist(), names.all_shown,
            f"{len(table):,} test rows, t-SNE of mean hidden states, seed {seed}",
        ),
    )  # fmt: skip


CLASSIFICATION = TaskSections("nats per row", pretrained, errors)

"""Classifiers of a track on the test split: its model, what it is compared with, and controls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from scratchformer.base.layout import FINETUNED_MODEL, TRACKS, SplitName, TrackName
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import Info, load_split
from scratchformer.data.tokenized.read import open_split
from scratchformer.evaluation.controls.left_out import CannotFitError
from scratchformer.evaluation.controls.linear import (
    Fitted,
    label_shares,
    regression,
    tfidf_regression,
)
from scratchformer.evaluation.controls.sampling import (
    PROBE_ROWS,
    TRAIN_ROWS,
    Drawn,
    draw,
    draw_texts,
)
from scratchformer.evaluation.measures.temperature import fit_temperature, rescale
from scratchformer.evaluation.reports.classification import (
    LabelledRows,
    Probabilities,
    columns_of,
    prediction_table,
)
from scratchformer.evaluation.reports.scores import Scored, values
from scratchformer.evaluation.significance.resampling import Columns
from scratchformer.evaluation.tracks.class_tables import (
    calibration_table,
    change_tables,
    coverage_tables,
)
from scratchformer.evaluation.tracks.report import (
    Settings,
    TrackReport,
    prediction_file,
    track_metrics,
)
from scratchformer.evaluation.tracks.same_rows import same_rows
from scratchformer.evaluation.tracks.scratch_models import scratch_probabilities
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.inference import classify_probabilities, embed
from scratchformer.pretrained.models.loading import load_encoder
from scratchformer.pretrained.zero_shot import TextEncoder, ZeroShot
from scratchformer.record.calibration import Calibration, identity
from scratchformer.record.systems import SYSTEMS


@dataclass(frozen=True)
class Classified:
    """What one system says on both splits, `[rows, labels]`, and what was chosen for it."""

    valid: Probabilities
    test: Probabilities
    notes: dict[str, Any] = field(default_factory=dict)

    def scaled(self, valid: LabelledRows, test: LabelledRows) -> "Classified":
        """The same with a temperature that is fitted on the validation split."""
        temperature = fit_temperature(self.valid, valid.gold)
        unscaled = values(columns_of(test, self.test))["ece"]
        return Classified(
            rescale(self.valid, temperature),
            rescale(self.test, temperature),
            {**self.notes, "temperature": temperature, "ece_unscaled": unscaled},
        )


@dataclass(frozen=True)
class _Track:
    """The rows of a track, and the warnings of its evaluation, which grow as it goes on."""

    name: TrackName
    info: Info
    settings: Settings
    valid: LabelledRows
    test: LabelledRows
    warnings: list[str] = field(default_factory=list)

    def of_split(self, split: SplitName) -> LabelledRows:
        return LabelledRows.of(load_split(self.name, split), self.test.labels)

    def took_some(self, system: str, drawn: Drawn) -> dict[str, int]:
        """The note of a system that learned from some rows only, and its warning."""
        if drawn.all:
            return {}
        self.warnings.append(f"{self.name}: {SYSTEMS[system].title} learned from {drawn}")
        return {"train_rows": len(drawn.rows)}

    def regressed(self, system: str, fitted: Fitted, drawn: Drawn) -> Classified:
        """What a regression says, with the C that was chosen for it."""
        notes: dict[str, Any] = {"C": fitted.C, **self.took_some(system, drawn)}
        if fitted.at_edge:
            notes["C_at_edge"] = True
            self.warnings.append(
                f"{self.name}: {SYSTEMS[system].title} was still getting better at C = "
                f"{fitted.C:g}, the last one that was tried"
            )
        return Classified(fitted.valid, fitted.test, notes)


def evaluate_classification(track: TrackName, info: Info, settings: Settings) -> TrackReport:
    """Score the model of the track, and everything that it is compared with, on the same rows."""
    labels = [label.name for label in info.labels]
    valid, test = (LabelledRows.of(load_split(track, s), labels) for s in ("valid", "test"))
    rows = _Track(track, info, settings, valid, test)
    made = {**_MODELS[track](rows), **_controls(rows)}
    systems = {name: each.scaled(valid, test) for name, each in made.items()}
    scored = {
        name: Scored(columns_of(test, each.test), columns_of(valid, each.valid), each.notes)
        for name, each in systems.items()
    }
    probabilities = {name: each.test for name, each in systems.items()}
    tables, facts = _TABLES[track](rows, probabilities)
    own = TRACKS[track].system
    tables |= coverage_tables((valid, systems[own].valid), (test, systems[own].test))
    folder = TRACKS[track].model
    calibration = Calibration(
        identity(folder),
        systems[own].notes["temperature"],
        tuple(labels),
        tuple(label.description for label in info.labels),
    )
    return TrackReport(
        track_metrics(
            track,
            scored,
            test.groups,
            settings.resampling,
            _on_training_rows(rows, calibration.temperature),
            {"task": info.task, **facts},
        ),
        {
            prediction_file(track, name): prediction_table(test, said)
            for name, said in probabilities.items()
        },
        tables,
        rows.warnings,
        calibration,
    )


def _on_training_rows(rows: _Track, temperature: float) -> Columns:
    """What the measures of the track's own model on some training rows are sums of."""
    drawn = draw(rows.info.counts["train"], TRAIN_ROWS, rows.settings.seed)
    places = pa.array(drawn.rows)
    labelled = LabelledRows.of(load_split(rows.name, "train").take(places), rows.test.labels)
    said = _OWN[rows.name](open_split(rows.name, "train").take(places), rows.settings)
    return columns_of(labelled, rescale(said, temperature))


def _scratch_model(rows: _Track) -> dict[str, Classified]:
    valid, test = (
        scratch_probabilities(open_split("scratch", split), rows.settings)
        for split in ("valid", "test")
    )
    return {"scratch": Classified(valid, test)}


def _pretrained_models(rows: _Track) -> dict[str, Classified]:
    """Before and after fine-tuning, a probe; the from-scratch model if it has the same rows."""
    tables = {split: open_split("finetune", split) for split in ("valid", "test")}
    total = sum(table.num_rows for table in tables.values())
    with progress("evaluate: classifying, fine-tuned", total) as bar:
        valid, test = (
            classify_probabilities(FINETUNED_MODEL, table, rows.settings.batch_size, bar.advance)
            for table in tables.values()
        )
    systems = {**_frozen_models(rows), "after": Classified(valid, test)}
    if same_rows():
        systems |= _scratch_model(rows)
    return systems


def _frozen_models(rows: _Track) -> dict[str, Classified]:
    """What the pretrained model knows before any training: zero-shot by similarity to the label
    descriptions, and a linear probe on its vectors. All splits are embedded once, as tokenized."""
    settings = rows.settings
    model = load_encoder(settings.pretrained)
    labels = [(label.name, label.description) for label in rows.info.labels]
    drawn = draw(rows.info.counts["train"], PROBE_ROWS, settings.seed)
    tables = {split: open_split("finetune", split) for split in ("train", "valid", "test")}
    texts = {**tables, "train": tables["train"].take(pa.array(drawn.rows))}
    with progress("evaluate: embedding texts", sum(map(len, texts.values()))) as bar:
        vectors = {}
        for split, table in texts.items():
            vectors[split] = embed(model, table, settings.batch_size, bar.advance)
    encode = TextEncoder(model, load_inputs(FINETUNED_MODEL), settings.batch_size)
    zero_shot = ZeroShot.choose(
        encode, settings.prompts, labels, vectors["valid"], rows.valid.gold.tolist()
    )
    systems = {
        "before": Classified(
            zero_shot.probabilities(vectors["valid"]),
            zero_shot.probabilities(vectors["test"]),
            {"prompt": zero_shot.prompt},
        )
    }

    def probe() -> Classified:
        gold = tables["train"].column("label").to_numpy()[drawn.rows].astype(np.int64)
        fitted = regression(
            (vectors["train"], gold),
            (vectors["valid"], rows.valid.gold),
            vectors["test"],
            len(labels),
        )
        return rows.regressed("probe", fitted, drawn)

    return systems | _those_that_fit(rows, {"probe": probe})


def _controls(rows: _Track) -> dict[str, Classified]:
    """Majority class, and TF-IDF with logistic regression."""
    train = rows.of_split("train")
    count = len(train.labels)

    def majority() -> Classified:
        valid, test = (
            label_shares(train.gold, len(each.ids), count) for each in (rows.valid, rows.test)
        )
        return Classified(valid, test)

    def tfidf() -> Classified:
        drawn = draw_texts(train.joined, rows.settings.seed)
        fitted = tfidf_regression(
            ([train.joined[row] for row in drawn.rows], train.gold[drawn.rows]),
            (rows.valid.joined, rows.valid.gold),
            rows.test.joined,
            count,
        )
        return rows.regressed("tfidf", fitted, drawn)

    return _those_that_fit(rows, {"majority": majority, "tfidf": tfidf})


def _those_that_fit(
    rows: _Track, controls: Mapping[str, Callable[[], Classified]]
) -> dict[str, Classified]:
    """The controls that can be had from these rows; a warning for each other one."""
    made = {}
    for name, make in controls.items():
        try:
            made[name] = make()
        except CannotFitError as reason:
            rows.warnings.append(f"{rows.name}: {SYSTEMS[name].title} is left out: {reason}")
    return made


def _scratch_tables(
    rows: _Track, systems: Mapping[str, Probabilities]
) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"calibration": calibration_table(rows.test, {"model": systems["scratch"]})}, {}


def _pretrained_tables(
    rows: _Track, systems: Mapping[str, Probabilities]
) -> tuple[dict[str, Any], dict[str, Any]]:
    train = rows.of_split("train")
    drawn = draw_texts(train.joined, rows.settings.seed)
    if not drawn.all:
        rows.warnings.append(f"{rows.name}: near duplicates were looked for among {drawn}")
    texts = [train.joined[row] for row in drawn.rows]
    pair = {name: systems[name] for name in ("before", "after")}
    return change_tables(rows.test, pair, texts, rows.settings.resampling)


def _finetuned(table: pa.Table, settings: Settings) -> Probabilities:
    return classify_probabilities(FINETUNED_MODEL, table, settings.batch_size)


_OWN: Mapping[TrackName, Callable[[pa.Table, Settings], Probabilities]] = {
    "scratch": scratch_probabilities,
    "finetune": _finetuned,
}
_MODELS: Mapping[TrackName, Callable[[_Track], dict[str, Classified]]] = {
    "scratch": _scratch_model,
    "finetune": _pretrained_models,
}
_TABLES: Mapping[
    TrackName,
    Callable[[_Track, Mapping[str, Probabilities]], tuple[dict[str, Any], dict[str, Any]]],
] = {"scratch": _scratch_tables, "finetune": _pretrained_tables}
